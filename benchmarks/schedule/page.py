"""The subject `schedule`: decisions and creates per second, on synthetic fleets without a hypervisor."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from tests.postgres import PostgreSQL, binaries

from benchmarks.page import Budget, table
from benchmarks.plot import Plot, Series
from benchmarks.schedule import creates, decisions, index_memory, multi_create
from benchmarks.schedule.creates import Setting
from benchmarks.schedule.decisions import BUDGET, P99_BUDGET_MS, REFUSAL_BUDGET_MS
from benchmarks.schedule.multi_create import MultiCreates
from benchmarks.subject import Figures, Page, Size, Subject

CREATE_BUDGET = 0.25
"""The budget of our own CPU per create over HTTP, as a share of one bare PUT."""
RETRIES_BUDGET = 2.0
"""The budget of creates in 100 that another process overtakes."""
GROWTH_BUDGET = 1.1
"""The budget of our own CPU per create with 4 API processes on one fleet, as a multiple of that with 4 on fleets of their own."""
_POSTGRESQL: Final = "PostgreSQL"
_LARGE: Final = "PostgreSQL, a large fleet"
APART = "PostgreSQL, a fleet for each"
"""The setting in which the API processes share the machine and nothing else."""
_HOSTS: Final = (1000, 10_000, 100_000)
_MANY_HOSTS: Final = {Size.SMALL: 1_000, Size.LONG: 10_000}
"""Creates are measured with so many hosts, too."""
_SERVERS: Final = 100
"""So many servers are created by one body, and on a check `_FEW_SERVERS`."""
_FEW_SERVERS: Final = 3
_SINGLES: Final = 10
"""So many single creates stand beside each body."""


def measure(size: Size, _seed: int) -> Figures:
    """Creates on each database, then decisions on each fleet and the memory of its index; a check makes one body and no other creates."""
    # Two thirds of the hosts' room: each count is created twice, by 1, 2 and 4 processes.
    rounds, count, bodies = {Size.CHECK: (3, 0, 0), Size.SMALL: (60, 30, 1), Size.LONG: (200, 60, 5)}[size]
    made, several = _creates(count, bodies, _MANY_HOSTS[size]) if count else ([], _one_body())
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
    return {
        "rounds": rounds,
        "kinds": kinds,
        "mixes": mixes,
        "creates": [asdict(one) for one in made],
        "multi_creates": [asdict(one) for one in several],
        "memory": _memory(size),
    }


def _memory(size: Size) -> list[dict[str, Any]]:
    alike = {Size.CHECK: (10,), Size.SMALL: (10_000, 30_000), Size.LONG: (10_000, 30_000, 100_000)}[size]
    unlike = (10_000, 20_000) if size is Size.LONG else ()
    return [*index_memory.measure(alike, alike=True), *index_memory.measure(unlike, alike=False)]


def _one_body() -> list[MultiCreates]:
    """A body for a few servers on a host or two."""
    with tempfile.TemporaryDirectory() as folder:
        where = (f"sqlite:///{folder}/pinfold.db", f"sqlite:///{folder}/placement.db")
        creates.prepare(*where, multi_create.hosts_needed(_FEW_SERVERS, 1, 1))
        return [multi_create.measure("SQLite", where, _FEW_SERVERS, rounds=1, singles=1)]


def _creates(count: int, bodies: int, many_hosts: int) -> tuple[list[creates.Creates], list[MultiCreates]]:
    """So many creates of each process, one run of them on a fleet of many hosts; and so many bodies for many servers, which go to hosts of
    which the creates have left half free.
    """
    measured, several = [], []
    with tempfile.TemporaryDirectory() as folder:
        print("creates on SQLite", flush=True)
        where = (f"sqlite:///{folder}/pinfold.db", f"sqlite:///{folder}/placement.db")
        creates.prepare(*where)
        measured += creates.measure([Setting(name="SQLite", places=[where])], count)
        print(f"{_SERVERS} servers in one body on SQLite", flush=True)
        several.append(multi_create.measure("SQLite", where, _SERVERS, bodies, _SINGLES))
    if binaries() is None:
        print("PostgreSQL is not installed: its part is left out")
        return measured, several
    server = PostgreSQL.start()
    try:
        prepared = (server.create_database(), server.create_database())
        creates.prepare(*prepared)
        where, *places = [(server.create_database(prepared[0]), server.create_database(prepared[1])) for _ in range(5)]
        large = (server.create_database(prepared[0]), server.create_database(prepared[1]))
        creates.enlarge(*large, many_hosts)
        for settings in (
            [Setting(name=_POSTGRESQL, places=[where]), Setting(name=_LARGE, places=[large], hosts=many_hosts)],
            [Setting(name=_POSTGRESQL, places=[where] * 2)],
            [Setting(name=_POSTGRESQL, places=[where] * 4), Setting(name=APART, places=places)],
        ):
            print(" in turns with ".join(f"creates on {one.name}, {len(one.places)} at once" for one in settings), flush=True)
            measured += creates.measure(settings, count)
        print(f"{_SERVERS} servers in one body on PostgreSQL", flush=True)
        several.append(multi_create.measure("PostgreSQL", places[0], _SERVERS, bodies, _SINGLES))
    finally:
        server.stop()
    return measured, several


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
    mixes = [
        (one["hosts"], round(one["per_second"]), BUDGET.get(one["hosts"]), *(one.get(name) for name in _TIMED), one["load_seconds"])
        for one in figures["mixes"]
    ]
    several, remembered = figures.get("multi_creates", ()), figures.get("memory", ())
    return Page(
        budgets=[
            *_of_decisions(figures["mixes"], figures["kinds"]),
            *index_memory.budgets(remembered),
            *multi_create.budgets(several),
            *_budgets(figures["creates"]),
        ],
        body=[
            *_METHOD.splitlines(),
            "",
            "## Creates",
            "",
            *_of_creates(figures["creates"]),
            "",
            "## Many servers in one body",
            "",
            *multi_create.section(several),
            "",
            "## One kind of request at a time",
            "",
            *table(("hosts", "request", "found", "first us", "p50 us", "p99 us", "decisions/s"), kinds),
            "",
            _plot(figures["kinds"]),
            "",
            "## The mix, each decision claimed in the index and given back later",
            "",
            *_MIX.splitlines(),
            _JUDGED_HERE if any("p99_us" in one for one in figures["mixes"]) else _JUDGED_THERE,
            "",
            *table(_MIX_COLUMNS, mixes),
            "",
            "## Memory of the index",
            "",
            *index_memory.section(remembered),
        ],
    )


def _of_decisions(mixes: Sequence[Mapping[str, Any]], kinds: Sequence[Mapping[str, Any]]) -> list[Budget]:
    """The budgets of decisions. Where single decisions of the mix were not timed, the slowest kind alone is judged."""
    found = []
    for one in mixes:
        hosts = one["hosts"]
        mine = [kind for kind in kinds if kind["hosts"] == hosts]
        slowest = max((kind["p99_us"] for kind in mine), default=None)
        refused = max((kind["p99_us"] for kind in mine if not kind["taken"]), default=None)
        if hosts in BUDGET:
            found.append(Budget(what=f"decisions per second, {hosts:,} hosts", measured=one["per_second"], bound=BUDGET[hosts], least=True))
            found += _in_ms(f"p99 of a decision, {hosts:,} hosts", one.get("p99_us", slowest), P99_BUDGET_MS)
        if hosts in REFUSAL_BUDGET_MS:
            found += _in_ms(f"p99 of a refusal, {hosts:,} hosts", one.get("refused_p99_us", refused), REFUSAL_BUDGET_MS[hosts])
    return found


def _in_ms(what: str, measured_us: float | None, bound: float) -> list[Budget]:
    return [] if measured_us is None else [Budget(what=what, measured=measured_us / 1000, bound=bound, unit="ms")]


def _budgets(made: Sequence[Mapping[str, Any]]) -> list[Budget]:
    """The budgets of single creates."""
    found = []
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
    together = [one for one in made if one["setting"] == _POSTGRESQL]
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
    names = ("setting", "processes", "hosts", "count", "per_second", "p50_ms", "p99_ms", "own_cpu_ms", "direct_cpu_ms", "put_cpu_ms")
    rows = [
        (
            *(one.get(name, creates.HOSTS) for name in names),
            f"**{_ratio(one):.2f}**",
            round(_again(one), 1),
            round(one["statements"], 1) if "statements" in one else None,
        )
        for one in made
    ]
    turn = max([one.get("turn", 1) for one in made], default=1)
    told = _CREATES.format(
        turns=_ONE_EACH if turn == 1 else _SOME_EACH.format(turn=turn),
        alternating=_ALTERNATING.format(turn=turn) if any(one["setting"] == _LARGE for one in made) else _APART_LATER,
        meter=_BY_DRIVER if all(one.get("counted_by_driver") for one in made) else _BY_EVENT,
    )
    return [*told.splitlines(), "", *table(_COLUMNS, rows)]


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
column `first` has it. A process makes it once for each flavor after its start, and again when more than 64 kinds of requests were asked for
meanwhile or the common shapes of the fleet were counted anew. So it is in no budget and in no other figure."""
_MIX: Final = """\
All kinds in turn. Each decision that found a host is claimed in the index, and given back 20 claims later, so every decision finds hosts
that have changed since the last one about its kind. Decisions per second count the claims too. The reasons of a refusal are found when
somebody reads them, and are in no figure."""
_JUDGED_HERE: Final = "The budgets of the p99 of one decision and of one refusal are judged here."
_JUDGED_THERE: Final = (
    "This run did not time single decisions of the mix; the budgets of p99 are judged by the slowest kind in the table above."
)
_MIX_COLUMNS: Final = (
    "hosts",
    "decisions/s",
    "budget",
    "a decision, p50 us",
    "a decision, p99 us",
    "a refusal, p50 us",
    "a refusal, p99 us",
    "index loaded in s",
)
_TIMED: Final = ("p50_us", "p99_us", "refused_p50_us", "refused_p99_us")


