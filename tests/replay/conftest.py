"""The databases and the fleet of the replay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.replay.record import SPREAD
from tests.rig.databases import embedded, placement_file, postgresql, sqlite_file
from tests.rig.in_process import Fleet, open_fleet

from pinfold.accounting.embedded import Embedded

__all__ = ["embedded", "placement_file", "postgresql", "sqlite_file"]


@pytest.fixture
def fleet(tmp_path: Path, sqlite_file: Path, embedded: Embedded) -> Iterator[Fleet]:
    """The application as it was when the answers were recorded."""
    with open_fleet(tmp_path, sqlite_file, embedded, settings=SPREAD) as made:
        yield made
