"""Add up what guests' threads and pCPUs used, sample by sample: CPU time, waiting and slices, as counters that never fall. Pure.

`linux.schedstat` reads the kernel's numbers, and `host.measure` makes a `Sample` of them.

How a guest's threads are counted:
1. A thread's numbers are counted from its first sample on. A thread that is newer than the sample before counts from its own beginning.
2. A thread that is missing from a sample has ended. What it had at its last sample stays counted under its class.
3. What a thread does between its last sample and its end, and a thread that begins and ends between two samples, is in the process's own
   time, which the kernel keeps: the process's time less that of its counted threads is `ended_ns`. The kernel rounds a process's time
   down, so `ended_ns` may be wrong by two clock ticks (20 ms on most hosts), however long it counts. How long such a thread waited is
   lost: at most its waiting within one interval.

How a pCPU is counted: `others_ns` is the time that it was busy less the run time of the threads that own it. A sample after which other
threads own it counts nothing. The kernel counts a pCPU's busy time in clock ticks, so bursts shorter than a tick are right on average only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.identity import GuestId
from pinfold.core.overhead import ThreadClass


class Times(Struct, frozen=True, kw_only=True):
    """How long something ran and how long it waited for a pCPU, in nanoseconds, and in how many slices."""

    run_ns: int = 0
    wait_ns: int = 0
    slices: int = 0


class ThreadTimes(Struct, frozen=True, kw_only=True):
    """One thread: its times since it began, and the pCPUs it may run on. `outside`: it is a kernel thread, in no process of the guest's."""

    tid: int
    thread_class: ThreadClass
    allowed: CpuSet
    times: Times
    outside: bool = False


class GuestTimes(Struct, frozen=True, kw_only=True):
    """One guest's process: when it began, in clock ticks since boot, how long it ran with its ended threads, and its present threads."""

    guest: GuestId
    pid: int
    start_ticks: int
    process_ns: int
    threads: tuple[ThreadTimes, ...]


class Sample(Struct, frozen=True, kw_only=True):
    """One host at one moment.

    `unread` are running guests that could not be read. `busy_ns` holds each online pCPU with the time that it was busy since boot.
    `owned` holds each pCPU that one guest has alone, with the threads that it has it for. `pools` are the pools by name.
    """

    guests: tuple[GuestTimes, ...] = ()
    unread: frozenset[GuestId] = frozenset()
    busy_ns: tuple[tuple[int, int], ...] = ()
    owned: tuple[tuple[int, frozenset[int]], ...] = ()
    pools: tuple[tuple[str, CpuSet], ...] = ()


class GuestUsage(Struct, frozen=True, kw_only=True):
    """What one guest used, by thread class. `last` are its threads by id, and `seen_ns` their run time so far, with those that are gone.

    `base_ns` is the process's run time that is not counted.
    """

    pid: int
    start_ticks: int
    base_ns: int = 0
    seen_ns: int = 0
    ended_ns: int = 0
    classes: Mapping[ThreadClass, Times] = {}
    last: Mapping[int, ThreadTimes] = {}


class PcpuUsage(Struct, frozen=True, kw_only=True):
    """What one pCPU did. `wait_ns` is the waiting of guests' threads that may run nowhere else.

    `others_ns` is what others ran than the threads that own it. `balance_ns` is the same before rounding errors are taken out.
    """

    busy_ns: int
    owned: frozenset[int] | None = None
    run_ns: int = 0
    wait_ns: int = 0
    others_ns: int = 0
    balance_ns: int = 0


class PoolUsage(Struct, frozen=True, kw_only=True):
    """What the pCPUs of a pool did while they were in it. `wait_ns` is the waiting of guests' threads that may run nowhere else."""

    run_ns: int = 0
    wait_ns: int = 0


class Usage(Struct, frozen=True, kw_only=True):
    """Everything counted on a host since the first sample. `unknown` are guests that no sample has read since the first one."""

    guests: Mapping[GuestId, GuestUsage] = {}
    pcpus: Mapping[int, PcpuUsage] = {}
    pools: Mapping[str, PoolUsage] = {}
    unknown: frozenset[GuestId] = frozenset()


_Deltas = dict[GuestId, dict[int, Times]]
_NOTHING: Final = Times()


def added(one: Times, other: Times) -> Times:
    """The sum of both."""
    return Times(run_ns=one.run_ns + other.run_ns, wait_ns=one.wait_ns + other.wait_ns, slices=one.slices + other.slices)


