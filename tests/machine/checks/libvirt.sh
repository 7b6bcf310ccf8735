#!/bin/bash
# The machine's own libvirtd, not a lab's: guests started and proved, with cgroup v2, systemd's slices and AppArmor as Debian has them.
. "$(dirname "$0")/checks.sh"

sudo mkdir -p /etc/pinfold
sudo tee /etc/pinfold/pinfold.conf >/dev/null <<'C'
[DEFAULT]
reserved_host_memory_mb = 256
[compute]
cpu_shared_set = 0-1
cpu_dedicated_set = 2-7
C
sudo tee /etc/pinfold/flavors.toml >/dev/null <<'C'
[flavors.share]
vcpus = 2
ram = 32
[flavors.share.properties]
"hw:cpu_policy" = "dedicated"
"hw:emulator_threads_policy" = "share"
C
root() { sudo env PATH="$PATH" COLUMNS=160 "$@"; }
rom=/var/lib/pinfold/images/idle.rom
root mkdir -p /var/lib/pinfold/images
root /opt/pinfold/.venv/bin/python -c "
from pathlib import Path
from pinfold.lab import rom
rom.write(Path('$rom'))"

expect "libvirtd is there" soon 60 sudo virsh -c qemu:///system list
expect "AppArmor is active" sudo aa-enabled
expect "and libvirt uses it" bash -c "sudo virsh -c qemu:///system capabilities | grep -q '<model>apparmor</model>'"
expect "doctor tells a user whom libvirt lets in" bash -c 'pinfold doctor | tee /dev/stderr | grep -q "group libvirt"'
expect "doctor finds nothing bad as root" root pinfold doctor
expect "host map shows two cells" bash -c 'sudo env PATH="$PATH" pinfold host map | grep -q "cell 1"'
expect "guest start share" root pinfold guest start s1 --flavor share --rom $rom
expect "guest start isolate" root pinfold guest start i1 --vcpus 1 --ram 32 -p hw:cpu_policy=dedicated -p hw:emulator_threads_policy=isolate --rom $rom
expect "guest start floating" root pinfold guest start f1 --vcpus 1 --ram 32 --rom $rom
expect "guest show s1 proves every thread" root pinfold guest show s1
expect "audit finds nothing" root pinfold audit
expect "guests live in machine.slice" bash -c 'grep -q "^0::/machine.slice/machine-qemu" /proc/$(pgrep -f "guest=s1" | head -1)/cgroup'
expect "QEMU is confined by AppArmor" bash -c 'sudo cat /proc/$(pgrep -f "guest=s1" | head -1)/attr/current | grep -q "libvirt-.*enforce"'
expect "a guest with a disk" bash -c "
    sudo qemu-img create -q -f qcow2 /var/lib/pinfold/images/small.qcow2 16M &&
    sudo env PATH=$PATH pinfold guest start d1 --flavor share --image small --iothreads 1"
expect "libvirtd's restart leaves them as recorded" bash -c "sudo systemctl restart libvirtd && sudo env PATH=$PATH pinfold audit"
expect "virsh emulatorpin is drift" bash -c "sudo virsh -c qemu:///system emulatorpin s1 3 --live >/dev/null; ! sudo env PATH=$PATH pinfold audit >/tmp/audit.out"
expect "and repair repairs it" bash -c "sudo env PATH=$PATH pinfold repair && sudo env PATH=$PATH pinfold audit"
for guest in s1 i1 f1 d1; do
    expect "guest stop $guest --remove" root pinfold guest stop $guest --remove
done
expect "no domain and no scope remains" bash -c '! sudo virsh -c qemu:///system list --all --name | grep -q . && ! ls /sys/fs/cgroup/machine.slice 2>/dev/null | grep -q machine-qemu'

# ---- pinfold up on this host ----

root sh -c 'pinfold up >/tmp/up.out 2>&1 & echo $! >/tmp/up.pid'
expect "pinfold up" soon 180 grep -q OS_CLIENT_CONFIG_FILE /tmp/up.out
cloud() { root env OS_CLIENT_CONFIG_FILE=/var/lib/pinfold/clouds.yaml OS_CLOUD=pinfold "$@"; }
expect "flavor create" cloud pinfold flavor create rt.share --vcpus 2 --ram 32 --disk 0 -p hw:cpu_policy=dedicated -p hw:emulator_threads_policy=share
expect "server create" cloud pinfold server create vm1 --flavor rt.share --image probe --wait
expect "server show" cloud pinfold server show vm1
expect "server delete" cloud pinfold server delete vm1 --wait
sudo kill "$(cat /tmp/up.pid)"
expect "up ends when told to" soon 60 refuted sudo kill -0 "$(cat /tmp/up.pid)"
done_checking
