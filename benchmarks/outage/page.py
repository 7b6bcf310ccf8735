"""The subject `outage`: how soon a fleet is up again after its only API process was away, and what its agents ask until then."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.postgres import binaries

from benchmarks.outage.measure import measure as one_outage
from benchmarks.page import Budget, figure, table
from benchmarks.plot import Plot, Series
from benchmarks.subject import Figures, Page, Size, Subject

LEASES_BOUND = 10
"""The budget: leases from the process's new start until all agents are up."""
_FROM: Final = {False: "an address each", True: "one address"}
_HOW: Final = {False: "went on", True: "began anew"}
_CASES: Final = ((False, False), (True, False), (True, True))
"""Whether agents connect from one address, and whether they begin anew."""


class _Run(NamedTuple):
    """So many agents, the seconds of a lease, and the cases."""

    agents: int
    lease: float
    cases: Sequence[tuple[bool, bool]]


_RUNS: Final[Mapping[Size, _Run]] = {
    Size.CHECK: _Run(8, 2.0, ((True, False),)),
    Size.SMALL: _Run(300, 10.0, ((True, True),)),
    Size.LONG: _Run(10_000, 30.0, _CASES),
}


def measure(size: Size, seed: int) -> Figures:
    """An outage of each case."""
    agents, lease, cases = _RUNS[size]
    rows = []
    for one_address, anew in cases:
        print(f"{agents} agents after an outage, {_FROM[one_address]}, which {_HOW[anew]}", flush=True)
        with tempfile.TemporaryDirectory(prefix="pf-outage-") as name:
            rows.append(asdict(one_outage(Path(name), agents, lease, seed, one_address=one_address, anew=anew)))
    return {"outages": rows}


def page(figures: Figures) -> Page:
    """The budget of each case, when the agents were up, what they asked, and what it means."""
    rows = figures["outages"]
    words = {"away": figure(rows[0]["away"]), "lease": figure(rows[0]["lease"])}
    return Page(
        budgets=[_budget(row) for row in rows],
        body=[
            *_METHOD.format(**words).splitlines(),
            "",
            *_CASES_MEAN.splitlines(),
            "",
            *table(_COLUMNS, [_cells(row) for row in rows]),
            "",
            _plot(rows),
            "",
            "## What agents asked",
            "",
            *_ASKED.splitlines(),
            "",
            *table(("agents connect from", "and", "request", "of one agent until then"), _requests(rows)),
            "",
            "## What it means",
            "",
            *_meaning(rows),
        ],
    )


def up_after(row: Mapping[str, Any], share: float) -> float | None:
    """Seconds from the new start until this share of the agents was up, None if that took too long.

    >>> row = {"agents": 4, "seconds": [2.0, 3.1, 4.1], "up": [0, 2, 3]}
    >>> up_after(row, 0.5), up_after(row, 1.0)
    (3.1, None)
    """
    looks = zip(row["seconds"], row["up"], strict=True)
    return next((seconds for seconds, up in looks if up >= share * row["agents"]), None)


def _case(row: Mapping[str, Any]) -> str:
    return f"{_FROM[row['one_address']]}, {_HOW[row['anew']]}"


def _budget(row: Mapping[str, Any]) -> Budget:
    """Ten leases; of agents that did not all come up, the time for which they were watched, which is longer."""
    whole, watched = up_after(row, 1.0), row["seconds"][-1]
    said = "all up again" if whole is not None else f"only {row['up'][-1]:,} up again"
    what = f"{row['agents']:,} agents, {_case(row)}, {said} after the API's start"
    return Budget(what=what, measured=watched if whole is None else whole, bound=LEASES_BOUND * row["lease"], unit="s")


def _cells(row: Mapping[str, Any]) -> Sequence[object]:
    half, whole = (up_after(row, share) for share in (0.5, 1.0))
    late = f"not within {figure(row['seconds'][-1])}"
    times = (late if seconds is None else seconds for seconds in (half, whole))
    return (row["agents"], _FROM[row["one_address"]], _HOW[row["anew"]], row["down"], *times, row["cpu"])


def _requests(rows: Sequence[Mapping[str, Any]]) -> list[Sequence[object]]:
    return [
        (_FROM[row["one_address"]], _HOW[row["anew"]], f"`{kind}`", times / row["agents"])
        for row in rows
        for kind, times in row["asked"].items()
    ]


def _plot(rows: Sequence[Mapping[str, Any]]) -> Plot:
    series = [Series(label=_case(row), x=row["seconds"], y=row["up"]) for row in rows]
    return Plot(name="outage", title="Agents that are up again", x_label="seconds after the API's start", y_label="agents", series=series)


def _meaning(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    wholes = [(up_after(row, 1.0), row) for row in rows]
    slowest = max(((seconds, row) for seconds, row in wholes if seconds is not None), key=lambda pair: pair[0], default=None)
    lines = _MEANS.splitlines()
    if slowest is not None and all(seconds is not None for seconds, _ in wholes):
        seconds, row = slowest
        lines += [f"The slowest case ({_case(row)}) took {figure(seconds)} s, which is {figure(seconds / row['lease'])} leases."]
    return [*lines, "", *_CORES.splitlines()]


_METHOD: Final = """\
One `pinfold api` process on PostgreSQL, real HTTP on loopback, and [simulated agents](agents.md) of hosts without guests. The process was
killed while the fleet was at rest, and started again {away} s later. A lease lasts {lease} s, so each had run out and every host was down.
Seconds count from the new start, and include it. Whether an agent is up was looked at about once a second."""

_CASES_MEAN: Final = """\
Agents connect from a loopback address each, or all from one, as behind NAT: the API bounds the connections of an address. Agents that
*went on* were without the service and nothing else: each reads its orders, looks at its host and sends a heartbeat. Agents that *began
anew*, as after their hosts lost power, send a report of the host instead."""

_COLUMNS: Final = (
    *("agents", "connect from", "and", "down before", "half were up after s", "all were up after s"),
    "CPU of the process until then, s",
)

_ASKED: Final = """\
From the new start until all were up. `ReadOrders` reads all orders of a host, `PollOrders` waits for new ones. `failed` is what got no
answer, as before the process listened, or was told to come again later: the process takes 200 reports and readings of orders at a time, and
tells the other agents when to come again. An agent that could not connect tries again by itself."""

_MEANS: Final = """\
Nobody has to do anything: agents come back by themselves. A host that is not up yet shows its servers as `UNKNOWN` and takes no new ones,
while its guests run on. So the API has all of its fleet for creates once all agents are up."""

_CORES: Final = """\
The agents are simulated by two processes, on the processors on which the API process and PostgreSQL run too. An operator's agents run on
their own hosts, and leave that part of the processors to the API."""


def _lacks() -> Sequence[str]:
    return () if binaries() else ("Debian's package postgresql",)


OUTAGE: Final = Subject(
    name="outage",
    title="After an outage of the API",
    measure=measure,
    page=page,
    lacks=_lacks,
    limits="""\
One API process alone. Where others stand behind the same address, they answer meanwhile; that was not measured. The hosts have no guests,
so a report is short, and nothing has changed on them meanwhile. Placement is away: hosts that come back unchanged need nothing of it.
Connections are on loopback, without TLS. The load of the machine stands above: where it is far beyond the number of processors, the
seconds measure the load.""",
)
