"""Placement >= ledger >= running domains after every step of any history, and equal once all is at rest: the invariant as a property."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test
from tests.stories.invariant.service import Service


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
