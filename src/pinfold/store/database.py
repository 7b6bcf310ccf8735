"""`Database`: one engine, its transactions, its clock and its notifications.

SQLite runs in WAL mode. A writing transaction begins IMMEDIATE, so that it waits at its start and never deadlocks later. PostgreSQL reads
at one snapshot (REPEATABLE READ) and writes at READ COMMITTED, where each of our writes names the state that it expects.
"""

from __future__ import annotations

import logging
import selectors
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import resources
from types import TracebackType
from typing import Any, Final, TypeVar

import psycopg2  # type: ignore[import-untyped]
import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from pinfold.core.errors import InvalidRequest, PinfoldError, RolledBack, Unavailable
from pinfold.store.ready_connections import TRUSTED_SECONDS, USED, ReadyConnections, note_use
from pinfold.store.sqlite_file import file_of, glance, is_damage

_log = logging.getLogger(__name__)
_CHANNEL: Final = "pinfold"
_TOLD: Final = "pinfold_told"
_SECRET_GONE: Final = "pinfold_secret_gone"  # noqa: S105
_SQLITE_PAGE: Final = 4096
"""The bytes of a page of the files that SQLite makes."""
_BUSY_MS: Final = 30_000
_NOTIFY: Final = "SELECT pg_notify(%s, topic) FROM unnest(%s) AS topic"
_CONFLICTS: Final = ("40001", "40P01")
"""PostgreSQL's serialization_failure and deadlock_detected."""
DIALECTS: Final = ("sqlite", "postgresql")
_TRIES: Final = 5
"""How often a change is made that the database rolls back in favour of others."""
Result = TypeVar("Result")


class EpochNow(FunctionElement[float]):
    """The database's clock, in seconds since the epoch, as an SQL expression. It advances within one PostgreSQL transaction."""

    type = sa.Double()
    inherit_cache = True
    name = "epoch_now"


@compiles(EpochNow, "sqlite")
def _sqlite_now(_element: object, _compiler: object, **_options: object) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(EpochNow, "postgresql")
def _postgresql_now(_element: object, _compiler: object, **_options: object) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"


def pairs(name: str, dialect: str) -> sa.TableValuedAlias:
    """The JSON object that is bound to `name`, as a table of `key` and `value`."""
    given: Any = sa.bindparam(name, type_=sa.Text)
    read: Any = sa.func.json_each(given) if dialect == "sqlite" else sa.func.json_each_text(sa.cast(given, sa.JSON))
    found: sa.TableValuedAlias = read.table_valued("key", "value")
    return found


def in_term(began: sa.ColumnElement[float], until: sa.ColumnElement[float]) -> sa.ColumnElement[bool]:
    """Whether the database's clock is within a term, as an SQL expression.

    The clock may be set back. A term that begins further ahead than its length is therefore over as well; otherwise what a dead process
    left would last for as long as the clock jumped.
    """
    return sa.and_(until > EpochNow(), began - EpochNow() < until - began)


