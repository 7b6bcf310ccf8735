#!/bin/bash
# Starts and ends the machine that build.sh made, and runs commands in it. What is checked there does not belong here.
# Usage: vm.sh FOLDER start [WORDS FOR THE KERNEL'S COMMAND LINE] | run COMMAND | put FILE PATH | reboot | stop | drop
#   start  boots it: KVM where that boots an ordinary kernel, else emulated; 8 pCPUs in 2 cells, 2 threads a core
#   run    runs a shell command there, as the user `op`
#   stop   shuts it down and keeps its disk's changes; `drop` throws them away
set -euo pipefail
folder=$(realpath "$1")
shift
memory_mib=${MACHINE_MEMORY_MIB:-6144}
overlay=$folder/overlay.qcow2
pid_file=$folder/qemu.pid
console=$folder/console.log

say() { echo "machine: $*" >&2; }
running() { [ -e "$pid_file" ] && kill -0 "$(cat "$pid_file")" 2>/dev/null; }

qemu() { # QEMU with the accelerator and CPU "$1", and further arguments
    local half=$((memory_mib / 2)) acceleration=$1
    shift
    # shellcheck disable=SC2086
    exec qemu-system-x86_64 $acceleration -display none -no-user-config -nodefaults -machine q35 -m "${memory_mib}M" \
        -smp 8,sockets=2,cores=2,threads=2 \
        -object "memory-backend-ram,id=m0,size=${half}M" -object "memory-backend-ram,id=m1,size=${half}M" \
        -numa node,nodeid=0,memdev=m0,cpus=0-3 -numa node,nodeid=1,memdev=m1,cpus=4-7 -numa dist,src=0,dst=1,val=20 \
        -kernel "$folder/vmlinuz" -initrd "$folder/initrd" "$@"
}

accelerator() { # what boots an ordinary kernel here; found out once
    local emulated="-accel tcg,thread=multi,tb-size=1024 -cpu max"
    if [ ! -e "$folder/accelerator" ]; then
        echo "$emulated" >"$folder/accelerator"
        if [ -w /dev/kvm ]; then
            say "trying whether KVM boots an ordinary kernel here"
            for cpu in host host,arch-capabilities=off; do
                qemu "-accel kvm -cpu $cpu" -no-reboot -serial "file:$folder/try.log" -append "console=ttyS0 panic=-1 root=/dev/none rootdelay=0" \
                    >/dev/null 2>&1 &
                local tried=$!
                for _ in $(seq 20); do
                    sleep 1
                    if grep -q 'Linux version' "$folder/try.log" 2>/dev/null; then
                        echo "-accel kvm -cpu $cpu" >"$folder/accelerator"
                        break
                    fi
                    kill -0 $tried 2>/dev/null || break
                done
                kill $tried 2>/dev/null || true
                wait $tried 2>/dev/null || true
                ! grep -q kvm "$folder/accelerator" || break
            done
        fi
    fi
    cat "$folder/accelerator"
}

remote() { # ssh with this machine's key, and nothing of the user's own
    ssh -F none -i "$folder/key" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=60 \
        -o ServerAliveInterval=20 -o ServerAliveCountMax=30 -p "$(cat "$folder/port")" op@127.0.0.1 "$@"
}

reachable() { # waits until the machine's boot is over
    local began=$SECONDS
    until remote 'systemctl is-system-running --wait >/dev/null; true' </dev/null 2>/dev/null; do
        running || { say "it has ended; see $console"; return 1; }
        [ $((SECONDS - began)) -lt 400 ] || { say "no answer in 400 s; see $console"; return 1; }
        sleep 2
    done
    say "up after $((SECONDS - began)) s ($(cut -d' ' -f2 "$folder/accelerator"))"
}

case $1 in
start)
    ! running || { say "it runs already"; exit 1; }
    [ -e "$overlay" ] || qemu-img create -q -f qcow2 -b disk.ext4 -F raw "$overlay"
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])' >"$folder/port"
    accelerator >/dev/null
    (qemu "$(accelerator) ${MACHINE_CPU:+-cpu $MACHINE_CPU}" -daemonize -pidfile "$pid_file" -serial "file:$console" \
        -drive "file=$overlay,if=virtio,format=qcow2,cache=unsafe,discard=unmap" -device virtio-rng-pci \
        -netdev "user,id=n0,hostfwd=tcp:127.0.0.1:$(cat "$folder/port")-:22" -device virtio-net-pci,netdev=n0 \
        -append "root=/dev/vda rw console=ttyS0 quiet panic=-1 ${2:-}")
    reachable
    ;;
run) remote "$2" ;;
put) remote "cat > '$3'" <"$2" ;;
reboot)
    boot=$(remote cat /proc/sys/kernel/random/boot_id)
    remote sudo systemctl reboot </dev/null || true
    until now=$(remote cat /proc/sys/kernel/random/boot_id </dev/null 2>/dev/null) && [ "$now" != "$boot" ]; do
        running || { say "it has ended instead of booting again"; exit 1; }
        sleep 2
    done
    reachable
    ;;
stop)
    running || exit 0
    pid=$(cat "$pid_file")
    remote sudo systemctl poweroff </dev/null 2>/dev/null || true
    for _ in $(seq 90); do
        kill -0 "$pid" 2>/dev/null || exit 0
        sleep 1
    done
    say "it does not shut down; ended"
    kill "$pid"
    ;;
drop)
    if running; then
        pid=$(cat "$pid_file")
        kill "$pid"
        while kill -0 "$pid" 2>/dev/null; do sleep 0.2; done
    fi
    rm -f "$overlay" "$pid_file"
    ;;
*) sed -n '3,6s/^# //p' "$0"; exit 2 ;;
esac
