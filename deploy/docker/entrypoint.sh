#!/bin/sh
# What the image runs, and what manifests of the original plugin call: the plugin with these flags.
# It waits by itself for the kubelet and for the TEE.
exec /vendor/bin/tee-device-plugin "$@"
