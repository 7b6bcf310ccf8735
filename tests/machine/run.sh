#!/bin/bash
# Builds the machine, boots it and runs every check in it, or the named ones: user libvirt remote realtime service isolated
# Usage: run.sh [CHECK…]     needs root. Not part of continuous integration: where ordinary kernels do not boot under KVM it takes up to two hours.
set -uo pipefail
here=$(dirname "$(realpath "$0")")
repository=$(git -C "$here" rev-parse --show-toplevel)
folder=${PINFOLD_MACHINE:-${XDG_CACHE_HOME:-$HOME/.cache}/pinfold-machine}
checks=${*:-user libvirt remote realtime service isolated}
status=0

vm() { "$here/vm.sh" "$folder" "$@"; }
inside() { echo "== $*"; vm run "bash checks/$*" || status=1; }
bring() { # this commit, and the checks as they are
    for to in /home/op/pinfold /opt/pinfold; do git -C "$repository" archive HEAD | vm run "sudo tar -x -C $to && sudo chown -R --reference=$to $to" || return; done
    vm run 'mkdir -p checks'
    for check in "$here"/checks/*; do vm put "$check" "checks/$(basename "$check")" || return; done
}

for program in debootstrap qemu-system-x86_64 qemu-img mke2fs ssh; do
    PATH=$PATH:/sbin:/usr/sbin command -v $program >/dev/null || { echo "machine: $program is missing" >&2; exit 1; }
done
"$here/build.sh" "$folder" || exit 1
trap 'vm drop' EXIT
vm drop
vm start || exit 1
bring || exit 1
vm run 'sudo modprobe kvm_amd 2>/dev/null || sudo modprobe kvm_intel 2>/dev/null; ls /dev/kvm' 2>/dev/null || echo "machine: no nested KVM"
for check in $checks; do
    case $check in
    service)
        inside service.sh set-up
        vm reboot && inside service.sh after-reboot
        ;;
    isolated)
        vm stop
        vm drop
        # Emulated AMD processors have KVM and no siblings, Intel's siblings and no KVM.
        if grep -q tcg "$folder/accelerator"; then export MACHINE_CPU=max,vendor=GenuineIntel; fi
        vm start 'isolcpus=4-5 nohz_full=4-5 rcu_nocbs=4-5' && bring && inside isolated.sh
        ;;
    *) inside "$check.sh" ;;
    esac
done
exit $status
