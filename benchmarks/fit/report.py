"""The benchmark's page in the documentation. Measuring belongs to `run`."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from benchmarks.fit.agreement import Agreement
from benchmarks.page import machine

STANDARD_BUDGET = 30.0
EIGHT_BUDGET = 10_000.0


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One scenario's medians in ns; `nova_ns` None where Nova did not end in time.

    `explained_ns` is ours with the reasons of a refusal read, `changed_ns` ours on a state that has just changed.
    """

    name: str
    group: str
    host_cells: int
    fill: float
    guest_cells: int
    accepted: bool
    nova_accepted: bool | None
    nova_ns: float | None
    ours_ns: float
    explained_ns: float
    changed_ns: float

    def ratio(self, limit_s: float) -> float:
        """How many times as long Nova took, at least."""
        return self.nova_at_least(limit_s) / self.ours_ns

    def nova_at_least(self, limit_s: float) -> float:
        """Nova's ns, or the limit at which it was stopped."""
        return self.nova_ns if self.nova_ns is not None else limit_s * 1e9


@dataclass(frozen=True, kw_only=True)
class Result:
    """All that a run measured. `aside` holds rows `(what, Nova's ns or None, our ns or None)` for what is outside the decision."""

    standard: tuple[Timing, ...]
    eight: tuple[Timing, ...]
    available: int
    limit_s: float
    rounds: int
    agreement: Agreement
    standard_agreement: Agreement
    eight_agreement: Agreement
    aside: tuple[tuple[str, float | None, float | None], ...]
    versions: dict[str, str]

    def standard_ratio(self) -> float:
        """The median ratio over the standard cases."""
        return statistics.median(timing.ratio(self.limit_s) for timing in self.standard)

    def explained_ratio(self) -> float:
        """The median ratio over the standard cases where every refusal's reasons are read as well."""
        return statistics.median(timing.nova_at_least(self.limit_s) / timing.explained_ns for timing in self.standard)

    def eight_ratio(self) -> float:
        """The least ratio over the eight-cell refusals; a lower bound where Nova was stopped. Wrong answers of Nova's are no refusals."""
        return min(timing.ratio(self.limit_s) for timing in self.eight if not timing.nova_accepted)


def summary(result: Result) -> str:
    """The verdict in three lines."""
    standard, eight = result.standard_ratio(), result.eight_ratio()
    verdict = {True: "kept", False: "MISSED"}
    return (
        f"standard cases: median ratio {standard:.1f}x, budget {STANDARD_BUDGET:.0f}x: {verdict[standard >= STANDARD_BUDGET]}\n"
        f"standard cases, the reasons of every refusal read too: median ratio {result.explained_ratio():.1f}x\n"
        f"eight-cell refusals: at least {eight:,.0f}x, budget {EIGHT_BUDGET:,.0f}x: {verdict[eight >= EIGHT_BUDGET]}"
    )


def markdown(result: Result) -> str:
    """The page."""
    accepted = [timing for timing in result.standard if timing.accepted and timing.nova_accepted]
    refused = [timing for timing in result.standard if not timing.accepted and not timing.nova_accepted]
    apart = [timing for timing in result.standard if timing.accepted is not timing.nova_accepted]
    lines = [
        "# The engine beside Nova's",
        "",
        "Written by `make bench-fit` (`python -m benchmarks.fit.run`); run that to change it.",
        "",
        *(f"- {line}" for line in summary(result).splitlines()),
        "",
        *_METHOD.format(nova=result.versions["nova"], rounds=result.rounds).splitlines(),
        "",
        f"Nova {result.versions['nova']}, {platform.python_implementation()} {result.versions['python']} on both sides.",
        machine(),
        "",
        "## Standard cases",
        "",
        f"{len(result.standard)} of {result.available} cases, one of each {result.available / len(result.standard):.0f}.",
        "Medians in microseconds; the ratio column is the median of the cases' ratios, with the lowest and highest.",
        "",
        *_table(
            "answer", result, [("both accept", accepted), ("both refuse", refused), ("they differ", apart), ("all", list(result.standard))]
        ),
        "",
        *_table("host cells", result, _by(result.standard, lambda timing: str(timing.host_cells))),
        "",
        *_table("host", result, _by(result.standard, lambda timing: f"{timing.fill:.0%} full")),
        "",
        *_table("guest cells", result, _by(result.standard, lambda timing: str(timing.guest_cells))),
        "",
        *_table("policy", result, _by(result.standard, lambda timing: timing.group)),
        "",
        "## Eight guest cells on sixteen host cells, refused",
        "",
        f"Nova is stopped after {result.limit_s:.0f} s; the ratio is then a lower bound.",
        "",
        "| case | Nova | ours, us | with reasons read, us | ratio |",
        "|---|---|---|---|---|",
        *(_eight_row(timing, result.limit_s) for timing in result.eight),
        "",
        "## Outside the decision",
        "",
        *_ASIDE.splitlines(),
        "",
        "| what, us | Nova | ours |",
        "|---|---|---|",
        *(f"| {what} | {_us(nova)} | {_us(ours)} |" for what, nova, ours in result.aside),
        "",
        "## Where the two disagree",
        "",
        *_agreement(result),
        "",
    ]
    return "\n".join(lines)


