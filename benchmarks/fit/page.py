"""The subject `fit`: one decision of the engine beside Nova's own code, and its page."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from benchmarks.fit.measure import Timing, measure
from benchmarks.page import Budget, table
from benchmarks.plot import Plot, Series
from benchmarks.subject import Figures, Page, Subject

STANDARD_BUDGET = 30.0
EIGHT_BUDGET = 10_000.0
ACCEPT_AIM, CHANGED_AIM_US, REASONS_AIM_US = 40.0, 10.0, 15.0
"""What the engine should reach: Nova's time over ours on accept; us more on a changed host; us of a refusal with its reasons."""


def page(figures: Figures) -> Page:
    """Accept, refuse, changed and explained apart; then groups, refusals on eight cells, and disagreements."""
    limit_s = figures["limit_s"]
    standard, eight = ([Timing(**one) for one in figures[name]] for name in ("standard", "eight"))
    both = [one for one in standard if one.accepted and one.nova_accepted]
    neither = [one for one in standard if not one.accepted and not one.nova_accepted]
    apart = [one for one in standard if one.accepted is not one.nova_accepted]
    groups = {
        "answer": [("both accept", both), ("both refuse", neither), ("they differ", apart), ("all", standard)],
        "host cells": _by(standard, lambda one: str(one.host_cells)),
        "host": _by(standard, lambda one: f"{one.fill:.0%} full"),
        "guest cells": _by(standard, lambda one: str(one.guest_cells)),
        "policy": _by(standard, lambda one: one.group),
    }
    body: list[str | Plot] = [
        *_METHOD.format(nova=figures["versions"]["nova"], rounds=figures["rounds"]).splitlines(),
        "",
        "## Accept, refuse, changed, explained",
        "",
        *_FOUR.splitlines(),
        "",
        *table(("what", "cases", "Nova, us", "ours, us", "Nova / ours", "aim"), _four(both, neither, limit_s)),
        "",
        *_share(figures["start"], both),
        "",
        _plot(groups["host cells"], limit_s),
        "",
        "## By answer, host, guest and policy",
        "",
        f"{len(standard)} of {figures['available']} cases, one of each {figures['available'] / len(standard):.0f}.",
        "Medians in microseconds; the ratio column is the median of the cases' ratios, with the lowest and highest.",
    ]
    for title, rows in groups.items():
        body += ["", *_table(title, rows, limit_s)]
    body += [
        "",
        "## Eight guest cells on sixteen host cells, refused",
        "",
        f"Nova is stopped after {limit_s:.0f} s; the ratio is then a lower bound.",
        "",
        "| case | Nova | ours, us | with reasons read, us | ratio |",
        "|---|---|---|---|---|",
        *(_eight_row(one, limit_s) for one in eight),
        "",
        "## Outside the decision",
        "",
        *_ASIDE.splitlines(),
        "",
        "| what, us | Nova | ours |",
        "|---|---|---|",
        *(f"| {what} | {_us(nova)} | {_us(ours)} |" for what, nova, ours in figures["aside"]),
        "",
        "## Where the two disagree",
        "",
        *_agreement(figures["agreements"]),
        "",
        "## What was tried",
        "",
        *_TRIED.splitlines(),
    ]
    return Page(body=body, budgets=_budgets(standard, eight, limit_s))


def _budgets(standard: Sequence[Timing], eight: Sequence[Timing], limit_s: float) -> list[Budget]:
    """Nova's time over ours: the median of the standard cases, and the least of the refusals; wrong answers of Nova's are no refusals."""
    refusals = [one.ratio(limit_s) for one in eight if not one.nova_accepted]
    found = [("standard cases: Nova's time over ours, median", statistics.median(one.ratio(limit_s) for one in standard), STANDARD_BUDGET)]
    found += [("eight-cell refusals: Nova's time over ours, least", min(refusals), EIGHT_BUDGET)] if refusals else []
    return [Budget(what=what, measured=measured, bound=bound, unit="x", least=True) for what, measured, bound in found]


def _four(both: Sequence[Timing], neither: Sequence[Timing], limit_s: float) -> Iterator[tuple[object, ...]]:
    """A row each: what the engine needs for it, Nova's time of the same cases, and what is aimed at."""
    rows: tuple[tuple[str, Sequence[Timing], Callable[[Timing], float]], ...] = (
        ("accept", both, lambda one: one.ours_ns),
        ("accept, the host has changed", both, lambda one: one.claimed_ns),
        ("accept, counted from nothing", both, lambda one: one.changed_ns),
        ("refuse", neither, lambda one: one.ours_ns),
        ("refuse, reasons read", neither, lambda one: one.explained_ns),
        ("refuse, the host has changed", neither, lambda one: one.claimed_ns),
        ("refuse, counted from nothing", neither, lambda one: one.changed_ns),
    )
    for what, cases, ours in rows:
        if cases:
            nova = statistics.median(one.nova_at_least(limit_s) for one in cases)
            ratio = statistics.median(one.nova_at_least(limit_s) / ours(one) for one in cases)
            own = statistics.median(ours(one) for one in cases) / 1000
            more = statistics.median(ours(one) - one.ours_ns for one in cases) / 1000
            yield what, len(cases), nova / 1000, own, f"**{ratio:,.1f}**", _aim(what, own, ratio, more)


