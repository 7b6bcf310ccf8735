"""Read how long threads, processes and pCPUs ran and waited. `core.usage` adds it up; `procfs` reads where threads may run.

A thread or process that ends while it is read is left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from pinfold.core.usage import Times
from pinfold.linux.procfs import PROC, process_ids, read, read_text, stat_fields, task_folder, thread_ids

_NS_PER_TICK: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_MOST_BYTES: Final = 256
"""The three numbers of a `schedstat` have at most 62 bytes."""
_MOST_STAT_BYTES: Final = 4 << 20
"""Of `/proc/stat`, whose lines of CPUs come first: a line has at most 220 bytes."""
_PCPU_FIELD: Final = 36
"""Where `stat_fields` has the pCPU that a thread ran on last."""
_BUSY: Final = (0, 1, 2, 5, 6)
"""user, nice, system, irq and softirq. The first two include guests' time. Left out: idle, and `steal`. Source: proc(5)."""


class MachineThread(NamedTuple):
    """A thread of any process: the process, its own name, its times since it began, and the pCPU that it ran on last."""

    pid: int
    name: str
    times: Times
    pcpu: int


def machine_threads(*, proc: Path = PROC) -> dict[int, MachineThread]:
    """Every thread of the machine by its id.

    Empty on a kernel without CONFIG_SCHED_INFO. Raises `Unavailable` if procfs may not be read.
    """
    found = {}
    for pid in process_ids(proc=proc):
        with task_folder(pid, proc=proc) as folder:
            for tid in thread_ids(folder):
                stat, sums = read_text(f"{tid}/stat", folder=folder), read(f"{tid}/schedstat", _MOST_BYTES, folder=folder)
                if stat and sums:
                    name = stat.partition("(")[2].rpartition(")")[0]
                    found[tid] = MachineThread(pid, name, _times(sums), int(stat_fields(stat)[_PCPU_FIELD]))
    return found


def thread_times(pid: int, tids: Iterable[int], *, proc: Path = PROC) -> dict[int, tuple[Times, bool]]:
    """The times of those threads of process `pid` since each began, and whether it is a kernel thread outside the process.

    Empty on a kernel without CONFIG_SCHED_INFO. Raises `Unavailable` if procfs may not be read.
    """
    found = {}
    with task_folder(pid, proc=proc) as folder:
        for tid in tids:
            text = None if folder is None else read(f"{tid}/schedstat", _MOST_BYTES, folder=folder)
            outside = text is None
            if text is None:
                text = read(f"{proc}/{tid}/schedstat", _MOST_BYTES)
            if text:
                found[tid] = _times(text), outside
    return found


def _times(schedstat: bytes) -> Times:
    run, wait, slices = map(int, schedstat.split()[:3])
    return Times(run_ns=run, wait_ns=wait, slices=slices)


def process_times(pid: int, *, proc: Path = PROC) -> tuple[int, int] | None:
    """When process `pid` began, in clock ticks since boot, and for how many nanoseconds it ran, with its threads that have ended.

    The time is rounded down, by at most two clock ticks. None if there is no such process.
    """
    text = read_text(f"{proc}/{pid}/stat")
    if text is None:
        return None
    fields = stat_fields(text)
    return int(fields[19]), (int(fields[11]) + int(fields[12])) * _NS_PER_TICK


def busy_times(*, proc: Path = PROC) -> dict[int, int]:
    """For how many nanoseconds each online pCPU did something, since boot. The kernel counts in clock ticks (10 ms on most hosts)."""
    found = {}
    for line in (read_text(f"{proc}/stat", _MOST_STAT_BYTES) or "").splitlines():
        name, *numbers = line.split()
        if name.startswith("cpu") and name[3:].isdigit():
            found[int(name[3:])] = sum(int(numbers[place]) for place in _BUSY) * _NS_PER_TICK
    return found
