"""The subject `memory`: how much memory an API process with an embedded Placement takes for a fleet."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

from benchmarks.memory.run import filled_api, used
from benchmarks.page import Budget, table
from benchmarks.plot import Plot, Series
from benchmarks.subject import Figures, Page, Size, Subject

BOUND_MIB = 300
"""The budget of an API with an embedded Placement and 1,000 hosts."""

_METHOD: Final = """\
One `pinfold api` process with Placement embedded, on SQLite, with {hosts:,} registered hosts of five shapes (64 to 96 pCPUs, empty to four
tenths full) and {guests:,} guests, each with its claim and its allocation. It is used as below, one thing after the other; the figures are
the kernel's after each. Resident counts against the budget: all its pages, shared libraries included. Proportional is less where another
process shares them."""


def measure(size: Size, _seed: int) -> Figures:
    """Fill a fleet, serve it, and use it."""
    hosts, creates = {Size.CHECK: (5, 1), Size.SMALL: (200, 20), Size.LONG: (1000, 50)}[size]
    with filled_api(hosts) as (made, process, _):
        rows = [{"after": what, **asdict(memory)} for what, memory in used(process, made.agents, creates)]
    return {"hosts": hosts, "guests": made.guests, "creates": creates, "rows": rows}


def page(figures: Figures) -> Page:
    """The budget, the table, and bars of it."""
    rows, hosts = figures["rows"], figures["hosts"]
    worst = max(row["rss"] for row in rows)
    places = [str(place + 1) for place in range(len(rows))]
    return Page(
        budgets=[
            Budget(what=f"API with embedded Placement, {hosts:,} hosts: resident", measured=worst, bound=BOUND_MIB, unit="MiB"),
        ],
        body=[
            *_METHOD.format(**{name: figures[name] for name in ("hosts", "guests", "creates")}).splitlines(),
            "",
            *table(
                ("step", "after", "resident MiB", "proportional MiB", "peak MiB"),
                [(place, row["after"], row["rss"], row["pss"], row["peak"]) for place, row in zip(places, rows, strict=True)],
            ),
            "",
            Plot(
                name="memory",
                title="Resident memory after each step of the table",
                x_label="step",
                y_label="MiB",
                bars=True,
                series=[Series(label="resident", x=places, y=[row["rss"] for row in rows])],
            ),
        ],
    )


MEMORY: Final = Subject(
    name="memory",
    title="Memory of the API",
    measure=measure,
    page=page,
    seeded=False,
    limits="""\
One process, used for minutes, by one client at a time. More clients at once have more requests in memory, and a Placement outside the
process takes most of the memory with it. Figures of a small run are of 200 hosts and say nothing about the budget of 1,000.""",
)
