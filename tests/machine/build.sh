#!/bin/bash
# Makes the machine's disk: Debian 12 with systemd, a user `op` with sudo, and pinfold set up by `bin/setup` as that user would.
# Usage: build.sh FOLDER     needs root; what is already in FOLDER is kept, so a second run is quick. Booting it does not belong here.
# Packages come from where this machine's own apt and pip get them: sources, proxies and certificates are read when this runs.
set -euo pipefail
folder=$(realpath -m "$1")
repository=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)
suite=bookworm
rootfs=$folder/rootfs
image=$folder/disk.ext4
mkdir -p "$folder"

packages=systemd,systemd-sysv,dbus,libpam-systemd,udev,kmod,procps,psmisc,sudo,openssh-server,openssh-client,iproute2,git
packages+=,ca-certificates,python3,python3-venv,python3-dev,linux-image-amd64,initramfs-tools,zstd,apparmor,numactl,openssl,curl,less,util-linux-extra

sources() { # the lines of sources.list for this suite, from this machine's apt
    apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
        awk -v suite="$suite" '$2 == suite || index($2, suite "-") == 1 { print "deb", $1, $2, $3 }' | sort -u
}

# ---- the system ----

if [ ! -e "$folder/debootstrapped" ]; then
    rm -rf "$rootfs"
    mirror=$(sources | awk -v suite="$suite" '$3 == suite { print $2; exit }')
    [ -n "$mirror" ] || { echo "machine: apt knows no mirror of $suite on this machine" >&2; exit 1; }
    debootstrap --variant=minbase --include="$packages" "$suite" "$rootfs" "$mirror"
    touch "$folder/debootstrapped"
fi

# The mounts below end with the namespace of mounts that this shell goes on in.
[ "${PINFOLD_MACHINE_NAMESPACE:-}" ] || exec unshare --mount --propagation private env PINFOLD_MACHINE_NAMESPACE=1 "$0" "$folder"
mount --bind "$rootfs" "$rootfs"
mount -t proc proc "$rootfs/proc"
mount -t tmpfs tmpfs "$rootfs/run"
mkdir -m 1777 "$rootfs/run/pip"
mount --bind /dev "$rootfs/dev"

inside() { chroot "$rootfs" env -u PIP_FIND_LINKS -u PINFOLD_MACHINE_NAMESPACE PIP_CACHE_DIR=/run/pip PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"; }

if [ ! -e "$folder/configured" ]; then
    sources >"$rootfs/etc/apt/sources.list"
    apt-config dump | grep -E '^Acquire::(https?::Proxy|Check-)' >"$rootfs/etc/apt/apt.conf.d/90machine" || true
    echo pinfold-machine >"$rootfs/etc/hostname"
    printf '127.0.0.1 localhost\n127.0.1.1 pinfold-machine api.example db.example\n::1 localhost\n' >"$rootfs/etc/hosts"
    echo '/dev/vda / ext4 errors=remount-ro 0 1' >"$rootfs/etc/fstab"
    printf '[Match]\nName=en* eth*\n[Network]\nDHCP=yes\n' >"$rootfs/etc/systemd/network/machine.network"
    inside systemctl enable systemd-networkd serial-getty@ttyS0 ssh >/dev/null 2>&1
    inside useradd --create-home --shell /bin/bash op
    echo 'op ALL=(ALL) NOPASSWD: ALL' >"$rootfs/etc/sudoers.d/op"
    [ -e "$folder/key" ] || ssh-keygen -q -t ed25519 -N '' -f "$folder/key"
    install -d -m 700 "$rootfs/home/op/.ssh"
    install -m 600 "$folder/key.pub" "$rootfs/home/op/.ssh/authorized_keys"
    inside chown -R op:op /home/op/.ssh
    touch "$folder/configured"
fi

# ---- pinfold, as its user sets it up ----

if [ "$(cat "$folder/set-up" 2>/dev/null)" != "$(sha256sum <"$repository/requirements-dev.lock")" ]; then
    cp /etc/resolv.conf "$rootfs/etc/resolv.conf"
    cp /etc/ssl/certs/ca-certificates.crt "$rootfs/etc/ssl/certs/ca-certificates.crt"
    rm -rf "$rootfs/home/op/pinfold"
    git clone -q --no-hardlinks "$repository" "$rootfs/home/op/pinfold"
    inside chown -R op:op /home/op/pinfold
    inside sudo -u op --preserve-env env HOME=/home/op sh -c 'cd ~/pinfold && bin/setup --tests'
    rm -rf "$rootfs/opt/pinfold"
    git clone -q --no-hardlinks "$repository" "$rootfs/opt/pinfold"
    inside /opt/pinfold/bin/setup --service
    inside apt-get clean
    sha256sum <"$repository/requirements-dev.lock" >"$folder/set-up"
    rm -f "$image"
fi

# ---- what qemu takes ----

cp -L "$rootfs/vmlinuz" "$folder/vmlinuz"
cp -L "$rootfs/initrd.img" "$folder/initrd"
if [ ! -e "$image" ]; then
    umount "$rootfs/proc" "$rootfs/run" "$rootfs/dev"
    truncate -s 10G "$image.part"
    mke2fs -q -t ext4 -L machine -d "$rootfs" "$image.part"
    mv "$image.part" "$image"
fi
