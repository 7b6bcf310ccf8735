"""`python -m benchmarks.packing.run`: fill the traces' fleet by every rule, write docs/benchmarks/packing.md."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.packing import fill, traces
from benchmarks.packing.fill import Filled
from benchmarks.packing.traces import Shape
from benchmarks.page import PAGES, publish, table
from pinfold.scheduler.model import HostStrategy, SchedulerSettings

AROUND = 3
"""How often each trace is gone through, so that the fleet fills up."""

RULES: dict[str, Callable[[Sequence[Shape]], Filled]] = {
    "pinfold, pack": lambda asked: fill.by_scheduler(asked, SchedulerSettings(strategy=HostStrategy.PACK)),
    "pinfold, least-loss": lambda asked: fill.by_scheduler(asked, SchedulerSettings(strategy=HostStrategy.LEAST_LOSS)),
    "pinfold, least-loss, cells too": lambda asked: fill.by_scheduler(asked, SchedulerSettings(strategy=HostStrategy.LEAST_LOSS), None),
    "pinfold, spread": lambda asked: fill.by_scheduler(asked, SchedulerSettings(strategy=HostStrategy.SPREAD)),
    "first fit": lambda asked: fill.by_rule(asked, fill.first_fit),
    "best fit by pCPUs": lambda asked: fill.by_rule(asked, fill.least_pcpus),
    "best fit by memory": lambda asked: fill.by_rule(asked, fill.least_memory),
    "spread by pCPUs": lambda asked: fill.by_rule(asked, fill.most_pcpus),
}
_WORDS = """The fleet and the three traces are production data of a public cloud; [their notice](../../benchmarks/packing/traces/README.md)
says whose. Each trace is gone through {around} times, requests in their order; no guest ever ends. Every vCPU is pinned, a guest of two
cells is two equal halves, and groups with their fault domains are left out. In the rows of pinfold `scheduler.decide` decides, and one
process claims. Host cells are chosen by `pack`; in the row "cells too" by their loss, which is the rule where the operator has set no
preference among host cells. The other rules look at all hosts in the order of the file. The bound takes the fleet for one host and lets
requests be split; no rule can reach it.

Each field has the vCPUs that were placed when the first request was refused, and in the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one rule made of one trace."""

    trace: str
    rule: str
    filled: Filled
    seconds: float


def main() -> int:
    """Run everything and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.packing.run", description="Fill a fleet from production traces.")
    parser.add_argument("--traces", nargs="*", default=list(traces.NAMES), choices=traces.NAMES)
    parser.add_argument("--rules", nargs="*", default=list(RULES), choices=list(RULES))
    parser.add_argument("--around", type=int, default=AROUND)
    parser.add_argument("--folder", type=Path, default=PAGES, help="where the page is written")
    asked = parser.parse_args()
    rows = [_row(trace, rule, asked.around) for trace in asked.traces for rule in asked.rules]
    return publish("packing", "Packing", "make bench-packing", [], body(rows, asked.around), folder=asked.folder)


def _row(trace: str, rule: str, around: int) -> Row:
    print(f"{trace}: {rule}", flush=True)
    began = time.process_time()
    filled = RULES[rule](traces.requests(trace, around))
    return Row(trace=trace, rule=rule, filled=filled, seconds=time.process_time() - began)


def body(rows: Sequence[Row], around: int) -> list[str]:
    """The tables of the page."""
    names = list(dict.fromkeys(row.trace for row in rows))
    found = {(row.rule, row.trace): row.filled for row in rows}
    rules = list(dict.fromkeys(row.rule for row in rows))
    placed = [[rule, *(f"{found[rule, name].first:,} / {found[rule, name].vcpus:,}" for name in names)] for rule in rules]
    placed.append(["bound", *(f"{fill.bound(traces.requests(name, around)):,}" for name in names)])
    rest = [
        [row.trace, row.rule, row.filled.refused, row.filled.pcpus_left, row.filled.memory_left_gib, round(row.seconds, 1)] for row in rows
    ]
    heads = ("trace", "rule", "requests refused", "pCPUs left", "memory left in GiB", "seconds of CPU")
    return [_WORDS.format(around=around), "", *table(("vCPUs placed", *names), placed), "", "## What was left", "", *table(heads, rest)]


if __name__ == "__main__":
    sys.exit(main())
