"""A SQLite file that is damaged, missing, backed up and restored."""

from __future__ import annotations

import os
import random
import re
import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest
from tests.build.requests import pinned

from pinfold.core.config_drive import GuestConfig
from pinfold.core.errors import Conflict, InvalidRequest, Unavailable
from pinfold.core.identity import GuestId
from pinfold.core.request.model import Flavor
from pinfold.store import guest_configs, guests
from pinfold.store.database import Database, upgrade
from pinfold.store.records import NewGuest
from pinfold.store.sqlite_file import alone, back_up, damage, is_gone, restore


def filled(path: Path, rows: int = 2000) -> Path:
    """A database with one table of that many rows, in WAL mode like the service's."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, x TEXT)")
        connection.executemany("INSERT INTO t (x) VALUES (?)", [(f"row {number} " * 9,) for number in range(rows)])
        connection.commit()
    return path


def spoil(path: Path) -> None:
    """Overwrite the middle of the file."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 4)
        file.write(b"\xff" * (size // 2))


def rows(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM t").fetchone()[0])


def test_damage_is_found_and_a_sound_file_has_none(tmp_path: Path) -> None:
    path = filled(tmp_path / "a.sqlite")
    assert damage(path) == ""
    spoil(path)
    assert damage(path) and "\n" not in damage(path)
    path.write_bytes(b"not a database at all" * 100)
    assert damage(path) == "file is not a database"
    with pytest.raises(InvalidRequest, match="is not a file"):
        damage(tmp_path)


def test_a_backup_is_of_one_instant_though_others_write(tmp_path: Path) -> None:
    path, ended = filled(tmp_path / "a.sqlite"), threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(path, timeout=60)) as connection:
            while not ended.is_set():
                connection.executemany("INSERT INTO t (x) VALUES (?)", [("pair",), ("pair",)])
                connection.commit()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(3):
            back_up(path, tmp_path / "b.sqlite")
            assert damage(tmp_path / "b.sqlite") == "" and rows(tmp_path / "b.sqlite") % 2 == 0
    finally:
        ended.set()
        writer.join()
    assert (tmp_path / "b.sqlite").stat().st_mode & 0o777 == 0o600
    assert sorted(entry.name for entry in tmp_path.iterdir() if entry.name.startswith((".", "b"))) == ["b.sqlite"]


def test_a_damaged_database_does_not_take_the_last_backups_place(tmp_path: Path) -> None:
    path = filled(tmp_path / "a.sqlite")
    back_up(path, tmp_path / "b.sqlite")
    spoil(path)
    with pytest.raises(InvalidRequest, match=r"a\.sqlite"):
        back_up(path, tmp_path / "b.sqlite")
    assert rows(tmp_path / "b.sqlite") == 2000


def test_a_backup_comes_back_and_what_was_there_is_kept(tmp_path: Path) -> None:
    path = filled(tmp_path / "a.sqlite")
    back_up(path, tmp_path / "b.sqlite")
    spoil(path)
    before = path.read_bytes()
    kept = restore(path, tmp_path / "b.sqlite")
    assert kept is not None and kept.read_bytes() == before
    assert rows(path) == 2000 and damage(path) == ""
    assert restore(path, tmp_path / "b.sqlite") == tmp_path / "a.sqlite.before-restore-2"
    path.unlink()
    assert is_gone(path)
    assert restore(path, tmp_path / "b.sqlite") is None
    assert rows(path) == 2000


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can restore for another user")
@pytest.mark.parametrize("lost", [False, True], ids=["over a database", "where the folder is empty"])
def test_what_root_restores_belongs_to_the_user_of_the_service(tmp_path: Path, lost: bool) -> None:
    backup = filled(tmp_path / "backup")
    folder = tmp_path / "state"
    folder.mkdir()
    path = folder / "pinfold.sqlite"
    if not lost:
        filled(path, rows=5)
        os.chown(path, 65534, 65533)
    os.chown(folder, 65534, 65533)
    restore(path, backup)
    assert rows(path) == 2000
    owners = {file.name: (file.stat().st_uid, file.stat().st_gid) for file in folder.iterdir() if not file.name.endswith(("-wal", "-shm"))}
    assert owners.pop("pinfold.sqlite") == (65534, 65533)
    assert set(owners.values()) == {(65534, 65533)}, owners
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_database_that_is_served_and_a_backup_that_is_damaged_are_left(tmp_path: Path) -> None:
    path = filled(tmp_path / "a.sqlite")
    back_up(path, tmp_path / "b.sqlite")
    with alone(path), pytest.raises(Conflict, match="serves"):
        restore(path, tmp_path / "b.sqlite")
    spoil(tmp_path / "b.sqlite")
    with pytest.raises(InvalidRequest, match="damaged"):
        restore(path, tmp_path / "b.sqlite")
    with pytest.raises(InvalidRequest, match="No such file"):
        restore(path, tmp_path / "none.sqlite")
    assert rows(path) == 2000
    assert not list(tmp_path.glob("*before*"))


def test_nothing_is_left_of_forgotten_secrets_however_rows_come_and_go(tmp_path: Path, sqlite_file: Path) -> None:
    shutil.copy(sqlite_file, tmp_path / "pinfold.db")
    database, chance = Database(f"sqlite:///{tmp_path}/pinfold.db"), random.Random(0)
    kept: list[GuestId] = []
    for _ in range(200):
        guest = GuestId(str(UUID(int=chance.getrandbits(128))))
        config = GuestConfig(name="vm", hostname="vm", public_key="x" * chance.randrange(900), admin_pass=f"secret-of-{guest}")
        new = NewGuest(id=guest, name="vm", flavor=Flavor(vcpus=1, memory_mib=1), request=pinned(1), config=config)
        with database.write() as connection:
            guests.create(connection, new)
            assert guest_configs.find(connection, guest) == config
        kept.append(guest)
        if len(kept) > 8:
            with database.write() as connection:
                guest_configs.forget(connection, kept.pop(chance.randrange(len(kept))))
    database.close()
    left = {found.decode() for file in tmp_path.iterdir() for found in re.findall(rb"secret-of-([0-9a-f-]{36})", file.read_bytes())}
    assert left == set(kept)


@pytest.mark.parametrize("harm", ["deleted", "replaced", "damaged"])
def test_a_service_that_lost_its_file_answers_nothing_more_and_says_it_once(
    tmp_path: Path, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.sqlite"
    database = Database(f"sqlite:///{path}")
    upgrade(database)
    database.check()
    match harm:
        case "deleted":
            path.unlink()
        case "replaced":
            back_up(path, tmp_path / "b.sqlite")
            (tmp_path / "b.sqlite").replace(path)
        case _:
            database.close()
            path.write_bytes(b"\xff" * path.stat().st_size)
    for _ in range(3):
        with pytest.raises(Unavailable, match=r"the database .*(deleted|damaged)") as error:
            database.check()
        assert str(path) not in str(error.value) and "\n" not in str(error.value)
        with pytest.raises(Unavailable), database.write():
            pass
    said = [record.getMessage() for record in caplog.records if record.levelname == "CRITICAL"]
    assert len(said) == 1 and str(path) in said[0] and "pinfold database restore" in said[0]
    database.close()
