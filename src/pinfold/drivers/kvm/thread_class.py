"""Find the class of each thread of a QEMU process, and what its name tells: the vCPU, the iothread, the guest cell. Pure.

Threads are identified by id. Names serve only if no id is known: the kernel cuts them to 15 characters, and they may be set late.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from pinfold.core.overhead import ObservedThread, ThreadClass
from pinfold.linux.cgroup import Leaf
from pinfold.linux.procfs import Thread

_CUT: Final = 15
"""The kernel cuts a thread's name to so many characters."""
_VCPU_NAME: Final = re.compile(r"CPU ([0-9]+)/")
# QEMU names the thread "TC " plus its object's id. libvirt (9.0) derives the id from the memory's: tc-ram-node0, tc-pc.ram, tc-memdimm0.
_CONTEXT_NAME: Final = re.compile(r"TC tc-")
# The cut name of guest cell 10 to 19 looks like that of cell 1.
_CONTEXT_OF_CELL: Final = re.compile(r"TC tc-ram-node([0-9])\Z")
_IOTHREAD_NAME: Final = re.compile(r"IO iothread([0-9]*)")
_PIT_NAME: Final = "kvm-pit"
_ANY_IOTHREAD_NAME: Final = re.compile(r"IO (?!mon_iothread)")
_OVERHEAD_NAME: Final = re.compile(r"call_rcu|worker|vnc_worker|IO mon_iothread|SPICE Worker|(?:live_)?migration|multifd|mig/|dump_thread")


def classified(
    threads: Iterable[Thread], *, vcpus: Mapping[int, int], iothreads: Mapping[int, int | None], leaves: Mapping[int, Leaf]
) -> tuple[ObservedThread, ...]:
    """Each thread with its class, in the given order. `vcpus` and `iothreads` map thread ids to indexes, `leaves` to cgroup leaves.

    1. io_uring workers are emulator threads. All other threads that never leave the kernel are vhost or KVM's, by the kernel's name.
    2. A vCPU is known by the thread id from libvirt or QEMU; if there are none, by its leaf; if there is no leaf, by name.
    3. An iothread is known by QEMU's thread id or by its leaf; if neither is known, by name.
    4. A thread context is known by name, if its leaf is the emulator's or none. Its id is unknown once libvirt has removed its object.
    5. All others are emulator threads, also a thread in a vCPU's leaf that is not the vCPU.
    """
    return tuple(of_class(thread, *_class(thread, vcpus, iothreads, leaves.get(thread.tid))) for thread in threads)


def iothread_number(name: str) -> int | None:
    """The number in an iothread's name; None without one, and where the kernel may have cut it.

    >>> iothread_number("IO iothread12"), iothread_number("IO iothread1234"), iothread_number("worker")
    (12, None, None)
    """
    found = re.fullmatch(r"IO iothread(\d+)", name)
    return int(found[1]) if found and len(name) < _CUT else None


def is_iothread_name(name: str) -> bool:
    """Whether QEMU gives an iothread that name, whatever its id. libvirt's have ids such as `iothread1`; others are the user's choice."""
    return _ANY_IOTHREAD_NAME.match(name) is not None


def is_vcpu_name(name: str) -> bool:
    """Whether QEMU (`-name debug-threads=on`) gives that name to the thread of one vCPU."""
    return _VCPU_NAME.match(name) is not None


def is_overhead_name(name: str) -> bool:
    """Whether QEMU (`-name debug-threads=on`) gives that name to a thread of its own that is no iothread."""
    return _OVERHEAD_NAME.match(name) is not None


def of_class(thread: Thread, kind: ThreadClass, vcpu: int | None = None) -> ObservedThread:
    """The thread as one of that class, with what its name tells.

    `kvm-pit` serves vCPU 0. Other kernel threads serve the whole guest.
    """
    cell = _CONTEXT_OF_CELL.match(thread.comm) if kind is ThreadClass.THREAD_CONTEXT else None
    return ObservedThread(
        tid=thread.tid,
        name=thread.comm,
        thread_class=kind,
        allowed=thread.allowed,
        vcpu=vcpu,
        iothread=iothread_number(thread.comm) if kind is ThreadClass.IOTHREAD else None,
        serves=0 if kind is ThreadClass.KTHREAD and thread.comm.startswith(_PIT_NAME) else None,
        guest_cell=None if cell is None else int(cell[1]),
        scheduler=thread.scheduler,
    )


def _class(
    thread: Thread, vcpus: Mapping[int, int], iothreads: Mapping[int, int | None], leaf: Leaf | None
) -> tuple[ThreadClass, int | None]:
    if thread.io_worker:
        return ThreadClass.EMULATOR, None
    if thread.in_kernel:
        return (ThreadClass.VHOST if thread.comm.startswith("vhost-") else ThreadClass.KTHREAD), None
    index = vcpus.get(thread.tid)
    if index is None and not vcpus:
        named = _VCPU_NAME.match(thread.comm) if leaf is None else None
        index = leaf.index if leaf is not None and leaf.kind == "vcpu" else int(named[1]) if named else None
    if index is not None:
        return ThreadClass.VCPU, index
    by_name = leaf is None and not iothreads and _IOTHREAD_NAME.match(thread.comm) is not None
    if thread.tid in iothreads or (leaf is not None and leaf.kind == "iothread") or by_name:
        return ThreadClass.IOTHREAD, None
    if _CONTEXT_NAME.match(thread.comm) and (leaf is None or leaf.kind == "emulator"):
        return ThreadClass.THREAD_CONTEXT, None
    return ThreadClass.EMULATOR, None
