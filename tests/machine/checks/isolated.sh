#!/bin/bash
# Booted with isolcpus= and nohz_full= on pCPUs 4-5, then pCPUs taken offline below a running agent.
. "$(dirname "$0")/checks.sh"
root() { sudo env PATH="$PATH" COLUMNS=160 "$@"; }
rom=/var/lib/pinfold/images/idle.rom
sudo mkdir -p /etc/pinfold /var/lib/pinfold/images
root /opt/pinfold/.venv/bin/python -c "
from pathlib import Path
from pinfold.lab import rom
rom.write(Path('$rom'))"
configure() { # configure SHARED DEDICATED
    printf '[DEFAULT]\nreserved_host_memory_mb = 256\n[compute]\ncpu_shared_set = %s\ncpu_dedicated_set = %s\n' "$1" "$2" | sudo tee /etc/pinfold/pinfold.conf >/dev/null
}
share=(-p hw:cpu_policy=dedicated -p hw:emulator_threads_policy=share)
online() { echo "$2" | sudo tee "/sys/devices/system/cpu/cpu$1/online" >/dev/null; }

configure 0-1 2-7
says() { bash -c "sudo env PATH=$PATH pinfold doctor --json | tee /dev/stderr | grep -q '$1'"; }
expect "doctor says that the dedicated pool has isolated pCPUs" says 'cpu_dedicated_set has pCPUs 4-5, which the kernel isolates'
expect "doctor says where the tick interrupts" says 'the tick interrupts the vCPU on dedicated pCPUs 2-3,6-7'
expect "doctor says where callbacks interrupt" says 'RCU callbacks interrupt the vCPU on dedicated pCPUs 2-3,6-7'
configure 4-5 0-3,6-7
expect "doctor warns of a shared pool on isolated pCPUs" says 'cpu_shared_set has pCPUs 4-5, which the kernel isolates'
expect "doctor warns of a shared pool without a tick" says 'nohz_full names pCPUs 4-5 of the shared or overhead pool'
configure 0 2-7
if grep -q , /sys/devices/system/cpu/cpu0/topology/thread_siblings_list || grep -q - /sys/devices/system/cpu/cpu0/topology/thread_siblings_list; then
    configure 0 1-7
    expect "doctor warns of a dedicated pCPU whose sibling is shared" bash -c "sudo env PATH=$PATH pinfold doctor | tee /dev/stderr | grep -qi sibling"
    configure 0-1 2-7
    expect "thread policy isolate takes cores of their own" bash -c "
        sudo env PATH=$PATH pinfold guest start t1 --vcpus 2 --ram 32 -p hw:cpu_policy=dedicated -p hw:cpu_thread_policy=isolate --rom $rom &&
        sudo env PATH=$PATH pinfold host map"
    root pinfold guest stop t1 --remove >/dev/null
    expect "thread policy require takes siblings" bash -c "
        sudo env PATH=$PATH pinfold guest start t2 --vcpus 2 --ram 32 -p hw:cpu_policy=dedicated -p hw:cpu_thread_policy=require --rom $rom"
    root pinfold guest stop t2 --remove >/dev/null
fi

# ---- an agent, and pCPUs that go ----

configure 1 2-7
root sh -c 'pinfold up >/tmp/up.out 2>&1 & echo $! >/tmp/up.pid'
expect "pinfold up" soon 300 grep -q OS_CLIENT_CONFIG_FILE /tmp/up.out
cloud() { root env OS_CLIENT_CONFIG_FILE=/var/lib/pinfold/clouds.yaml OS_CLOUD=pinfold "$@"; }
expect "flavors" cloud sh -ec 'pinfold flavor create rt.share --vcpus 1 --ram 32 --disk 0 -p hw:cpu_policy=dedicated -p hw:emulator_threads_policy=share
    pinfold flavor create big --vcpus 6 --ram 32 --disk 0 -p hw:cpu_policy=dedicated'
expect "server create" cloud pinfold server create vm1 --flavor rt.share --image probe --wait
online 7 0
expect "pCPU 7 offline: the agent tells, and the pool shrinks" soon 60 bash -c "sudo env PATH=$PATH pinfold host map | tee /dev/stderr | grep -qi offline"
expect "six pinned vCPUs do not fit any more" bash -c "! $(declare -f root cloud); ! cloud pinfold server create big1 --flavor big --image probe --wait"
online 7 1
online 1 0
sleep 15
expect "the overhead pool is offline: share is refused, never floating" bash -c "$(declare -f root cloud); ! cloud pinfold server create vm2 --flavor rt.share --image probe --wait"
expect "and the refusal says why" bash -c "$(declare -f root cloud); cloud pinfold server show vm2 | tee /dev/stderr | grep -qi -e offline -e overhead"
online 1 1
expect "online again: it is taken again" soon 90 bash -c "$(declare -f root cloud); cloud pinfold server create vm3 --flavor rt.share --image probe --wait"
expect "the first guest is as recorded, or repaired" bash -c "sudo env PATH=$PATH pinfold audit || { sudo env PATH=$PATH pinfold repair && sudo env PATH=$PATH pinfold audit; }"
sudo kill "$(cat /tmp/up.pid)"
done_checking
