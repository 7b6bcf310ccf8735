"""What might move the knee of one shared pCPU, tried on one set of guests: a weight, two pools by load, IOThreads apart.

Each trial has two settings that take turns on the same running guests.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import libvirt

from benchmarks.overhead.page import overhead_times, start_guest
from benchmarks.page import table
from pinfold.lab import rom
from pinfold.lab.daemon import LabHost
from pinfold.latency.loads import monitor

POOL, OTHER = 0, 1
"""The pCPU of the overhead threads, and that of the vCPUs."""
_CPU_CONTROLLER: Final = Path("/sys/fs/cgroup/cpu")
_WEIGHTS: Final = {"as one task of the host": 1024, "16 times that": 16_384}


@dataclass(frozen=True, slots=True, kw_only=True)
class Guests:
    """The guests of one load: its name, and process and libvirt domain of each."""

    load: str
    pids: Sequence[int]
    domains: Sequence[Any]


def measure(folder: Path, modes: Mapping[str, rom.Parameters], each: int, seconds: float, runs: int) -> dict[str, Any]:
    """So many guests of every mode, and every trial on them, its settings in turns."""
    with LabHost(f"t{os.getpid()}", kvm=True, cgroups=False) as lab:
        connection = libvirt.open(lab.uri)
        try:
            guests = list(_start(lab, connection, folder, modes, each))
            rows: list[dict[str, Any]] = []
            for trial in (_weight, _pools, _iothreads):
                _place(guests, {POOL}, {POOL})
                with trial(guests) as settings:
                    for run in range(runs):
                        for name in list(settings)[:: 1 if run % 2 == 0 else -1]:
                            settings[name]()
                            time.sleep(min(0.5, seconds))
                            rows += [{"trial": trial.__name__[1:], "setting": name, "run": run, **one} for one in _watch(guests, seconds)]
        finally:
            connection.close()
    return {"each": each, "seconds": seconds, "runs": runs, "rows": rows}


def _start(lab: LabHost, connection: Any, folder: Path, modes: Mapping[str, rom.Parameters], each: int) -> Iterator[Guests]:
    number = 0
    for load, parameters in modes.items():
        made = rom.write(folder / f"{load}.rom", parameters)
        pids, domains = [], []
        for _ in range(each):
            pids.append(start_guest(lab, folder, made, number, iothread=True))
            domains.append(connection.lookupByName(f"vm{number}"))
            number += 1
        yield Guests(load=load, pids=pids, domains=domains)


Settings = Mapping[str, Callable[[], None]]
"""What makes each setting, by its name."""


@contextmanager
def _weight(guests: Sequence[Guests]) -> Iterator[Settings]:
    """A program of the host spins on the pool's pCPU; the overhead threads are a cgroup of a weight. No setting without cgroup v1."""
    if not os.access(_CPU_CONTROLLER / "tasks", os.W_OK):
        yield {}
        return
    group = _CPU_CONTROLLER / f"pinfold-trial-{os.getpid()}"
    group.mkdir()
    try:
        with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as spinning:
            try:
                os.sched_setaffinity(spinning.pid, {POOL})
                for tid in overhead_times([pid for one in guests for pid in one.pids]):
                    _move(tid, group)
                yield {name: _writer(group / "cpu.shares", weight) for name, weight in _WEIGHTS.items()}
            finally:
                spinning.kill()
    finally:
        for tid in (group / "tasks").read_text().split():
            _move(tid, _CPU_CONTROLLER)
        group.rmdir()


def _move(tid: str, group: Path) -> None:
    with contextlib.suppress(OSError):  # a thread that has ended
        (group / "tasks").write_text(tid)


def _writer(path: Path, value: int) -> Callable[[], None]:
    def write() -> None:
        path.write_text(str(value))

    return write


@contextmanager
def _pools(guests: Sequence[Guests]) -> Iterator[Settings]:
    """All overhead threads on both pCPUs, or each load's on one of them."""

    def apart() -> None:
        for place, one in enumerate(guests):
            _place([one], {(POOL, OTHER)[place % 2]}, {(POOL, OTHER)[place % 2]})

    yield {"one pool of two pCPUs": lambda: _place(guests, {POOL, OTHER}, {POOL, OTHER}), "a pool of one pCPU for each load": apart}


@contextmanager
def _iothreads(guests: Sequence[Guests]) -> Iterator[Settings]:
    """IOThreads on the pool's pCPU, or beside the vCPUs."""
    yield {"in the pool": lambda: _place(guests, {POOL}, {POOL}), "beside the vCPUs": lambda: _place(guests, {POOL}, {OTHER})}


