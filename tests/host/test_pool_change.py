"""Hosts on which guests cannot follow changed pools. Moves of real guests are in `tests/real/host`."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinfold.core.errors import InvalidRequest
from pinfold.core.settings import HostSettings
from pinfold.drivers import registry
from pinfold.host.pool_change import apply, plan


def test_processes_without_records_are_left_to_repair() -> None:
    with pytest.raises(InvalidRequest, match="guests of processes: have no record of their places; `pinfold repair` moves them"):
        plan(registry.open_driver("processes:"), HostSettings(uri="processes:"))


def test_no_guest_leaves_its_pools_where_no_file_sets_any(tmp_path: Path) -> None:
    """Whoever applies the pools: the command, and the watch."""
    settings = HostSettings(state_dir=str(tmp_path), source="FILE")
    driver = registry.open_driver("processes:")
    with pytest.raises(InvalidRequest, match="no pools are configured: FILE sets none, and guests would leave the pools"):
        apply(driver, settings)
    with pytest.raises(InvalidRequest, match="have no record of their places"):
        apply(driver, settings, without_pools=True)
