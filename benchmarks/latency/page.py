"""The subject `latency`: float against share under each load, in turns."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks.page import table
from benchmarks.plot import Heat, Plot, Series
from benchmarks.subject import Figures, Page, Size, Subject
from pinfold.lab.daemon import missing
from pinfold.latency.figures import COMPARED, OF_MEDIANS, Value, compared, groups, late, median
from pinfold.latency.model import FIFO, FLOAT, LOADS, PINFOLD, SHARE, NotStarted, Pcpus, Sample, Trial
from pinfold.latency.run import run
from pinfold.latency.serial import SLOT_MS, added

VCPU, SHARED = 1, 0
"""The two pCPUs."""
PLAIN: Final = (FLOAT, SHARE)
_HEATED: Final = "storm"
_NAMES: Final = {"kvm": "KVM", "qemu": "TCG"}
_WORDS: Final = """\
One guest without an operating system spins on its only vCPU, pinned to pCPU {vcpu}, and reads the time-stamp counter without pause;
whatever keeps it from running is a gap. Every 100 us it also notes how late it noticed that moment, and it notes every missed moment,
so a long stall counts as often as it lasts (no coordinated omission). With *float* the threads of QEMU that are no vCPUs may run on
pCPU {vcpu} as well, which is what an unset policy does to a guest of one vCPU; with *share* they run on pCPU {shared}. The two take
turns, and each changes its place from run to run. On two pCPUs `share` and `isolate` of one guest are the same placement, so `isolate`
has no row. libvirtd and the program that makes the load run on pCPU {shared} in both cases.

The loads: *idle* does nothing. *storm* asks the monitor for its whole schema without pause, *statistics* asks libvirt for the guest's
statistics without pause. With *writes* the guest writes 8 blocks of 4 KiB every 2 ms, each flushed. *migration* migrates by QMP into a
file that is thrown away, again and again; the guest goes on after each, and the pause of the switch-over is among the gaps. In the rows
with FIFO the vCPU has the real-time priority 1. In the rows with *pinfold* the same domain is a template of `pinfold guest start`, which
chooses the pCPUs, with the emulator policy unset or `share`; libvirt starts the others from XML written by hand. Each figure is the
median over the runs ({runs}, of {seconds} s each); the last column has the least and the most p99 of a run.

