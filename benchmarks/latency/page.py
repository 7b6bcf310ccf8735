"""The subject `latency`: float against share under each load, in turns."""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import libvirt

from benchmarks.latency.loads import LOADS
from benchmarks.latency.measure import PINFOLD, SHARED, VCPU, NotStarted, Order, Rig
from benchmarks.latency.serial import SLOT_MS, Histogram, added, over, quantile
from benchmarks.page import table
from benchmarks.plot import Heat, Plot, Series
from benchmarks.subject import Figures, Page, Size, Subject
from pinfold.lab.daemon import LabHost, missing

PLAIN: Final = ("float", "share")
FIFO: Final = ("float, FIFO", "share, FIFO")
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
median over the runs ({runs}, of {seconds} s each); the last column has the least and the most p99 of a run."""
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
    seconds, runs = {Size.CHECK: (0.5, 1), Size.SMALL: (4.0, 2), Size.LONG: (15.0, 3)}[size]
    names = ("storm",) if size is Size.CHECK else tuple(LOADS)
    samples = []
    with _on(SHARED), tempfile.TemporaryDirectory(prefix="pf-latency-") as folder:
        Path(folder).chmod(0o711)
        with LabHost(f"latency{os.getpid()}", cgroups=False) as lab:
            rig = Rig(lab, Path(folder))
            try:
                for kind in kinds[:1] if size is Size.CHECK else kinds:
                    for load in names:
                        policies = _policies(size, load)
                        samples += list(_turns(rig, kind, load, policies, seconds, runs))
            finally:
                rig.close()
    return {"seconds": seconds, "runs": runs, "samples": samples}


def _policies(size: Size, load: str) -> tuple[str, ...]:
    if size is Size.CHECK:
        return (*PLAIN, "pinfold, share")
    return (*PLAIN, *(FIFO if load in ("idle", _HEATED) else ()), *(PINFOLD if load == _HEATED else ()))


@contextmanager
def _on(pcpu: int) -> Iterator[None]:
    """This process, and what it starts, runs on that pCPU; afterwards where it ran before."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {pcpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _turns(rig: Rig, kind: str, load: str, policies: Sequence[str], seconds: float, runs: int) -> Iterator[dict[str, Any]]:
    for run in range(runs):
        for policy in policies if run % 2 == 0 else policies[::-1]:
            print(f"{_NAMES[kind]}, {load}, {policy}, run {run + 1} of {runs}", flush=True)
            order = Order(accelerator=kind, load=load, policy=policy, seconds=seconds)
            try:
                found = rig.measure(order)
            except (libvirt.libvirtError, NotStarted) as error:
                yield {"accelerator": kind, "load": load, "policy": policy, "run": run, "refused": str(error)}
                continue
            if run or load != _HEATED:
                found["worst_us"] = []  # one map of each policy is enough
            yield {**found, "run": run}


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
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in samples:
        if "refused" not in one:
            groups.setdefault((one["load"], one["policy"]), []).append(one)
    heads = ("load", "policy", *(name for name, _ in _COLUMNS), "p99 of the runs, us")
    rows = [(*key, *(_median(group, value) for _, value in _COLUMNS), _range(group)) for key, group in groups.items()]
    body: list[str | Plot] = [*table(heads, rows), ""]
    body += [f"- {one['load']}, {one['policy']}: did not start: {one['refused']}" for one in samples if "refused" in one]
    loads = list(dict.fromkeys(load for load, _ in groups))
    body += ["Float divided by share, so that more is better for share, and what was seen in trials:", ""]
    body += [*table(("load", "what", "float / share", "in trials"), _ratios(groups, loads)), ""]
    body += ["Who else ran most on the vCPU's pCPU, in ms of one run (threads that were last seen there, with all that they ran):", ""]
    body += [*table(("load", "policy", "threads"), [(*key, _instead(group[0])) for key, group in groups.items()]), ""]
    for load in loads:
        body += [_percentiles(groups, load, kind), ""]
    return body + _heats(groups, kind)


Value = Callable[[dict[str, Any]], float | None]


