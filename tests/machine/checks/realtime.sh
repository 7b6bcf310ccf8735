#!/bin/bash
# Realtime vCPUs, locked memory, huge pages, strict memory on the machine's cells, and vhost's kernel threads: in procfs, not in XML.
. "$(dirname "$0")/checks.sh"
root() { sudo env PATH="$PATH" COLUMNS=160 "$@"; }
rom=/var/lib/pinfold/images/idle.rom
share=(-p hw:cpu_policy=dedicated -p hw:emulator_threads_policy=share)
qemu() { pgrep -f "guest=$1," | head -n 1; }
vcpus() { for task in /proc/"$(qemu "$1")"/task/*; do grep -q '^CPU ' "$task/comm" && basename "$task"; done; }
locked_kib() { awk '$1 == "VmLck:" { print $2 }' "/proc/$(qemu "$1")/status"; }
huge_kib_on() { # of guest $1, on cell $2
    sudo cat "/proc/$(qemu "$1")/numa_maps" | awk -v cell="N$2=" '/kernelpagesize_kB=2048/ { for (i = 1; i <= NF; i++) if (index($i, cell) == 1) sum += substr($i, 4) * 2048 } END { print sum + 0 }'
}
kinds=qemu
[ ! -e /dev/kvm ] || kinds="qemu kvm"

# ---- huge pages: made before libvirtd starts, half of them on each cell ----

for cell in 0 1; do echo 64 | sudo tee /sys/devices/system/node/node$cell/hugepages/hugepages-2048kB/nr_hugepages >/dev/null; done
sudo systemctl restart libvirtd

# Debian 12's profile keeps QEMU from a file that huge pages on chosen cells need; the page says what to do about it.
start_huge() { root pinfold guest start aa --vcpus 1 --ram 32 "${share[@]}" -p hw:mem_page_size=2048 --rom $rom; }
if ! grep -qs cpumap /etc/apparmor.d/local/abstractions/libvirt-qemu; then
    expect "huge pages under the profile as it is: the refusal names the remedy" bash -c "$(declare -f root start_huge); share=(${share[*]}) rom=$rom; start_huge 2>&1 | tee /dev/stderr | grep -q local/abstractions/libvirt-qemu"
    expect "the remedy" sudo bash -ec "$(block 'AppArmor keeps QEMU')"
fi

for kind in $kinds; do
    echo "-- $kind"
    expect "a realtime guest starts" root pinfold guest start rt --vcpus 3 --ram 64 "${share[@]}" -p hw:cpu_realtime=yes -p hw:cpu_realtime_mask=^0 \
        -p hw:locked_memory=true -p hw:mem_page_size=2048 --rom $rom --virt-type $kind
    expect "vCPUs 1 and 2 are SCHED_FIFO, vCPU 0 is not" bash -c "
        $(declare -f qemu vcpus); for tid in \$(vcpus rt); do echo \$(cat /proc/\$tid/comm) \$(chrt -p \$tid | head -n 1); done | tee /dev/stderr | sort |
        awk '{ print \$2, \$NF }' | tr '\n' ';' | grep -q '^0/.* SCHED_OTHER;1/.* SCHED_FIFO;2/.* SCHED_FIFO;'"
    expect "no other thread of it is" bash -c "
        $(declare -f qemu); for task in /proc/\$(qemu rt)/task/*; do grep -q '^CPU ' \$task/comm || chrt -p \$(basename \$task); done | tee /dev/stderr | grep -c FIFO | grep -qx 0"
    expect "its memory is locked" bash -c "$(declare -f qemu locked_kib); test \$(locked_kib rt) -ge 65536 || { locked_kib rt; false; }"
    expect "guest show proves it" root pinfold guest show rt
    expect "audit finds nothing" root pinfold audit
    expect "guest stop" root pinfold guest stop rt --remove

    expect "a guest on huge pages of two cells starts" root pinfold guest start hp --vcpus 2 --ram 64 "${share[@]}" -p hw:numa_nodes=2 -p hw:mem_page_size=2048 \
        -p hw:locked_memory=true --rom $rom --virt-type $kind
    for cell in 0 1; do
        expect "32 MiB of it are huge pages on cell $cell" bash -c "$(declare -f qemu huge_kib_on); test \$(huge_kib_on hp $cell) = 32768 || { huge_kib_on hp $cell; sudo grep huge /proc/\$(qemu hp)/numa_maps; false; }"
    done
    expect "host map counts them" bash -c "sudo env PATH=$PATH pinfold host map"
    expect "guest stop" root pinfold guest stop hp --remove
    expect "more huge pages than there are: refused with the count" bash -c "
        sudo env PATH=$PATH pinfold guest start no --vcpus 1 --ram 512 -p hw:cpu_policy=dedicated -p hw:mem_page_size=2048 --rom $rom --virt-type $kind | tee /dev/stderr | grep -q 'page'"

    expect "a guest on small pages of cell 1 alone starts" root pinfold guest start sm --vcpus 4 --ram 64 -p hw:cpu_policy=dedicated -p hw:mem_page_size=small -p hw:locked_memory=true \
        --rom $rom --virt-type $kind
    expect "none of its guest memory is on cell 0" bash -c "
        $(declare -f qemu); sudo cat /proc/\$(qemu sm)/numa_maps | grep -E 'bind:1' | tee /dev/stderr | grep -c ' N0=' | grep -qx 0"
    expect "and its memory is on cell 1" bash -c "$(declare -f qemu); sudo cat /proc/\$(qemu sm)/numa_maps | grep -E 'bind:1.* N1=[0-9]{4,}' "
    expect "guest stop" root pinfold guest stop sm --remove
done
for cell in 0 1; do echo 0 | sudo tee /sys/devices/system/node/node$cell/hugepages/hugepages-2048kB/nr_hugepages >/dev/null; done
sudo systemctl restart libvirtd

# ---- vhost: kernel threads named vhost-PID before Linux 6.4 ----

if [ -e /dev/kvm ]; then
    sudo modprobe vhost_net
    cat >/tmp/net.xml <<X
<domain type='kvm'>
  <name>template</name><memory unit='MiB'>32</memory><vcpu>2</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type><loader readonly='yes' type='rom'>$rom</loader></os><features><acpi/><apic/></features>
  <devices>
    <interface type='ethernet'><model type='virtio'/><driver name='vhost'/></interface><memballoon model='none'/>
  </devices>
</domain>
X
    expect "a guest with a network starts" root pinfold guest start net --flavor share --template /tmp/net.xml
    expect "it has a vhost thread of the kernel's" bash -c "$(declare -f qemu); pgrep -x vhost-\$(qemu net)"
    expect "which may run on the overhead pool alone" bash -c "
        $(declare -f qemu); grep Cpus_allowed_list /proc/\$(pgrep -x vhost-\$(qemu net))/status | tee /dev/stderr | grep -qw '0-1'"
    expect "guest show calls it vhost, as recorded" bash -c "sudo env PATH=$PATH pinfold guest show net | tee /dev/stderr | grep -E '^ *vhost .*✓'"
    expect "guest stop" root pinfold guest stop net --remove
    expect "an isolate guest with a network starts" root pinfold guest start net2 --vcpus 1 --ram 32 -p hw:cpu_policy=dedicated -p hw:emulator_threads_policy=isolate \
        --template /tmp/net.xml
    expect "and shows its vhost thread where it belongs" bash -c "sudo env PATH=$PATH pinfold guest show net2 | tee /dev/stderr | grep -E '^ *vhost .*✓'"
    expect "a virsh emulatorpin that moves vhost is drift, and repaired" bash -c "
        sudo virsh -q emulatorpin net2 0 --live; sudo env PATH=$PATH pinfold audit | tee /dev/stderr | grep -q vhost; sudo env PATH=$PATH pinfold repair && sudo env PATH=$PATH pinfold audit"
    expect "guest stop" root pinfold guest stop net2 --remove
fi
done_checking
