"""`python -m benchmarks.schedule.index_memory HOSTS alike|unlike`: how much memory the index takes in a process of its own, as JSON.

The process keeps so many hosts as the service's index does, and has decided about every kind of request, so that all that the index
remembers is there.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from benchmarks.page import Budget, table
from benchmarks.process import memory
from benchmarks.schedule.fleet import ASKS, KINDS, entry, with_own_guests
from pinfold.scheduler.decide import Conditions, decide
from pinfold.scheduler.index import MOST_UNPACKED, Index
from pinfold.scheduler.loss import shapes_of
from pinfold.scheduler.model import SchedulerSettings

BUDGET_KIB = 3.0
"""The budget of memory for each host beyond `BEYOND`."""
BEYOND: Final = 10_000
_DECISIONS: Final = 3


def measure(sizes: Sequence[int], *, alike: bool) -> list[dict[str, Any]]:
    """One process for each size, one after another."""
    found = []
    for hosts in sizes:
        print(f"memory of {hosts} hosts", flush=True)
        command = [sys.executable, "-m", "benchmarks.schedule.index_memory", str(hosts), "alike" if alike else "unlike"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found.append({"hosts": hosts, "alike": alike, **json.loads(done.stdout)})
    return found


def main(hosts: int, alike: bool) -> None:
    """Fill an index, decide, and print what this process takes in MiB."""
    index, guests, empty = Index(), 0, 0
    for number, state in enumerate(with_own_guests(hosts, alike=alike)):
        guests += len(state.ledger.claims)
        empty += not state.ledger.claims
        index.put((entry(number, state),))
    index.weigh(shapes_of([(ask.demand, 1) for ask in ASKS], version=1))
    for number in range(_DECISIONS):
        for ask in ASKS:
            decide(index, f"guest-{number}", ask.demand, Conditions(), SchedulerSettings())
    gc.collect()
    taken = memory(os.getpid())
    print(json.dumps({"guests": guests, "empty": empty, "rss": taken.rss, "peak": taken.peak}))


def budgets(rows: Sequence[Mapping[str, Any]]) -> list[Budget]:
    """The budget, of the largest fleet that is measured."""
    large = [row for row in rows if row["alike"] and row["hosts"] >= BEYOND]
    if len(large) < 2:
        return []
    what = f"memory of the index for each host from {large[0]['hosts']:,} to {large[-1]['hosts']:,}"
    return [Budget(what=what, measured=each_kib(large[0], large[-1]), bound=BUDGET_KIB, unit="KiB")]


def each_kib(small: Mapping[str, Any], large: Mapping[str, Any]) -> float:
    """The KiB of resident memory for each host that the larger fleet has more."""
    return float((large["rss"] - small["rss"]) * 1024 / (large["hosts"] - small["hosts"]))


def section(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The lines of the page."""
    if not rows:
        return ["This run did not measure it."]
    cells = []
    for kind in (True, False):
        mine = [row for row in rows if row["alike"] is kind]
        for before, row in zip([None, *mine], mine, strict=False):
            cells.append(
                (
                    row["hosts"],
                    f"{KINDS} kinds that repeat" if kind else "each filled by itself",
                    row["guests"],
                    round(100 * row["empty"] / row["hosts"]),
                    row["rss"],
                    row["peak"],
                    None if before is None else f"**{each_kib(before, row):.2f}**",
                )
            )
    heads = ("hosts", "hosts are", "guests", "empty hosts, %", "resident MiB", "peak MiB", "KiB for each host more")
    return [*_METHOD.splitlines(), "", *table(heads, cells)]


_METHOD: Final = f"""\
A process of its own for each fleet keeps its hosts in the index, as the API does, and decides about each kind of request above. Resident
is all memory of that process, Python and its libraries too, as the kernel has it. A host costs what the process of a larger fleet takes
more, divided by the hosts that it has more: the host's state with its claims, what is counted of it, and its numbers in the tables of each
kind of request. The index packs the claims of all hosts but the {MOST_UNPACKED:,} that changed last, so these cost more.

Hosts are of five shapes, some empty, the others up to full. Each guest and each claim has an id of its own. Where {KINDS} kinds of hosts
repeat, as in the decisions above, the pCPUs of guests repeat too, and the index has each such thing once. Fleets that are filled by few
flavors are like that; the last rows are of a fleet where each host was filled by itself."""


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2] == "alike")
