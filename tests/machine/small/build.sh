#!/bin/bash
# Makes the small machine's disk, kernel and initramfs: Debian 12 with libvirt, QEMU and Python, and an init of one shell script.
# Usage: build.sh FOLDER     needs root; what is already in FOLDER is kept. Everything comes through this machine's own apt.
# The files of pinfold are not in it: `share.sh` makes a disk of them for each run.
set -euo pipefail
folder=$(realpath -m "$1")
here=$(dirname "$(realpath "$0")")
suite=bookworm
PATH=$PATH:/usr/sbin:/sbin

packages=libvirt-daemon,libvirt-daemon-driver-qemu,libvirt-clients,qemu-system-x86,python3,python3-libvirt,kmod,procps,util-linux,iproute2,gcc,binutils
mkdir -p "$folder"
exec 9>"$folder/lock"
flock 9
recipe=$(cat "$0" "$here/init.sh" "$here/initramfs.sh" "$here/unpack_kernel.py" | sha256sum)
[ "$(cat "$folder/built" 2>/dev/null || true)" != "$recipe" ] || exit 0

for program in mke2fs wget ar apt-get; do
    command -v $program >/dev/null || { echo "small machine: $program is missing" >&2; exit 1; }
done
[ "$(id -u)" = 0 ] || { echo "small machine: building it needs root" >&2; exit 1; }
work=$(mktemp -d "$folder/build.XXXXXX")
trap 'rm -rf "$work"' EXIT

# ---- tools that are needed only here, unpacked and not installed ----

kernel=$(apt-cache depends linux-image-cloud-amd64 | awk '$1 == "Depends:" { print $2; exit }')
[ -n "$kernel" ] || { echo "small machine: apt knows no linux-image-cloud-amd64 here" >&2; exit 1; }
(cd "$work" && apt-get -q -o APT::Sandbox::User=root download "$kernel" busybox-static debootstrap lz4 >/dev/null)
for package in busybox-static debootstrap lz4; do dpkg-deb -x "$work/$package"_*.deb "$work/tools"; done
dpkg-deb -x "$work/$kernel"_*.deb "$work/kernel"
PATH=$work/tools/usr/bin:$work/tools/usr/sbin:$PATH
export DEBOOTSTRAP_DIR=$work/tools/usr/share/debootstrap

# ---- the system, kept between builds since it takes longest ----

rootfs=$folder/rootfs
if [ "$(cat "$folder/debootstrapped" 2>/dev/null || true)" != "$packages" ]; then
    mirror=$("$here/../../../bin/debian-mirror" $suite)
    rm -rf "$rootfs" "$folder/debootstrapped"
    debootstrap --variant=minbase --include="$packages" $suite "$rootfs" "$mirror"
    rm -rf "$rootfs"/var/cache/apt/archives/*.deb "$rootfs"/var/lib/apt/lists/* "$rootfs"/usr/share/{doc,man,locale}
    echo "$packages" >"$folder/debootstrapped"
fi

# ---- the kernel: unpacked, since the machine's emulated processors would take seconds for it ----

release=${kernel#linux-image-}
rm -rf "$rootfs/lib/modules"
mkdir -p "$rootfs/lib/modules"
cp -a "$work/kernel/lib/modules/$release" "$rootfs/lib/modules/"
chroot "$rootfs" depmod "$release"
"$here/unpack_kernel.py" "$work/kernel/boot/vmlinuz-$release" "$folder/vmlinux"
"$here/initramfs.sh" "$work" "$work/tools/bin/busybox" "$rootfs/lib/modules/$release" "$folder/initramfs"

# ---- the disk ----

install -m 755 "$here/init.sh" "$rootfs/sbin/small-init"
echo small >"$rootfs/etc/hostname"
printf '127.0.0.1 localhost small\n' >"$rootfs/etc/hosts"
mkdir -p "$rootfs/pinfold" "$rootfs/dev/hugepages" "$rootfs"/var/log/libvirt/qemu
# Debian makes these with libvirt-daemon-system, which brings systemd along.
for group in kvm libvirt libvirt-qemu; do chroot "$rootfs" groupadd --force --system $group; done
chroot "$rootfs" id libvirt-qemu >/dev/null 2>&1 || chroot "$rootfs" useradd --system --no-create-home --gid kvm libvirt-qemu
size=$(($(du -sm "$rootfs" | cut -f1) + 400))
rm -f "$folder/disk.ext4"
mke2fs -q -t ext4 -L small -d "$rootfs" "$folder/disk.part" "${size}M"
mv "$folder/disk.part" "$folder/disk.ext4"
echo "$recipe" >"$folder/built"
