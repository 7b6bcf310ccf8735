"""`Journal`: what changed on the host, kept in a SQLite file for a time and up to a size. `changes` finds what changed.

The file also keeps the last snapshot. A watch that starts again compares the host with it, and writes what changed while no watch ran.
If two watches run on one host, or one is started often, each change is written once.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct, structs

from pinfold.core.drift import Finding
from pinfold.core.errors import InvalidRequest, Unavailable
from pinfold.core.overhead import ThreadClass
from pinfold.core.overhead.hours import OverheadHour, Place, ShapeHour
from pinfold.core.settings import HostSettings
from pinfold.host.lock import host_key
from pinfold.store.sqlite_file import is_damage
from pinfold.watch import drift_since
from pinfold.watch import snapshot as snapshots
from pinfold.watch.changes import EMPTY, Change, ChangeKind, changes
from pinfold.watch.snapshot import Snapshot

VERSION: Final = 1
DAY: Final = 86_400.0
GAP_SECONDS: Final = 60.0
"""A longer time between two sweeps is written down: what happened meanwhile is known only by its outcome."""
_PAGE: Final = 4096
_LEAST_PAGES: Final = 256
_ROOM: Final = 0.75
"""When the file is full, the oldest rows go until so much of it is used."""
_BUSY_SECONDS: Final = 5.0

_COLUMNS: Final = "at, kind, guest, guest_id, pcpu, subject, before, after"
_SCHEMA: Final = (
    f"CREATE TABLE changes (id INTEGER PRIMARY KEY, {_COLUMNS})",
    "CREATE INDEX changes_at ON changes (at)",
    "CREATE INDEX changes_pcpu ON changes (pcpu, at)",
    "CREATE INDEX changes_guest ON changes (guest_id, at)",
    "CREATE TABLE kept (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
)
_HOURS: Final = tuple(OverheadHour.__struct_fields__)
_HOURS_SCHEMA: Final = f"CREATE TABLE IF NOT EXISTS overhead_hours ({_HOURS[0]} INTEGER PRIMARY KEY, {', '.join(_HOURS[1:])})"
"""A journal of an earlier pinfold gets this table when it is opened."""
_ADD_HOUR: Final = (
    f"INSERT INTO overhead_hours VALUES ({', '.join('?' * len(_HOURS))}) ON CONFLICT ({_HOURS[0]}) "  # noqa: S608 - no value is in it
    f"DO UPDATE SET {', '.join(f'{name} = {name} + excluded.{name}' for name in _HOURS[1:])}"
)
MOST_HOURS: Final = 2000
"""The most hourly sums that are kept, about 83 days in 200 KiB."""

_SHAPES: Final = tuple(ShapeHour.__struct_fields__)
_SHAPE_KEY: Final = _SHAPES[:6]
_SHAPES_SCHEMA: Final = (
    f"CREATE TABLE IF NOT EXISTS shape_hours ({', '.join(_SHAPES)}, PRIMARY KEY ({', '.join(_SHAPE_KEY)})) WITHOUT ROWID"
)
_ADD_SHAPE: Final = (
    f"INSERT INTO shape_hours VALUES ({', '.join('?' * len(_SHAPES))}) ON CONFLICT ({', '.join(_SHAPE_KEY)}) "  # noqa: S608 - no value is in it
    f"DO UPDATE SET {', '.join(f'{name} = {name} + excluded.{name}' for name in _SHAPES[6:])}"
)
MOST_SHAPES: Final = 20_000
"""The most hourly sums by shape and thread class, 1.5 MiB: 55 days of five shapes with three classes each."""
_SHAPES_PER_PAGE: Final = 4
"""A small journal keeps fewer of them: so many for each of its pages, a thirteenth of the file."""


class Entry(Struct, frozen=True, kw_only=True):
    """One change with its moment, in seconds since the epoch."""

    at: float
    change: Change


class Excerpt(Struct, frozen=True, kw_only=True):
    """A part of a journal: entries in order, the last snapshot (None before the first sweep).

    The whole journal begins at `begins`, and `seen` is the moment of its last sweep, both in seconds since the epoch.
    """

    entries: tuple[Entry, ...]
    snapshot: Snapshot | None
    begins: float
    seen: float


class Journal:
    """The journal of one host's watch, for one thread at a time. Created if missing; a damaged file is put aside and begun anew.

    `days` and `mib` bound it. Raises `InvalidRequest` if the file cannot be made, `Unavailable` if it cannot be written any more.
    """

    def __init__(self, path: Path, *, days: float, mib: float) -> None:
        self.path = path
        self._days = days
        self._pages = max(_LEAST_PAGES, int(mib * 1024 * 1024) // _PAGE)
        self._last: tuple[int, Snapshot] | None = None
        self.put_aside = ""
        """Where a damaged file is now, '' if there was none."""
        try:
            self._connection = self._opened()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise InvalidRequest(f"the journal {path} cannot be opened: {error}", key=str(path)) from error
            self.put_aside = str(_put_aside(path))
            self._connection = self._opened()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def keep(self, now: Snapshot, at: float) -> tuple[Change, ...]:
        """Write what changed since the last snapshot, and the snapshot. Returns the changes."""
        with self._writing() as cursor:
            before, seen = self._before(cursor)
            found = () if before is now else changes(before or EMPTY, now)
            if before is not None and at - seen > GAP_SECONDS:
                found = (Change(kind=ChangeKind.UNWATCHED, before=repr(seen)), *found)
            self._write(cursor, found, at)
            if before is not now and before != now:
                cursor.execute("INSERT OR REPLACE INTO kept VALUES ('snapshot', ?)", (snapshots.encode(now),))
                _keep_times(cursor, before or EMPTY, now, at)
            cursor.execute("INSERT OR REPLACE INTO kept VALUES ('seen', ?)", (repr(at),))
            if before is None:
                cursor.execute("INSERT OR IGNORE INTO kept VALUES ('begins', ?)", (repr(at),))
        self._last = (self._version(), now)
        return found

    def add(self, hour: OverheadHour, shapes: Sequence[ShapeHour] = ()) -> None:
        """Add what was measured to the sums of its hour. Hours that are too old go, and more than `MOST_HOURS`, or `MOST_SHAPES` rows."""
        with self._writing() as cursor:
            cursor.execute(_ADD_HOUR, structs.astuple(hour))
            cursor.executemany(_ADD_SHAPE, [_shape_row(one) for one in shapes])
            for table in ("overhead_hours", "shape_hours"):
                cursor.execute(f"DELETE FROM {table} WHERE begins < ?", (hour.begins - self._days * DAY,))  # noqa: S608 - a constant
            most = min(MOST_SHAPES, self._pages * _SHAPES_PER_PAGE)
            oldest = "SELECT begins FROM shape_hours ORDER BY begins DESC LIMIT 1 OFFSET ?"
            cursor.execute(f"DELETE FROM shape_hours WHERE begins <= ({oldest})", (most,))  # noqa: S608 - no value is in it
            last = "SELECT begins FROM overhead_hours ORDER BY begins DESC LIMIT 1 OFFSET ?"
            cursor.execute(f"DELETE FROM overhead_hours WHERE begins <= ({last})", (MOST_HOURS,))  # noqa: S608 - no value is in it

    def note(self, change: Change, at: float) -> None:
        """Write one change that no two snapshots show, such as a repair."""
        with self._writing() as cursor:
            self._write(cursor, (change,), at)

    def _before(self, cursor: sqlite3.Cursor) -> tuple[Snapshot | None, float]:
        seen = cursor.execute("SELECT value FROM kept WHERE name = 'seen'").fetchone()
        if self._last is not None and self._last[0] == self._version():
            return self._last[1], float(seen[0])
        row = cursor.execute("SELECT value FROM kept WHERE name = 'snapshot'").fetchone()
        return (None if row is None else snapshots.decode(row[0])), float(seen[0]) if seen else 0.0

    def _version(self) -> int:
        """A number that changes when another connection has written."""
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def _write(self, cursor: sqlite3.Cursor, found: Sequence[Change], at: float) -> None:
        rows = [(at, one.kind.value, one.guest, one.guest_id, one.pcpu, one.subject, one.before, one.after) for one in found]
        if not rows:
            return
        cursor.execute("DELETE FROM changes WHERE at < ?", (at - self._days * DAY,))
        self._make_room(cursor)
        cursor.executemany(f"INSERT INTO changes ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)  # noqa: S608 - no value is in it
        oldest = cursor.execute("SELECT min(at) FROM changes").fetchone()[0]
        begins = cursor.execute("SELECT value FROM kept WHERE name = 'begins'").fetchone()
        if begins is not None and at - float(begins[0]) > self._days * DAY:
            cursor.execute("INSERT OR REPLACE INTO kept VALUES ('begins', ?)", (repr(oldest),))

    def _make_room(self, cursor: sqlite3.Cursor) -> None:
        """Delete the oldest quarter of the rows while the file is fuller than it should be."""
        while self._used() > self._pages * _ROOM:
            rows = int(cursor.execute("SELECT count(*) FROM changes").fetchone()[0])
            if rows == 0:
                return
            cursor.execute("DELETE FROM changes WHERE id IN (SELECT id FROM changes ORDER BY id LIMIT ?)", (rows // 4 + 1,))
            oldest = cursor.execute("SELECT min(at) FROM changes").fetchone()[0]
            if oldest is not None:
                cursor.execute("INSERT OR REPLACE INTO kept VALUES ('begins', ?)", (repr(oldest),))

    def _used(self) -> int:
        count, free = (int(self._connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "freelist_count"))
        return count - free

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Cursor]:
        try:
            with closing(self._connection.cursor()) as cursor:
                cursor.execute("BEGIN IMMEDIATE")
                try:
                    yield cursor
                except BaseException:
                    self._connection.rollback()
                    self._last = None
                    raise
                self._connection.commit()
        except sqlite3.Error as error:
            self._last = None
            raise Unavailable(f"the journal {self.path} cannot be written: {error}") from error

    def _opened(self) -> sqlite3.Connection:
        try:
            # Made here, because SQLite would make it readable for everybody. It holds the names of all guests.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        except OSError as error:
            raise InvalidRequest(f"the journal {self.path} cannot be opened: {error.strerror}", key=str(self.path)) from error
        connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            connection.execute(f"PRAGMA page_size = {_PAGE}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(f"PRAGMA journal_size_limit = {4 << 20}")
            connection.execute(f"PRAGMA max_page_count = {self._pages}")
            _make_tables(connection, self.path)
        except BaseException:
            connection.close()
            raise
        return connection


def journal_path(settings: HostSettings) -> Path:
    """Where the journal of this host lies. Makes no folder: who reads may have none, and need none."""
    return Path(settings.state_dir, f"host-{host_key(settings)}.journal")


def read(
    path: Path, *, since: float = 0.0, until: float = float("inf"), pcpu: int | None = None, guest: str = "", most: int = 10_000
) -> Excerpt:
    """The entries of a journal from `since` until before `until`, of one pCPU or guest (name or id): the newest `most`, oldest first.

    Of a guest, the pCPUs that it got and gave up count too. Raises `InvalidRequest` if there is no journal, `Unavailable` if it cannot be
    read.
    """
    with _reading(path) as connection:
        kept = dict(connection.execute("SELECT name, value FROM kept").fetchall())
        last = snapshots.decode(kept["snapshot"]) if "snapshot" in kept else None
        # The row that says that a guest came may be too old to be kept.
        there = () if last is None or not guest else tuple(one.id for one in last.guests if guest in (one.name, one.id))
        condition, values = _condition(connection, since, until, pcpu, guest, there)
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM changes WHERE {condition} ORDER BY id DESC LIMIT ?",  # noqa: S608 - no value is in it
            (*values, most),
        ).fetchall()
    return Excerpt(
        entries=tuple(_entry(row) for row in reversed(rows)),
        snapshot=last,
        begins=float(kept.get("begins", 0.0)),
        seen=float(kept.get("seen", 0.0)),
    )


def read_since(path: Path, findings: Iterable[Finding]) -> tuple[float | None, ...]:
    """Since when the watch has seen each finding, in seconds since the epoch; None where it does not know. Raises what `read` raises."""
    with _reading(path) as connection:
        return drift_since.since(_times(connection.cursor()), findings)


def _times(cursor: sqlite3.Cursor) -> drift_since.Times:
    row = cursor.execute("SELECT value FROM kept WHERE name = 'drift-since'").fetchone()
    return {} if row is None else drift_since.decode(row[0])


def _keep_times(cursor: sqlite3.Cursor, before: Snapshot, now: Snapshot, at: float) -> None:
    """Keep since when each finding of drift has been there."""
    times = drift_since.times_now(_times(cursor), before.findings, now.findings, at)
    cursor.execute("INSERT OR REPLACE INTO kept VALUES ('drift-since', ?)", (drift_since.encode(times),))


def read_hours(path: Path) -> tuple[OverheadHour, ...]:
    """The hourly sums of a journal, oldest first. Raises what `read` raises."""
    with _reading(path) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'overhead_hours'").fetchall():
            return ()
        rows = connection.execute(f"SELECT {', '.join(_HOURS)} FROM overhead_hours ORDER BY begins").fetchall()  # noqa: S608 - no value is in it
    return tuple(OverheadHour(**dict(zip(_HOURS, row, strict=True))) for row in rows)


def read_shapes(path: Path) -> tuple[ShapeHour, ...]:
    """The hourly sums of a journal by shape, place and thread class, oldest first. Raises what `read` raises."""
    with _reading(path) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'shape_hours'").fetchall():
            return ()
        rows = connection.execute(f"SELECT {', '.join(_SHAPES)} FROM shape_hours ORDER BY {', '.join(_SHAPE_KEY)}").fetchall()  # noqa: S608 - no value is in it
    values = (dict(zip(_SHAPES, row, strict=True)) for row in rows)
    return tuple(ShapeHour(**one | {"place": Place(one["place"]), "thread_class": ThreadClass(one["thread_class"])}) for one in values)


def _shape_row(one: ShapeHour) -> tuple[object, ...]:
    return tuple(value.value if isinstance(value, (Place, ThreadClass)) else value for value in structs.astuple(one))


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        kind = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        kind = 0
    except OSError as error:
        raise InvalidRequest(f"the journal {path} cannot be read: {error.strerror}", key=str(path)) from error
    if not stat.S_ISREG(kind):
        raise InvalidRequest(f"there is no journal {path}; `pinfold watch` writes it", key=str(path))
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS)) as connection:
            if connection.execute("PRAGMA user_version").fetchone()[0] != VERSION:
                raise InvalidRequest(f"the journal {path} is of another version of pinfold", key=str(path))
            yield connection
    except sqlite3.Error as error:
        raise Unavailable(f"the journal {path} cannot be read: {error}") from error


def _condition(
    connection: sqlite3.Connection, since: float, until: float, pcpu: int | None, guest: str, there: Iterable[str]
) -> tuple[str, tuple[object, ...]]:
    """The condition of a query, and the values in it. `there` are the ids that the guest has now."""
    parts, values = ["at >= ?", "at < ?"], [since, min(until, 1e12)]
    if pcpu is not None:
        return " AND ".join((*parts, "pcpu = ?")), (*values, pcpu)
    if not guest:
        return " AND ".join(parts), tuple(values)
    found = connection.execute("SELECT DISTINCT guest_id FROM changes WHERE guest = ? OR guest_id = ? LIMIT 100", (guest, guest))
    ids = sorted({*there, *(row[0] for row in found if row[0])})
    if not ids:
        return "0", ()
    marks = ", ".join("?" * len(ids))
    owned = " OR ".join("instr(before, ?) OR instr(after, ?)" for _ in ids)
    texts = [f" {one} " for one in ids for _ in range(2)]
    return f"{' AND '.join(parts)} AND (guest_id IN ({marks}) OR (pcpu IS NOT NULL AND ({owned})))", (*values, *ids, *texts)


def _entry(row: tuple[float, str, str, str, int | None, str, str, str]) -> Entry:
    at, kind, guest, guest_id, pcpu, subject, before, after = row
    change = Change(kind=ChangeKind(kind), guest=guest, guest_id=guest_id, pcpu=pcpu, subject=subject, before=before, after=after)
    return Entry(at=at, change=change)


def _make_tables(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
    if version in (0, VERSION):
        connection.execute(_HOURS_SCHEMA)
        connection.execute(_SHAPES_SCHEMA)
    connection.execute("COMMIT")
    if version not in (0, VERSION):
        raise InvalidRequest(f"the journal {path} is of another version of pinfold; move it away", key=str(path))


def _put_aside(path: Path) -> Path:
    """Rename a damaged journal, with SQLite's own files beside it."""
    aside = path.with_name(f"{path.name}.damaged")
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    path.replace(aside)
    return aside
