"""Who ran between two moments, of all threads of the machine, and for how long."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping

from pinfold.core.usage import Times
from pinfold.latency.model import OF_THE_GUEST, ThreadShares
from pinfold.linux.schedstat import MachineThread


def changed(before: Mapping[int, MachineThread], after: Mapping[int, MachineThread]) -> dict[int, MachineThread]:
    """What every thread ran and waited between the two moments. Pure."""
    found = {}
    for tid, now in after.items():
        then = before.get(tid)
        same = then is not None and then.pid == now.pid and then.times.run_ns <= now.times.run_ns
        began = then.times if same and then is not None else Times()
        times = Times(
            run_ns=now.times.run_ns - began.run_ns,
            wait_ns=now.times.wait_ns - began.wait_ns,
            slices=now.times.slices - began.slices,
        )
        found[tid] = now._replace(times=times)
    return found


def shares(change: Mapping[int, MachineThread], pid: int, seconds: float, *, vcpus: bool) -> ThreadShares:
    """How much the vCPUs of a QEMU process, or its other threads, ran and waited. Pure."""
    own = [one.times for one in change.values() if one.pid == pid and _is_vcpu(one) is vcpus]
    run, wait = sum(times.run_ns for times in own), sum(times.wait_ns for times in own)
    return ThreadShares(run_percent=run / seconds / 1e7, wait_percent=wait / seconds / 1e7, slices=sum(times.slices for times in own))


def instead(change: Mapping[int, MachineThread], pcpu: int, pid: int, most: int = 6) -> list[tuple[str, float]]:
    """The threads that were last seen on the pCPU and ran most, without vCPUs of that process: name and milliseconds. Pure.

    A thread that moves between pCPUs counts with all that it ran.
    """
    sums: dict[str, float] = {}
    for one in change.values():
        if one.pcpu == pcpu and one.times.run_ns and not (one.pid == pid and _is_vcpu(one)):
            name = f"{one.name}{OF_THE_GUEST}" if one.pid == pid else one.name
            sums[name] = sums.get(name, 0) + one.times.run_ns / 1e6
    return sorted(sums.items(), key=lambda item: -item[1])[:most]


def pinned_here(pcpus: frozenset[int], seen: Mapping[int, MachineThread]) -> dict[int, int]:
    """The process of a guest that has a vCPU pinned to one of these pCPUs, by pCPU. vCPUs that may run on all pCPUs do not count."""
    online = os.cpu_count() or 1
    found = {}
    for tid, one in seen.items():
        if _is_vcpu(one):
            with contextlib.suppress(OSError):
                allowed = os.sched_getaffinity(tid)
                if len(allowed) < online:
                    found.update(dict.fromkeys(allowed & pcpus, one.pid))
    return found


def _is_vcpu(thread: MachineThread) -> bool:
    return thread.name.startswith("CPU ")
