"""The class of each thread, and what its name tells."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.overhead import ThreadClass
from pinfold.drivers.kvm.thread_class import classified, of_class
from pinfold.linux.cgroup import Leaf
from pinfold.linux.procfs import Thread


def thread(tid: int, comm: str, **more: bool) -> Thread:
    return replace(Thread(tid=tid, comm=comm, allowed=CpuSet.of(0)), **more)  # type: ignore[arg-type]


VCPU, EMULATOR, IOTHREAD = (ThreadClass.VCPU, 0), (ThreadClass.EMULATOR, None), (ThreadClass.IOTHREAD, None)
CONTEXT = (ThreadClass.THREAD_CONTEXT, None)


@pytest.mark.parametrize(
    ("seen", "vcpus", "iothreads", "leaf", "expected"),
    [
        (thread(5, "CPU 0/KVM"), {5: 0}, {}, None, VCPU),
        (thread(5, "qemu-system-x86"), {5: 0}, {}, Leaf(kind="emulator"), VCPU),
        (thread(5, "qemu-system-x86"), {}, {}, Leaf(kind="vcpu", index=0), VCPU),
        (thread(5, "CPU 0/TCG"), {}, {}, None, VCPU),
        (thread(5, "CPU 0/KVM"), {}, {}, Leaf(kind="emulator"), EMULATOR),
        (thread(5, "CPU 0/KVM"), {6: 0}, {}, None, EMULATOR),
        (thread(5, "worker"), {6: 0}, {}, Leaf(kind="vcpu", index=0), EMULATOR),
        (thread(5, "qemu-system-x86"), {}, {5: 1}, None, IOTHREAD),
        (thread(5, "IO iothread1"), {}, {}, Leaf(kind="iothread", index=1), IOTHREAD),
        (thread(5, "IO iothread1"), {}, {}, None, IOTHREAD),
        (thread(5, "IO iothread1"), {}, {7: 1}, None, EMULATOR),
        (thread(5, "IO iothread1"), {}, {}, Leaf(kind="emulator"), EMULATOR),
        (thread(5, "IO mon_iothread"), {}, {}, None, EMULATOR),
        (thread(5, "call_rcu"), {}, {}, None, EMULATOR),
        (thread(5, "iou-wrk-4", in_kernel=True, io_worker=True), {}, {}, Leaf(kind="emulator"), EMULATOR),
        (thread(5, "vhost-4", in_kernel=True), {}, {}, None, (ThreadClass.VHOST, None)),
        (thread(5, "vhost-4"), {}, {}, None, EMULATOR),
        (thread(5, "kvm-nx-lpage-re", in_kernel=True), {}, {}, Leaf(kind="vcpu", index=0), (ThreadClass.KTHREAD, None)),
        (thread(5, "kvm-pit/4", in_kernel=True), {}, {}, None, (ThreadClass.KTHREAD, None)),
        (thread(5, "TC tc-ram-node1"), {6: 0}, {}, Leaf(kind="emulator"), CONTEXT),
        (thread(5, "TC tc-pc.ram"), {6: 0}, {7: 1}, None, CONTEXT),
        (thread(5, "TC tc-ram-node0"), {6: 0}, {}, Leaf(kind="vcpu", index=0), EMULATOR),
        (thread(5, "TC tc-ram-node0"), {5: 0}, {}, None, VCPU),
    ],
    ids=[
        "status file",
        "status file over name and leaf",
        "leaf",
        "name as the last resort",
        "leaf over name",
        "not the vCPU that the status file names",
        "a stranger in a vCPU's leaf",
        "iothread by QEMU's word",
        "iothread by leaf",
        "iothread by name",
        "a name that QEMU's word denies",
        "a name that the leaf denies",
        "the monitor's iothread",
        "rcu",
        "io_uring worker",
        "vhost",
        "a thread that calls itself vhost",
        "nx recovery",
        "pit",
        "thread context in the emulator's leaf",
        "thread context of a guest without cells",
        "a thread in a vCPU's leaf that calls itself a thread context",
        "a vCPU that calls itself a thread context",
    ],
)
def test_a_thread_is_classified_by_id_before_name(
    seen: Thread, vcpus: dict[int, int], iothreads: dict[int, int], leaf: Leaf | None, expected: tuple[ThreadClass, int | None]
) -> None:
    (found,) = classified([seen], vcpus=vcpus, iothreads=iothreads, leaves={} if leaf is None else {5: leaf})
    assert (found.thread_class, found.vcpu) == expected


@pytest.mark.parametrize(
    ("name", "kind", "iothread", "serves", "guest_cell"),
    [
        ("IO iothread12", ThreadClass.IOTHREAD, 12, None, None),
        ("IO iothread1234", ThreadClass.IOTHREAD, None, None, None),
        ("IO io0", ThreadClass.IOTHREAD, None, None, None),
        ("kvm-pit/4", ThreadClass.KTHREAD, None, 0, None),
        ("kvm-nx-lpage-re", ThreadClass.KTHREAD, None, None, None),
        ("TC tc-ram-node1", ThreadClass.THREAD_CONTEXT, None, None, 1),
        ("TC tc-pc.ram", ThreadClass.THREAD_CONTEXT, None, None, None),
        ("TC tc-ram-node1", ThreadClass.EMULATOR, None, None, None),
    ],
)
def test_a_name_tells_number_vcpu_or_guest_cell(
    name: str, kind: ThreadClass, iothread: int | None, serves: int | None, guest_cell: int | None
) -> None:
    found = of_class(thread(5, name), kind)
    assert (found.iothread, found.serves, found.guest_cell) == (iothread, serves, guest_cell)
