"""The subject `oracle`: random cases, decided by the engine and by an independent search; where the two disagree."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final

from tests.oracle.compare import PAIRED, possible_pairs
from tests.oracle.report import NEAR_AT_LEAST, PAIR_AT_LEAST, Tally
from tests.oracle.run import tally_of

from benchmarks.page import Budget, table
from benchmarks.subject import Figures, Page, Size, Subject

_SHOWN = 100
"""So many disagreements stand on the page; the raw figures have the same."""


def measure(size: Size, seed: int) -> Figures:
    """The counts of a run over all processors; a check is one process."""
    cases = {Size.CHECK: 60, Size.SMALL: 4000, Size.LONG: 100_000}[size]
    return figures_of(tally_of(cases, seed, jobs=1 if size is Size.CHECK else len(os.sched_getaffinity(0))))


def figures_of(tally: Tally) -> Figures:
    """A tally as JSON has it."""
    pair, count = tally.rarest_pair()
    return {
        "cases": tally.cases,
        "counts": dict(sorted(tally.counts.items())),
        "near": tally.near,
        "rarest_pair": [pair, count],
        "values": sorted([name, value, count] for (name, value), count in tally.values.items()),
        "disagreements": len(tally.wrong),
        "wrong": [[seed, text] for seed, text in tally.wrong[:_SHOWN]],
        "shortfalls": tally.shortfalls(),
    }


def page(figures: Figures) -> Page:
    """The counts, what the cases cover, and every disagreement."""
    cases, counts = figures["cases"], figures["counts"]

    def share(count: int) -> str:
        return f"{count:,} ({count / cases:.1%})"

    pair, count = figures["rarest_pair"]
    rows = [
        ("cases", f"{cases:,}"),
        ("accepted", share(counts.get("accepted", 0))),
        ("refused", share(counts.get("refused", 0))),
        ("of these, refused by the empty host too", share(counts.get("never on this host", 0))),
        ("within one pCPU or page of the boundary", share(figures["near"])),
        ("of these accepted / refused", f"{counts.get('near, accepted', 0):,} / {counts.get('near, refused', 0):,}"),
        ("decided by enumeration", share(counts.get("by enumeration", 0))),
        ("decided by CP-SAT", share(counts.get("by CP-SAT", 0))),
        ("rarest pair of policies", f"{pair}: {count} ({count / cases:.2%})"),
        ("**disagreements**", f"**{figures['disagreements']}**"),
    ]
    body = [
        *_WORDS.splitlines(),
        "",
        *table(("what", "count"), rows),
        "",
        *_NEAR.format(near=NEAR_AT_LEAST).splitlines(),
        "",
        "## What the cases cover",
        "",
        *table(("", "values"), [(name, _values(figures["values"], name, cases)) for name in _names(figures["values"])]),
        "",
        *_covered(figures["shortfalls"]),
    ]
    if figures["wrong"]:
        body += ["", "## Disagreements", "", *(f"- `{seed}`: {text}" for seed, text in figures["wrong"])]
    return Page(body=body, budgets=[Budget(what="disagreements", measured=figures["disagreements"], bound=0, exact=True)])


def _names(values: Sequence[Sequence[Any]]) -> list[str]:
    """What the cases differ in; the policies that are paired come first."""
    return sorted({name for name, _, _ in values}, key=lambda name: (name not in PAIRED, name))


def _values(values: Sequence[Sequence[Any]], wanted: str, cases: int) -> str:
    return ", ".join(f"{value} {count / cases:.1%}" for name, value, count in values if name == wanted)


def _covered(shortfalls: Sequence[str]) -> list[str]:
    pairs = f"{len(possible_pairs())} pairs of values are possible among {', '.join(PAIRED)}."
    wanted = f"each should make up at least {PAIR_AT_LEAST:.0%} of the cases"
    if not shortfalls:
        return [f"{pairs} Here {wanted.replace('should make up', 'makes up')}."]
    return [f"{pairs} In a long run {wanted}; this one fell short of:", "", *(f"- {text}" for text in shortfalls)]


_WORDS: Final = """\
The oracle in `tests/oracle` decides what fits a second time, from `docs/design/0001-what-fits.md` alone: by trying every map of
cells, every choice of pCPUs, pages and emulator carrier on small hosts, and with OR-tools CP-SAT on larger ones. The engine disagrees when
it accepts what has no placement, refuses what has one, returns a fit that breaks a clause, calls a refusal INFEASIBLE that the empty host
would take (or the reverse), neglects a preference that the contract fixes, or raises."""

_NEAR: Final = """\
A case lies near the boundary when the oracle's answer flips as one pCPU (dedicated or shared) or one page (one MiB of small pages) is
taken from the host or added to it, one at a time. This is measured on every small host; cases on larger hosts count as not near. At
least {near:.0%} of the cases should be near."""

ORACLE: Final = Subject(
    name="oracle",
    title="The engine against the oracle",
    measure=measure,
    page=page,
    limits="""\
Random cases find no fault that they do not come near. Hosts are small, so that every placement can be tried. A fault that the engine and
the oracle share, because both misread the contract, is not found. The figures do not depend on how busy the machine was; `make oracle`
puts 100,000 cases.""",
)