def _place(guests: Sequence[Guests], overhead: set[int], iothreads: set[int]) -> None:
    """Let the overhead threads and the IOThreads run on these pCPUs."""
    for tid in overhead_times([pid for one in guests for pid in one.pids]):
        with contextlib.suppress(OSError):  # a thread that has ended
            io = Path(f"/proc/{tid}/comm").read_text().startswith("IO ")
            os.sched_setaffinity(int(tid), iothreads if io else overhead)


def _watch(guests: Sequence[Guests], seconds: float) -> list[dict[str, Any]]:
    """A row for each load: run and wait of its overhead threads, and how fast its monitors answer."""
    answers: dict[str, list[float]] = {one.load: [] for one in guests}
    before, began = [overhead_times(one.pids) for one in guests], time.monotonic()
    while time.monotonic() - began < seconds:
        for one in guests:
            for domain in one.domains:
                asked = time.monotonic()
                monitor(domain, "query-status")
                answers[one.load].append(1000 * (time.monotonic() - asked))
        time.sleep(0.1)
    after, passed = [overhead_times(one.pids) for one in guests], time.monotonic() - began
    return [
        {"load": one.load, **_delays(first, last, passed), **_answered(answers[one.load])}
        for one, first, last in zip(guests, before, after, strict=True)
    ]


def _delays(before: Mapping[str, tuple[int, int, int]], after: Mapping[str, tuple[int, int, int]], passed: float) -> dict[str, float]:
    run, wait, slices = (sum(after[tid][place] - before.get(tid, (0, 0, 0))[place] for tid in after) for place in range(3))
    return {
        "busy_percent": round(run / passed / 1e7, 2),
        "wait_percent": round(wait / passed / 1e7, 2),
        "wait_us": round(wait / 1000 / max(1, slices), 1),
    }


def _answered(answers: list[float]) -> dict[str, float]:
    answers.sort()
    return {"monitor_p50_ms": round(statistics.median(answers), 2), "monitor_p99_ms": round(answers[int(0.99 * len(answers))], 2)}


_TITLES: Final = {
    "weight": "a weight for the pool's cgroup, beside a program of the host that spins on the pool's pCPU",
    "pools": "two pools by load",
    "iothreads": "IOThreads kept apart",
}
_WORDS: Final = """\
{each} chatty and {each} heavy guests at once, each with one IOThread for its disk. The two settings of a trial take turns on the same
running guests, {runs} times {seconds:g} s each; figures are medians. A trial pays where its second setting lowers the wait or the
monitor's response of one load and does not raise those of the other. Differences of a few per cent may be chance. The weight is one of
cgroup v1 (`cpu.shares`); a host without that leaves the trial out. For the two pools the second pCPU is the one of the vCPUs."""
_FIGURES: Final = ("busy_percent", "wait_percent", "wait_us", "monitor_p50_ms", "monitor_p99_ms")


def lines(found: Mapping[str, Any] | None) -> list[str]:
    """The section of the page, and what came of each trial. Pure."""
    if found is None:
        return ["This run tried nothing of that kind."]
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in found["rows"]:
        groups.setdefault((row["trial"], row["load"], row["setting"]), []).append(row)
    medians = {key: {name: statistics.median(row[name] for row in rows) for name in _FIGURES} for key, rows in groups.items()}
    heads = ("trial", "guests", "setting", "run, % of a pCPU", "wait, %", "wait per slice, us", "monitor p50, ms", "p99, ms")
    rows = [(*key, *(values[name] for name in _FIGURES)) for key, values in medians.items()]
    tried = [trial for trial in _TITLES if any(key[0] == trial for key in medians)]
    return [
        *_WORDS.format(**found).splitlines(),
        "",
        *table(heads, rows),
        "",
        *(f"- {trial}: {_TITLES[trial]}. {_outcome(medians, trial)}" for trial in tried),
        *(f"- {trial}: not tried, for want of the cpu controller of cgroup v1." for trial in _TITLES if trial not in tried),
    ]


def _outcome(medians: Mapping[tuple[str, str, str], Mapping[str, float]], trial: str) -> str:
    """The second setting against the first, for each load, and whether that pays."""
    said, better, worse = [], False, False
    for load in dict.fromkeys(key[1] for key in medians if key[0] == trial):
        first, second = (values for key, values in medians.items() if key[:2] == (trial, load))
        parts = [f"{what} {first[name]:,.4g} to {second[name]:,.4g} {unit}" for name, what, unit in _SAID]
        said.append(f"{load}: {', '.join(parts)}")
        better |= any(second[name] < first[name] for name, _, _ in _SAID)
        worse |= any(second[name] > first[name] for name, _, _ in _SAID)
    verdict = (
        "It pays here"
        if better and not worse
        else "It does not pay here: one figure is better, another worse"
        if better
        else "It does not pay here"
    )
    return f"{'; '.join(said)}. {verdict}."


_SAID: Final = (("wait_us", "wait per slice", "us"), ("monitor_p99_ms", "monitor p99", "ms"))
