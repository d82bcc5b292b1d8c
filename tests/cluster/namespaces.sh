#!/bin/sh
# Furnish the lab's network and mount namespaces.  Run once, inside them, by lab.py:
#   namespaces.sh STATE_DIR BRIDGE NODE_ADDRESS_WITH_PREFIX SERVICE_ADDRESS
# Everything made here belongs to these two namespaces and disappears with them.
set -eu
state=$1
bridge=$2
address=$3
service=$4
workshop=/run/lab # private, see below

# --- network: one bridge that is both the node's interface and the pods' gateway
ip link set lo up
ip link add "$bridge" type bridge
ip address add "$address" dev "$bridge"
ip link set "$bridge" up
# A bridge without a port has no carrier; one end of a veth pair gives it one.
ip link add carrier0 type veth peer name carrier1
ip link set carrier0 master "$bridge" up
ip link set carrier1 up
ip route add default via "${address%/*}" dev "$bridge"
# The API server's address for pods, by which it answers without anything that routes services.
ip address add "$service/32" dev lo
echo 1 > /proc/sys/net/ipv4/ip_forward

# --- /run: containerd, runc and the CNI plugins keep sockets and mounts below it
mount -t tmpfs -o mode=755 run /run
mkdir -p "$workshop/state" "$workshop/var-tmp" "$workshop/upper" "$workshop/work" "$workshop/dev"

# --- /etc and /usr: pods may write the node's files there, which must not be this machine's.
for path in etc usr; do
    mkdir -p "$workshop/$path-upper" "$workshop/$path-work"
    layers="lowerdir=/$path,upperdir=$workshop/$path-upper,workdir=$workshop/$path-work"
    mount -t overlay -o "$layers" "$path" "/$path"
done

# --- /var: /var/lib/kubelet and /var/itrustee need not exist on this machine and must not
# be left on it, so they are made in an overlay whose upper half is memory.  /var/tmp and
# the state directory stay the machine's own: the tests read and write them from outside.
mount --bind "$state" "$workshop/state"
mount --rbind /var/tmp "$workshop/var-tmp"
mount -t overlay -o "lowerdir=/var,upperdir=$workshop/upper,workdir=$workshop/work" var /var
mount --rbind "$workshop/var-tmp" /var/tmp
mkdir -p "$state"
mount --bind "$workshop/state" "$state"

mkdir -p /var/lib/kubelet
mount --bind "$state/kubelet" /var/lib/kubelet

mkdir -p /var/itrustee/teecd
echo "teecd of the lab" > /var/itrustee/teecd/marker

# --- /dev: a copy of this machine's, with what iTrustee's driver would add.  The two are
# /dev/null and /dev/zero by another name.
mount -t tmpfs -o mode=755 dev "$workshop/dev"
cp --archive --one-file-system /dev/. "$workshop/dev"
mknod --mode=600 "$workshop/dev/teelog" c 1 3
mknod --mode=600 "$workshop/dev/tc_ns_cvm" c 1 5
for directory in pts shm mqueue hugepages; do
    if mountpoint --quiet "/dev/$directory"; then
        mount --rbind "/dev/$directory" "$workshop/dev/$directory"
    fi
done
mount --rbind "$workshop/dev" /dev

# --- /proc/cgroups where control groups are of version 1: only controllers that are mounted. CRI-O
# takes each that is listed, and sets limits of it.
awk 'NR == 1 || $2 != 0' /proc/cgroups > "$workshop/cgroups"
if [ "$(wc -l < "$workshop/cgroups")" -gt 1 ]; then
    mount --bind "$workshop/cgroups" /proc/cgroups
fi

# Pods' volumes are mounted by the kubelet and must be seen by containerd and back.
mount --make-rshared /