class Database:
    """One pinfold database. Safe to share between threads, but not across fork.

    `url` is `sqlite:////path/to/file` or `postgresql+psycopg2://…`. Raises `InvalidRequest` for any other kind.
    """

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self.engine = _engine(url, pool_size)
        self._file = file_of(url)
        self._inode = 0
        self._lost = ""
        self._log_holds_secrets = False
        self.postgresql = self.engine.dialect.name == "postgresql"
        self._ready = ReadyConnections(self.engine, pool_size)
        self._wakeups = Wakeups(self)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection in a read-only transaction that sees one instant. Raises `Unavailable`."""
        options: dict[str, Any] = {"isolation_level": "REPEATABLE READ"} if self.postgresql else {"pinfold_read": True}
        with self._translated(), self.engine.connect().execution_options(**options) as connection, connection.begin():
            yield connection

    def read_once(self) -> AbstractContextManager[sa.Connection]:
        """A connection for one statement that reads: it sees one instant by itself, so that no transaction is begun and ended for it.

        Raises `Unavailable`.
        """
        return _AtOnce(self._ready) if self.postgresql else self._read_once()

    @contextmanager
    def _read_once(self) -> Iterator[sa.Connection]:
        with self._translated(), self.engine.connect().execution_options(pinfold_once=True) as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A connection in a transaction that commits at the end, or rolls back when the block raises.

        Raises `Unavailable`, and `RolledBack` when the database rolled it back in favour of another transaction.
        """
        with self._translated(), self.engine.begin() as connection:
            connection.info.pop(_TOLD, None)
            connection.info.pop(_SECRET_GONE, None)
            yield connection
            gone = connection.info.pop(_SECRET_GONE, False)
            told = list(dict.fromkeys(connection.info.pop(_TOLD, [])))
            if told and self.postgresql:
                connection.exec_driver_sql(_NOTIFY, (_CHANNEL, told))
        if gone:
            self._log_holds_secrets = True
        if told and not self.postgresql:
            self._wakeups.deliver(told)
        if self._log_holds_secrets:
            self._truncate_log()

    def write_once(self) -> AbstractContextManager[sa.Connection]:
        """A connection whose every statement commits by itself, so that no transaction is begun and ended for it. Only for PostgreSQL, and
        for statements that do all or nothing; what they notify of, they notify of themselves (`notify`).

        Raises `Unavailable`, and `RolledBack`.
        """
        return _AtOnce(self._ready)

    def change(self, step: Callable[[sa.Connection], Result]) -> Result:
        """What `step` returns in a writing transaction. When the database rolls it back in favour of another, it is made again.

        Raises `Unavailable`, and `RolledBack` when all tries are rolled back.
        """
        for _ in range(_TRIES - 1):
            try:
                with self.write() as connection:
                    return step(connection)
            except RolledBack as error:
                _log.info("made again: %s", error)
        with self.write() as connection:
            return step(connection)

    def check(self) -> None:
        """Check that the database answers and that its file exists and can be read: a pooled connection would answer from its cache.

        Raises `Unavailable`.
        """
        self.now()
        if self._file is not None:
            try:
                glance(self._file)
            except sqlite3.Error as error:
                if is_damage(error):
                    self._lose(f"the database is damaged ({error})")
                raise Unavailable(f"the database does not answer: {error}") from error

    def now(self) -> float:
        """The database's clock."""
        with self.read() as connection:
            return float(connection.execute(sa.select(EpochNow())).scalar_one())

    def _truncate_log(self) -> None:
        """Move SQLite's log into the file and empty it. If a reader is in the way, the next write tries again.

        The mark goes before the log is emptied and comes back if it is not: what another thread commits meanwhile keeps its own mark.
        """
        self._log_holds_secrets, busy = False, True
        try:
            with self.engine.connect() as connection:
                raw: Any = connection.connection.driver_connection
                try:
                    raw.execute("PRAGMA busy_timeout = 0")
                    busy = bool(raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])
                finally:
                    raw.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        except (sqlite3.Error, sa.exc.SQLAlchemyError) as error:
            _log.info("the log of the database is emptied later: %s", error)
        if busy:
            self._log_holds_secrets = True

    @contextmanager
    def _translated(self) -> Iterator[None]:
        self._refuse_lost()
        with _translated():
            try:
                yield
            except sa.exc.DatabaseError as error:
                if is_damage(error.orig):
                    self._lose(f"the database is damaged ({error.orig})")
                raise

    def _refuse_lost(self) -> None:
        """Raise for a SQLite file that was deleted or replaced: it would accept writes and lose them."""
        if self._file is not None and not self._lost:
            try:
                inode = self._file.stat().st_ino
            except FileNotFoundError:
                inode = 0
            if not self._inode:
                self._inode = inode  # 0 until SQLite has created the file
            elif inode != self._inode:
                self._lose("the database file was deleted or replaced while the service ran")
        if self._lost:
            raise Unavailable(self._lost)

    def _lose(self, why: str) -> None:
        """Refuse every read and write from now on; a person has to restore a backup."""
        if not self._lost:
            self._lost = f"{why}; the service answers again when it is started on a sound one"
            _log.critical("%s: %s; stop the service, then `pinfold database restore BACKUP` with its --config", self._file, why)
        raise Unavailable(self._lost)

    @property
    def wakeups(self) -> Wakeups:
        """Delivers notifications of changes to subscribers."""
        return self._wakeups

    def close(self) -> None:
        """Close the listener and every pooled connection."""
        self._wakeups.close()
        self._ready.close()
        self.engine.dispose()


