"""The application of the stories, on a fresh SQLite file and a fresh Placement."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fleet_fixtures import embedded, placement_file, sqlite_file
from tests.stories.rig import Fleet, make_fleet

from pinfold.accounting.embedded import Embedded
from pinfold.store.database import Database

__all__ = ["embedded", "placement_file", "sqlite_file"]


@pytest.fixture
def fleet(tmp_path: Path, sqlite_file: Path, embedded: Embedded) -> Iterator[Fleet]:
    """The application without hosts, with one image, `probe`."""
    images = tmp_path / "images"
    images.mkdir()
    (images / "probe.rom").write_bytes(b"\x00" * 64)
    shutil.copy(sqlite_file, tmp_path / "pinfold.db")
    database = Database(f"sqlite:///{tmp_path}/pinfold.db")
    made = make_fleet(database, embedded, images)
    with made.http:
        yield made
    database.close()
