"""The application of the stories, on a fresh SQLite file and a fresh Placement."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.rig.databases import embedded, placement_file, sqlite_file
from tests.rig.in_process import Fleet, open_fleet

from pinfold.accounting.embedded import Embedded, EmbeddedPlacement, load, unload

__all__ = ["embedded", "placement_file", "sqlite_file"]


@pytest.fixture
def fleet(tmp_path: Path, sqlite_file: Path, embedded: Embedded) -> Iterator[Fleet]:
    """The application without hosts, with one image, `probe`."""
    with open_fleet(tmp_path, sqlite_file, embedded) as made:
        yield made


@pytest.fixture(scope="module")
def standing_fleet(tmp_path_factory: pytest.TempPathFactory, sqlite_file: Path, placement_file: Path) -> Iterator[Fleet]:
    """The same with a host, `c1`, and a flavor, `tiny`, shared by a module's tests; none of them may use `fleet` beside it."""
    folder = tmp_path_factory.mktemp("standing")
    shutil.copy(placement_file, folder / "placement.db")
    with open_fleet(folder, sqlite_file, load(EmbeddedPlacement(url=f"sqlite:///{folder}/placement.db"))) as made:
        made.host("c1")
        made.flavor("tiny", vcpus=1)
        yield made
    unload()
