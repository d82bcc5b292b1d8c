#!/bin/sh
# Readies the image's base; called by the Dockerfile.
#   base.sh install   Python 3.11 or newer is there; what builds or installs software isn't
#   base.sh python    print that Python's path
set -eu

python() {
  for name in python3.14 python3.13 python3.12 python3.11 python3; do
    path=$(command -v "$name") || continue
    "$path" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || continue
    echo "$path"
    return
  done
  return 1
}

install_python() {
  if command -v dnf >/dev/null; then
    dnf install -y --nodocs --setopt=install_weak_deps=False python3
    dnf clean all
  elif command -v apt-get >/dev/null; then
    apt-get update
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3
    rm -rf /var/lib/apt/lists/*
  fi
}

remove_installers() {
  if command -v rpm >/dev/null; then
    rpm --erase --nodeps python3-pip python3-setuptools 2>/dev/null || true
  fi
  rm -f /usr/bin/pip /usr/bin/pip3* /usr/local/bin/pip*
  "$(python)" -c '
import shutil, sys, sysconfig
from pathlib import Path
paths = sysconfig.get_paths()
for site in {paths["purelib"], paths["platlib"], "/usr/lib/python3/dist-packages"}:
    for name in ("pip", "setuptools"):
        for path in Path(site).glob(f"{name}*"):
            shutil.rmtree(path, ignore_errors=True)
shutil.rmtree(Path(paths["stdlib"], "ensurepip"), ignore_errors=True)
'
}

case "$1" in
  install)
    python >/dev/null || install_python
    if ! python >/dev/null; then
      echo "error: the base has no Python 3.11 or newer and offers none: build with" \
        "--build-arg BASE=, e.g. openEuler 24.03, which also runs on nodes of 22.03" >&2
      exit 1
    fi
    remove_installers
    for compiler in cc gcc clang; do
      if command -v "$compiler" >/dev/null; then
        echo "error: the base has a compiler, $compiler: name another with --build-arg BASE=" >&2
        exit 1
      fi
    done
    # The TEE's daemon looks the caller's name up in this file.
    grep -q '^root:[^:]*:0:' /etc/passwd || echo 'root:x:0:0:root:/root:/bin/sh' >> /etc/passwd
    ;;
  python) python ;;
  *)
    echo "usage: base.sh install | python" >&2
    exit 2
    ;;
esac
