#!/bin/sh
# tee-device-plugin: this header finds a Python that is new enough; what follows it is a zip archive
# with the plugin and all that it needs, which that Python runs.
newest="python3.14 python3.13 python3.12 python3.11 python3"
[ -z "$TEEPLUGIN_PYTHON" ] || newest=
# Unpacked there at the first start, because a shared library can't be loaded from an archive.
cache=${SHIV_ROOT:-${HOME:+$HOME/.cache/tee-device-plugin}}
cache=${cache:-/var/cache/tee-device-plugin}
for python in ${TEEPLUGIN_PYTHON:+"$TEEPLUGIN_PYTHON"} $newest; do
  modules=$("$python" -I -S -c 'import sys, _imp
sys.version_info < (3, 11) and sys.exit(1)
print(_imp.extension_suffixes()[0].split(".")[1])' 2>/dev/null) || continue
  unpacked=$cache/@BUILD@-$modules
  [ -e "$unpacked" ] || "$python" -I "$0" "$unpacked" || exit 1
  # shellcheck disable=SC2093 # the loop is for Pythons that are none
  exec "$python" -I "$unpacked/tee-device-plugin" "$@"
done
echo "tee-device-plugin: no Python 3.11 or newer is on PATH (${TEEPLUGIN_PYTHON:-$newest}):" \
  "install one, or name it with TEEPLUGIN_PYTHON=/path/to/python3" >&2
exit 1
