"""The subject `agents`: the API's CPU for each agent and lease, how many processes a fleet needs, and the start with many hosts."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from tests.postgres import PostgreSQL, binaries

from benchmarks.agents import start
from benchmarks.agents.fleet import Agents, register, serving, spent
from benchmarks.page import Budget, table
from benchmarks.plot import Plot, Series
from benchmarks.subject import Figures, Page, Size, Subject

CPU_BUDGET = 0.4
"""ms of API CPU for each agent and lease."""
START_BUDGET = 3.0
"""Seconds from the start of the process to its first answer, with 10,000 hosts."""
BUSY: Final = 0.5
"""The share of one processor that agents may take of an API process: the rest is for users, creates and bursts."""
_FLEETS: Final = (1000, 10_000, 100_000)
_LEASE: Final = 30.0
_ENOUGH: Final = 1000
"""From so many agents on, the figures say what an agent costs, and no longer what an idle process does."""

Case = tuple[str, int, int, float, float]
"""A database, so many agents, so many API processes, the seconds of a lease, the seconds that are measured."""
_CASES: Final[Mapping[Size, tuple[Case, ...]]] = {
    Size.CHECK: (("SQLite", 4, 1, 2.0, 2.0),),
    Size.SMALL: (("PostgreSQL", 1000, 2, _LEASE, 40.0),),  # two polls of each agent
    Size.LONG: (
        ("SQLite", 1000, 1, _LEASE, 100.0),
        ("PostgreSQL", 1000, 1, _LEASE, 60.0),
        ("PostgreSQL", 1000, 2, _LEASE, 60.0),
        ("PostgreSQL", 10_000, 1, _LEASE, 60.0),
        ("PostgreSQL", 10_000, 2, _LEASE, 60.0),
        ("PostgreSQL", 10_000, 4, _LEASE, 60.0),
    ),
}
_STARTS: Final = {Size.CHECK: 0, Size.SMALL: 10_000, Size.LONG: 10_000}


def measure(size: Size, seed: int) -> Figures:
    """Every case, then the start."""
    return take(_CASES[size], _STARTS[size], seed)


def take(cases: Iterable[Case], start_hosts: int, seed: int) -> Figures:
    """These cases, then a start with so many hosts, 0 for none.

    What needs PostgreSQL is left out where it is not installed.
    """
    rows = []
    for case in cases:
        if case[0] == "PostgreSQL" and binaries() is None:
            print("PostgreSQL is not installed: its part is left out")
            continue
        print(f"{case[1]} agents on {case[0]}, API processes: {case[2]}", flush=True)
        with tempfile.TemporaryDirectory(prefix="pf-agents-") as name, ExitStack() as stack:
            rows.append(_one(Path(name), case, seed, stack))
    began = None
    if start_hosts:
        with tempfile.TemporaryDirectory(prefix="pf-start-") as name:
            began = asdict(start.measure(Path(name) / "api", start_hosts, seed))
    return {"rows": rows, "start": began}


def _one(folder: Path, case: Case, seed: int, stack: ExitStack) -> dict[str, Any]:
    kind, count, processes, lease, seconds = case
    database, pid = f"sqlite:///{folder}/pinfold.db", 0
    if kind == "PostgreSQL":
        server = PostgreSQL.start()
        stack.callback(server.stop)
        database, pid = server.create_database(), int((server.folder / "data/postmaster.pid").read_text().splitlines()[0])
    fleet = register(database, count, seed)
    apis = stack.enter_context(serving(folder, database, "", processes, lease))
    agents = Agents(folder, fleet, apis, processes=1, lease=lease, stack=stack)
    agents.await_up(count)
    spent(agents, apis, pid, lease / 2)  # the first poll of each is a short one, a third of a lease
    found = spent(agents, apis, pid, seconds)
    return {"database": kind, "agents": count, "processes": processes, "lease": lease, **asdict(found)}


def page(figures: Figures) -> Page:
    """The budgets, what was measured, how many processes a fleet needs, and the start."""
    rows = figures["rows"]
    return Page(
        budgets=[*(_budget(row) for row in rows), *_start_budget(figures["start"])],
        body=[
            *_METHOD.splitlines(),
            "",
            *table(_COLUMNS, [_cells(row) for row in rows]),
            "",
            *_WHY.splitlines(),
            "",
            *_ASKED.splitlines(),
            "",
            *table(("agents", "database", "API processes", "request", "of one agent in a lease"), _requests(rows)),
            "",
            "## How many API processes a fleet needs",
            "",
            *_needed(rows),
            "",
            _plot(rows),
            "",
            "## The start",
            "",
            *_of_start(figures["start"]),
        ],
    )


def cost_ms(row: Mapping[str, Any]) -> float:
    """CPU of all API processes in ms for each agent and lease."""
    return float(sum(row["cpu"]) / row["seconds"] * row["lease"] / row["agents"] * 1e3)


def processes_needed(agents: int, cost: float, lease: float) -> int:
    """How many API processes so many agents need, if each may take `BUSY` of a processor.

    >>> [processes_needed(agents, 0.4, 30.0) for agents in (1000, 10_000, 100_000)]
    [1, 1, 3]
    """
    return max(1, math.ceil(agents * cost / 1e3 / lease / BUSY))


def _budget(row: Mapping[str, Any]) -> Budget:
    what = f"API CPU for each agent and lease, {row['agents']:,} agents, {row['database']}, API processes: {row['processes']}"
    return Budget(what=what, measured=cost_ms(row), bound=CPU_BUDGET, unit="ms")


def _start_budget(found: Mapping[str, Any] | None) -> list[Budget]:
    if found is None:
        return []
    return [Budget(what=f"first answer after the start, {found['hosts']:,} hosts", measured=found["ready"], bound=START_BUDGET, unit="s")]


def _cells(row: Mapping[str, Any]) -> Sequence[object]:
    database = row["database_cpu"] / row["seconds"] * row["lease"] / row["agents"] * 1e3
    shares = ", ".join(f"{100 * cpu / row['seconds']:.0f}" for cpu in row["cpu"])
    return (row["agents"], row["database"], row["processes"], f"**{cost_ms(row):.2f}**", shares, database or None, row["up"])


def _requests(rows: Sequence[Mapping[str, Any]]) -> list[Sequence[object]]:
    return [
        (row["agents"], row["database"], row["processes"], f"`{kind}`", count / row["seconds"] * row["lease"] / row["agents"])
        for row in rows
        for kind, count in row["asked"].items()
    ]


def _needed(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The table of processes: by the largest fleet that was measured on the database that a fleet of several processes has."""
    by_size = sorted(rows, key=lambda row: (row["database"] == "PostgreSQL", row["agents"], -row["processes"]))
    if not by_size:
        return ["This run measured none."]
    base = by_size[-1]
    if base["agents"] < _ENOUGH:
        return _TOO_FEW.format(agents=f"{base['agents']:,}", enough=f"{_ENOUGH:,}").splitlines()
    cost = cost_ms(base)
    cells = []
    for hosts in _FLEETS:
        row = next((one for one in by_size if (one["database"], one["agents"], one["processes"]) == (base["database"], hosts, 1)), base)
        each = cost_ms(row)
        how = "measured above" if row["agents"] == hosts else "computed"
        cells.append((hosts, hosts * each / 1e3 / row["lease"], processes_needed(hosts, each, row["lease"]), how))
    words = _NEEDED.format(cost=f"{cost:.2f}", agents=f"{base['agents']:,}", database=base["database"], busy=f"{100 * BUSY:.0f}")
    return [*words.splitlines(), "", *table(("hosts", "processors that agents take", "API processes", "the figure is"), cells)]


