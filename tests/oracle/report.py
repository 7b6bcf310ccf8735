"""`Tally`: the counts of a run, and what they must reach."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field

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
