"""The subject `latency`: float against share under each load, in turns."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks.page import figure, table
from benchmarks.plot import Heat, Plot, Series
from benchmarks.subject import Figures, Page, Size, Subject
from pinfold.lab.daemon import missing
from pinfold.latency.figures import COMPARED, OF_MEDIANS, Value, compared, groups, late, median, significant, who_ran
from pinfold.latency.model import FIFO, FLOAT, LOADS, PINFOLD, SHARE, NotStarted, Pcpus, Sample, Trial
from pinfold.latency.run import run
from pinfold.latency.serial import SLOT_MS, added

VCPU, SHARED = 1, 0
"""The two pCPUs."""
PLAIN: Final = (FLOAT, SHARE)
_HEATED: Final = "storm"
_NAMES: Final = {"kvm": "KVM", "qemu": "TCG"}
_WORDS: Final = """\
One guest without an operating system spins on its only vCPU, pinned to pCPU {vcpu}, and reads the time-stamp counter without pause.
Whatever keeps it from running is a *gap*; a *stall* is a gap of more than 100 us. Every 100 us the guest also notes how late it noticed
that moment. It notes every missed moment, so a long stall counts as often as it lasts (no coordinated omission).

*Overhead threads* are the threads of QEMU that are no vCPUs. With the policy *float* they may run on pCPU {vcpu} as well, which is what an
unset policy does to a guest of one vCPU; with *share* they run on pCPU {shared}. The policies take turns: float is measured before share in
one run and after it in the next. On two pCPUs `share` and `isolate` of one guest are the same placement, so `isolate` has no row. libvirtd
and the program that makes the load run on pCPU {shared} in every case.

The loads: *idle* does nothing. *storm* asks the monitor for its whole schema without pause, *statistics* asks libvirt for the guest's
statistics without pause. With *writes* the guest writes 8 blocks of 4 KiB every 2 ms, each flushed. *migration* migrates by QMP into a
file that is thrown away, again and again; the guest goes on after each, and the pause of the switch-over is among the gaps. In the rows
with FIFO the vCPU has the real-time priority 1. In the rows with *pinfold* the same domain is a template of `pinfold guest start`, which
chooses the pCPUs, with the emulator policy unset (as float) or `share`; libvirt starts the others from XML written by hand. Each figure is
the median over the runs ({runs}, of {seconds} s each).

Stalls and the vCPU's wait for a pCPU are the steady figures. A p99 below 20 us is at the edge of what is seen here, and jumps by chance:
the host's own gaps of 5 to 20 us, {short} a second with share and idle, may or may not fall on the moments at which the guest looks.
Where a figure is below what the measure can tell, no ratio is printed, but its bound: below 1 stall a second, a wait of 0.1 %, or 20 us.

A vCPU *waits* while it is ready to run and another thread has its pCPU. It is *asleep* while it neither runs nor waits: it is stopped, or
waits for a lock of QEMU. *Other programs* are all threads but the guest's; with share the vCPU has nothing else to wait for, so what it
waits is what they ran. With FIFO neither is told, and the cell is empty. Waits of several threads add up, and so exceed 100 % where more
than one waits. With FIFO a vCPU never yields, so the kernel stops it for 50 ms of each second (`kernel.sched_rt_runtime_us`, by default
950,000): gaps of 50 ms in its rows, under either policy, are as long as that. Lateness is counted in buckets, each an eighth as wide as its
power of two. A percentile is given as the start of its bucket, so the true one is up to 12.5 % higher. A cell of a heat map without a
colour had no gap, or the run had ended."""
_TCG: Final = """\
TCG is QEMU's own emulation of a processor, for hosts without `/dev/kvm`, such as many virtual machines of a cloud. It is measured because
such a host has the same policies, and because it shows which gaps are of QEMU and not of KVM.

Under the storm an emulated vCPU may have longer stalls with share than with float, though fewer, and so a higher p99. The cause is
QEMU's global lock, and no other thread on the pCPU: with share the vCPU hardly waits for its pCPU, but it is asleep. An emulated vCPU
takes that lock when an interrupt is pending, and the main thread of QEMU holds it while it answers the monitor. With share the main
thread does not compete with the vCPU for a pCPU, so it runs, and holds the lock, for more of the time.

