"""The page of the schedule benchmark. What is measured does not belong here."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.page import Budget, table
from benchmarks.schedule.creates import Creates
from benchmarks.schedule.decisions import BUDGET, Decisions, Mixed

CREATE_BUDGET = 0.45
"""The budget of our own CPU per create over HTTP, as a share of one bare PUT."""


def budgets(mixed: Sequence[Mixed], creates: Sequence[Creates]) -> list[Budget]:
    """Each budget beside what was measured."""
    found = [
        Budget(what=f"decisions per second, {one.hosts} hosts", measured=one.per_second, bound=BUDGET[one.hosts], least=True)
        for one in mixed
        if one.hosts in BUDGET
    ]
    for one in creates:
        found.append(Budget(what=f"create, {named(one)}: our own CPU as a share of one bare PUT", measured=one.ratio, bound=CREATE_BUDGET))
        found.append(Budget(what=f"create, {named(one)}: writes to Placement", measured=one.writes, bound=1))
    return found


def named(one: Creates) -> str:
    """A setting in words."""
    return f"{one.setting}, {one.processes} API process{'es' if one.processes > 1 else ''}"


def body(decisions: Sequence[Decisions], mixed: Sequence[Mixed], creates: Sequence[Creates]) -> list[str]:
    """All of the page but its head."""
    kinds = (
        (one.hosts, one.ask.name, "yes" if one.taken else "refused", one.p50_us, one.p99_us, round(one.per_second)) for one in decisions
    )
    mixes = ((one.hosts, round(one.per_second), BUDGET.get(one.hosts), one.load_seconds) for one in mixed)
    rows = (
        (
            *(one.setting, one.processes, one.count, one.per_second, one.p50_ms, one.p99_ms),
            *(one.own_cpu_ms, one.direct_cpu_ms, one.put_cpu_ms, f"**{one.ratio:.2f}**", one.writes),
        )
        for one in creates
    )
    return [
        *_METHOD.splitlines(),
        "",
        "## Creates",
        "",
        *_CREATES.splitlines(),
        "",
        *table(_COLUMNS, rows),
        "",
        "## One kind of request at a time",
        "",
        *table(("hosts", "request", "found", "p50 µs", "p99 µs", "decisions/s"), kinds),
        "",
        "## The mix, each decision claimed in the index and given back later",
        "",
        *table(("hosts", "decisions/s", "budget", "index loaded in s"), mixes),
    ]


_METHOD = """\
Decisions are CPU time of one process on synthetic fleets: a tenth of the hosts empty, the others up to full. A decision is filter, fit,
rank and choose; nothing is stored."""

_CREATES = """\
`POST /servers`, with authentication, to API processes of their own on 60 hosts without a hypervisor; one client asks each, one server after
another. Our own CPU is all that the process spends (HTTP server, API, scheduler, store, our client for Placement) less Placement's
application; the bare `PUT /allocations` is that application alone. Without HTTP, the same create is called in the same process. The three
take turns; figures of CPU are medians. Creates per second add up over the processes, and leave out the other two."""

_COLUMNS = (
    *("database", "API processes", "creates", "creates/s", "p50 ms", "p99 ms"),
    *("own CPU ms", "of it without HTTP", "bare PUT CPU ms", "ratio", "Placement writes each"),
)
