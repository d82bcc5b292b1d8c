#!/bin/sh
# Says which files for the image are here, and where to get those that aren't: check.sh [FOLDER]
# Ends with 1 if the image can't be built with what is here. MACHINE is the nodes', as uname -m
# tells it, by default this machine's.
set -u
cd "${1:-$(dirname "$0")}" || exit 2
machine=${MACHINE:-$(uname -m)}
failed=0
absent=0

# ELF's number of the machine, two bytes at offset 18.
elf_machine() {
  case "$(od -An -tx1 -N4 "$1" | tr -d ' \n')$(od -An -tx1 -j18 -N2 "$1" | tr -d ' \n')" in
    7f454c46b700) echo aarch64 ;;
    7f454c463e00) echo x86_64 ;;
    7f454c46*) echo another ;;
    *) echo none ;;
  esac
}

missing() { # severity, file, what it is for, where to get it
  [ "$1" = MISSING ] || absent=1
  printf '%-8s %-20s %s; get it: %s\n' "$1" "$2" "$3" "$4"
}

look() { # severity, file, what it is for, where to get it
  if [ ! -e "$2" ]; then
    missing "$@"
    [ "$1" = MISSING ] && failed=1
    return
  fi
  printf '%-8s %s\n' ok "$2"
}

# What the TEE's parts are for differs from node to node, but never their machine.
look_for_machine() {
  for file in *.so *.so.* tlogcat tee-limit; do
    [ -e "$file" ] || continue
    found=$(elf_machine "$file")
    from="from such a node"
    [ "$file" != tee-limit ] || from="make hook CC=$machine-linux-gnu-gcc"
    if [ "$found" = none ] && [ "$file" = tlogcat ]; then
      continue # a script of your own
    elif [ "$found" != "$machine" ]; then
      printf '%-8s %-20s is for %s, the image is for %s; get it: %s\n' \
        WRONG "$file" "$found" "$machine" "$from"
      failed=1
    fi
  done
}

look MISSING tee-device-plugin "the plugin" "make executable, then cp pkg/* deploy/docker/"

node="the node's /usr/lib64, or mount it when the pod runs (components/node-libraries)"
if [ -e libteec.so ] || [ ! -e libteec.so.1 ] && [ ! -e libteec.so.2 ]; then
  look absent libteec.so "the TEE's client library" "$node"
  look absent libboundscheck.so "what iTrustee's libteec.so needs" "$node"
else
  printf '%-8s %s\n' ok "libteec.so.1 or .2, OP-TEE's"
fi

set -- *.sec
if [ -e "$1" ]; then
  for file in "$@"; do
    printf '%-8s %s\n' ok "$file"
  done
else
  missing absent "<uuid>.sec" "the signed TA, for iTrustee" \
    "make application, then cp pkg/* deploy/docker/; or mount it at /data"
fi
look absent libteememca.so "the client library for other programs; the plugin needs none" \
  "make library"
look absent tlogcat "to read the TEE's log in this image; the plugin needs none" \
  "the node's /usr/bin"
look absent tee-limit "the hook of the limits" "make hook, then cp pkg/* deploy/docker/"
for file in limits.sh tee-limit.service tee-limit.path tee-limit.timer; do
  [ -e tee-limit ] || break
  look absent "$file" "to put the hook onto nodes" \
    "cp deploy/limits/limits.sh deploy/systemd/tee-limit.* deploy/docker/"
done
look_for_machine
if [ "$absent" = 1 ]; then
  echo "What is absent is for iTrustee and OP-TEE: a backend for another TEE needs none of it."
fi
exit "$failed"
