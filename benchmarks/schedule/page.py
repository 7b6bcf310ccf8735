"""The subject `schedule`: decisions and creates per second, on synthetic fleets without a hypervisor."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from tests.postgres import PostgreSQL, binaries

from benchmarks.page import Budget, table
from benchmarks.plot import Plot, Series
from benchmarks.schedule import creates, decisions
from benchmarks.schedule.decisions import BUDGET
from benchmarks.subject import Figures, Page, Size, Subject

CREATE_BUDGET = 0.25
"""The budget of our own CPU per create over HTTP, as a share of one bare PUT."""
RETRIES_BUDGET = 2.0
"""The budget of creates in 100 that another process overtakes."""
GROWTH_BUDGET = 1.1
"""The budget of our own CPU per create with 4 API processes on one fleet, as a multiple of that with 4 on fleets of their own."""
APART = "PostgreSQL, a fleet for each"
"""The setting in which the API processes share the machine and nothing else."""
_HOSTS: Final = (1000, 10_000, 100_000)


def measure(size: Size, _seed: int) -> Figures:
    """Creates on each database, then decisions on each fleet; a check makes no creates."""
    # Two thirds of the hosts' room: each count is created twice, by 1, 2 and 4 processes.
    rounds, count = {Size.CHECK: (3, 0), Size.SMALL: (60, 40), Size.LONG: (200, 60)}[size]
    made = _creates(count) if count else []
    kinds: list[dict[str, Any]] = []
    mixes = []
    for hosts in (20,) if size is Size.CHECK else _HOSTS:
        print(f"decisions on {hosts} hosts", flush=True)
        found, mix = decisions.measure(hosts, rounds)
        kinds += [
            {
                "hosts": hosts,
                "ask": one.ask.name,
                "taken": one.taken,
                "first_us": one.first_us,
                "p50_us": one.p50_us,
                "p99_us": one.p99_us,
            }
            for one in found
        ]
        mixes.append(asdict(mix))
    return {"rounds": rounds, "kinds": kinds, "mixes": mixes, "creates": [asdict(one) for one in made]}


def _creates(count: int) -> list[creates.Creates]:
    measured = []
    with tempfile.TemporaryDirectory() as folder:
        print("creates on SQLite", flush=True)
        where = (f"sqlite:///{folder}/pinfold.db", f"sqlite:///{folder}/placement.db")
        creates.prepare(*where)
        measured.append(creates.measure("SQLite", *where, 1, count))
    if binaries() is None:
        print("PostgreSQL is not installed: its part is left out")
        return measured
    server = PostgreSQL.start()
    try:
        where = (server.create_database(), server.create_database())
        creates.prepare(*where)
        for processes in (1, 2, 4):
            print(f"creates on PostgreSQL, {processes} at once", flush=True)
            measured.append(creates.measure("PostgreSQL", *where, processes, count))
        print("creates on PostgreSQL, 4 at once on fleets of their own", flush=True)
        places = [(server.create_database(), server.create_database()) for _ in range(4)]
        for place in places:
            creates.prepare(*place)
        measured.append(creates.measure_each(APART, places, count))
    finally:
        server.stop()
    return measured


def page(figures: Figures) -> Page:
    """The budgets, creates, kinds of requests with a plot, and the mix."""
    kinds = [
        (
            one["hosts"],
            one["ask"],
            "yes" if one["taken"] else "refused",
            one["first_us"],
            one["p50_us"],
            one["p99_us"],
            round(1e6 / one["p50_us"]),
        )
        for one in figures["kinds"]
    ]
    mixes = [(one["hosts"], round(one["per_second"]), BUDGET.get(one["hosts"]), one["load_seconds"]) for one in figures["mixes"]]
    return Page(
        budgets=_budgets(figures["mixes"], figures["creates"]),
        body=[
            *_METHOD.splitlines(),
            "",
            "## Creates",
            "",
            *_of_creates(figures["creates"]),
            "",
            "## One kind of request at a time",
            "",
            *table(("hosts", "request", "found", "first us", "p50 us", "p99 us", "decisions/s"), kinds),
            "",
            _plot(figures["kinds"]),
            "",
            "## The mix, each decision claimed in the index and given back later",
            "",
            *table(("hosts", "decisions/s", "budget", "index loaded in s"), mixes),
        ],
    )


def _budgets(mixes: Sequence[Mapping[str, Any]], made: Sequence[Mapping[str, Any]]) -> list[Budget]:
    """Each budget beside what was measured."""
    found = [
        Budget(what=f"decisions per second, {one['hosts']:,} hosts", measured=one["per_second"], bound=BUDGET[one["hosts"]], least=True)
        for one in mixes
        if one["hosts"] in BUDGET
    ]
    for one in made:
        what = f"create, {one['setting']}, {one['processes']} API process{'es' if one['processes'] > 1 else ''}"
        found.append(Budget(what=f"{what}: our own CPU as a share of one bare PUT", measured=_ratio(one), bound=CREATE_BUDGET))
        found.append(Budget(what=f"{what}: creates in 100 that write to Placement again", measured=_again(one), bound=RETRIES_BUDGET))
    return [*found, *_growth(made)]


def _growth(made: Sequence[Mapping[str, Any]]) -> list[Budget]:
    """What one fleet costs processes beside each other: our own CPU with the most of them, as a multiple of that with as many on fleets of
    their own. Figures taken before that was measured are compared with one process, as shares of a bare PUT.
    """
    apart = [one for one in made if one["setting"] == APART]
    together = [one for one in made if one["setting"] == "PostgreSQL"]
    if len(together) < 2:
        return []
    what = f"create, PostgreSQL, our own CPU with {together[-1]['processes']} API processes on one fleet as a multiple of that"
    if apart:
        growth = together[-1]["own_cpu_ms"] / apart[0]["own_cpu_ms"]
        return [Budget(what=f"{what} with as many on fleets of their own", measured=growth, bound=GROWTH_BUDGET)]
    return [
        Budget(what=f"{what} with {together[0]['processes']}", measured=_ratio(together[-1]) / _ratio(together[0]), bound=GROWTH_BUDGET)
    ]


def _again(one: Mapping[str, Any]) -> float:
    """Writes to Placement beyond one for each create, in per cent: claims that another process overtook."""
    return float(one["writes"] - 1) * 100


def _ratio(one: Mapping[str, Any]) -> float:
    """Our own CPU of a create as a share of one bare PUT."""
    return float(one["own_cpu_ms"] / one["put_cpu_ms"])


def _of_creates(made: Sequence[Mapping[str, Any]]) -> list[str]:
    if not made:
        return ["This run made none."]
    names = ("setting", "processes", "count", "per_second", "p50_ms", "p99_ms", "own_cpu_ms", "direct_cpu_ms", "put_cpu_ms")
    rows = [
        (
            *(one[name] for name in names),
            f"**{_ratio(one):.2f}**",
            round(_again(one), 1),
            round(one["statements"], 1) if "statements" in one else None,
        )
        for one in made
    ]
    return [*_CREATES.splitlines(), "", *table(_COLUMNS, rows)]


def _plot(kinds: Sequence[Mapping[str, Any]]) -> Plot:
    """A line for each kind of request over the size of the fleet."""
    series = []
    for ask in dict.fromkeys(one["ask"] for one in kinds):
        mine = [one for one in kinds if one["ask"] == ask]
        series.append(Series(label=ask, x=[one["hosts"] for one in mine], y=[one["p50_us"] for one in mine]))
    title = "CPU time of one decision, median"
    return Plot(name="schedule", title=title, x_label="hosts", y_label="us", log_x=True, log_y=True, series=series)


_METHOD: Final = """\
Decisions are CPU time of one process on synthetic fleets: a tenth of the hosts empty, the others up to full. A decision is filter, fit,
rank and choose; nothing is stored. The first decision about a kind of request looks at every host, later ones at those that changed: the
column `first` has it, the other figures leave it out."""


_CREATES: Final = """\
`POST /servers`, with authentication, to API processes of their own on 60 hosts without a hypervisor; one client asks each, one server after
another. Our own CPU is all that the process spends (HTTP server, API, scheduler, store, our client for Placement) less Placement's
application; the bare `PUT /allocations` is that application alone. Without HTTP, the same create is called in the same process. The three
take turns; figures of CPU are medians. Creates per second add up over the processes, and leave out the other two. The last columns are how
many creates in 100 write to Placement a second time, because another process was faster, and the SQL statements of a create.

More processes than processors take turns, and find the caches full of what others left. A setting apart shows what that costs: as many
processes, each with a fleet, databases and Placement of its own. What a create costs beyond it is what one fleet costs them."""

_COLUMNS: Final = (
    *("database", "API processes", "creates", "creates/s", "p50 ms", "p99 ms"),
    *("own CPU ms", "of it without HTTP", "bare PUT CPU ms", "ratio", "written again, %", "statements"),
)

SCHEDULE: Final = Subject(
    name="schedule",
    title="Scheduling",
    measure=measure,
    page=page,
    limits="""\
Hosts are synthetic and no agent starts a guest. Decisions are of one process; the rates of processes that decide side by side depend on
how often two choose the same host. The clients that create share the pCPUs with the API and the database, so rates on 2 pCPUs say little
about a larger machine; CPU for each create says more.""",
)
