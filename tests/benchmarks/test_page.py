"""Every benchmark's page: a missed budget is said plainly."""

from __future__ import annotations

import pytest
from benchmarks.packing.page import PACKING
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
    assert 0 < mix.p50_us <= mix.p99_us
    assert 0 < mix.refused_p50_us <= mix.refused_p99_us


def test_the_page_of_scheduling_has_its_budgets_and_each_create() -> None:
    create = {"setting": "SQLite", "processes": 2, "count": 40, "per_second": 20.0, "p50_ms": 40.0, "p99_ms": 90.0}
    create |= {"own_cpu_ms": 6.0, "direct_cpu_ms": 4.0, "put_cpu_ms": 24.0, "writes": 1.0, "statements": 7.25}
    kind = {"hosts": 10_000, "ask": "4 pinned, share", "taken": True, "first_us": 900.0, "p50_us": 200.0, "p99_us": 500.0}
    page = SCHEDULE.page(
        {"creates": [create], "kinds": [kind], "mixes": [{"hosts": 10_000, "per_second": 3999.0, "load_seconds": 1.0}], "rounds": 3}
    )
    assert [budget.kept for budget in page.budgets] == [False, True, True, True]
    assert page.budgets[1].sentence() == "p99 of a decision, 10,000 hosts: 0.5 ms, at most 2 ms: kept"
    assert page.body.count("This run did not measure it.") == 2
    assert "| SQLite | 2 | 60 | 40 | 20 | 40 | 90 | 6 | 4 | 24 | **0.25** | 0 | 7.2 |" in page.body
    assert "| 10,000 | 4 pinned, share | yes | 900 | 200 | 500 | 5,000 |" in page.body


def test_the_page_of_scheduling_compares_the_most_processes_with_one() -> None:
    one = {"setting": "PostgreSQL", "processes": 1, "count": 40, "per_second": 20.0, "p50_ms": 40.0, "p99_ms": 90.0}
    one |= {"own_cpu_ms": 6.0, "direct_cpu_ms": 4.0, "put_cpu_ms": 24.0, "writes": 1.0}
    four = {**one, "processes": 4, "own_cpu_ms": 9.0, "writes": 1.05}
    page = SCHEDULE.page({"creates": [one, four], "kinds": [], "mixes": [], "rounds": 3})
    assert [budget.kept for budget in page.budgets] == [True, True, False, False, False]
    assert round(page.budgets[-1].measured, 2) == 1.5
    assert any("one of each" in line for line in page.body)
    later = SCHEDULE.page({"creates": [{**one, "turn": 10}], "kinds": [], "mixes": [], "rounds": 3})
    assert any("medians of the means of 10" in line for line in later.body)


def test_the_page_of_scheduling_judges_single_decisions_of_the_mix() -> None:
    mix = {"hosts": 100_000, "per_second": 1200.0, "load_seconds": 9.0, "p50_us": 300.0, "p99_us": 2100.0}
    mix |= {"refused_p50_us": 40.0, "refused_p99_us": 990.0}
    refused = {"hosts": 100_000, "ask": "refused", "taken": False, "first_us": 9.0, "p50_us": 2.0, "p99_us": 3000.0}
    page = SCHEDULE.page({"creates": [], "kinds": [refused], "mixes": [mix], "rounds": 3})
    assert [budget.sentence() for budget in page.budgets[1:]] == [
        "p99 of a decision, 100,000 hosts: 2.1 ms, at most 2 ms: MISSED",
        "p99 of a refusal, 100,000 hosts: 0.99 ms, at most 1 ms: kept",
    ]


def test_the_page_of_scheduling_judges_many_servers_in_one_body() -> None:
    row = {"setting": "SQLite", "servers": 100, "post_cpu_ms": [1000.0, 900.0, 1100.0], "body_cpu_ms": [1200.0, 1000.0, 1500.0]}
    row |= {
        "own_cpu_ms": [80.0, 90.0, 70.0],
        "body_ms": [1300.0, 1200.0, 1400.0],
        "post_ms": [1250.0, 1100.0, 1300.0],
        "single_ms": [65.0, 60.0, 70.0],
        "single_cpu_ms": [60.0] * 3,
    }
    page = SCHEDULE.page(
        {"creates": [], "kinds": [], "mixes": [], "multi_creates": [{**row, "writes": 1.0, "statements": 30.0}], "rounds": 3}
    )
    assert [budget.sentence() for budget in page.budgets] == [
        "100 servers in one body, SQLite: all CPU as a multiple of a bare POST: 1.2, at most 1.3: kept",
        "100 servers in one body, SQLite: servers/s as a multiple of single creates: 5, at least 3: kept",
    ]
    assert "| SQLite | 100 | 3 | 1,000 | 1,200 | 80 | **1.20** (1.11 to 1.36) | 76.9 | 15.4 | **5.00** | 5.20 | 1 | 30 |" in page.body


def test_the_page_of_scheduling_judges_the_memory_of_further_hosts() -> None:
    rows = [
        {"hosts": hosts, "alike": True, "guests": 9 * hosts, "empty": hosts // 10, "rss": rss, "peak": rss}
        for hosts, rss in ((10_000, 100.0), (30_000, 160.0), (100_000, 360.0))
    ]
    page = SCHEDULE.page({"creates": [], "kinds": [], "mixes": [], "memory": rows, "rounds": 3})
    assert [budget.sentence() for budget in page.budgets] == [
        "memory of the index for each host from 10,000 to 100,000: 2.96 KiB, at most 3 KiB: kept",
    ]
    assert "| 30,000 | 400 kinds that repeat | 270,000 | 10 | 160 | 160 | **3.07** |" in page.body


def test_the_page_of_packing_judges_the_default_beside_first_fit() -> None:
    def row(rule: str, first: int, vcpus: int) -> dict[str, object]:
        left = {"refused": 0, "pcpus_left": 0, "memory_left_gib": 0, "cpu_seconds": 1.0}
        return {"trace": "c1", "rule": rule, "first": first, "vcpus": vcpus, **left}

    rows = [row("first fit", 100, 200), row("pinfold, least-loss", 104, 206), row("pinfold, least-loss, four replicas", 99, 210)]
    page = PACKING.page({"around": 1, "bounds": {"c1": 300}, "rows": rows})
    assert [round(budget.measured) for budget in page.budgets] == [4, 4, 3, 3, -1, -1, 5, 5]
    assert [budget.kept for budget in page.budgets] == [False, True, True, True, False, False, True, True]