_METHOD = """\
What is timed is one decision: Nova's `nova.virt.hardware.numa_fit_instance_to_host` on parsed `NUMATopology` and
`InstanceNUMATopology` objects, and our `fit` on a prepared `HostState` with a compiled `GuestRequest`. Both choose explicit pCPUs
for every dedicated vCPU; the pins that Nova returns are checked. Nova's functions are called as PyPI's `nova` {nova} has them, in an
environment of its own; nothing is copied. Each side is a process pinned to the same processor with the garbage collector off, and
logging is off in Nova's. They take turns case by case in each of {rounds} rounds; a figure is the median over the rounds of the
median over the calls of a round (3 to 400 calls, each timed alone). Nova writes into the guest's topology, so each of its calls
has a copy, made outside the timing. Both sides have the same totals: ratios 4.0 and 1.0, no reserves, a shared fraction of 0."""

_ASIDE = """\
Nova's refusal says nothing; ours has a reason for every host cell, found when it is first read. That is the column "with reasons read".

Both sides prepare something before a decision, and neither's preparation is in the figures above. Nova reads the flavor
(`numa_get_constraints`), copies the guest's topology for each host, and parses the host's topology from its stored text when the host
changed. Our engine compiles the flavor (`compile_request`), counts a host's state on the first decision after a change (that
decision is the row "on a host that has just changed"), and prepares a request on its first decision."""


def _by(timings: Iterable[Timing], key: Callable[[Timing], str]) -> list[tuple[str, list[Timing]]]:
    groups: dict[str, list[Timing]] = {}
    for timing in timings:
        groups.setdefault(key(timing), []).append(timing)
    return list(groups.items())


def _table(title: str, result: Result, groups: list[tuple[str, list[Timing]]]) -> list[str]:
    rows = [f"| {title} | cases | Nova | ours | with reasons read | on a changed host | ratio |", "|---|---|---|---|---|---|---|"]
    for name, timings in groups:
        if not timings:
            continue
        ratios = sorted(timing.ratio(result.limit_s) for timing in timings)
        nova = statistics.median(timing.nova_at_least(result.limit_s) for timing in timings)
        ours = statistics.median(timing.ours_ns for timing in timings)
        explained = statistics.median(timing.explained_ns for timing in timings)
        changed = statistics.median(timing.changed_ns for timing in timings)
        ratio = f"**{statistics.median(ratios):.1f}** ({ratios[0]:.1f} to {ratios[-1]:,.0f})"
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


def _agreement(result: Result) -> list[str]:
    lines = []
    agreements = (
        ("standard cases", result.standard_agreement),
        ("random small hosts", result.agreement),
        ("eight-cell refusals that Nova answered in time", result.eight_agreement),
    )
    for title, agreement in agreements:
        counts = "; ".join(f"{name}: {count}" for name, count in sorted(agreement.counts.items()))
        lines.append(f"- {agreement.cases} {title}, {agreement.accepted} of them with a placement by the oracle. {counts}.")
        if agreement.broken:
            broken = "; ".join(f"{name}: {count}" for name, count in agreement.broken.most_common())
            lines.append(f"  Placements of Nova that are not sound: {broken}.")
    lines += ["", "Right and wrong are the oracle's words, by `docs/design/0001-what-fits.md`. Where Nova's answer is another:", ""]
    lines += ["| policy | Nova | standard | random |", "|---|---|---|---|"]
    kinds = sorted(set(result.agreement.kinds) | set(result.standard_agreement.kinds))
    lines += [f"| {kind[0]} | {kind[1]} | {result.standard_agreement.kinds[kind]} | {result.agreement.kinds[kind]} |" for kind in kinds]
    return lines
