"""Read the masks of a guest's threads, from procfs or another witness."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

from msgspec.structs import replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.overhead import ObservedThread, ThreadClass
from pinfold.drivers.kvm import thread_class
from pinfold.drivers.port import Observation, Witness
from pinfold.linux import cgroup, procfs

PROCFS = "procfs"
Walks = dict[int, tuple[procfs.Thread, ...]]
"""What the last walk of each process found, by its id. A walk that finds the same again is stable, and needs no second one."""
UNVERIFIED = "hypervisor's word (unverified)"


@runtime_checkable
class ThreadMover(Protocol):
    """A witness that can also move threads, where the kernel cannot be asked to since it lacks the pCPUs."""

    def move(self, tid: int, cpus: CpuSet) -> None:
        """Let the thread run on those pCPUs alone. One that has ended is no error."""
        ...


def observation(
    pid: int,
    *,
    vcpus: Mapping[int, int],
    iothreads: Callable[[], Mapping[int, int | None]],
    witness: Witness | None = None,
    kernel: procfs.KernelThreads,
    walks: Walks | None = None,
    proc: Path = procfs.PROC,
) -> Observation:
    """All threads of process `pid` and the kernel's on its behalf, walked until stable and classified.

    `vcpus` maps thread ids to vCPUs, empty where libvirt did not tell; `iothreads` is asked only where no cgroup tells them.
    `walks` remembers what was found. A process that is gone has no threads. Raises `Unavailable` when procfs may not be read.
    """
    walk = procfs.settled_threads(pid, proc=proc, also=lambda: kernel.of(pid), before=None if walks is None else walks.get(pid))
    if walks is not None:
        walks[pid] = walk.threads
        if not walk.threads:
            del walks[pid]
    leaves = {thread.tid: leaf for thread in walk.threads if (leaf := cgroup.leaf(pid, thread.tid, proc=proc)) is not None}
    known = {} if leaves or not walk.threads else iothreads()
    found = tuple(
        _in_its_cgroup(thread, pid, leaves.get(thread.tid), proc)
        for thread in thread_class.classified(walk.threads, vcpus=vcpus, iothreads=known, leaves=leaves)
    )
    if witness is None:
        return Observation(threads=found, witness=PROCFS, stable=walk.stable)
    # Such a witness sees only what libvirt and QEMU ask for, so kernel threads are left out.
    seen = (thread for thread in found if thread.thread_class is not ThreadClass.KTHREAD or witness.allowed(thread.tid) is not None)
    return Observation(threads=tuple(_as_told(thread, pid, witness) for thread in seen), witness=witness.label, stable=walk.stable)


def _in_its_cgroup(thread: ObservedThread, pid: int, leaf: cgroup.Leaf | None, proc: Path) -> ObservedThread:
    """The thread, with `leave_for` set if it is in a cgroup of a vCPU or iothread that is not its own."""
    if leaf is None or leaf.kind == "emulator" or thread.thread_class in (ThreadClass.VCPU, ThreadClass.IOTHREAD):
        return thread
    return replace(thread, leave_for=cgroup.tasks_file(pid, proc=proc))


def _as_told(thread: ObservedThread, pid: int, witness: Witness) -> ObservedThread:
    """The thread with the mask from the witness. A thread that the witness does not know was never moved and has the main thread's mask."""
    told = witness.allowed(thread.tid)
    if told is None:
        told = witness.allowed(pid)
    return thread if told is None else replace(thread, allowed=told)
