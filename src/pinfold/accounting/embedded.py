"""OpenStack Placement in this process: the real WSGI application on its own database.

There is one database per process, because Placement keeps its engine and its synchronised names in module globals.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from pinfold.accounting.client import DEFAULT_OWNER, WRITERS, Owner, Placement
from pinfold.core.errors import InvalidRequest, InvariantViolation, Unavailable

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

ADDRESS: Final = "http://placement.embedded"
HEADERS: Final = {"X-Auth-Token": "admin"}
_SQLITE: Final = "sqlite:///"
_MAKING_TABLES: Final = 0x706C6163
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedPlacement:
    """Placement's database: `sqlite:////path` or `postgresql+psycopg2://…`, separate from pinfold's own.

    `pool_size` must be at least twice the number of threads that make calls, else Placement stalls.
    """

    url: str
    pool_size: int = 80
    owner: Owner = DEFAULT_OWNER

    @property
    def writers(self) -> int:
        """How many writes for one request it is asked to take at the same time: in SQLite they come one after another."""
        return 1 if self.url.startswith(_SQLITE) else WRITERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """A loaded Placement: the application, which has no authentication and must be mounted behind one, and a client that calls it
    directly.
    """

    app: Wsgi
    client: Placement


class InProcessClient(httpx.Client):
    """A client of a WSGI application in this process. A request goes to the application at once, without the cookies, redirects and flows
    of authentication that `httpx.Client` looks after, and its response is read whole.
    """

    def __init__(self, app: Wsgi) -> None:
        self._application = httpx.WSGITransport(app=app)
        super().__init__(transport=self._application, base_url=ADDRESS, headers=HEADERS)

    def send(self, request: httpx.Request, **_: object) -> httpx.Response:
        """The response of the application. Raises what the application raises."""
        hooks = self.event_hooks
        for hook in hooks["request"]:
            hook(request)
        response = self._application.handle_request(request)
        response.request = request
        response.read()
        for hook in hooks["response"]:
            hook(response)
        return response


_loaded: dict[str, Embedded] = {}
_loading = threading.Lock()


def check(settings: EmbeddedPlacement) -> None:
    """Look at the database without loading Placement. Raises `InvalidRequest` for another kind, `Unavailable` when PostgreSQL does not
    answer.
    """
    if _sqlite(settings):
        return
    import sqlalchemy as sa

    try:
        with sa.create_engine(settings.url, poolclass=sa.pool.NullPool).connect():
            pass
    except sa.exc.SQLAlchemyError as error:
        raise _silent(error) from error


def load(settings: EmbeddedPlacement) -> Embedded:
    """Load Placement on that database and create missing tables. A second call for the same database returns the same Placement.

    Raises `InvalidRequest` for a database that it cannot use, such as that of a later Placement, `InvariantViolation` for a second database
    in this process, `Unavailable` when the database does not answer.
    """
    with _loading:
        if settings.url in _loaded:
            return _loaded[settings.url]
        if _loaded:
            raise InvariantViolation("this process has another Placement loaded already; one process, one Placement")
        app = _load_app(settings)
        found = Embedded(app=app, client=Placement(InProcessClient(app), settings.owner, writers=settings.writers))
        _loaded[settings.url] = found
        return found


def unload() -> None:
    """Forget the loaded Placement, so that a test can load one on another database."""
    from placement import db_api

    with _loading:
        if not _loaded:
            return
        _loaded.clear()
        db_api.get_placement_engine().dispose()
        _forget()


def _forget() -> None:
    """Put Placement's module globals back to what they are before it is loaded."""
    from oslo_db.sqlalchemy import enginefacade
    from placement import db_api
    from placement.objects import resource_class, trait

    trait._TRAITS_SYNCED = False
    resource_class._RESOURCE_CLASSES_SYNCED = False
    db_api.configure.reset()
    db_api.placement_context_manager.patch_factory(enginefacade.transaction_context())


def _load_app(settings: EmbeddedPlacement) -> Wsgi:
    from alembic.util import CommandError
    from sqlalchemy.exc import SQLAlchemyError

    lock = Path(settings.url.removeprefix(_SQLITE) + ".lock") if _sqlite(settings) else None
    guard = _Serial(lock) if lock is not None else None
    try:
        with guard.held() if guard is not None else _first_come(settings.url):
            app = _recipe(settings)
    except (SQLAlchemyError, OSError) as error:
        raise _silent(error) from error
    except CommandError as error:
        raise InvalidRequest(f"the embedded Placement's database is not of this Placement: {error}", key="embedded_connection") from error
    return app if guard is None else _serialised(app, guard)


def _sqlite(settings: EmbeddedPlacement) -> bool:
    if settings.url.startswith(_SQLITE):
        return True
    if settings.url.startswith("postgresql+psycopg2://"):
        return False
    kind = settings.url.partition(":")[0]
    raise InvalidRequest(
        f"[placement] embedded_connection: {kind!r} cannot be used, allowed are sqlite:////PATH and postgresql+psycopg2://…",
        key="embedded_connection",
    )


def _silent(error: Exception) -> Unavailable:
    return Unavailable(f"Placement's database does not answer: {type(error).__name__}: {error}")


@contextmanager
def _first_come(url: str) -> Iterator[None]:
    """Let one process at a time in, by a lock in PostgreSQL: Placement's migrations fail when two processes create the tables at once."""
    import sqlalchemy as sa

    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.select(sa.func.pg_advisory_lock(_MAKING_TABLES)))
        yield


def _recipe(settings: EmbeddedPlacement) -> Wsgi:
    from oslo_config import cfg
    from placement import conf as placement_conf
    from placement import db_api, deploy
    from placement import wsgi as placement_wsgi

    conf = cfg.ConfigOpts()
    placement_conf.register_opts(conf)
    placement_wsgi._set_middleware_defaults()
    conf.set_override("connection", settings.url, group="placement_database")
    conf([], project="placement", default_config_files=[], default_config_dirs=[])
    conf.set_override("auth_strategy", "noauth2", group="api")
    conf.set_override("sync_on_startup", True, group="placement_database")
    conf.set_override("max_pool_size", settings.pool_size, group="placement_database")
    conf.set_override("max_overflow", settings.pool_size, group="placement_database")
    db_api.configure(conf)
    try:
        app: Wsgi = deploy.loadapp(conf)
    except BaseException:
        _forget()  # what is loaded next may have another database
        raise
    return app


class _Serial:
    """Lets one writer in at a time, by a lock in this process and `flock` among processes: with SQLite's own locks Placement answers
    500.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()

    @contextmanager
    def held(self) -> Iterator[None]:
        with self._lock:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                yield
            finally:
                os.close(handle)


def _serialised(app: Wsgi, guard: _Serial) -> Wsgi:
    def call(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in _READING:
            return app(environ, start_response)
        with guard.held():
            return list(app(environ, start_response))

    return call
