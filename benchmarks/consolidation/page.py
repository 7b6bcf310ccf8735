"""The subject `consolidation`: 1 to 32 guests whose overhead threads share one pCPU: idle, chatty and heavy."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import libvirt

from benchmarks.consolidation import trials
from benchmarks.overhead.page import lacks, overhead_times, start_guest
from benchmarks.page import table
from benchmarks.plot import Plot, Series
from benchmarks.subject import Figures, Page, Size, Subject
from pinfold.lab import rom
from pinfold.lab.daemon import LabHost
from pinfold.latency.loads import monitor

MODES: Final = {
    "idle": rom.Parameters(behaviour=rom.Behaviour.IDLE),
    "chatty": rom.Parameters(behaviour=rom.Behaviour.TICK, io=rom.Io.DISK, io_period_us=10_000, io_bytes=4096, io_depth=8),
    "heavy": rom.Parameters(behaviour=rom.Behaviour.TICK, io=rom.Io.DISK, io_period_us=5_000, io_bytes=65_536, io_depth=16),
}
_BATCHES: Final = {"chatty": 100, "heavy": 200}
"""Disk batches a second."""
_STEPS: Final = (1, 2, 4, 8, 12, 16, 24, 32)
_KNEE: Final = 4.0
_FIRST: Final = 3
"""How many steps say what a thread waits where the pCPU has room: one step with one guest differs from run to run."""
_WORDS: Final = """\
KVM guests of 16 MiB with one vCPU and one disk, without IOThreads. Their vCPUs are on pCPU 1; all other threads of QEMU share pCPU 0
with the highest priority, so that other programs of the machine yield to them. *idle* guests sleep. *chatty* ones read 8 blocks of 4
KiB a hundred times a second, *heavy* ones 16 blocks of 64 KiB two hundred times. Guests are added step by step; each step is watched
for {seconds:g} s. *Wait* is the time that threads were ready and had no pCPU (`/proc/PID/task/TID/schedstat`): once as a share of the time,
which is over 100 % where several threads wait at once, and once for each slice that they ran. The pCPU may read as more than 100 % busy
where a thread's sum comes late. The monitor of each guest is asked for its status, one after another. *Start* is how long `virsh create` of
one more guest took, and *millicpu* what one guest's overhead threads ran, in thousandths of a pCPU."""


def measure(size: Size, _seed: int) -> Figures:
    """Every mode at every step, guests of a mode all on one lab; then the trials."""
    steps = {Size.CHECK: (1, 2), Size.SMALL: (1, 4, 8, 16), Size.LONG: _STEPS}[size]
    seconds = {Size.CHECK: 0.5, Size.SMALL: 2.0, Size.LONG: 8.0}[size]
    modes = ("chatty",) if size is Size.CHECK else tuple(MODES)
    rows: list[dict[str, Any]] = []
    for mode in modes:
        if size is Size.SMALL and mode == "heavy":
            steps = steps[:-1]  # on a pCPU that is busy already, eight more start slowly
        print(f"{mode}, up to {steps[-1]} guests", flush=True)
        with tempfile.TemporaryDirectory(prefix="pf-consolidation-") as folder:
            Path(folder).chmod(0o711)
            rows += _mode(Path(folder), mode, steps, seconds)
    print("trials", flush=True)
    each, runs = {Size.CHECK: (1, 1), Size.SMALL: (2, 2), Size.LONG: (4, 5)}[size]
    with tempfile.TemporaryDirectory(prefix="pf-trials-") as folder:
        Path(folder).chmod(0o711)
        tried = trials.measure(Path(folder), {mode: MODES[mode] for mode in _BATCHES}, each, seconds, runs)
    return {"seconds": seconds, "rows": rows, "trials": tried}


def _mode(folder: Path, mode: str, steps: Sequence[int], seconds: float) -> list[dict[str, Any]]:
    made = rom.write(folder / f"{mode}.rom", MODES[mode])
    rows, pids = [], list[int]()
    with LabHost(f"c{os.getpid()}", kvm=True, cgroups=False) as lab:
        connection = libvirt.open(lab.uri)
        try:
            for guests in steps:
                began, before = time.monotonic(), len(pids)
                pids += [start_guest(lab, folder, made, number) for number in range(before, guests)]
                start_seconds = (time.monotonic() - began) / (guests - before)
                time.sleep(1)
                rows.append({"mode": mode, "guests": guests, "start_seconds": round(start_seconds, 3), **_watch(connection, pids, seconds)})
        finally:
            connection.close()
    return rows


def _watch(connection: Any, pids: Sequence[int], seconds: float) -> dict[str, Any]:
    domains = connection.listAllDomains()
    before, began, answers = overhead_times(pids), time.monotonic(), list[float]()
    while time.monotonic() - began < seconds:
        for domain in domains:
            asked = time.monotonic()
            monitor(domain, "query-status")
            answers.append(1000 * (time.monotonic() - asked))
        time.sleep(0.25)
    after, passed = overhead_times(pids), time.monotonic() - began
    run, wait, slices = (sum(after[tid][place] - before.get(tid, (0, 0, 0))[place] for tid in after) for place in range(3))
    answers.sort()
    return {
        "busy_percent": round(run / passed / 1e7, 2),
        "wait_percent": round(wait / passed / 1e7, 2),
        "wait_us": round(wait / 1000 / max(1, slices), 1),
        "monitor_p50_ms": round(statistics.median(answers), 2),
        "monitor_p99_ms": round(answers[int(0.99 * len(answers))], 2),
    }


