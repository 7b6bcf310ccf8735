"""The subject `packing`: the traces' fleet filled by every rule."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, Final

from benchmarks.packing import fill, traces
from benchmarks.packing.fill import Filled
from benchmarks.packing.traces import Shape
from benchmarks.page import Budget, table
from benchmarks.plot import Plot, Series
from benchmarks.subject import Figures, Page, Size, Subject
from pinfold.core.fit.answer import Strategy
from pinfold.scheduler.model import HostStrategy, SchedulerSettings

AROUND: Final = 3
"""How often each trace is gone through, so that the fleet fills up."""
_CHECKED: Final = 40
"""How many requests a check places."""

_LEAST_LOSS: Final = SchedulerSettings(strategy=HostStrategy.LEAST_LOSS)
RULES: dict[str, Callable[[Sequence[Shape]], Filled]] = {
    "pinfold, least-loss": lambda asked: fill.by_scheduler(asked, _LEAST_LOSS),
    "pinfold, least-loss, four replicas": lambda asked: fill.by_scheduler(asked, _LEAST_LOSS, replicas=4),
    "pinfold, least-loss, no flavors known": lambda asked: fill.by_scheduler(asked, _LEAST_LOSS, offered=False),
    "pinfold, least-loss, cells by pack": lambda asked: fill.by_scheduler(asked, _LEAST_LOSS, Strategy.PACK),
    "pinfold, pack": lambda asked: fill.by_scheduler(asked, SchedulerSettings(strategy=HostStrategy.PACK), Strategy.PACK),
    "pinfold, spread": lambda asked: fill.by_scheduler(asked, SchedulerSettings(strategy=HostStrategy.SPREAD), Strategy.PACK),
    "first fit": lambda asked: fill.by_rule(asked, fill.first_fit),
    "best fit by pCPUs": lambda asked: fill.by_rule(asked, fill.least_pcpus),
    "best fit by memory": lambda asked: fill.by_rule(asked, fill.least_memory),
    "spread by pCPUs": lambda asked: fill.by_rule(asked, fill.most_pcpus),
}
_JUDGED: Final = ("pinfold, least-loss", "pinfold, least-loss, four replicas")
MOMENTS: Final = {"first": ("at the first refusal", 5.0), "vcpus": ("in the end", 3.0)}
"""When vCPUs are counted, and by how many per cent, on average of the traces, there must be more than with first fit."""
_WORDS: Final = """\
The fleet and the traces are production data of a public cloud; [their notice](../../benchmarks/packing/traces/README.md)
says whose. Each trace is gone through {times}, requests in their order; no guest ever ends. Every vCPU is pinned, a guest of two
cells is two equal halves, and groups with their fault domains are left out. In the rows of pinfold `scheduler.decide` decides.
One process claims; four replicas take the requests in turns, and each learns of the claims of the others after 16 requests, or when it
was too late on a host. Host cells are chosen by their loss, which is the rule where the operator has set no preference, or by `pack`.
The service has a flavor for each shape of the trace; "no flavors known" is a service that knows what was requested so far.
The other rules look at all hosts in the order of the file. The bound takes the fleet for one host and lets requests be split; no rule can
reach it.

Each field has the vCPUs that were placed when the first request was refused, and in the end."""


def measure(size: Size, _seed: int) -> Figures:
    """Place the requests of each trace by each rule; `check` takes the first requests of one trace, `small` all of one.

    Rules are tried in as many processes as this one may use pCPUs, because none of the figures is a time on the wall.
    """
    names = traces.NAMES if size is Size.LONG else traces.NAMES[:1]
    bounds = {name: fill.bound(_asked(name, size)) for name in names}
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), mp_context=get_context("forkserver")) as pool:
        rows = list(pool.map(_row, *zip(*((name, rule, size) for name in names for rule in RULES), strict=True)))
    return {"around": 1 if size is Size.CHECK else AROUND, "bounds": bounds, "rows": rows}


def _asked(trace: str, size: Size) -> Sequence[Shape]:
    return traces.requests(trace)[:_CHECKED] if size is Size.CHECK else traces.requests(trace, AROUND)


def _row(trace: str, rule: str, size: Size) -> dict[str, Any]:
    print(f"{trace}: {rule}", flush=True)
    asked = _asked(trace, size)
    began = time.process_time()
    filled = RULES[rule](asked)
    return {
        "trace": trace,
        "rule": rule,
        "first": filled.first,
        "vcpus": filled.vcpus,
        "refused": filled.refused,
        "pcpus_left": filled.pcpus_left,
        "memory_left_gib": filled.memory_left_gib,
        "cpu_seconds": round(time.process_time() - began, 1),
    }


def page(figures: Figures) -> Page:
    """The tables and the plot."""
    rows, bounds = figures["rows"], figures["bounds"]
    found = {(row["rule"], row["trace"]): row for row in rows}
    rules = list(dict.fromkeys(row["rule"] for row in rows))
    placed = [[rule, *(f"{found[rule, name]['first']:,} / {found[rule, name]['vcpus']:,}" for name in bounds)] for rule in rules]
    placed.append(["bound", *(f"{bound:,}" for bound in bounds.values())])
    columns = ("trace", "rule", "refused", "pcpus_left", "memory_left_gib", "cpu_seconds")
    heads = ("trace", "rule", "requests refused", "pCPUs left", "memory left in GiB", "seconds of CPU")
    plot = Plot(
        name="packing",
        title="vCPUs placed when the first request is refused",
        x_label="trace",
        y_label="vCPUs",
        bars=True,
        series=[Series(label=rule, x=list(bounds), y=[found[rule, name]["first"] for name in bounds]) for rule in rules],
    )
    body = [
        _WORDS.format(times="once" if figures["around"] == 1 else f"{figures['around']} times"),
        "",
        *table(("vCPUs placed", *bounds), placed),
        "",
        plot,
    ]
    left = table(heads, [[row[name] for name in columns] for row in rows])
    return Page(budgets=_budgets(found, list(bounds)), body=[*body, "", "## What was left", "", *left])


def _budgets(found: Mapping[tuple[str, str], Mapping[str, Any]], names: Sequence[str]) -> list[Budget]:
    """The default beside first fit: on average of the traces, and on the trace where it is least ahead, which must not be behind."""
    budgets = []
    for rule in _JUDGED:
        for moment, (words, bound) in MOMENTS.items():
            more = [100 * (found[rule, name][moment] / found["first fit", name][moment] - 1) for name in names]
            what = f"{rule}: vCPUs {words} more than with first fit"
            budgets.append(Budget(what=f"{what}, mean of the traces", measured=statistics.mean(more), bound=bound, unit="%", least=True))
            budgets.append(Budget(what=f"{what}, least of the traces", measured=min(more), bound=0, unit="%", least=True))
    return budgets


PACKING: Final = Subject(
    name="packing",
    title="Packing",
    measure=measure,
    page=page,
    seeded=False,
    limits="""\
One fleet and three sequences of requests, without departures. A run places the same number of vCPUs each time; seconds of CPU are of one
run. Between equally good hosts a hash of the guest's id decides, and ids of other programs differ: `pinfold simulate` of the same traces
gives figures that differ by up to 2 %. It also goes on after three rounds until nothing fits, and leaves out hosts of four pCPUs or fewer.
[0013](../design/0013-least-loss.md) says what the loss of a place is.""",
)
