"""Fixtures of databases and of Placement, which conftest files import."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.postgres import PostgreSQL, binaries

from pinfold.accounting.embedded import Embedded, EmbeddedPlacement, load, unload
from pinfold.store.database import Database, upgrade
from pinfold.store.schema import metadata


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """One real server for the whole run."""
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    server = PostgreSQL.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our tables, made once."""
    made = tmp_path_factory.mktemp("pinfold") / "empty.db"
    database = Database(f"sqlite:///{made}")
    upgrade(database)
    database.close()
    return made


@pytest.fixture(scope="session")
def postgresql_url(postgresql: PostgreSQL) -> str:
    """A database with our tables, emptied before each test."""
    url = postgresql.create_database()
    database = Database(url)
    upgrade(database)
    database.close()
    return url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.real_postgresql)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A fresh database of each kind, with our tables."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_file"), tmp_path / "pinfold.db")
        url = f"sqlite:///{tmp_path}/pinfold.db"
    else:
        url = request.getfixturevalue("postgresql_url")
    made = Database(url)
    if made.postgresql:
        with made.write() as connection:
            connection.execute(sa.text(f"TRUNCATE {', '.join(metadata.tables)} RESTART IDENTITY CASCADE"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def placement_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Placement's tables, made once: copying a file is quicker than its migrations."""
    made = tmp_path_factory.mktemp("placement") / "empty.db"
    load(EmbeddedPlacement(url=f"sqlite:///{made}"))
    unload()
    return made


@pytest.fixture
def embedded(placement_file: Path, tmp_path: Path) -> Iterator[Embedded]:
    """A real Placement on a fresh SQLite file."""
    shutil.copy(placement_file, tmp_path / "placement.db")
    yield load(EmbeddedPlacement(url=f"sqlite:///{tmp_path}/placement.db"))
    unload()