def page(figures: Figures) -> Page:
    """The table, the knee of each mode, the coefficients, a plot and the trials."""
    rows = figures["rows"]
    modes = list(dict.fromkeys(row["mode"] for row in rows))
    names = ("busy_percent", "wait_percent", "wait_us", "monitor_p50_ms", "monitor_p99_ms", "start_seconds")
    heads = (
        "mode",
        "guests",
        "pCPU busy, %",
        "threads wait, %",
        "wait per slice, us",
        "monitor p50, ms",
        "p99, ms",
        "start of a guest, s",
        "millicpu of a guest",
    )
    body: list[str | Plot] = [*_WORDS.format(seconds=figures["seconds"]).splitlines(), ""]
    body += table(heads, [(row["mode"], row["guests"], *(row[name] for name in names), round(_millicpu(row), 1)) for row in rows])
    body += ["", f"The knee is the last step whose wait per slice is at most {_KNEE:.0f} times the median of the first {_FIRST} steps.", ""]
    body += [f"- {mode}: {knee([row for row in rows if row['mode'] == mode])}" for mode in modes]
    body += ["", "## Coefficients", "", *_coefficients(rows), ""]
    series = [_line([row for row in rows if row["mode"] == mode], mode) for mode in modes]
    plot = Plot(
        name="consolidation",
        title="Mean wait of an overhead thread before it runs",
        x_label="guests on one pCPU",
        y_label="us",
        log_y=True,
        series=series,
    )
    return Page(body=[*body, plot, "", "## Trials", "", *trials.lines(figures.get("trials"))])


def _line(rows: Sequence[dict[str, Any]], mode: str) -> Series:
    return Series(label=mode, x=[row["guests"] for row in rows], y=[max(0.1, row["wait_us"]) for row in rows])


def _millicpu(row: dict[str, Any]) -> float:
    found: float = 10 * row["busy_percent"] / row["guests"]
    return found


def knee(rows: Sequence[dict[str, Any]]) -> str:
    """The last step before the wait grows steeply. Pure."""
    kept = rows[0]
    least = statistics.median(row["wait_us"] for row in rows[:_FIRST])
    for row in rows[1:]:
        if row["wait_us"] > _KNEE * max(least, 1.0):
            return (
                f"{kept['guests']} guests, {kept['busy_percent']:.0f} % busy; with {row['guests']} a thread waits {row['wait_us']:,.0f} us"
            )
        kept = row
    return f"not reached with {kept['guests']} guests, {kept['busy_percent']:.0f} % busy"


def _coefficients(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What a guest costs by itself, and what its disk adds, in millicpu: the medians over the steps."""
    each = {mode: [_millicpu(row) for row in rows if row["mode"] == mode] for mode in MODES}
    if not all(each.values()):
        return ["This run did not measure every mode, so it gives none."]
    alone = statistics.median(each["idle"])
    lines = [
        "Medians over all steps, the full ones too, in millicpu (thousandths of a pCPU):",
        "",
        f"- `guest_millicpu`: an idle guest ran {alone:.1f}.",
    ]
    for mode, batches in _BATCHES.items():
        more = statistics.median(each[mode]) - alone
        lines.append(f"- `disk_millicpu`: a {mode} disk added {more:.1f}, {1000 * more / batches:.0f} for each 1,000 batches a second.")
    return lines


CONSOLIDATION: Final = Subject(
    name="consolidation",
    title="Guests on one shared pCPU",
    measure=measure,
    page=page,
    lacks=lacks,
    seeded=False,
    limits="""\
Guests are alike and their disks are files in the page cache, so no time of a real disk and no network is in it. One run of each step: its
spread is that of the neighbouring steps. The rates that `pinfold advise` assumes come from [the page of overhead](overhead.md), not from
here. A knee is where the wait begins to grow beside that of the first steps, not where it begins to hurt: `advise` takes the wait that the
operator allows and the configured rates, so it names another number of guests. By default these are above what an idle guest ran here, and
below what a busy disk added. On a pCPU that is nearly full a guest runs less than it wants, so that its millicpu fall. The highest
priority (nice -19) is this measurement's alone: pinfold sets no priority, so on a host whose own programs use the pool's pCPUs threads
wait for these too. pinfold sets no weight of the pool's cgroup either: that is the operator's, since it takes time from the host's own
programs. A 0.1 ms EEVDF slice for the pool's threads (`sched_setattr`) was tried before this benchmark, with 3 to 12 guests and a pool
from idle to 89 % busy: it changed neither delay nor slices nor the monitor's response, because bursts are shorter than the
default slice.""",
)