def accumulated(before: Usage | None, sample: Sample) -> Usage:
    """The usage with one more sample. The first sample (`before` is None) counts nothing: guests ran before anybody looked.

    Guests that do not run any more are left out. Those that could not be read stay as they were; for one that was never read, the first
    sample that reads it counts nothing either.
    """
    unknown = sample.unread if before is None else sample.unread & before.unknown
    known = {} if before is None else before.guests
    deltas: _Deltas = {}
    guests = {guest: usage for guest, usage in known.items() if guest in sample.unread}
    for times in sample.guests:
        first = before is None or times.guest in before.unknown
        guests[times.guest], deltas[times.guest] = _guest(known.get(times.guest), times, first=first)
    waits = [(thread.allowed, deltas[times.guest][thread.tid].wait_ns) for times in sample.guests for thread in times.threads]
    runs = {tid: delta.run_ns for found in deltas.values() for tid, delta in found.items()}
    pcpus = _pcpus({} if before is None else before.pcpus, sample, runs, waits)
    pools = _pools(before, pcpus, sample, waits)
    return Usage(guests=guests, pcpus=pcpus, pools=pools, unknown=unknown)


def _guest(before: GuestUsage | None, times: GuestTimes, *, first: bool) -> tuple[GuestUsage, dict[int, Times]]:
    """The usage of one guest, and what each thread has done since the sample before."""
    if before is None or (before.pid, before.start_ticks) != (times.pid, times.start_ticks):
        kept = {} if before is None else before.classes
        ended = 0 if before is None else before.ended_ns
        # The new process's time begins at 0: with seen_ns below 0 its ended threads are counted on from those of the process before.
        before = GuestUsage(pid=times.pid, start_ticks=times.start_ticks, classes=kept, seen_ns=-ended, ended_ns=ended)
    if first:
        last = {thread.tid: thread for thread in times.threads}
        nothing = {thread.thread_class: _NOTHING for thread in times.threads}
        return replace(before, base_ns=times.process_ns, last=last, classes=nothing), dict.fromkeys(last, _NOTHING)
    classes, seen, deltas = dict(before.classes), before.seen_ns, {}
    for thread in times.threads:
        delta = deltas[thread.tid] = _since(before.last.get(thread.tid), thread)
        classes[thread.thread_class] = added(classes.get(thread.thread_class, _NOTHING), delta)
        seen += 0 if thread.outside else delta.run_ns
    usage = replace(
        before,
        seen_ns=seen,
        ended_ns=max(before.ended_ns, times.process_ns - before.base_ns - seen),
        classes=classes,
        last={thread.tid: thread for thread in times.threads},
    )
    return usage, deltas


def _since(before: ThreadTimes | None, thread: ThreadTimes) -> Times:
    """What a thread has done since the sample before. One with smaller numbers than then is another thread with the same id."""
    if before is None:
        return thread.times
    old, now = before.times, thread.times
    if now.run_ns < old.run_ns or now.wait_ns < old.wait_ns or now.slices < old.slices:
        return now
    return Times(run_ns=now.run_ns - old.run_ns, wait_ns=now.wait_ns - old.wait_ns, slices=now.slices - old.slices)


def _pcpus(
    before: Mapping[int, PcpuUsage], sample: Sample, runs: Mapping[int, int], waits: Iterable[tuple[CpuSet, int]]
) -> dict[int, PcpuUsage]:
    owned, alone = dict(sample.owned), dict.fromkeys(dict(sample.busy_ns), 0)
    for allowed, wait in waits:
        if len(allowed) == 1 and allowed.first in alone:
            alone[allowed.first] += wait
    found = {}
    for pcpu, busy in sample.busy_ns:
        old, threads = before.get(pcpu), owned.get(pcpu)
        if old is None or busy < old.busy_ns:
            old = PcpuUsage(busy_ns=busy) if old is None else replace(old, busy_ns=busy)
        run = busy - old.busy_ns
        balance = old.others_ns
        if threads is not None and threads == old.owned:
            balance = old.balance_ns + run - sum(runs.get(tid, 0) for tid in threads)
        found[pcpu] = PcpuUsage(
            busy_ns=busy,
            owned=threads,
            run_ns=old.run_ns + run,
            wait_ns=old.wait_ns + alone[pcpu],
            others_ns=max(old.others_ns, balance),
            balance_ns=balance,
        )
    return found


def _pools(
    before: Usage | None, pcpus: Mapping[int, PcpuUsage], sample: Sample, waits: Sequence[tuple[CpuSet, int]]
) -> dict[str, PoolUsage]:
    known, old = ({}, {}) if before is None else (before.pools, before.pcpus)
    found = {}
    for name, cpus in sample.pools:
        pool = known.get(name, PoolUsage())
        run = sum(pcpus[cpu].run_ns - old[cpu].run_ns for cpu in cpus if cpu in pcpus and cpu in old)
        wait = sum(wait for allowed, wait in waits if allowed <= cpus)
        found[name] = PoolUsage(run_ns=pool.run_ns + run, wait_ns=pool.wait_ns + wait)
    return found
