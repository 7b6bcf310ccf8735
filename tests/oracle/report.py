"""`Tally`: the counts of a run, what they must reach, and the report as Markdown. Running cases does not belong here."""

from __future__ import annotations

import itertools
import platform
from collections import Counter
from dataclasses import dataclass, field
from importlib.metadata import version

from tests.oracle.compare import PAIRED, Outcome, possible_pairs

ACCEPTED_AT_LEAST = 0.30
REFUSED_AT_LEAST = 0.30
NEAR_AT_LEAST = 0.50
PAIR_AT_LEAST = 0.01


@dataclass(slots=True, kw_only=True)
class Tally:
    """Counts over outcomes. The one value here that changes: it is filled case by case."""

    cases: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    values: Counter[tuple[str, str]] = field(default_factory=Counter)
    pairs: Counter[tuple[tuple[str, str], tuple[str, str]]] = field(default_factory=Counter)
    wrong: list[tuple[str, str]] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count one outcome."""
        self.cases += 1
        self.counts["accepted" if outcome.accepted else "refused"] += 1
        self.counts["by enumeration" if outcome.small else "by CP-SAT"] += 1
        if outcome.near:
            self.counts["near, accepted" if outcome.accepted else "near, refused"] += 1
        if outcome.never:
            self.counts["never on this host"] += 1
        self.values.update(outcome.tags)
        self.pairs.update(itertools.combinations([tag for tag in outcome.tags if tag[0] in PAIRED], 2))
        self.wrong += [(outcome.seed, text) for text in outcome.wrong]

    def merge(self, other: Tally) -> None:
        """Count what another tally counted."""
        self.cases += other.cases
        self.counts += other.counts
        self.values += other.values
        self.pairs += other.pairs
        self.wrong += other.wrong

    @property
    def near(self) -> int:
        """Cases within one pCPU or page of the boundary."""
        return self.counts["near, accepted"] + self.counts["near, refused"]

    def shortfalls(self) -> list[str]:
        """What the cases do not cover enough; empty when they do."""
        wanted = [
            ("accepted", self.counts["accepted"], ACCEPTED_AT_LEAST),
            ("refused", self.counts["refused"], REFUSED_AT_LEAST),
            ("near the boundary", self.near, NEAR_AT_LEAST),
        ]
        wanted += [
            (f"{one[0]} {one[1]} with {other[0]} {other[1]}", self.pairs[one, other], PAIR_AT_LEAST) for one, other in possible_pairs()
        ]
        return [
            f"{name}: {count} of {self.cases}, at least {least:.0%} wanted" for name, count, least in wanted if count < least * self.cases
        ]

    def rarest_pair(self) -> tuple[str, int]:
        """The rarest of the possible pairs, and how often it came."""
        one, other = min(possible_pairs(), key=lambda pair: self.pairs[pair])
        return f"{one[0]} {one[1]} with {other[0]} {other[1]}", self.pairs[one, other]

    def summary(self) -> str:
        """The counts in a few lines."""
        pair, count = self.rarest_pair()
        lines = [
            f"{self.cases} cases: {self.share('accepted')} accepted, {self.share('refused')} refused",
            f"refused by the empty host too: {self.share('never on this host')}",
            f"within one pCPU or page of the boundary: {self.near} ({self.near / max(1, self.cases):.1%})",
            f"decided by enumeration: {self.share('by enumeration')}, by CP-SAT: {self.share('by CP-SAT')}",
            f"rarest pair of policies: {pair}, {count} ({count / max(1, self.cases):.1%})",
            f"disagreements: {len(self.wrong)}",
        ]
        return "\n".join(lines)

    def share(self, name: str) -> str:
        """A count with its part of all cases."""
        return f"{self.counts[name]} ({self.counts[name] / max(1, self.cases):.1%})"


_HEAD = """\
# The engine against the oracle

Written by `make oracle` (`python -m tests.oracle.run --cases {cases} --seed {seed}`); run that to change it.

The oracle in `tests/oracle` decides what fits a second time, from `docs/design/0001-what-fits.md` alone: by trying every map of
cells, every choice of pCPUs, pages and emulator carrier on small hosts, and with OR-tools CP-SAT on larger ones. The engine disagrees when
it accepts what has no placement, refuses what has one, returns a fit that breaks a clause, calls a refusal INFEASIBLE that the empty host
would take (or the reverse), neglects a preference that the contract fixes, or raises."""

_MEASURE = """\
A case lies near the boundary when the oracle's answer flips as one pCPU (dedicated or shared) or one page (one MiB of small pages) is
taken from the host or added to it, one at a time. This is measured on every small host; cases on larger hosts count as not near."""


def markdown(tally: Tally, seed: int, seconds: float) -> str:
    """The report that is committed as `docs/benchmarks/oracle.md`."""
    pair, count = tally.rarest_pair()
    rows = [
        ("cases", str(tally.cases)),
        ("accepted", tally.share("accepted")),
        ("refused", tally.share("refused")),
        ("of these, refused by the empty host too", tally.share("never on this host")),
        ("within one pCPU or page of the boundary", f"{tally.near} ({tally.near / tally.cases:.1%})"),
        ("of these accepted / refused", f"{tally.counts['near, accepted']} / {tally.counts['near, refused']}"),
        ("decided by enumeration", tally.share("by enumeration")),
        ("decided by CP-SAT", tally.share("by CP-SAT")),
        ("rarest pair of policies", f"{pair}: {count} ({count / tally.cases:.2%})"),
        ("**disagreements**", f"**{len(tally.wrong)}**"),
    ]
    lines = [
        *_HEAD.format(cases=tally.cases, seed=seed).splitlines(),
        "",
        "| what | count |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in rows),
        "",
        f"Seed {seed}; {platform.python_implementation()} {platform.python_version()}, OR-tools {version('ortools')}; {seconds:.0f} s.",
        *_MEASURE.splitlines(),
        "",
        "## What the cases cover",
        "",
        "| | values |",
        "|---|---|",
        *_value_rows(tally),
        "",
        f"Each of the {len(possible_pairs())} possible pairs among {', '.join(PAIRED)} makes up at least {PAIR_AT_LEAST:.0%} of the cases.",
        "",
    ]
    if tally.wrong:
        lines += ["## Disagreements", "", *(f"- `{seed_}`: {text}" for seed_, text in tally.wrong[:100]), ""]
    return "\n".join(lines)


def _value_rows(tally: Tally) -> list[str]:
    names = sorted({name for name, _ in tally.values}, key=lambda name: (name not in PAIRED, name))
    rows = []
    for name in names:
        values = sorted((value, count) for (other, value), count in tally.values.items() if other == name)
        rows.append(f"| {name} | {', '.join(f'{value} {count / tally.cases:.1%}' for value, count in values)} |")
    return rows
