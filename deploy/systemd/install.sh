#!/bin/sh
# Installs what is in pkg/ on the host, or removes it; called by make in the top folder.
#   DESTDIR=... PREFIX=/usr install.sh install | uninstall
# A list of what was installed is kept in PREFIX/share, and only what is on it is removed. The
# settings in /etc are the operator's: an install leaves them as they are, and so does a removal
# once they were changed.
set -eu
destdir=${DESTDIR:-}
prefix=${PREFIX:-/usr}
settings=/etc/tee-device-plugin/config.yaml
share=$prefix/share/tee-device-plugin
list=$share/installed
ours=deploy/systemd/config.yaml

put() { # mode, file, path on the host
  install -D -m "$1" "$2" "$destdir$3"
  echo "$3" >> "$destdir$list.new"
}

link() { # what it leads to, path on the host, which is on PATH
  mkdir -p "$destdir${2%/*}"
  ln -sf "$1" "$destdir$2"
  echo "$2" >> "$destdir$list.new"
}

install_all() {
  if [ ! -e pkg/tee-device-plugin ]; then
    echo "error: there is no pkg/tee-device-plugin: build it with make executable" >&2
    exit 1
  fi
  mkdir -p "$destdir$share"
  : > "$destdir$list.new"
  put 755 pkg/tee-device-plugin /vendor/bin/tee-device-plugin
  link /vendor/bin/tee-device-plugin "$prefix/bin/tee-device-plugin"
  if [ -e pkg/libteememca.so ]; then
    put 755 pkg/libteememca.so "$prefix/lib64/libteememca.so"
  fi
  if [ -e pkg/tee-limit ]; then
    # Where CDI specifications name it, whatever the prefix.
    put 755 pkg/tee-limit /usr/libexec/tee-limit
    for unit in service path timer; do
      put 644 "deploy/systemd/tee-limit.$unit" "$prefix/lib/systemd/system/tee-limit.$unit"
    done
  fi
  signed=
  for file in pkg/*.sec; do
    [ -e "$file" ] || continue
    put 644 "$file" "/data/${file##*/}"
    signed=$file
  done
  put 644 deploy/systemd/tee-device-plugin.service \
    "$prefix/lib/systemd/system/tee-device-plugin.service"
  put 644 deploy/systemd/tmpfiles.conf "$prefix/lib/tmpfiles.d/tee-device-plugin.conf"
  put 644 "$ours" "$share/config.yaml"
  [ -e "$destdir$settings" ] || install -D -m 644 "$ours" "$destdir$settings"
  mv "$destdir$list.new" "$destdir$list"
  if [ -z "$signed" ]; then
    echo "note: there is no pkg/*.sec, which iTrustee needs in /data: make application"
  fi
  if on_this_host; then
    systemctl daemon-reload
    systemd-tmpfiles --create "$prefix/lib/tmpfiles.d/tee-device-plugin.conf"
    # Unpacked now, and not at a boot that the kubelet waits for.
    SHIV_ROOT=/var/cache/tee-device-plugin /vendor/bin/tee-device-plugin --version
    echo "start it with: systemctl enable --now tee-device-plugin"
  fi
}

uninstall_all() {
  if [ ! -e "$destdir$list" ]; then
    echo "error: nothing was installed by make install: there is no $destdir$list" >&2
    exit 1
  fi
  if on_this_host; then
    systemctl disable --now tee-device-plugin 2>/dev/null || true
    systemctl disable --now tee-limit.path tee-limit.timer 2>/dev/null || true
    rm -rf /var/cache/tee-device-plugin
  fi
  # No container may get a hook that isn't there any more.
  if grep -qx /usr/libexec/tee-limit "$destdir$list"; then
    rm -f "$destdir/etc/cdi/tee-device-plugin.json"
  fi
  if cmp -s "$destdir$settings" "$destdir$share/config.yaml"; then
    rm -f "$destdir$settings"
    rmdir "$destdir${settings%/*}" 2>/dev/null || true
  else
    echo "note: $destdir$settings was changed, and is left"
  fi
  while read -r path; do
    rm -f "$destdir$path"
  done < "$destdir$list"
  rm -f "$destdir$list"
  rmdir "$destdir$share"
  if on_this_host; then
    systemctl daemon-reload
  fi
}

on_this_host() {
  [ -z "$destdir" ] && [ -d /run/systemd/system ]
}

case "${1:-}" in
  install) install_all ;;
  uninstall) uninstall_all ;;
  *)
    echo "usage: install.sh install | uninstall" >&2
    exit 2
    ;;
esac
