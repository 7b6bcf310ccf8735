"""The page of the schedule benchmark. What is measured does not belong here."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.schedule.create_http import HttpCreates
from benchmarks.schedule.creates import Creates
from benchmarks.schedule.decisions import BUDGET, Decisions, Mixed

CREATE_BUDGET = 0.45
"""Our own CPU per create over HTTP, as a share of one bare PUT (section 15 of the design)."""


def missed(mixed: Sequence[Mixed], creates: Sequence[Creates], over_http: Sequence[HttpCreates]) -> list[str]:
    """The budgets that were missed, as sentences."""
    found = [
        f"{one.hosts} hosts: {one.per_second:.0f} decisions per second, at least {BUDGET[one.hosts]} wanted"
        for one in mixed
        if one.hosts in BUDGET and one.per_second < BUDGET[one.hosts]
    ]
    for one in (*creates, *over_http):
        if one.ratio > CREATE_BUDGET:
            found.append(f"{one.setting}: own CPU is {one.ratio:.2f} of a bare PUT, at most {CREATE_BUDGET} wanted")
        if one.processes == 1 and one.writes != 1:
            found.append(f"{one.setting}: {one.writes:.2f} Placement writes per create, 1 wanted")
    return found


def markdown(decisions: Sequence[Decisions], mixed: Sequence[Mixed], creates: Sequence[Creates], over_http: Sequence[HttpCreates]) -> str:
    """The whole page."""
    lines = [
        "# Scheduling",
        "",
        "Written by `make bench-schedule`. Decisions are CPU time of one process on synthetic fleets: a tenth of the hosts empty, the",
        "others up to full. A decision is filter, fit, rank and choose; nothing is stored.",
        "",
        "## One kind of request at a time",
        "| hosts | request | found | p50 µs | p99 µs | decisions/s |",
        "|---|---|---|---|---|---|",
    ]
    for one in decisions:
        found = "yes" if one.taken else "refused"
        lines.append(f"| {one.hosts} | {one.ask.name} | {found} | {one.p50_us:.0f} | {one.p99_us:.0f} | {one.per_second:.0f} |")
    lines += [
        "",
        "## The mix, each decision claimed in the index and given back later",
        "| hosts | decisions/s | budget | index loaded in s |",
        "|---|---|---|---|",
    ]
    lines += [f"| {one.hosts} | {one.per_second:.0f} | {BUDGET.get(one.hosts, '')} | {one.load_seconds:.2f} |" for one in mixed]
    lines += [
        "",
        "## Creates through scheduler, store and Placement",
        "Our own CPU is all but what Placement's code took; the bare `PUT /allocations` runs between two creates of the same run.",
        "Creates per second add up over the processes, while the bare calls between the creates wait.",
        "",
        *_table(creates),
        "",
        "## Creates over HTTP",
        "`POST /servers` to API processes of their own, with authentication. Our own CPU is what the process spends, without Placement's",
        "application; the bare PUT is that application alone, without our client. One client asks each process, one server after another.",
        "",
        *_table(over_http),
    ]
    return "\n".join(lines) + "\n"


def _table(creates: Sequence[Creates | HttpCreates]) -> list[str]:
    return [
        "| setting | processes | creates | creates/s | p50 ms | p99 ms | own CPU ms | bare PUT CPU ms | ratio | Placement writes each |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(
            f"| {one.setting} | {one.processes} | {one.count} | {one.per_second:.1f} | {one.p50_ms:.0f} | {one.p99_ms:.0f} "
            f"| {one.own_cpu_ms:.1f} | {one.put_cpu_ms:.1f} | {one.ratio:.2f} | {one.writes:.2f} |"
            for one in creates
        ),
    ]
