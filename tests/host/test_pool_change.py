"""Hosts on which guests cannot follow changed pools. Moves of real guests are in `tests/real/host`."""

from __future__ import annotations

import pytest

from pinfold.core.errors import InvalidRequest
from pinfold.core.settings import HostSettings
from pinfold.drivers import registry
from pinfold.host.pool_change import plan


def test_processes_without_records_are_left_to_repair() -> None:
    with pytest.raises(InvalidRequest, match="guests of processes: have no record of their places; `pinfold repair` moves them"):
        plan(registry.open_driver("processes:"), HostSettings(uri="processes:"))
