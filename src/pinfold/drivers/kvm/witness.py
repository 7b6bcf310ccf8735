"""Read the masks of a guest's threads, from procfs or another witness."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

from msgspec import Struct
from msgspec.structs import replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.overhead import ObservedThread, ThreadClass
from pinfold.drivers.driver_kind import Witness
from pinfold.drivers.kvm import thread_class
from pinfold.drivers.port import Observation
from pinfold.linux import cgroup, procfs

PROCFS = "procfs"
UNVERIFIED = "hypervisor's word (unverified)"


@runtime_checkable
class ThreadMover(Protocol):
    """A witness that can also move threads, where the kernel cannot be asked to since it lacks the pCPUs."""

    def move(self, tid: int, cpus: CpuSet) -> None:
        """Let the thread run on those pCPUs alone. One that has ended is no error."""
        ...


class Seen(Struct, frozen=True, kw_only=True):
    """What an observation of a process was made of: if all is the same again, so is the observation.

    `paths` are the threads' cgroups, `masks` what another witness than procfs told about each thread.
    """

    walk: procfs.Walk
    paths: tuple[str, ...]
    vcpus: Mapping[int, int]
    iothreads: Mapping[int, int | None]
    masks: Mapping[int, CpuSet | None] = {}


Walks = dict[int, tuple[Seen, Observation]]
"""The last observation of each process, by its id. A walk that finds the same threads again is stable, and needs no second one."""


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
    `walks` remembers what was seen. A process that is gone has no threads. Raises `Unavailable` when procfs may not be read.
    """
    last, before = (None, None) if walks is None else walks.get(pid, (None, None))
    walk = procfs.settled_threads(pid, proc=proc, also=lambda: kernel.of(pid), before=None if last is None else last.walk.threads)
    tids = [thread.tid for thread in walk.threads]
    paths = cgroup.paths(pid, tids, proc=proc)
    known = {} if not tids or any(map(cgroup.leaf_of_path, paths)) else iothreads()
    masks = {} if witness is None else {tid: witness.allowed(tid) for tid in {*tids, pid}}
    seen = Seen(walk=walk, paths=paths, vcpus=vcpus, iothreads=known, masks=masks)
    made = before if before is not None and seen == last else _observation(pid, seen, witness, proc)
    if walks is not None:
        walks[pid] = seen, made
        if not tids:
            del walks[pid]
    return made


def _observation(pid: int, seen: Seen, witness: Witness | None, proc: Path) -> Observation:
    threads, stable = seen.walk.threads, seen.walk.stable
    leaves = {thread.tid: leaf for thread, path in zip(threads, seen.paths, strict=True) if (leaf := cgroup.leaf_of_path(path)) is not None}
    found = tuple(
        _in_its_cgroup(thread, pid, leaves.get(thread.tid), proc)
        for thread in thread_class.classified(threads, vcpus=seen.vcpus, iothreads=seen.iothreads, leaves=leaves)
    )
    if witness is None:
        return Observation(threads=found, witness=PROCFS, stable=stable)
    # Such a witness sees only what libvirt and QEMU ask for, so kernel threads are left out.
    told = tuple(
        _as_told(thread, seen.masks[thread.tid], seen.masks[pid])
        for thread in found
        if thread.thread_class is not ThreadClass.KTHREAD or seen.masks[thread.tid] is not None
    )
    return Observation(threads=told, witness=witness.label, stable=stable)


def _in_its_cgroup(thread: ObservedThread, pid: int, leaf: cgroup.Leaf | None, proc: Path) -> ObservedThread:
    """The thread, with `leave_for` set if it is in a cgroup of a vCPU or iothread that is not its own."""
    if leaf is None or leaf.kind == "emulator" or thread.thread_class in (ThreadClass.VCPU, ThreadClass.IOTHREAD):
        return thread
    return replace(thread, leave_for=cgroup.tasks_file(pid, proc=proc))


def _as_told(thread: ObservedThread, told: CpuSet | None, main: CpuSet | None) -> ObservedThread:
    """The thread with the mask from the witness. A thread that the witness does not know was never moved and has the main thread's mask."""
    mask = main if told is None else told
    return thread if mask is None else replace(thread, allowed=mask)
