#!/bin/sh
# The small machine's first process: mounts, cgroup v2, huge pages, libvirt; then the job of the second disk, and off.
# The second disk (/dev/vdb, read-only on /pinfold) holds pinfold, what it needs, and `job`. The third takes what `job` left in /out, as a tar.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=dumb
mount -o remount,rw /
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
mkdir -p /dev/pts /dev/shm /run/lock /run/libvirt /out
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
ip link set lo up
hostname small
echo "small: mounted at $(cut -d' ' -f1 /proc/uptime) s"

# Processes leave the root cgroup: only the root may have both processes and controllers for its children.
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir /sys/fs/cgroup/init
while read -r pid; do echo "$pid" >/sys/fs/cgroup/init/cgroup.procs; done </sys/fs/cgroup/cgroup.procs 2>/dev/null
for controller in cpu cpuset memory; do echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control; done

for node in /sys/devices/system/node/node[0-9]*; do echo "${SMALL_PAGES:-96}" >"$node/hugepages/hugepages-2048kB/nr_hugepages"; done
mkdir -p /dev/hugepages
mount -t hugetlbfs hugetlbfs /dev/hugepages
for module in virtio_console kvm kvm_amd kvm_intel tun vhost_net; do modprobe -q $module 2>/dev/null; done
[ ! -e /dev/kvm ] || { chgrp kvm /dev/kvm 2>/dev/null; chmod 660 /dev/kvm; }

mount -o ro /dev/vdb /pinfold
[ ! -e /dev/kvm ] || echo "small: KVM is there"
echo "small: ready at $(cut -d' ' -f1 /proc/uptime) s"
sh /pinfold/job
echo "small: the job ended with $? at $(cut -d' ' -f1 /proc/uptime) s"
tar -C /out -cf /dev/vdc .
sync
echo o >/proc/sysrq-trigger
sleep 60