def _aim(what: str, own_us: float, ratio: float, more_us: float) -> str:
    """What a row should reach, and whether it does."""
    if what == "accept":
        return f"{ACCEPT_AIM:.0f}x: {_met(ratio >= ACCEPT_AIM)}"
    if what.endswith("has changed"):
        return f"{CHANGED_AIM_US:.0f} us more than unchanged: {_met(more_us <= CHANGED_AIM_US)}, {more_us:.1f} us more in the median case"
    return f"{REASONS_AIM_US:.0f} us: {_met(own_us <= REASONS_AIM_US)}" if what.endswith("read") else ""


def _met(met: bool) -> str:
    return "met" if met else "not met"


def _share(start: dict[str, Any], both: Sequence[Timing]) -> list[str]:
    """How much of one start the fit is."""
    if not start or not both:
        return ["This run started no guest, so it does not say how much of a start the fit is."]
    changed = statistics.median(one.changed_ns for one in both) / 1e6  # the agent counts its host from nothing
    took = start["start_ms"]
    checked = start["fit_ms"]
    return [
        f"A start of a KVM guest on this host took {took:,.0f} ms (median of {start['rounds']}, on an otherwise empty host).",
        f"The agent's check that the fit of its order still holds is {100 * checked / took:.4f} % of that ({1000 * checked:.1f} us);",
        f"one decision as in *accept, counted from nothing* would be {100 * changed / took:.4f} %.",
        "[The agent's page](agent.md) has every step of a start; its own may be of another machine, as it says, and take another time.",
    ]


def _plot(by_cells: Sequence[tuple[str, list[Timing]]], limit_s: float) -> Plot:
    """Medians by the number of host cells."""
    sides: tuple[tuple[str, Callable[[Timing], float]], ...] = (
        ("Nova", lambda one: one.nova_at_least(limit_s)),
        ("ours, counted from nothing", lambda one: one.changed_ns),
        ("ours, reasons read", lambda one: one.explained_ns),
        ("ours", lambda one: one.ours_ns),
    )
    cells = [name for name, _ in by_cells]
    series = [
        Series(label=label, x=cells, y=[max(0.1, statistics.median(map(value, cases)) / 1000) for _, cases in by_cells])
        for label, value in sides
    ]
    return Plot(
        name="fit",
        title="One decision, median of the standard cases",
        x_label="host cells",
        y_label="us",
        log_y=True,
        series=series,
        bars=True,
    )


_METHOD = """\
What is timed is one decision: Nova's `nova.virt.hardware.numa_fit_instance_to_host` on parsed `NUMATopology` and
`InstanceNUMATopology` objects, and our `fit` on a prepared `HostState` with a compiled `GuestRequest`. Both choose explicit pCPUs
for every dedicated vCPU; the pins that Nova returns are checked. Nova's functions are called as PyPI's `nova` {nova} has them, in an
environment of its own; nothing is copied. Each side is a process pinned to the same processor with the garbage collector off, and
logging is off in Nova's. They take turns case by case; number of rounds: {rounds}. A figure is the median over the rounds of the
median over the calls of a round (3 to 400 calls, each timed alone). Nova writes into the guest's topology, so each of its calls
has a copy, made outside the timing. Both sides have the same totals: ratios 4.0 and 1.0, no reserves, a shared fraction of 0."""

_FOUR = """\
The host of a row is prepared, as it is when guests are asked for one after another. Where it *has changed*, the time includes what the
scheduler does with a claim: the host's next state, and the counts of the cells that the claim touches. The claim is a guest of two pinned
vCPUs, or where there is no room for it, the release of another. *Counted from nothing* is a host of which a process has no counts: at
its start, after a change by another process, and in each question to the engine alone. The aim of 10 us is about one claim.
A refusal's reasons are found when somebody reads them. Nova gives no reasons and counts nothing ahead, so its time is the same in all rows
of the same cases. A ratio is the median of the cases' ratios. The budgets at the top must be kept whatever changes. The aims of this
table are the project's; [0063](../design/0063-what-a-fit-costs.md) says why some are not met."""

