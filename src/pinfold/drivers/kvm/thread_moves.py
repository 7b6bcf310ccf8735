"""Move single threads that libvirt does not move: those that do not follow a live pin, and KVM's own.

Without a cpuset cgroup, libvirt's live `pinEmulator` moves only the main thread. `kvm-nx-lpage-recovery` inherits vCPU 0's pCPU and
cgroup, and now and then a QEMU worker does too. `kvm-pit` starts on any pCPU.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import ExpectedMasks, InferredMasks, expected
from pinfold.core.errors import InvalidRequest, Unavailable
from pinfold.core.overhead import Masks, ObservedThread, ThreadClass
from pinfold.drivers.kvm import deadline
from pinfold.drivers.kvm.witness import ThreadMover
from pinfold.drivers.port import Observation
from pinfold.linux import cgroup, procfs

_ROUNDS: Final = 8
_LATE_SECONDS: Final = 0.1


def named_cpus(masks: ExpectedMasks) -> CpuSet:
    """Every pCPU that `masks` names."""
    return CpuSet.union((masks.overhead, *masks.vcpus, *(cpus for _, cpus in _own_iothreads(masks))))


def _own_iothreads(masks: ExpectedMasks) -> tuple[tuple[int, CpuSet], ...]:
    return masks.iothreads if isinstance(masks, InferredMasks) else ()


def refuse_absent(masks: ExpectedMasks, online: CpuSet) -> None:
    """Raises `InvalidRequest` if `masks` names a pCPU that is not `online`. libvirt would drop it from a mask without an error."""
    absent = named_cpus(masks) - online
    if absent:
        raise InvalidRequest(f"pCPU {absent} is not online on this host", key="pins")


def online_part(masks: ExpectedMasks, online: CpuSet) -> ExpectedMasks:
    """Where the threads can run now: `masks` without the pCPUs that are not `online`. Threads with an empty set are left, here too.

    Raises `InvalidRequest` if all pCPUs of a set are not online.
    """
    iothreads = _own_iothreads(masks)
    absent = CpuSet.union(cpus for cpus in (masks.overhead, *masks.vcpus, *(own for _, own in iothreads)) if not cpus & online)
    if absent:
        raise InvalidRequest(f"pCPU {absent} is not online on this host", key="pins")
    vcpus, overhead = tuple(cpus & online for cpus in masks.vcpus), masks.overhead & online
    if isinstance(masks, InferredMasks):
        own = tuple((number, cpus & online) for number, cpus in iothreads)
        return replace(masks, vcpus=vcpus, overhead=overhead, iothreads=own)
    return Masks(vcpus=vcpus, overhead=overhead, realtime=masks.realtime)


def refuse_misplaced(guest: str, left: tuple[ObservedThread, ...], masks: ExpectedMasks) -> None:
    """Raises `Unavailable` that names the first of the threads that are `left` elsewhere after a pin of the guest; none is no error."""
    if not left:
        return
    thread = left[0]
    raise Unavailable(
        f"thread {thread.tid} ({thread.name}) of guest {guest} may run on {thread.allowed} after the pin, "
        f"{expected(masks, thread)} was asked"
    )


def misplaced(observation: Observation, masks: ExpectedMasks) -> tuple[ObservedThread, ...]:
    """The threads whose mask differs from `masks`, in the order of the observation."""
    return tuple(thread for thread in observation.threads if (want := expected(masks, thread)) is not None and thread.allowed != want)


Move = Callable[[ObservedThread, CpuSet], None]


def place(
    observe: Callable[[], Observation], masks: ExpectedMasks, move: Move | None, *, kernel_only: bool = False
) -> tuple[ObservedThread, ...]:
    """Move misplaced threads, and return those that are still misplaced, except kernel threads.

    With `kernel_only` only kernel threads are moved, once. Without `move` nothing is moved. New threads inherit the main thread's mask,
    so a few rounds suffice. Raises `Unavailable` if a thread cannot be moved.
    """
    left = misplaced(observe(), masks)
    for _ in range(1 if kernel_only else _ROUNDS):
        if not left or move is None:
            break
        for thread in left:
            if thread.thread_class is ThreadClass.KTHREAD or not kernel_only:
                move(thread, expected(masks, thread) or masks.overhead)
        if kernel_only:
            break
        left = misplaced(observe(), masks)
    return tuple(thread for thread in left if thread.thread_class is not ThreadClass.KTHREAD)


def late_kernel_thread(pid: int) -> bool:
    """Whether `kvm-nx-lpage-recovery` exists. Newer kernels create it when vCPU 0 first runs, as a thread of the process.

    Waits for it for a tenth of a second, because it inherits that vCPU's place and must be moved at once.
    """

    def made() -> bool:
        return any(thread.in_kernel and thread.comm.startswith("kvm-nx-lpage") for thread in procfs.threads(pid))

    # Emulated guests never have it. The names of their vCPU threads are good enough evidence to skip the wait.
    emulated = any(thread.comm.endswith("/TCG") for thread in procfs.threads(pid))
    return not emulated and deadline.until(made, _LATE_SECONDS)


def by_kernel(pid: int, thread: ObservedThread, cpus: CpuSet) -> None:
    """Restrict a thread of process `pid`, or a kernel thread that serves it, to `cpus`.

    A thread that has ended is no error. A kernel thread that cannot be moved is no error either, because the next observation reports it.
    Raises `Unavailable` if the kernel refuses to move any other thread.
    """
    if thread.thread_class is not ThreadClass.VCPU:
        _leave_vcpu_cgroup(pid, thread.tid)
    try:
        if thread.thread_class is ThreadClass.KTHREAD and thread.scheduler != "other":
            # It inherited the policy of a realtime vCPU and would starve the other threads in its new place.
            os.sched_setscheduler(thread.tid, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(thread.tid, cpus)
    except ProcessLookupError:
        return
    except OSError as error:
        if thread.thread_class is ThreadClass.KTHREAD:
            return
        why = "its cpuset cgroup allows none of them" if error.errno == errno.EINVAL else error.strerror
        raise Unavailable(f"thread {thread.tid} ({thread.name}) cannot be moved to pCPU {cpus}: {why}") from error


def by_witness(mover: ThreadMover, thread: ObservedThread, cpus: CpuSet) -> None:
    """The same through a witness that can move threads."""
    mover.move(thread.tid, cpus)


def _leave_vcpu_cgroup(pid: int, tid: int) -> None:
    """Move a thread that inherited a vCPU's cpuset cgroup to the emulator's cgroup, which holds the main thread.

    This happens to KVM's own threads, and on a busy machine now and then to a QEMU worker (7.2).
    """
    where = cgroup.leaf(pid, tid)
    if where is None or where.kind != "vcpu":
        return
    target = Path(cgroup.tasks_file(pid))
    try:
        target.write_text(str(tid), encoding="ascii")
    except OSError as error:
        if error.errno not in (errno.ESRCH, errno.ENOENT, errno.EACCES, errno.EPERM, errno.EINVAL):
            raise Unavailable(f"thread {tid} cannot join {target}: {error.strerror}") from error
