"""The file of a SQLite database: check it, lock it for one process, back it up and restore it."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

from pinfold.core.errors import Conflict, InvalidRequest

SQLITE: Final = "sqlite:///"
_BESIDE: Final = ("-wal", "-shm", "-journal")
_BROKEN: Final = (11, 26)
"""SQLITE_CORRUPT and SQLITE_NOTADB, the low byte of SQLite's extended codes."""
_PAGES_AT_ONCE: Final = 1000


def file_of(url: str) -> Path | None:
    """The file of a SQLite database's URL, None for any other database.

    >>> file_of("sqlite:////var/lib/pinfold/pinfold.sqlite")
    PosixPath('/var/lib/pinfold/pinfold.sqlite')
    """
    return Path(url.removeprefix(SQLITE)) if url.startswith(SQLITE) else None


def is_damage(error: BaseException | None) -> bool:
    """Whether this SQLite error says that the file is damaged or is no database."""
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _BROKEN


def damage(path: Path) -> str:
    """The result of SQLite's own check of a database file; '' for a sound one. Raises `InvalidRequest` when there is no file."""
    _check_plain(path)
    try:
        with closing(_open(path)) as connection:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        return str(error)
    return "" if found == ("ok",) else " ".join(str(found[0] if found else "no answer").split())


def glance(path: Path) -> None:
    """Read the file's schema from the disk. Raises SQLite's error when it is damaged.

    It opens the file through SQLite: a process that opens and closes the file itself loses SQLite's locks on it.
    """
    with closing(_open(path)) as connection:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()


def is_gone(path: Path) -> bool:
    """Whether a database was here before and is now missing: its lock file stays when the database goes."""
    return not path.exists() and _lock_of(path).exists()


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Reserve the database file for this process, and create it if it is missing: other processes would not be notified of its changes.

    Raises `Conflict` that names the process that has it, `InvalidRequest` when it cannot be opened.
    """
    make_private(path)
    handle = os.open(_lock_of(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(handle, 32, 0).decode(errors="replace") or "unknown"
            raise Conflict(
                f"process {holder} serves {path} already; several need a PostgreSQL, see [pinfold_database] connection"
            ) from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)


def make_private(path: Path) -> None:
    """Create the database file so that only its owner can read it. SQLite gives the files beside it the same mode."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InvalidRequest(f"the database {path} cannot be opened: {error.strerror}", key=str(path)) from error
    try:
        os.fchmod(handle, 0o600)
    finally:
        os.close(handle)


def back_up(path: Path, target: Path) -> None:
    """Write a copy of a database at one instant, while others use it. `target` is replaced only when the copy is whole and sound.

    Raises `InvalidRequest` when the database is absent or damaged, or when the target cannot be written.
    """
    _check_plain(path)
    part = target.with_name(f".{target.name}.part")
    try:
        part.unlink(missing_ok=True)
        make_private(part)
        with closing(_open(path)) as source, closing(sqlite3.connect(part)) as copy:
            source.backup(copy, pages=_PAGES_AT_ONCE)
            copy.execute("PRAGMA journal_mode = DELETE")
        wrong = damage(part)
        if wrong:
            raise InvalidRequest(f"the database {path} is damaged ({wrong}); {target} is left as it was", key=str(path))
        _sync(part)
        part.replace(target)
        _sync(target.parent)
    except sqlite3.Error as error:
        raise InvalidRequest(f"the database {path} cannot be copied to {target}: {error}", key=str(path)) from error
    except OSError as error:
        raise InvalidRequest(f"{target} cannot be written: {error.strerror}", key=str(target)) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def restore(path: Path, source: Path) -> Path | None:
    """Put a backup in a database's place. Returns the path to which the old file was moved, None if there was none.

    The new file belongs to whom the old one belonged, or the folder where there is none: root restores what the service's user opens.
    Raises `InvalidRequest` for a backup that is absent or damaged, `Conflict` while a process serves the database.
    """
    wrong = damage(source)
    if wrong:
        raise InvalidRequest(f"the backup {source} is damaged ({wrong}); nothing was changed", key=str(source))
    there, locked = os.path.exists(path), os.path.exists(_lock_of(path))  # Path.exists raises in a closed folder
    with alone(path):
        fresh = path.with_name(f".{path.name}.restored")
        back_up(source, fresh)
        _give_away((fresh,) if locked else (fresh, _lock_of(path)), like=path if there else path.parent)
        kept = _free_name(path)
        for suffix in ("", *_BESIDE):
            with suppress(FileNotFoundError):
                Path(f"{path}{suffix}").rename(f"{kept}{suffix}")
        fresh.replace(path)
        _sync(path.parent)
    if there:
        return kept
    kept.unlink(missing_ok=True)
    return None


def _give_away(files: Sequence[Path], *, like: Path) -> None:
    """Set the owner and group of the files to those of `like`. Only root can do that; for others the files stay as they are."""
    if os.geteuid() != 0:
        return
    owner = like.stat()
    for file in files:
        os.chown(file, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _free_name(path: Path) -> Path:
    number = 1
    while os.path.lexists(f"{path}.before-restore-{number}"):
        number += 1
    return Path(f"{path}.before-restore-{number}")


def _lock_of(path: Path) -> Path:
    return Path(f"{path}.lock")


def _check_plain(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}", key=str(path)) from error
    if not stat.S_ISREG(mode):
        raise InvalidRequest(f"{path} is not a file", key=str(path))


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, timeout=30.0)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