The evidence was taken by hand in one round of 4 s with share and QEMU 7.2, so it is not among the raw figures. Of 3,510 looks at the
vCPU's thread 997 found it asleep on a futex. Each time that lock was owned by the main thread, which was running in 996 of them. A
debugger stopped such a guest 3 times: the vCPU was in `qemu_mutex_lock_iothread_impl`, called by `cpu_exec`, while the main thread wrote
or freed its answer. With KVM none of 3,830 looks found the vCPU asleep."""
_DIVIDED: Final = """\
More is better for share."""
_FIRST: Final = """\
The last column has what the first sketches of this benchmark saw, on another machine that did nothing else; their raw figures were not
kept, so only the ratios can be compared. Where one is below theirs, look at what it is divided by. With share the guest's own overhead
threads cannot run on the vCPU's pCPU. So it waits for other programs alone, which the tables of who else ran name, and stalls for those,
for gaps of the host and for the pauses of a migration: that says more about the machine than about the policy."""
_WHO: Final = """\
Threads that were last seen on the vCPU's pCPU, and for how many per cent of the time they ran, in all runs together. What they ran on
another pCPU is in it, and threads of one name are added up. What ran for less than 0.1 % is left out."""
_SKETCHED: Final = {
    ("storm", "lateness p99"): "45x",
    ("storm", "stalls over 1 ms"): "289x",
    ("storm, started by pinfold", "vCPU waits"): "11.6x",
    ("statistics", "stalls over 100 us"): "29x",
    ("statistics", "vCPU waits"): "23x",
    ("writes", "vCPU waits"): "8x",
}
"""What the first sketches of this benchmark saw, as float / share."""


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
    found = groups(_measured(figures["samples"], "kvm") or _measured(figures["samples"], "qemu"))
    words = _WORDS.format(vcpu=VCPU, shared=SHARED, runs=figures["runs"], seconds=figures["seconds"], short=_short(found))
    body: list[str | Plot] = [*words.splitlines()]
    for kind, title in _NAMES.items():
        samples = [one for one in figures["samples"] if one["accelerator"] == kind]
        if samples:
            body += ["", f"## {title}", "", *_of_accelerator(samples, kind)]
    return Page(body=body)


def _measured(samples: Sequence[dict[str, Any]], kind: str) -> list[Sample]:
    return [msgspec.convert(one, Sample) for one in samples if one["accelerator"] == kind and "refused" not in one]


def _short(found: Mapping[tuple[str, str], Sequence[Sample]]) -> str:
    """How many gaps of 5 to 20 us there are in a second with share and idle."""
    often = median(found.get(("idle", SHARE), ()), lambda one: sum(n for ns, n in one.gaps if 5_000 <= ns < 20_000) / one.seconds)
    return "some" if often is None else figure(round(often))


def _of_accelerator(samples: list[dict[str, Any]], kind: str) -> list[str | Plot]:
    found = groups(_measured(samples, kind))
    body: list[str | Plot] = [*_TCG.splitlines(), ""] if kind == "qemu" else []
    for title, columns in _TABLES.items():
        rows = [(*key, *(value(group) for value in columns.values())) for key, group in found.items()]
        body += [f"### {title}", "", *table(("load", "policy", *columns), rows), ""]
    refused = dict.fromkeys(f"- {one['load']}, {one['policy']}: did not start: {one['refused']}" for one in samples if "refused" in one)
    body += [*refused, ""] if refused else []
    loads = list(dict.fromkeys(load for load, _ in found))
    body += ["### Float divided by share", "", *_DIVIDED.splitlines()]
    if kind == "kvm":
        body += [*_FIRST.splitlines(), ""]
        rows = [(said, what, divided, _SKETCHED.get((said, what), "")) for said, what, divided in _ratios(found, loads)]
        body += [*table(("load", "what", "float / share", "in the first sketches"), rows), ""]
    else:
        body += ["", *table(("load", "what", "float / share"), _ratios(found, loads)), ""]
    body += [f"### Who else ran on pCPU {VCPU}", ""]
    body += [*_WHO.splitlines(), ""]
    body += [*table(("load", "policy", "threads"), [(*key, _instead(group)) for key, group in found.items()]), ""]
    for load in loads:
        body += [_percentiles(found, load, kind), ""]
    return body + _heats(found, kind)


Cell = Callable[[Sequence[Sample]], object]
"""A cell of a table, of the runs of one load and policy."""


def _median(value: Value) -> Cell:
    return lambda group: median(group, value)


def _share_of_time(value: Value) -> Cell:
    """The median; below 1 % the kernel's sums, which it adds up at its ticks, do not tell it from nothing."""

    def cell(group: Sequence[Sample]) -> object:
        found = median(group, value)
        return "below 1" if found is not None and found < 1 else found

    return cell