def tell(connection: sa.Connection, topic: str) -> None:
    """Notify every subscriber of `topic` (such as `host:ID`) once this transaction has committed. A notification is a hint, not the
    truth.
    """
    connection.info.setdefault(_TOLD, []).append(topic)


def notify(topic: sa.ColumnElement[str]) -> sa.ColumnElement[None]:
    """An expression that does what `tell` does, as part of a statement. Only PostgreSQL has it."""
    return sa.func.pg_notify(_CHANNEL, topic, type_=sa.types.NullType())


def secret_json(connection: sa.Connection, text: str) -> str:
    """A secret as a row must hold it so that `deleting_secrets` leaves nothing of it: a JSON text that reads as `text` does.

    SQLite copies rows from page to page as others come and go, and leaves parts of the old copies behind. What does not fit into a page
    it never copies: it has pages of its own, which are overwritten with the row. So spaces fill the row's part of the shared page.
    """
    return " " * _SQLITE_PAGE + text if connection.dialect.name == "sqlite" else text


@contextmanager
def deleting_secrets(connection: sa.Connection) -> Iterator[None]:
    """What the block deletes is overwritten in a SQLite file, not only marked as free, and its log is emptied after the transaction.

    Nothing is left of values that were made by `secret_json`.
    """
    if connection.dialect.name != "sqlite":
        yield
        return
    connection.info[_SECRET_GONE] = True
    connection.exec_driver_sql("PRAGMA secure_delete = ON")
    try:
        yield
    finally:
        connection.exec_driver_sql("PRAGMA secure_delete = OFF")


