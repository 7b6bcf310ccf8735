"""Placement >= ledger >= running domains after every step of any history, and equal once all is at rest: the invariant as a property."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test
from tests.stories.invariant.service import REPORTS, Service


def _machine(tables: Path) -> Callable[[], RuleBasedStateMachine]:
    return type("Service", (Service,), {"tables": tables})


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory, sqlite_file: Path, placement_file: Path) -> Path:
    """A folder with both databases, empty."""
    folder = tmp_path_factory.mktemp("tables")
    shutil.copy(sqlite_file, folder / "pinfold.db")
    shutil.copy(placement_file, folder / "placement.db")
    return folder


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("examples", [8, pytest.param(200, marks=pytest.mark.slow)])
def test_placement_covers_the_ledger_and_the_ledger_what_runs(tables: Path, examples: int) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        _machine(tables),
        settings=settings(max_examples=examples, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)),
    )


@pytest.fixture
def at_work(tables: Path) -> Iterator[Service]:
    """A service with two hosts. A guest runs on the second one, and the service knows that."""
    service = _machine(tables)()
    assert isinstance(service, Service)
    try:
        service.a_fleet_at_work(shapes=(REPORTS[1], REPORTS[0]), flavors=[])
        service.agent_takes_a_turn(which=1, fresh=True, failing=False)
        assert [len(world.disks) for world in service.worlds.values()] == [0, 1]
        yield service
    finally:
        service.stack.close()


@pytest.mark.parametrize("action", ["SaveMemory", "Confirm"])
def test_a_deleted_guest_may_lose_its_disk_before_its_agent_has_confirmed_that(at_work: Service, action: str) -> None:
    at_work.delete(which=0)
    at_work.an_agent_will_be_killed(which=1, action=action)
    for _ in ("it reads its orders", "it performs them"):
        at_work.agent_takes_a_turn(which=1, fresh=True, failing=False)
    assert not at_work.worlds["c1"].dies_at and not at_work.worlds["c1"].disks and at_work._stored() != []
    at_work.placement_covers_the_ledger_and_the_ledger_what_runs()
    at_work._come_to_rest()


def test_a_lost_disk_of_a_wanted_guest_is_noticed(at_work: Service) -> None:
    at_work.placement_covers_the_ledger_and_the_ledger_what_runs()
    at_work.worlds["c1"].disks.clear()
    with pytest.raises(AssertionError, match="a disk is lost"):
        at_work.placement_covers_the_ledger_and_the_ledger_what_runs()
