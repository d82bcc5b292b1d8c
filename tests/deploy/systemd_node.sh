#!/bin/sh
# Boots a node of its own: systemd as the first process of namespaces that end with it.
#   systemd_node.sh SCRATCH CGROUP SHARED
# Its root is this machine's with all writes in memory; it has systemd's targets and no other unit,
# and sees SHARED as /run/shared. CGROUP is its own group of cgroup v2.
set -eu
scratch=$1
group=$2
shared=$3
system=/usr/lib/systemd/system
targets="basic sysinit local-fs paths timers slices sockets swap multi-user shutdown umount final"

mount -t tmpfs -o mode=755 scratch "$scratch"
mkdir "$scratch/upper" "$scratch/work" "$scratch/root" "$scratch/targets" "$scratch/shared"
mount --bind "$shared" "$scratch/shared"
for target in $targets; do
  cp "$system/$target.target" "$scratch/targets"
done
root=$scratch/root
mount -t overlay -o "lowerdir=/,upperdir=$scratch/upper,workdir=$scratch/work" node "$root"
mount --bind "$scratch/targets" "$root$system"
for path in /etc/systemd/system /usr/lib/systemd/system-generators /run /tmp /dev /var/itrustee; do
  mkdir -p "$root$path"
  mount -t tmpfs -o mode=755 node "$root$path"
done
for node in null zero full random urandom tty; do
  touch "$root/dev/$node"
  mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir -p "$root/run/shared" "$root/dev/pts" "$root/dev/shm" "$root/var/itrustee/teecd"
mount --move "$scratch/shared" "$root/run/shared"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
echo $$ > "$group/cgroup.procs"
: > "$root/etc/fstab"
# Its group is the root of what it sees.
# shellcheck disable=SC2016 # $1 is for the inner shell
exec unshare --cgroup -- sh -c '
  mount -t cgroup2 cgroup "$1/sys/fs/cgroup"
  exec chroot "$1" env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=multi-user.target --show-status=no
' sh "$root"
