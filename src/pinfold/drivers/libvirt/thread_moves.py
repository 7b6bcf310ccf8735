"""Moving single threads where libvirt does not: stragglers of a live pin, and KVM's own. Deciding the pins does not belong here.

Without a cpuset cgroup libvirt's live `pinEmulator` moves the main thread alone. `kvm-nx-lpage-recovery` inherits vCPU 0's pCPU and cgroup,
as now and then a worker of QEMU's seems to, and `kvm-pit` starts out anywhere.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import expected
from pinfold.core.errors import Unavailable
from pinfold.core.overhead import Masks, ObservedThread, ThreadClass
from pinfold.drivers.libvirt import deadline
from pinfold.drivers.libvirt.witness import ThreadMover
from pinfold.drivers.port import Observation
from pinfold.linux import cgroup, procfs

_ROUNDS: Final = 3
_LATE_SECONDS: Final = 0.1


def named_cpus(masks: Masks) -> CpuSet:
    """Every pCPU that `masks` names."""
    union = masks.overhead
    for cpus in masks.vcpus:
        union |= cpus
    return union


def misplaced(observation: Observation, masks: Masks) -> tuple[ObservedThread, ...]:
    """The threads that may run elsewhere than `masks` says, in the order of the observation."""
    return tuple(thread for thread in observation.threads if (want := expected(masks, thread)) is not None and thread.allowed != want)


Move = Callable[[ObservedThread, CpuSet], None]


def place(observe: Callable[[], Observation], masks: Masks, move: Move | None, *, kernel_only: bool = False) -> tuple[ObservedThread, ...]:
    """Move what is misplaced, and return what still is in the end, the kernel's own threads aside.

    With `kernel_only` just the kernel's are moved, once; without `move` nothing is. New threads inherit the main thread's mask, so three
    rounds suffice.
    Raises `Unavailable` when a thread cannot be moved.
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
    """Whether `kvm-nx-lpage-recovery` is there, which newer kernels make when vCPU 0 first runs, as a thread of the process.

    Waits for it a tenth of a second, since it inherits that vCPU's place and wants to be moved at once.
    """

    def made() -> bool:
        return any(thread.in_kernel and thread.comm.startswith("kvm-nx-lpage") for thread in procfs.threads(pid))

    # Emulated guests never have it. Their vCPU threads say so in their names, good enough to save a wait.
    emulated = any(thread.comm.endswith("/TCG") for thread in procfs.threads(pid))
    return not emulated and deadline.until(made, _LATE_SECONDS)


def by_kernel(pid: int, thread: ObservedThread, cpus: CpuSet) -> None:
    """Let a thread of process `pid`, or of the kernel on its behalf, run on `cpus` alone.

    A thread that has ended is no error, nor is one of the kernel's that cannot be moved: the next look reports it.
    Raises `Unavailable` when the kernel refuses any other.
    """
    if thread.thread_class is not ThreadClass.VCPU:
        _leave_vcpu_cgroup(pid, thread.tid)
    try:
        if thread.thread_class is ThreadClass.KTHREAD and thread.scheduler != "other":
            # Inherited from a realtime vCPU; no other thread of its new place should starve.
            os.sched_setscheduler(thread.tid, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(thread.tid, cpus)
    except ProcessLookupError:
        return
    except OSError as error:
        if thread.thread_class is ThreadClass.KTHREAD:
            return
        raise Unavailable(f"thread {thread.tid} ({thread.name}) cannot be moved to pCPU {cpus}: {error.strerror}") from error


def by_witness(mover: ThreadMover, thread: ObservedThread, cpus: CpuSet) -> None:
    """The same through a witness that moves threads in its own way."""
    mover.move(thread.tid, cpus)


def _leave_vcpu_cgroup(pid: int, tid: int) -> None:
    """Move a thread that inherited a vCPU's cpuset cgroup to the emulator's, which the main thread is in.

    KVM's own threads are found there, and on a busy machine now and then a worker of QEMU's (7.2).
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
