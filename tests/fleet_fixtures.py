"""Fixtures for store, accounting and scheduler; imported by their conftest files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.postgres import PostgreSQL, binaries

from pinfold.accounting.embedded import Embedded, EmbeddedPlacement, load, unload
from pinfold.store.database import Database, upgrade


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """One real server for the whole run."""
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    server = PostgreSQL.start()
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.real_postgresql)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A fresh database of each kind, with our tables."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/pinfold.db"
    else:
        url = request.getfixturevalue("postgresql").create_database()
    made = Database(url)
    upgrade(made)
    yield made
    made.close()


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Embedded]:
    """A real Placement on a fresh SQLite file."""
    yield load(EmbeddedPlacement(url=f"sqlite:///{tmp_path}/placement.db"))
    unload()
