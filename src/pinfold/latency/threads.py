"""Who ran: the kernel's sums of every thread of the machine, and what changed between two moments."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pinfold.latency.model import ThreadShares

_PROCESSOR = 36
"""Where `/proc/PID/task/TID/stat` has the pCPU that a thread ran on last, counted from its state (proc(5), field 39)."""


class Thread(NamedTuple):
    """A thread: its process, its name, nanoseconds of running and waiting, slices, and the pCPU that it ran on last."""

    pid: int
    name: str
    run_ns: int
    wait_ns: int
    slices: int
    pcpu: int


def threads() -> dict[int, Thread]:
    """Every thread of the machine by its id."""
    found = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            for task in (process / "task").iterdir():
                with contextlib.suppress(OSError):
                    name, _, rest = (task / "stat").read_text(errors="replace").partition("(")[2].rpartition(")")
                    run, wait, slices = map(int, (task / "schedstat").read_text().split())
                    found[int(task.name)] = Thread(int(process.name), name, run, wait, slices, int(rest.split()[_PROCESSOR]))
    return found


def changed(before: Mapping[int, Thread], after: Mapping[int, Thread]) -> dict[int, Thread]:
    """What every thread ran and waited between the two moments. Pure."""
    found = {}
    for tid, now in after.items():
        then = before.get(tid)
        same = then is not None and (then.pid, then.run_ns <= now.run_ns) == (now.pid, True)
        run, wait, slices = (then.run_ns, then.wait_ns, then.slices) if same and then is not None else (0, 0, 0)
        found[tid] = now._replace(run_ns=now.run_ns - run, wait_ns=now.wait_ns - wait, slices=now.slices - slices)
    return found


def shares(change: Mapping[int, Thread], pid: int, seconds: float, *, vcpus: bool) -> ThreadShares:
    """How much the vCPUs of a QEMU process, or its other threads, ran and waited. Pure."""
    own = [one for one in change.values() if one.pid == pid and one.name.startswith("CPU ") is vcpus]
    run, wait = (sum(getattr(one, name) for one in own) for name in ("run_ns", "wait_ns"))
    return ThreadShares(run_percent=run / seconds / 1e7, wait_percent=wait / seconds / 1e7, slices=sum(one.slices for one in own))


def instead(change: Mapping[int, Thread], pcpu: int, pid: int, most: int = 6) -> list[tuple[str, float]]:
    """The threads that were last seen on the pCPU and ran most, without vCPUs of that process: name and milliseconds. Pure.

    A thread that moves between pCPUs counts with all that it ran.
    """
    sums: dict[str, float] = {}
    for one in change.values():
        if one.pcpu == pcpu and one.run_ns and not (one.pid == pid and one.name.startswith("CPU ")):
            name = f"{one.name} of the guest" if one.pid == pid else one.name
            sums[name] = sums.get(name, 0) + one.run_ns / 1e6
    return sorted(sums.items(), key=lambda item: -item[1])[:most]


def pinned_here(pcpus: frozenset[int], seen: Mapping[int, Thread]) -> dict[int, int]:
    """The process of a guest that has a vCPU pinned to one of these pCPUs, by pCPU. vCPUs that may run on all pCPUs do not count."""
    online = os.cpu_count() or 1
    found = {}
    for tid, one in seen.items():
        if one.name.startswith("CPU "):
            with contextlib.suppress(OSError):
                allowed = os.sched_getaffinity(tid)
                if len(allowed) < online:
                    found.update(dict.fromkeys(allowed & pcpus, one.pid))
    return found
