"""Where the two sides answer differently, and what the oracle says. Timing does not belong here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.oracle.oracle import feasible

from benchmarks.fit.environment import Worker
from benchmarks.fit.own_worker import request_of, state_of
from benchmarks.fit.scenarios import Scenario, random_scenario


@dataclass(kw_only=True)
class Agreement:
    """Counts of answers by who was right; `kinds` by policy and direction, `broken` what Nova's own placements have wrong."""

    cases: int = 0
    accepted: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    kinds: Counter[tuple[str, str]] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)

    def add(self, scenario: Scenario, ours: dict[str, Any], nova: dict[str, Any]) -> None:
        """Count one scenario that both sides answered."""
        right = feasible(request_of(scenario), state_of(scenario))
        self.cases += 1
        self.accepted += right
        own_right, nova_right = ours["accepted"] is right, nova["accepted"] is right
        self.counts[f"{'ours right' if own_right else 'OURS WRONG'}, {'Nova right' if nova_right else 'Nova wrong'}"] += 1
        if not nova_right:
            kind = (scenario.group, "accepts what has no placement" if nova["accepted"] else "refuses what has one")
            self.kinds[kind] += 1
        if nova["accepted"] and (fault := nova_fault(scenario, nova)):
            self.broken[fault] += 1

    def written(self) -> dict[str, Any]:
        """The counts as JSON has them."""
        return {
            "cases": self.cases,
            "accepted": self.accepted,
            "counts": dict(sorted(self.counts.items())),
            "kinds": sorted([policy, answer, count] for (policy, answer), count in self.kinds.items()),
            "broken": dict(self.broken.most_common()),
        }


def nova_fault(scenario: Scenario, answer: dict[str, Any]) -> str:
    """What is wrong with the pins that Nova returned; '' where they are sound. That it computed pins at all is checked here."""
    cells = {cell.id: cell for cell in scenario.cells}
    hosts = [part["host_cell"] for part in answer["cells"]]
    if len(set(hosts)) != len(hosts):
        return "two guest cells on one host cell"
    used: list[int] = []
    for part in answer["cells"]:
        pins = dict(part["pins"])
        if sorted(pins) != part["dedicated"]:
            return "a dedicated vCPU has no pin"
        mine = [*pins.values(), *part["reserved"]]
        free = set(cells[part["host_cell"]].dedicated) - set(cells[part["host_cell"]].pinned)
        if not set(mine) <= free:
            return "a pin outside the free dedicated pCPUs of its host cell"
        used += mine
    if len(set(used)) != len(used):
        return "one pCPU twice"
    isolated = ("hw:emulator_threads_policy", "isolate") in scenario.extra_specs
    return "no emulator pCPU" if isolated and not any(part["reserved"] for part in answer["cells"]) else ""


def compare_random(nova: Worker, ours: Worker, cases: int, seed: int) -> Agreement:
    """Both sides' answers to random small hosts and flavors."""
    agreement = Agreement()
    for index in range(cases):
        scenario = random_scenario(f"{seed}:{index}")
        own, other = ours.ask("decide", scenario), nova.ask("decide", scenario)
        assert own is not None
        assert other is not None
        agreement.add(scenario, own, other)
    return agreement
