"""Every benchmark's page: a missed budget is said plainly."""

from __future__ import annotations

import pytest
from benchmarks.page import Budget, figure, table
from benchmarks.schedule import decisions
from benchmarks.schedule.page import SCHEDULE


@pytest.mark.parametrize(
    ("measured", "bound", "least", "kept"), [(80, 80, False, True), (81, 80, False, False), (500, 500, True, True), (499, 500, True, False)]
)
def test_a_budget_holds_up_to_its_bound(measured: float, bound: float, least: bool, kept: bool) -> None:
    assert Budget(what="it", measured=measured, bound=bound, least=least).kept is kept


def test_a_missed_budget_is_said_plainly() -> None:
    kept, missed = Budget(what="start", measured=1.1, bound=1.25), Budget(what="agent", measured=81.25, bound=80, unit="MiB")
    assert missed.sentence() == "agent: 81.2 MiB, at most 80 MiB: MISSED"
    assert kept.sentence() == "start: 1.1, at most 1.25: kept"


def test_figures_keep_the_digits_that_matter() -> None:
    assert [figure(value) for value in (0.4449, 81.25, 1491.3, 300, 1)] == ["0.445", "81.2", "1,491", "300", "1"]
    assert table(("a", "b"), [(1, None)]) == ["| a | b |", "|---|---|", "| 1 |  |"]


def test_decisions_are_measured() -> None:
    kinds, mix = decisions.measure(20, 3)
    assert all(kind.p50_us > 0 for kind in kinds)
    assert mix.per_second > 0


def test_the_page_of_scheduling_has_its_budgets_and_each_create() -> None:
    create = {"setting": "SQLite", "processes": 2, "count": 40, "per_second": 20.0, "p50_ms": 40.0, "p99_ms": 90.0}
    create |= {"own_cpu_ms": 6.0, "direct_cpu_ms": 4.0, "put_cpu_ms": 24.0, "writes": 1.0, "statements": 7.25}
    kind = {"hosts": 10_000, "ask": "4 pinned, share", "taken": True, "first_us": 900.0, "p50_us": 200.0, "p99_us": 500.0}
    page = SCHEDULE.page(
        {"creates": [create], "kinds": [kind], "mixes": [{"hosts": 10_000, "per_second": 3999.0, "load_seconds": 1.0}], "rounds": 3}
    )
    assert [budget.kept for budget in page.budgets] == [False, True, True]
    assert "| SQLite | 2 | 40 | 20 | 40 | 90 | 6 | 4 | 24 | **0.25** | 0 | 7.2 |" in page.body
    assert "| 10,000 | 4 pinned, share | yes | 900 | 200 | 500 | 5,000 |" in page.body


def test_the_page_of_scheduling_compares_the_most_processes_with_one() -> None:
    one = {"setting": "PostgreSQL", "processes": 1, "count": 40, "per_second": 20.0, "p50_ms": 40.0, "p99_ms": 90.0}
    one |= {"own_cpu_ms": 6.0, "direct_cpu_ms": 4.0, "put_cpu_ms": 24.0, "writes": 1.0}
    four = {**one, "processes": 4, "own_cpu_ms": 9.0, "writes": 1.05}
    page = SCHEDULE.page({"creates": [one, four], "kinds": [], "mixes": [], "rounds": 3})
    assert [budget.kept for budget in page.budgets] == [True, True, False, False, False]
    assert round(page.budgets[-1].measured, 2) == 1.5