class Wakeups:
    """Calls subscribers back when a topic is notified: by any process on PostgreSQL, by this process on SQLite.

    Notifications may be lost, so a subscriber must also read the rows itself every few seconds.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._callbacks: dict[object, Callable[[str], None]] = {}
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    def subscribe(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Call `callback(topic)` from a thread of this class for every topic, until the returned function is called. It must return
        quickly.
        """
        key = object()
        with self._lock:
            self._callbacks[key] = callback
            if self._database.postgresql and self._thread is None:
                self._thread = threading.Thread(target=self._listen, name="pinfold-listen", daemon=True)
                self._thread.start()

        def unsubscribe() -> None:
            with self._lock:
                self._callbacks.pop(key, None)

        return unsubscribe

    def deliver(self, topics: list[str]) -> None:
        """Call every subscriber with each topic."""
        with self._lock:
            callbacks = list(self._callbacks.values())
        for topic in dict.fromkeys(topics):
            for callback in callbacks:
                try:
                    callback(topic)
                except Exception:  # this subscriber loses the hint; the rows are written, and the others must still be notified
                    _log.exception("a listener failed to hear of %s", topic)

    def send(self, topic: str) -> None:
        """Notify of a topic that stands for no change. Subscribers hear it after all that was notified before this call.

        Raises `Unavailable`.
        """
        if not self._database.postgresql:
            self.deliver([topic])
            return
        with self._database.write_once() as connection:
            connection.exec_driver_sql(_NOTIFY, (_CHANNEL, [topic]))

    def close(self) -> None:
        """Stop the listening thread."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _listen(self) -> None:
        while not self._closed.is_set():
            try:
                self._listen_once()
            except Exception as error:
                _log.warning("listening to the database ended (%s); trying again", error)
                self._closed.wait(1.0)

    def _listen_once(self) -> None:
        raw = self._database.engine.raw_connection()
        try:
            connection: Any = raw.driver_connection
            connection.set_session(autocommit=True)
            with connection.cursor() as cursor:
                cursor.execute(f"LISTEN {_CHANNEL}")
            self.deliver(["*"])
            # Use poll, because select(2) takes no descriptor above 1023, and a service with many agents has more.
            with selectors.DefaultSelector() as selector:
                selector.register(connection, selectors.EVENT_READ)
                while not self._closed.is_set():
                    if selector.select(0.5):
                        connection.poll()
                        told = [note.payload for note in connection.notifies]
                        connection.notifies.clear()
                        self.deliver(told)
        finally:
            raw.invalidate()


def upgrade(database: Database) -> None:
    """Upgrade the tables to the newest revision in `migrations/`. Several processes may do so at once.

    Raises `InvalidRequest`, and changes nothing, if a later pinfold has changed the tables.
    """
    if _is_newest(database):
        return
    from alembic import command
    from alembic.config import Config
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(resources.files("pinfold.store") / "migrations").replace("%", "%%"))
    with database.write() as connection:
        if database.postgresql:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(0x70696E66)))
        found = MigrationContext.configure(connection).get_current_revision()
        _refuse_later(found, [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()])
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _is_newest(database: Database) -> bool:
    """Whether the tables have the newest revision: then Alembic, which takes long to load, would find nothing to do.

    The newest has the highest number, whatever the order of those before it; a test compares it with Alembic's.
    """
    names = [each.name for each in (resources.files("pinfold.store") / "migrations" / "versions").iterdir()]
    newest = max(name.partition("_")[0] for name in names if name[0].isdigit())
    with database.read() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return False
        return list(connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalars()) == [newest]


def _refuse_later(found: str | None, known: list[str]) -> None:
    if found is not None and found not in known:
        raise InvalidRequest(
            f"the database is of a later pinfold: its tables have revision {found}, this pinfold knows {known[-1]} to {known[0]}; "
            "run the later pinfold, or restore a backup that this one made"
        )


def _engine(url: str, pool_size: int) -> sa.Engine:
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise InvalidRequest("the database's URL cannot be read, allowed are sqlite:////PATH and postgresql+psycopg2://…") from error
    if parsed.drivername == "sqlite" and parsed.database:
        engine = sa.create_engine(
            parsed, pool_size=pool_size, max_overflow=2 * pool_size, connect_args={"timeout": _BUSY_MS / 1000}, hide_parameters=True
        )
        sa.event.listen(engine, "connect", _sqlite_connect)
        sa.event.listen(engine, "begin", _sqlite_begin)
        return engine
    if parsed.drivername == "postgresql+psycopg2":
        engine = sa.create_engine(parsed, pool_size=pool_size, max_overflow=2 * pool_size, hide_parameters=True)
        sa.event.listen(engine, "checkout", _postgresql_checkout)
        sa.event.listen(engine, "checkin", note_use)
        return engine
    raise InvalidRequest(f"the database's URL starts with {parsed.drivername!r}, allowed are sqlite:////PATH and postgresql+psycopg2://…")


def _sqlite_connect(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _sqlite_begin(connection: sa.Connection) -> None:
    options = connection.get_execution_options()
    if not options.get("pinfold_once", False):
        connection.exec_driver_sql("BEGIN" if options.get("pinfold_read", False) else "BEGIN IMMEDIATE")


def _postgresql_checkout(connection: Any, record: Any, _proxy: object) -> None:
    if time.monotonic() - record.info.get(USED, 0.0) < TRUSTED_SECONDS:
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        connection.rollback()
    except psycopg2.Error as error:
        raise sa.exc.DisconnectionError from error


_AWAY: Final = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except _AWAY as error:
        raise _translation(error) from error


def _translation(error: sa.exc.SQLAlchemyError) -> PinfoldError:
    if getattr(getattr(error, "orig", None), "pgcode", None) in _CONFLICTS:
        return RolledBack(f"the database undid a transaction in favour of another: {str(error.args[0]).splitlines()[0]}")
    return Unavailable(f"the database does not answer: {error.__class__.__name__}: {str(error.args[0]).splitlines()[0]}")


class _AtOnce:
    """A context with a connection of PostgreSQL for one statement. A class, because it is entered several times for each create: the
    same by generators takes three times as many calls.
    """

    __slots__ = ("_connection", "_ready")

    def __init__(self, ready: ReadyConnections) -> None:
        self._ready = ready

    def __enter__(self) -> sa.Connection:
        try:
            self._connection = self._ready.take()
        except _AWAY as error:
            raise _translation(error) from error
        return self._connection

    def __exit__(self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None) -> None:
        if error is None:
            self._ready.keep(self._connection)
            return
        with _translated():
            self._connection.close()
        if isinstance(error, _AWAY):
            self._ready.close()  # the others are probably lost, too, and the pool replaces what is
            raise _translation(error) from error
