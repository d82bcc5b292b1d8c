#!/bin/sh
# Run a command on a host of its own: host_root.sh SCRATCH COMMAND…, inside the lab.
# The root is this machine's, but what is written to it is written to SCRATCH; the lab's /dev,
# /var and /run are the lab's. All of it ends with the command, which is this process in the end.
set -eu
scratch=$1
shift
mkdir -p "$scratch/upper" "$scratch/work" "$scratch/root"
mount -t overlay -o "lowerdir=/,upperdir=$scratch/upper,workdir=$scratch/work" host "$scratch/root"
for path in /dev /proc /sys /var /run; do
  mount --rbind "$path" "$scratch/root$path"
done
exec chroot "$scratch/root" "$@"