def _plot(rows: Sequence[Mapping[str, Any]]) -> Plot:
    series = [
        Series(
            label=f"{kind}, {processes} API process{'es' if processes > 1 else ''}",
            x=[str(row["agents"]) for row in rows if (row["database"], row["processes"]) == (kind, processes)],
            y=[cost_ms(row) for row in rows if (row["database"], row["processes"]) == (kind, processes)],
        )
        for kind, processes in dict.fromkeys((row["database"], row["processes"]) for row in rows)
    ]
    return Plot(name="agents", title="API CPU for each agent and lease", x_label="agents", y_label="ms", bars=True, series=series)


def _of_start(found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return ["This run measured none."]
    cells = [
        ("the process says that it works, and answers", found["ready"], found["ready_cpu"]),
        ("`/healthz` has answered", found["answered"], found["answered_cpu"]),
    ]
    words = _START.format(hosts=f"{found['hosts']:,}", health=found["health"])
    return [*words.splitlines(), "", *table(("after the start of the process", "s", "CPU of the process, s"), cells)]


_METHOD: Final = """\
`pinfold api` processes as an operator starts them, real HTTP on loopback, and simulated agents in one process beside them, each of a host
without guests that exists only as a value. Hosts of five shapes have registered and reported before. From then on nothing changes, and
an agent does nothing but poll, by the real agent's rules (`agent.lease`), and report its findings once an hour, which is spread over that
time; it keeps connections as the real client does. Where anything is not as it should be, as when a poll fails, the real agent's decisions
(`agent.step`) go on: the requests below say whether that happened. After two leases or more the CPU of the API processes is counted, user
and system, with all that they do meanwhile, healing too. Placement is away, so that the first comparison of thousands of hosts with it
does not go on beside the measurement."""

_WHY: Final = """\
The more agents a process has, the less each costs: what it does in any case is shared by more, and polls that end together take less time,
the more of them there are ([0059](../design/0059-polls-that-end-together.md))."""

_ASKED: Final = "What agents asked in that time. `PollOrders` is the long poll, which renews the lease:"

_NEEDED: Final = """\
Where one process was measured with so many agents, by what it took; else by {cost} ms for each agent and lease, as with {agents} agents
on {database}. A lease is 30 s, and agents may take {busy} % of one processor for each API process. Several processes take somewhat more
in all, as the table above says. One process uses one processor, and keeps at most 16,384 connections unless told otherwise, of which an
agent has one or two: with more than 8,000 hosts, raise `[pinfold_api] connections` and `LimitNOFILE`, or start another process."""

_TOO_FEW: Final = """\
Not computed: with {agents} agents, what a process does without any (it heals, and it asks for the Placement that is away) is a large part
of the figures above, and does not grow with the agents. With {enough} agents or more, as in `make bench-agents`, the table is here."""

_START: Final = """\
One `pinfold api` process on SQLite with {hosts} hosts in its store, of which its embedded Placement knows none: everything is left to
compare. `/healthz` said `"hosts": "{health}"`."""

_COLUMNS: Final = (
    *("agents", "database", "API processes", "API CPU ms for each agent and lease", "processor % of each process"),
    *("CPU ms of the database server", "hosts up at the end"),
)

AGENTS: Final = Subject(
    name="agents",
    title="What agents cost the API",
    measure=measure,
    page=page,
    limits="""\
The agents' hosts have no guests: what guests do is reported in addition, when it changes. The agents, the API processes and the database
share the pCPUs of one machine; CPU time counts only the API's own, but other work on the same cores makes it longer. Connections are on
loopback, without TLS. A fleet that starts at once costs more than the steady state: [after an outage](outage.md). The load of the machine
stands above: where it is far beyond the number of processors, seconds of a start measure the load, and CPU is several times what it is on
a quiet machine. Compare with another run only at the same load.""",
)