*Stolen* is the sum of all gaps as a share of the time. *Wait* is the time that threads were ready and did not run; that of several
threads adds up, and so exceeds 100 % where more than one waits. Times of a percentile are the lower bounds of a histogram's buckets, each
an eighth as wide as its power of two, so they are at most 12.5 % too low; the last column is rounded. A vCPU with FIFO never yields, so
the kernel stops it for 50 ms of each second (`kernel.sched_rt_runtime_us`, by default 950,000): gaps of 50 ms in its rows, under either
policy, are as long as that. A cell of a heat map without a colour had no gap, or the run had ended.
"In trials" are ratios seen with the first sketches of this benchmark, on a machine that did nothing else."""
_TRIALS: Final = {
    ("storm", "p99"): "45x",
    ("storm", "stalls over 1 ms"): "289x",
    ("storm, started by pinfold", "vCPU waits"): "11.6x",
    ("statistics", "stalls over 100 us"): "29x",
    ("statistics", "vCPU waits"): "23x",
    ("writes", "vCPU waits"): "8x",
}
"""What was seen in trials before this benchmark, as float / share."""


def lacks() -> list[str]:
    """What a lab needs, and two pCPUs."""
    lacking = list(missing())
    if not {VCPU, SHARED} <= os.sched_getaffinity(0):
        lacking.append(f"the pCPUs {SHARED} and {VCPU}")
    return lacking


def measure(size: Size, _seed: int) -> Figures:
    """Every load under both policies, on KVM and TCG; idle and storm with FIFO too, the storm also with guests that pinfold starts."""
    kinds = ("kvm", "qemu") if Path("/dev/kvm").exists() else ("qemu",)
    seconds, runs = {Size.CHECK: (0.5, 1), Size.SMALL: (1.0, 2), Size.LONG: (15.0, 3)}[size]
    trials = [
        [Trial(accelerator=kind, load=load, policy=policy, seconds=seconds) for policy in _policies(size, load)]
        for kind in (kinds[:1] if size is Size.CHECK else kinds)
        for load in _loads(size, first=kind == kinds[0])
    ]
    found = run(Pcpus(vcpu=VCPU, overhead=SHARED), trials, runs, lambda trial, number: _say(trial, number, runs))
    return {"seconds": seconds, "runs": runs, "samples": [_kept(one) for one in found]}


def _loads(size: Size, *, first: bool) -> tuple[str, ...]:
    """Under what the policies are measured. A small run has all loads on the first accelerator only, which is KVM where there is one."""
    if size is Size.CHECK:
        return (_HEATED,)
    return LOADS if first or size is Size.LONG else ("idle", _HEATED)


def _say(trial: Trial, number: int, runs: int) -> None:
    print(f"{_NAMES[trial.accelerator]}, {trial.load}, {trial.policy}, run {number + 1} of {runs}", flush=True)


def _kept(one: Sample | NotStarted) -> dict[str, Any]:
    """The sample as JSON has it. One map of each policy is enough, so only the first run under the storm keeps it."""
    found: dict[str, Any] = msgspec.to_builtins(one)
    if isinstance(one, Sample) and (one.run or one.load != _HEATED):
        found["worst_us"] = []
    return found


def _policies(size: Size, load: str) -> tuple[str, ...]:
    if size is Size.CHECK:
        return (*PLAIN, "pinfold, share")
    return (*PLAIN, *(FIFO if load in ("idle", _HEATED) else ()), *(PINFOLD if load == _HEATED else ()))


def page(figures: Figures) -> Page:
    """Tables and plots, first of KVM, then of TCG."""
    words = _WORDS.format(vcpu=VCPU, shared=SHARED, runs=figures["runs"], seconds=figures["seconds"])
    body: list[str | Plot] = [*words.splitlines()]
    for kind, title in _NAMES.items():
        samples = [one for one in figures["samples"] if one["accelerator"] == kind]
        if samples:
            body += ["", f"## {title}", "", *_of_accelerator(samples, kind)]
    return Page(body=body)


def _of_accelerator(samples: list[dict[str, Any]], kind: str) -> list[str | Plot]:
    found = groups(msgspec.convert(one, Sample) for one in samples if "refused" not in one)
    heads = ("load", "policy", *(name for name, _ in _COLUMNS), "p99 of the runs, us")
    rows = [(*key, *(median(group, value) for _, value in _COLUMNS), _range(group)) for key, group in found.items()]
    body: list[str | Plot] = [*table(heads, rows), ""]
    body += [f"- {one['load']}, {one['policy']}: did not start: {one['refused']}" for one in samples if "refused" in one]
    loads = list(dict.fromkeys(load for load, _ in found))
    body += ["Float divided by share, so that more is better for share, and what was seen in trials:", ""]
    body += [*table(("load", "what", "float / share", "in trials"), _ratios(found, loads)), ""]
    body += ["Who else ran most on the vCPU's pCPU, in ms of one run (threads that were last seen there, with all that they ran):", ""]
    body += [*table(("load", "policy", "threads"), [(*key, _instead(group[0])) for key, group in found.items()]), ""]
    for load in loads:
        body += [_percentiles(found, load, kind), ""]
    return body + _heats(found, kind)


_COLUMNS: Final[tuple[tuple[str, Value], ...]] = (
    ("late p50, us", OF_MEDIANS["late_p50_us"]),
    ("p99, us", COMPARED["p99"]),
    ("p99.9, us", OF_MEDIANS["late_p999_us"]),
    ("worst gap, ms", OF_MEDIANS["worst_gap_ms"]),
    ("stalls over 100 us, per s", COMPARED["stalls over 100 us"]),
    ("over 1 ms, per s", COMPARED["stalls over 1 ms"]),
    ("stolen, %", OF_MEDIANS["stolen_percent"]),
    ("vCPU waits, %", COMPARED["vCPU waits"]),
    ("overhead threads run, %", OF_MEDIANS["overhead_runs_percent"]),
    ("and wait, %", OF_MEDIANS["overhead_waits_percent"]),
    ("monitor p50, ms", COMPARED["monitor, median"]),
    ("p99, ms", OF_MEDIANS["monitor_p99_ms"]),
    ("cost of a disk request to the vCPU, us", lambda one: one.kick_us),
)


def _range(group: Sequence[Sample]) -> str:
    values = [COMPARED["p99"](one) or 0.0 for one in group]
    return f"{min(values):,.1f} to {max(values):,.1f}"


def _ratios(found: Mapping[tuple[str, str], Sequence[Sample]], loads: Sequence[str]) -> Iterator[tuple[object, ...]]:
    for load in loads:
        for pair, said in ((PLAIN, load), (tuple(PINFOLD), f"{load}, started by pinfold")):
            for name, divided in compared(found, load, *pair).items():
                yield said, name, divided, _TRIALS.get((said, name), "")


def _instead(one: Sample) -> str:
    return ", ".join(f"{name} {ms:,.0f}" for name, ms in one.instead) or "none"


def _percentiles(found: Mapping[tuple[str, str], Sequence[Sample]], load: str, kind: str) -> Plot:
    """How late, by percentile, with a logarithmic tail; all runs of a policy together."""
    series = []
    for (known, policy), group in found.items():
        histogram = added([late(one) for one in group])
        total = sum(histogram.values())
        if known == load and total:
            values = sorted(histogram)
            reached = accumulate(histogram[ns] for ns in values)
            x = [total / max(1, total - seen) for seen in reached]
            series.append(Series(label=policy, x=x, y=[max(ns, 10) / 1000 for ns in values]))
    ticks = ((1, "0 %"), (10, "90 %"), (100, "99 %"), (1e3, "99.9 %"), (1e4, "99.99 %"), (1e5, "99.999 %"))
    most = max((max(one.x) for one in series), default=1)  # type: ignore[type-var]
    return Plot(
        name=f"latency-{kind}-{load}",
        title=f"{_NAMES[kind]}, {load}: how late the vCPU is",
        x_label="percentile",
        y_label="us",
        log_x=True,
        log_y=True,
        series=series,
        ticks=[tick for tick in ticks if tick[0] <= most],
    )


def _heats(samples: Mapping[tuple[str, str], Sequence[Sample]], kind: str) -> list[str | Plot]:
    """The worst gap in each 20 ms of the first run under the storm: seconds across, the offset within the second down. Both policies have
    one scale of colours."""
    found: list[str | Plot] = []
    rows = 1000 // SLOT_MS
    first = {policy: group[0] for policy in PLAIN if (group := samples.get((_HEATED, policy))) and group[0].worst_us}
    gaps = [us for one in first.values() for _, us in one.worst_us]
    for policy, one in first.items():
        worst = dict(one.worst_us)
        columns = max(1, int(one.seconds))
        cells = [[worst.get(column * rows + row) for column in range(columns)] for row in range(rows)]
        heat = Heat(rows=cells, unit="worst gap, us", least=min(gaps), most=max(gaps))
        found += [
            Plot(
                name=f"latency-{kind}-heat-{policy}",
                title=f"{_NAMES[kind]}, {_HEATED}, {policy}: the worst gap of each {SLOT_MS} ms",
                x_label="second",
                y_label=f"offset in the second, x {SLOT_MS} ms",
                heat=heat,
            ),
            "",
        ]
    return found


LATENCY: Final = Subject(
    name="latency",
    title="Latency",
    measure=measure,
    page=page,
    lacks=lacks,
    limits="""\
One guest of one vCPU on two pCPUs, without an operating system: no timer ticks, no interrupts to the guest. p99.9 and the worst gap are
noise where other programs use the same pCPUs; the table of who ran instead says which. Where a ratio falls below what the trials saw,
look there first: the trials ran on a machine that did nothing else. Threads are sampled by the kernel's sums, not by its events, so a
thread that left the pCPU before the second look is counted where it went. The guest's own cost of a disk request is no gap and has its
own column.""",
)
