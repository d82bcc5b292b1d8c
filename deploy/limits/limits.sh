#!/bin/sh
# Puts onto a node what limits containers there, and takes it away: the hook, the CDI specification
# and the host service. Run by an init container, with the node's root mounted, and by hand:
#   limits.sh install | uninstall [ROOT]
# The files come from the folder of this script; settings from TEEPLUGIN_CONFIG, as the plugin's.
# Each file is replaced by a rename: a container that starts meanwhile sees the old or the new one.
set -eu
action=${1:-}
root=${2:-}
here=$(dirname "$0")
plugin=${PLUGIN:-/vendor/bin/tee-device-plugin}
hook=/usr/libexec/tee-limit
specification=/etc/cdi/tee-device-plugin.json
system=/etc/systemd/system
units='tee-limit.service tee-limit.path tee-limit.timer'

say() {
  echo "limits: $*" >&2
}

put() { # mode, file, path on the node
  mkdir -p "$root${3%/*}"
  cp "$2" "$root$3.new"
  chmod "$1" "$root$3.new"
  mv -f "$root$3.new" "$root$3"
}

has_systemd() {
  [ -d "$root/run/systemd/system" ]
}

on_node() { # a command of the node's own
  if [ -n "$root" ]; then
    # Else systemctl would take the node's root for a chroot, and do nothing.
    SYSTEMD_IGNORE_CHROOT=1 chroot "$root" "$@"
  else
    "$@"
  fi
}

write_specification() {
  mkdir -p "$root/etc/cdi"
  # shellcheck disable=SC2086 # several flags, or none
  if "$plugin" cdi ${CDI_FLAGS:-} > "$root$specification.new"; then
    chmod 644 "$root$specification.new"
    mv -f "$root$specification.new" "$root$specification"
    return
  fi
  rm -f "$root$specification.new"
  if [ ! -e "$root$specification" ]; then
    say "there is no $specification yet, and it can't be written: see above"
    exit 1
  fi
  say "$specification stays as it was: see above"
}

install_all() {
  if [ ! -x "$here/tee-limit" ]; then
    say "there is no $here/tee-limit: build it with make hook, and the image again"
    exit 1
  fi
  put 755 "$here/tee-limit" "$hook"
  write_specification
  for unit in $units; do
    put 644 "$here/$unit" "$system/$unit"
  done
  if has_systemd; then
    on_node systemctl daemon-reload
    on_node systemctl enable --quiet --now tee-limit.path tee-limit.timer
  else
    say "the node has no systemd: run $hook reconcile every minute and after a restart of the TEE"
  fi
}

uninstall_all() {
  if has_systemd; then
    on_node systemctl disable --quiet --now tee-limit.path tee-limit.timer || true
  fi
  # The specification first: no container gets a hook any more that isn't there.
  rm -f "$root$specification"
  for unit in $units; do
    rm -f "$root$system/$unit"
  done
  if has_systemd; then
    on_node systemctl daemon-reload
  fi
  if [ -n "$(ls -A "$root/run/tee-limit/containers" 2>/dev/null)" ]; then
    say "$hook is left: containers that run call it when they end; uninstall again without them"
    return
  fi
  rm -f "$root$hook"
  rm -rf "$root/run/tee-limit"
}

case "$action" in
  install) install_all ;;
  uninstall) uninstall_all ;;
  *)
    say "usage: limits.sh install | uninstall [ROOT]"
    exit 2
    ;;
esac
