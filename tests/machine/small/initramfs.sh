#!/bin/bash
# Makes the initramfs that mounts the small machine's disk: a static busybox and the drivers of virtio disks.
# Usage: initramfs.sh WORK BUSYBOX MODULES INITRAMFS
set -euo pipefail
work=$1 busybox=$2 modules=$3 initramfs=$4
root=$work/initramfs
mkdir -p "$root"/{bin,dev,proc,sys,new,modules}
cp "$busybox" "$root/bin/busybox"

# In the order in which they are loaded; virtio_ring stands before virtio, which uses it. What is built in is not there, and not missed.
names="virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk crc32c_generic crc16 mbcache jbd2 ext4"
for name in $names; do
    file=$(find "$modules" -name "$name.ko*" -print -quit)
    [ -z "$file" ] || { cp "$file" "$root/modules/"; echo "$(basename "$file")" >>"$root/modules/order"; }
done

cat >"$root/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
for module in $(/bin/busybox cat /modules/order); do /bin/busybox insmod "/modules/$module"; done
until [ -b /dev/vda ]; do /bin/busybox sleep 0.1; done
/bin/busybox mount -t ext4 /dev/vda /new
/bin/busybox mount --move /dev /new/dev
/bin/busybox umount /proc
exec /bin/busybox switch_root /new /sbin/small-init
INIT
chmod 755 "$root/init"
(cd "$root" && find . | "$busybox" cpio -o -H newc 2>/dev/null) | gzip -1 >"$initramfs"
