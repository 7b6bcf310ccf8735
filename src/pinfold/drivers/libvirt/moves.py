"""Moving single threads where libvirt does not: stragglers of a live pin, and KVM's own. Deciding the pins does not belong here.

Without a cpuset cgroup libvirt's live `pinEmulator` moves the main thread alone. `kvm-nx-lpage-recovery` inherits vCPU 0's pCPU and cgroup,
and `kvm-pit` starts out anywhere.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import expected
from pinfold.core.errors import Unavailable
from pinfold.core.overhead import Masks, ObservedThread, ThreadClass
from pinfold.drivers.port import Sight
from pinfold.linux import cgroup, procfs


def misplaced(sight: Sight, masks: Masks) -> tuple[ObservedThread, ...]:
    """The threads that may run elsewhere than `masks` says, in the order of the sight."""
    return tuple(thread for thread in sight.threads if (want := expected(masks, thread)) is not None and thread.allowed != want)


def move(pid: int, thread: ObservedThread, cpus: CpuSet) -> None:
    """Let a thread of process `pid`, or of the kernel on its behalf, run on `cpus` alone.

    A thread that has ended is no error, nor is one of the kernel's that cannot be moved: the next look reports it.
    Raises `Unavailable` when the kernel refuses any other.
    """
    if thread.thread_class is ThreadClass.KTHREAD:
        _leave_vcpu_cgroup(pid, thread.tid)
    try:
        os.sched_setaffinity(thread.tid, cpus)
    except ProcessLookupError:
        return
    except OSError as error:
        if thread.thread_class is ThreadClass.KTHREAD:
            return
        raise Unavailable(f"thread {thread.tid} ({thread.name}) cannot be moved to pCPU {cpus}: {error.strerror}") from error


def _leave_vcpu_cgroup(pid: int, tid: int) -> None:
    """Move a kernel thread that inherited a vCPU's cpuset cgroup to the emulator's, which the main thread is in."""
    where = cgroup.leaf(pid, tid)
    if where is None or where.kind != "vcpu":
        return
    hierarchy = cgroup.cpuset_hierarchy()
    tasks = "tasks" if hierarchy.version is cgroup.CgroupVersion.V1 else "cgroup.threads"
    target = Path(hierarchy.root) / procfs.cpuset_path(pid, pid).lstrip("/") / tasks
    try:
        target.write_text(str(tid), encoding="ascii")
    except OSError as error:
        if error.errno not in (errno.ESRCH, errno.ENOENT, errno.EACCES, errno.EPERM, errno.EINVAL):
            raise Unavailable(f"thread {tid} cannot join {target}: {error.strerror}") from error