def _late(one: dict[str, Any]) -> Histogram:
    return dict(one["late"])


def _late_us(share: float) -> Value:
    return lambda one: quantile(_late(one), share) / 1000


def _stalls(ns: int) -> Value:
    return lambda one: over(dict(one["gaps"]), ns) / one["seconds"]


def _answer_ms(share: float) -> Value:
    return lambda one: (
        one["monitor_ms"][min(len(one["monitor_ms"]) - 1, int(share * len(one["monitor_ms"])))] if one["monitor_ms"] else None
    )


_VALUES: Final[dict[str, Value]] = {
    "p99": _late_us(0.99),
    "stalls over 100 us": _stalls(100_000),
    "stalls over 1 ms": _stalls(1_000_000),
    "vCPU waits": lambda one: one["vcpu"]["wait_percent"],
    "monitor, median": _answer_ms(0.5),
}
_COLUMNS: Final[tuple[tuple[str, Value], ...]] = (
    ("late p50, us", _late_us(0.5)),
    ("p99, us", _VALUES["p99"]),
    ("p99.9, us", _late_us(0.999)),
    ("worst gap, ms", lambda one: one["gap_max_ns"] / 1e6),
    ("stalls over 100 us, per s", _VALUES["stalls over 100 us"]),
    ("over 1 ms, per s", _VALUES["stalls over 1 ms"]),
    ("stolen, %", lambda one: one["stolen_us"] / one["seconds"] / 1e4),
    ("vCPU waits, %", _VALUES["vCPU waits"]),
    ("overhead threads run, %", lambda one: one["overhead"]["run_percent"]),
    ("and wait, %", lambda one: one["overhead"]["wait_percent"]),
    ("monitor p50, ms", _VALUES["monitor, median"]),
    ("p99, ms", _answer_ms(0.99)),
    ("cost of a disk request to the vCPU, us", lambda one: one["kick_us"]),
)


def _median(group: Sequence[dict[str, Any]], value: Value) -> float | None:
    found = [number for number in map(value, group) if number is not None]
    return statistics.median(found) if found else None


def _range(group: Sequence[dict[str, Any]]) -> str:
    values = [_VALUES["p99"](one) or 0.0 for one in group]
    return f"{min(values):,.1f} to {max(values):,.1f}"


def _ratios(groups: dict[tuple[str, str], list[dict[str, Any]]], loads: Sequence[str]) -> Iterator[tuple[object, ...]]:
    for load in loads:
        for pair, said in ((PLAIN, load), (tuple(PINFOLD), f"{load}, started by pinfold")):
            sides = [groups.get((load, policy)) for policy in pair]
            if sides[0] is None or sides[1] is None:
                continue
            for name, value in _VALUES.items():
                float_, share = _median(sides[0], value), _median(sides[1], value)
                ratio = f"{float_ / share:.1f}" if float_ and share else f"{float_ or 0:.3g} / {share or 0:.3g}"
                yield said, name, ratio, _TRIALS.get((said, name), "")


def _instead(one: dict[str, Any]) -> str:
    return ", ".join(f"{name} {ms:,.0f}" for name, ms in one["instead"]) or "none"


def _percentiles(groups: dict[tuple[str, str], list[dict[str, Any]]], load: str, kind: str) -> Plot:
    """How late, by percentile, with a logarithmic tail; all runs of a policy together."""
    series = []
    for (known, policy), group in groups.items():
        histogram = added([_late(one) for one in group])
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


def _heats(groups: dict[tuple[str, str], list[dict[str, Any]]], kind: str) -> list[str | Plot]:
    """The worst gap in each 20 ms of the first run under the storm: seconds across, the offset within the second down."""
    found: list[str | Plot] = []
    rows = 1000 // SLOT_MS
    for policy in PLAIN:
        group = groups.get((_HEATED, policy))
        worst = dict(map(tuple, group[0]["worst_us"])) if group else {}
        if not group or not worst:
            continue
        columns = max(1, int(group[0]["seconds"]))
        heat = Heat(rows=[[worst.get(column * rows + row) for column in range(columns)] for row in range(rows)], unit="worst gap, us")
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