_ASIDE = """\
Nova's refusal says nothing; ours has a reason for every host cell, found when it is first read. That is the column "with reasons read".
What the empty host lacks for a request is found once for hosts that are alike, so it is not in the figures.

Both sides prepare something before a decision, and neither's preparation is in the figures above. Nova reads the flavor
(`numa_get_constraints`), copies the guest's topology for each host, and parses the host's topology from its stored text when the host
changed. Our engine compiles the flavor (`compile_request`), counts a host's state once and renews the counts with each claim, and
prepares a request on its first decision."""

_TRIED = """\
The engine compiled with mypyc took 0.63 of the time of the interpreted one on accept, 0.56 on accept after a change, and 0.56 on a refusal
with its reasons (medians of these cases, in turns, on a busy machine). A decision among 10,000 hosts was no faster. It is not shipped,
because it would cost operators a package for each Python and platform.
[0063](../design/0063-what-a-fit-costs.md) has the figures, and what a fit's time is made of."""


def _by(timings: Iterable[Timing], key: Callable[[Timing], str]) -> list[tuple[str, list[Timing]]]:
    groups: dict[str, list[Timing]] = {}
    for timing in timings:
        groups.setdefault(key(timing), []).append(timing)
    return list(groups.items())


def _table(title: str, groups: Sequence[tuple[str, list[Timing]]], limit_s: float) -> list[str]:
    rows = [f"| {title} | cases | Nova | ours | with reasons read | counted from nothing | ratio |", "|---|---|---|---|---|---|---|"]
    for name, timings in groups:
        if not timings:
            continue
        ratios = sorted(one.ratio(limit_s) for one in timings)
        nova = statistics.median(one.nova_at_least(limit_s) for one in timings)
        ours = statistics.median(one.ours_ns for one in timings)
        explained = statistics.median(one.explained_ns for one in timings)
        changed = statistics.median(one.changed_ns for one in timings)
        ratio = f"**{statistics.median(ratios):,.1f}** ({ratios[0]:,.1f} to {ratios[-1]:,.1f})"
        rows.append(f"| {name} | {len(timings)} | {_us(nova)} | {_us(ours)} | {_us(explained)} | {_us(changed)} | {ratio} |")
    return rows


def _eight_row(timing: Timing, limit_s: float) -> str:
    if timing.nova_accepted:
        return f"| {timing.name} | accepts, with no placement | {_us(timing.ours_ns)} | {_us(timing.explained_ns)} | |"
    nova = f"> {limit_s:.0f} s" if timing.nova_ns is None else f"{timing.nova_ns / 1e9:.3f} s"
    bound = "> " if timing.nova_ns is None else ""
    return f"| {timing.name} | {nova} | {_us(timing.ours_ns)} | {_us(timing.explained_ns)} | {bound}{timing.ratio(limit_s):,.0f} |"


def _us(ns: float | None) -> str:
    return "" if ns is None else f"{ns / 1000:,.1f}"


_AGREEMENTS: Final = {
    "standard": "standard cases",
    "random": "random small hosts",
    "eight": "eight-cell refusals that Nova answered in time",
}


def _agreement(agreements: dict[str, dict[str, Any]]) -> list[str]:
    lines = []
    for name, title in _AGREEMENTS.items():
        found = agreements[name]
        if not found["cases"]:
            lines.append(f"- No {title}.")
            continue
        counts = "; ".join(f"{who}: {count}" for who, count in found["counts"].items())
        lines.append(f"- {found['cases']} {title}, {found['accepted']} of them with a placement by the oracle. {counts}.")
        if found["broken"]:
            broken = "; ".join(f"{fault}: {count}" for fault, count in sorted(found["broken"].items(), key=lambda pair: -pair[1]))
            lines.append(f"  Placements of Nova that are not sound: {broken}.")
    kinds = [{(policy, answer): count for policy, answer, count in agreements[name]["kinds"]} for name in ("standard", "random")]
    rows = [(*kind, *(counts.get(kind, 0) for counts in kinds)) for kind in sorted({*kinds[0], *kinds[1]})]
    lines += ["", "Right and wrong are the oracle's words, by `docs/design/0001-what-fits.md`. Where Nova's answer is another:", ""]
    return lines + table(("policy", "Nova", "standard", "random"), rows)


FIT: Final = Subject(
    name="fit",
    title="The engine beside Nova's",
    measure=measure,
    page=page,
    limits="""\
One host and one decision: the choice among hosts, Placement and the database are not in it; [Scheduling](schedule.md) has them. Both sides
run warm, on a processor that other programs may share, so single figures grow with the load while ratios hardly do. What Nova does in
the same request besides this function is not counted against it.""",
)
