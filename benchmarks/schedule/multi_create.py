"""Many servers in one body: `POST /servers` with `min_count`, beside a bare `POST /allocations` for as many, and single creates."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.page import Budget, table
from benchmarks.schedule.api_process import PLACES
from benchmarks.schedule.creates import MeterClient, ports_of

CPU_BUDGET = 1.3
"""The budget of all CPU of a body, Placement's too, as a multiple of a bare `POST /allocations` for as many consumers."""
RATE_BUDGET = 3.0
"""The budget of servers per second by bodies, as a multiple of single creates."""
_WARM: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiCreates:
    """One run on one database, an entry a round; all in ms. `own_cpu_ms` is the part of `body_cpu_ms` that is not Placement's application.

    `single_ms` and `single_cpu_ms` are of one create, medians of the round. `writes` to Placement and SQL `statements` are means of a body.
    """

    setting: str
    servers: int
    post_cpu_ms: tuple[float, ...]
    body_cpu_ms: tuple[float, ...]
    own_cpu_ms: tuple[float, ...]
    body_ms: tuple[float, ...]
    single_ms: tuple[float, ...]
    single_cpu_ms: tuple[float, ...]
    writes: float
    statements: float
    post_ms: tuple[float, ...] = ()
    """By the clock on the wall; earlier figures lack it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Round:
    post: float
    post_cpu: float
    body_cpu: float
    own_cpu: float
    body: float
    single: float
    single_cpu: float
    writes: float
    statements: float


def hosts_needed(servers: int, rounds: int, singles: int) -> int:
    """How many hosts of the benchmark the bodies and single creates of so many rounds fill at most.

    >>> hosts_needed(100, 5, 10)
    30
    """
    return math.ceil((rounds + _WARM) * (servers + singles) / PLACES)


def measure(setting: str, place: tuple[str, str], servers: int, rounds: int, singles: int) -> MultiCreates:
    """Ask one API process, on tables that `creates.prepare` made: in each round a bare post, a body and so many single creates, in turns.

    Raises `AssertionError` if a server was left without a host.
    """
    posts = (rounds + _WARM) * math.ceil(servers / PLACES)
    with ports_of([place], str(posts)) as (port,), MeterClient(port) as process:
        found = [_round(process, number, servers, singles) for number in range(rounds + _WARM)][_WARM:]
        faulty = process.ask("/compute/v2.1/servers?status=ERROR&limit=1")["servers"]
    assert not faulty, f"a server found no host: {faulty}"
    each = {
        name: tuple(1e3 * getattr(one, name) for one in found)
        for name in ("post", "post_cpu", "body_cpu", "own_cpu", "body", "single", "single_cpu")
    }
    return MultiCreates(
        setting=setting,
        servers=servers,
        **{f"{name}_ms": values for name, values in each.items()},
        writes=statistics.mean(one.writes for one in found),
        statements=statistics.mean(one.statements for one in found),
    )


def _round(process: MeterClient, number: int, servers: int, singles: int) -> _Round:
    """One round; what comes first changes from round to round."""
    parts = {
        "post": lambda: [_post(process, servers)],
        "body": lambda: [process.create(min_count=servers)],
        "single": lambda: [process.create() for _ in range(singles)],
    }
    names = list(parts)
    turn = number % len(names)
    done: dict[str, Any] = {name: parts[name]() for name in names[turn:] + names[:turn]}
    ((post, post_cpu),), (body,), alone = done["post"], done["body"], done["single"]
    return _Round(
        post=post,
        post_cpu=post_cpu,
        body_cpu=body.own + body.placement,
        own_cpu=body.own,
        body=body.wall,
        single=statistics.median(one.wall for one in alone),
        single_cpu=statistics.median(one.own + one.placement for one in alone),
        writes=body.writes,
        statements=body.statements,
    )


def _post(process: MeterClient, servers: int) -> tuple[float, float]:
    """A bare post: how long it takes, and the CPU of Placement's application, in seconds."""
    began = time.perf_counter()
    spent = float(process.ask(f"/post?{servers}")["spent"])
    return time.perf_counter() - began, spent


def own_ms(row: Mapping[str, Any]) -> float:
    """Our own CPU in ms for one server of a body, from the figures of `MultiCreates`."""
    return statistics.median(row["own_cpu_ms"]) / float(row["servers"])


def budgets(rows: Sequence[Mapping[str, Any]]) -> list[Budget]:
    """Both budgets on each database."""
    found = []
    for row in rows:
        what = f"{row['servers']} servers in one body, {row['setting']}"
        found.append(Budget(what=f"{what}: all CPU as a multiple of a bare POST", measured=_cpu_ratio(row), bound=CPU_BUDGET))
        found.append(
            Budget(what=f"{what}: servers/s as a multiple of single creates", measured=_rate_ratio(row), bound=RATE_BUDGET, least=True)
        )
    return found


def section(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The lines of the page."""
    if not rows:
        return ["This run did not measure it."]
    return [*_METHOD.splitlines(), "", *table(_COLUMNS, [_cells(row) for row in rows])]


def _cells(row: Mapping[str, Any]) -> tuple[object, ...]:
    median = {name: statistics.median(row[name]) for name in ("post_cpu_ms", "body_cpu_ms", "own_cpu_ms", "body_ms", "single_ms")}
    post_ms = statistics.median(row.get("post_ms") or [math.nan])
    ratios = [body / post for body, post in zip(row["body_cpu_ms"], row["post_cpu_ms"], strict=True)]
    return (
        row["setting"],
        row["servers"],
        len(ratios),
        median["post_cpu_ms"],
        median["body_cpu_ms"],
        median["own_cpu_ms"],
        f"**{_cpu_ratio(row):.2f}** ({min(ratios):.2f} to {max(ratios):.2f})",
        1e3 * row["servers"] / median["body_ms"],
        1e3 / median["single_ms"],
        f"**{_rate_ratio(row):.2f}**",
        None if math.isnan(post_ms) else f"{row['servers'] * median['single_ms'] / post_ms:.2f}",
        row["writes"],
        round(row["statements"], 1),
    )


def _cpu_ratio(row: Mapping[str, Any]) -> float:
    return statistics.median(row["body_cpu_ms"]) / statistics.median(row["post_cpu_ms"])


def _rate_ratio(row: Mapping[str, Any]) -> float:
    return float(row["servers"]) * statistics.median(row["single_ms"]) / statistics.median(row["body_ms"])


_METHOD: Final = """\
`POST /servers` with `min_count`, over HTTP to one API process, on the 60 hosts of the creates above, most of whose room is still free. Two
others take turns with it, and which comes first changes from round to round: single creates, and a bare `POST /allocations` for as many
consumers at once: amounts of such servers, on as many hosts as they fill, of which Placement stores all or none. CPU of a body is all that
the process spends, Placement's application and our own together; CPU of the bare POST is that application alone. Servers per second are by
the clock on the wall. Consumers per second by bare POSTs, as a multiple of single creates, are what one request to Placement allows. On
PostgreSQL a body sends up to three, each for some of its hosts, at the same time. Figures are medians of the rounds; beside the ratio of
CPU stand the least and the most of a round."""
_COLUMNS: Final = (
    *("database", "servers in a body", "bodies", "bare POST CPU ms", "body CPU ms", "of it our own", "ratio of CPU"),
    *("servers/s by bodies", "by single creates", "ratio of rates", "ratio of bare POSTs"),
    *("writes to Placement", "statements"),
)
