#!/bin/bash
# The first process of a Debian root: an overlay over $1, whose changes go to the folder $2, with /proc, /dev and cgroups, and then "$3…" in it.
# Run by `debian_root.py` in namespaces of its own, network included. What is kept from harm: /proc/sys and /sys are read-only.
set -e
base=$1 changes=$2
shift 2
root=$changes/root
mkdir -p "$changes/upper" "$changes/work" "$root"
mount -t overlay overlay -o "lowerdir=$base,upperdir=$changes/upper,workdir=$changes/work" "$root"
cd "$root"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs sysfs sys
if mount | grep -q '^cgroup2 on /sys/fs/cgroup '; then
    mount -t cgroup2 cgroup2 sys/fs/cgroup
else
    mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
    mkdir sys/fs/cgroup/systemd
    mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
fi
mount -o remount,bind,ro sys
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
# Nodes of its own, not those of this machine: systemd changes owner and mode of the console, whatever that is.
for device in null zero full random urandom tty kvm; do
    [ ! -e /dev/$device ] || cp -a /dev/$device dev/$device
done
chmod 666 dev/null dev/zero dev/full dev/tty
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs tmpfs dev/shm
mknod -m 600 dev/console c 1 3
ip link set lo up
export PATH=/usr/sbin:/usr/bin:/sbin:/bin container=pinfold-test
exec chroot . "$@"
