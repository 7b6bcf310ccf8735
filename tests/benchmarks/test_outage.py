"""The page of an outage: each case has its budget, and a fleet that did not come back is said plainly. What is measured is made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from benchmarks.outage.page import OUTAGE
from benchmarks.plot import Plot
from benchmarks.subject import Size, run

ROW = {"agents": 10_000, "lease": 30.0, "one_address": False, "anew": False, "away": 60.0, "down": 10_000, "cpu": 50.0}
BACK = {**ROW, "seconds": [5.2, 60.4, 240.0], "up": [0, 5000, 10_000], "asked": {"ReadOrders": 10_000, "ReadOrders failed": 25_000}}
SLOW = {**BACK, "one_address": True, "seconds": [5.2, 200.0, 330.0]}
STUCK = {**BACK, "one_address": True, "anew": True, "seconds": [5.2, 300.0, 600.0], "up": [0, 100, 4000]}


def _sentences(*rows: dict[str, Any]) -> list[str]:
    return [budget.sentence() for budget in OUTAGE.page({"outages": rows}).budgets]


def test_all_agents_are_to_be_up_within_ten_leases() -> None:
    assert _sentences(BACK, SLOW) == [
        "10,000 agents, an address each, went on, all up again after the API's start: 240 s, at most 300 s: kept",
        "10,000 agents, one address, went on, all up again after the API's start: 330 s, at most 300 s: MISSED",
    ]


def test_agents_that_never_all_came_up_miss_the_budget() -> None:
    assert _sentences(STUCK) == [
        "10,000 agents, one address, began anew, only 4,000 up again after the API's start: 600 s, at most 300 s: MISSED"
    ]


def test_the_bound_follows_the_lease() -> None:
    assert [budget.bound for budget in OUTAGE.page({"outages": [{**BACK, "lease": 10.0}]}).budgets] == [100.0]


def test_the_table_says_when_half_and_all_were_up() -> None:
    page = OUTAGE.page({"outages": [BACK, STUCK]})
    assert "| 10,000 | an address each | went on | 10,000 | 60.4 | 240 | 50 |" in page.body
    assert "| 10,000 | one address | began anew | 10,000 | not within 600 | not within 600 | 50 |" in page.body
    assert "| one address | began anew | `ReadOrders failed` | 2.5 |" in page.body
    (plot,) = (part for part in page.body if isinstance(part, Plot))
    assert [one.label for one in plot.series] == ["an address each, went on", "one address, began anew"]


def test_the_slowest_case_is_named_only_where_all_came_back() -> None:
    slowest = "The slowest case (one address, went on) took 330 s, which is 11 leases."
    assert slowest in OUTAGE.page({"outages": [BACK, SLOW]}).body
    assert not any(str(line).startswith("The slowest case") for line in OUTAGE.page({"outages": [BACK, STUCK]}).body)


def test_without_postgresql_it_says_so_and_writes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("benchmarks.outage.page.binaries", lambda: None)
    assert run(OUTAGE, Size.SMALL, 1, tmp_path) == ["outage: this machine lacks Debian's package postgresql"]
    assert list(tmp_path.iterdir()) == []