_CREATES: Final = """\
`POST /servers`, with authentication, to API processes of their own on hosts without guests and without a hypervisor; one client asks each,
one server after another. Our own CPU is all that the process spends (HTTP server, API, scheduler, store, our client for Placement) less
Placement's application; the bare `PUT /allocations` is that application alone. Without HTTP, the same create is called in the same process.
{turns}
Creates per second add up over the processes, and leave out what takes turns with them. The last columns are how many creates in 100 write
to Placement a second time, because another process was faster, and the SQL statements of a create.
{meter}

More processes than processors take turns, and find the caches full of what others left. A setting apart shows what that costs: as many
processes, each with a fleet, databases and Placement of its own.
{alternating}
What a create costs beyond it is what one fleet costs them: each process reads what the others claim, counts the hosts that this changes,
and where several meet on one host, all but one are fitted again.
[0064](../design/0064-what-a-create-pays-for-others.md) has the parts."""

_ALTERNATING: Final = "Both take turns, {turn} creates of each process. So do one process on few hosts and one on many."
_APART_LATER: Final = "This run measured it after the others, at another moment of the machine."
_BY_DRIVER: Final = "The meter counts statements where the driver is called: one Python call for each, which is in our figures."
_BY_EVENT: Final = """\
The meter counted statements by an event of SQLAlchemy, some twenty Python calls for each. They are in our figures, as the service's own."""
_ONE_EACH: Final = """\
Creates over HTTP, creates without it and bare PUTs take turns, one of each; figures of CPU are medians. A process looks at the hosts at
most twice a second. The time of the others lets nearly every create of several processes pay for such a look, but few of those of one."""
_SOME_EACH: Final = """\
Creates over HTTP, creates without it and bare PUTs take turns, {turn} of each, and all processes are at the same of them. Figures of CPU
are medians of the means of {turn}: a process looks at the hosts at most twice a second, so the longer creates take, the more of them pay
for a look."""

_COLUMNS: Final = (
    *("database", "API processes", "hosts", "creates", "creates/s", "p50 ms", "p99 ms"),
    *("own CPU ms", "of it without HTTP", "bare PUT CPU ms", "ratio", "written again, %", "statements"),
)

SCHEDULE: Final = Subject(
    name="schedule",
    title="Scheduling",
    measure=measure,
    page=page,
    seeded=False,
    limits="""\
Hosts are synthetic and no agent starts a guest. Decisions are of one process; the rates of processes that decide side by side depend on
how often two choose the same host. The clients that create share the pCPUs with the API and the database, so rates on 2 pCPUs say little
about a larger machine; CPU for each create says more.""",
)