def _range(value: Value) -> Cell:
    def cell(group: Sequence[Sample]) -> object:
        values = [value(one) or 0.0 for one in group]
        return f"{figure(min(values))} to {figure(max(values))}"

    return cell


_TABLES: Final[Mapping[str, Mapping[str, Cell]]] = {
    "Stalls, and what the vCPU waits for": {
        "stalls over 1 ms, each second": _median(COMPARED["stalls over 1 ms"]),
        "of the runs, lowest to highest": _range(COMPARED["stalls over 1 ms"]),
        "stalls over 100 us, each second": _median(COMPARED["stalls over 100 us"]),
        "vCPU waits for its pCPU, % of the time": _median(COMPARED["vCPU waits"]),
        "vCPU is asleep, % of the time": _share_of_time(OF_MEDIANS["vcpu_asleep_percent"]),
        "other programs run on its pCPU, % of the time": _median(OF_MEDIANS["others_percent"]),
        "all gaps together, % of the time": _median(OF_MEDIANS["stolen_percent"]),
    },
    "How late the vCPU is": {
        "lateness p50, us": _median(OF_MEDIANS["late_p50_us"]),
        "lateness p99, us": _median(COMPARED["lateness p99"]),
        "lateness p99 of the runs, lowest to highest, us": _range(COMPARED["lateness p99"]),
        "lateness p99.9, us": _median(OF_MEDIANS["late_p999_us"]),
        "longest gap, ms": _median(OF_MEDIANS["worst_gap_ms"]),
    },
    "Overhead threads and what they do": {
        "overhead threads run, % of the time": _median(OF_MEDIANS["overhead_runs_percent"]),
        "overhead threads wait for a pCPU, % of the time": _median(OF_MEDIANS["overhead_waits_percent"]),
        "monitor answers, p50, ms": _median(COMPARED["monitor median"]),
        "monitor answers, p99, ms": _median(OF_MEDIANS["monitor_p99_ms"]),
        "vCPU's own time to hand over a disk request, us": _median(lambda one: one.kick_us),
    },
}
"""By title, the columns of a table: the head and the cell."""


def _ratios(found: Mapping[tuple[str, str], Sequence[Sample]], loads: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    for load in loads:
        for pair, said in ((PLAIN, load), (tuple(PINFOLD), f"{load}, started by pinfold")):
            for name, divided in compared(found, load, *pair).items():
                yield said, name, divided


def _instead(group: Sequence[Sample]) -> str:
    return ", ".join(f"{name} {significant(percent, 2)}" for name, percent in who_ran(group)) or "none"


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
    seeded=False,
    limits="""\
One guest of one vCPU on two pCPUs, without an operating system: no timer ticks, no interrupts to the guest. p99.9 and the longest gap are
noise where other programs use the same pCPUs; the columns and the tables of who else ran say how much. Threads are sampled by the kernel's
sums, not by its events: a thread that left the pCPU before the second look is counted where it went, and one that ended is not counted,
such as those of a migration. With FIFO and float the vCPU keeps QEMU from telling that a round has begun, so what its threads ran and
waited is in part of up to a second after the round. The vCPU's own time to hand over a disk request is no gap and has its own column.
One guest has the overhead pCPU for itself here. What many guests do to each other's overhead threads there is on
[the page of consolidation](consolidation.md); how much of that reaches a vCPU was not measured.""",
)
