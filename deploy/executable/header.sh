#!/bin/sh
# tee-device-plugin: this header finds a Python that is new enough; what follows it is a zip archive
# with the plugin and all that it needs, which that Python runs.
newest="python3.14 python3.13 python3.12 python3.11 python3"
for python in ${TEEPLUGIN_PYTHON:-$newest}; do
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
  # Unpacked there at the first start, because a shared library can't be loaded from an archive.
  SHIV_ROOT="${SHIV_ROOT:-${HOME:-/var/cache}/.cache/tee-device-plugin}"
  export SHIV_ROOT
  exec "$python" -I "$0" "$@"
done
echo "tee-device-plugin: no Python 3.11 or newer is on PATH (${TEEPLUGIN_PYTHON:-$newest}):" \
  "install one, or name it with TEEPLUGIN_PYTHON=/path/to/python3" >&2
exit 1
