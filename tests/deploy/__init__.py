"""Tests of what users install: manifests, scripts, the image's parts; no cluster and no network."""
