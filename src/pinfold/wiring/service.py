"""Assemble the service from settings: database, Placement, scheduler, application. `http_server` serves it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from fastapi import FastAPI

from pinfold.accounting.deferred import DeferredPlacement
from pinfold.accounting.embedded import EmbeddedPlacement, Wsgi
from pinfold.accounting.remote import connect
from pinfold.api.accounts_file import AccountsFile
from pinfold.api.app import create_app
from pinfold.api.client_address import Proxies
from pinfold.api.connections import Connections
from pinfold.api.dependencies import ApiServices
from pinfold.api.keystone import KeystoneTokens
from pinfold.api.keystone_sign_in import KeystoneSignIn
from pinfold.api.password_checks import PasswordChecks
from pinfold.api.ui.token_cookies import KEY as SESSION_KEY
from pinfold.api.ui.token_cookies import TokenCookies
from pinfold.config.fleet import ApiAuth, ApiSettings, FleetSettings
from pinfold.config.keystone import keystone_conf
from pinfold.core.errors import InvalidRequest, Unavailable
from pinfold.service.fleet import assemble
from pinfold.store import hosts
from pinfold.store.database import Database, upgrade
from pinfold.store.service_keys import shared_key
from pinfold.store.sqlite_file import alone, damage, file_of, is_gone, make_private
from pinfold.wiring.exposure import refuse_exposure
from pinfold.wiring.hangups import Hangups, listening
from pinfold.wiring.open_files import fitting
from pinfold.wiring.tending import FEW, tended

_BACKLOG: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """An assembled service: its application, and the parts that `up` also uses."""

    app: FastAPI
    services: ApiServices


@contextmanager
def open_service(
    settings: FleetSettings, *, no_auth: bool = False, hangups: Hangups | None = None, heard: Callable[[], None] = lambda: None
) -> Iterator[Service]:
    """The service on its database and Placement, tended until the block ends.

    The service starts while its hosts are still compared with Placement, and even if a remote Placement is away; it catches up behind that.
    The accounts follow their file, and are read again at each of the `hangups`; `heard` is then called, too. Raises `InvalidRequest` for
    impossible settings, `Unavailable` when the database, or that of an embedded Placement, is away.
    """
    refuse_exposure(settings.api, no_auth=no_auth)
    accounts = None if no_auth or not settings.api.accounts_file else AccountsFile(Path(settings.api.accounts_file))
    with ExitStack() as stack:
        tokens, keystone = None, None
        if settings.api.auth is ApiAuth.KEYSTONE and not no_auth:
            conf = keystone_conf(settings.files)
            tokens, keystone = KeystoneTokens(conf), KeystoneSignIn(conf, settings.api.attempts)
            stack.callback(tokens.close)
            stack.callback(keystone.close)
        _check_files(settings)
        file = file_of(settings.database)
        if file is not None:
            stack.enter_context(alone(file))
        database = Database(settings.database, pool_size=settings.pool_size)
        stack.callback(database.close)
        upgrade(database)
        placement_app: Wsgi | None = None
        if isinstance(settings.placement, EmbeddedPlacement):
            placement_file = file_of(settings.placement.url)
            if placement_file is not None:
                make_private(placement_file)
            deferred = DeferredPlacement(settings.placement)
            with database.read() as connection:
                if hosts.count(connection) <= FEW:
                    deferred.load()
            placement, placement_app = deferred.client, deferred
        else:
            placement = connect(settings.placement)
            stack.callback(placement.close)
        fleet = assemble(database, placement, settings.scheduler)
        stack.callback(fleet.presence.end)
        services = ApiServices(
            database=database,
            fleet=fleet,
            placement=placement,
            images=Path(settings.host.images_dir),
            placement_app=placement_app,
            checks=None if accounts is None else PasswordChecks(accounts.doorkeeper, settings.api.attempts),
            tokens=tokens,
            keystone=keystone,
            cookies=None if keystone is None else TokenCookies(database.change(partial(shared_key, name=SESSION_KEY))),
            proxies=Proxies(settings.api.trusted_proxies),
            connections=Connections(fitting(settings.api.connections)),
            lease_seconds=settings.api.lease_seconds,
            consoles=settings.api.consoles,
            shows_passwords=settings.api.shows_passwords,
        )
        stack.enter_context(tended(fleet, placement, settings.api.heal_seconds, quiet_seconds=settings.api.lease_seconds))
        stack.enter_context(listening(SimpleQueue() if hangups is None else hangups, accounts, heard))
        yield Service(app=create_app(services), services=services)


def keeps_state(settings: FleetSettings) -> bool:
    """Whether a database file of the service lies below the state directory."""
    urls = (settings.database, settings.placement.url if isinstance(settings.placement, EmbeddedPlacement) else "")
    return any(file is not None and file.is_relative_to(settings.host.state_dir) for file in map(file_of, urls))


def _check_files(settings: FleetSettings) -> None:
    """Raise `InvalidRequest`, with what to do, for a database file that is damaged, and for one that existed before and is gone."""
    path = file_of(settings.database)
    if path is not None and is_gone(path):
        raise InvalidRequest(
            f"the database {path} is gone: it was here when the service ran last, and {path}.lock is still here; bring a backup back with "
            f"`pinfold database restore BACKUP` and this service's --config, or remove {path}.lock to begin with an empty database that "
            "knows no server",
            key=str(path),
        )
    if path is not None and path.exists() and (wrong := damage(path)):
        raise InvalidRequest(
            f"the database {path} is damaged ({wrong}); bring a backup back with `pinfold database restore BACKUP` and this service's "
            "--config",
            key=str(path),
        )
    path = file_of(settings.placement.url) if isinstance(settings.placement, EmbeddedPlacement) else None
    if path is not None and path.exists() and (wrong := damage(path)):
        raise InvalidRequest(
            f"the embedded Placement's database {path} is damaged ({wrong}); move it away, and the service makes it again from its own",
            key=str(path),
        )


def listening_socket(settings: ApiSettings) -> socket.socket:
    """A socket that listens at the configured address; connections wait until the server runs.

    Raises `Unavailable` when the address is taken or is not this machine's.
    """
    family = socket.AF_INET6 if ":" in settings.listen else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((settings.listen, settings.port))
        made.listen(_BACKLOG)
    except OSError as error:
        made.close()
        raise Unavailable(f"the API cannot listen on {settings.listen} port {settings.port}: {error.strerror}") from error
    return made


def url_of(settings: ApiSettings, listening: socket.socket) -> str:
    """The address that clients use for that socket."""
    host, port = listening.getsockname()[:2]
    scheme = "https" if settings.tls_certificate else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
