"""`ApiServices`: the parts that the routes use, assembled by the composition root."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Request

from pinfold.accounting.client import Placement
from pinfold.api.caller import Tokens
from pinfold.api.client_address import Proxies
from pinfold.api.connections import Connections
from pinfold.api.keystone_sign_in import KeystoneSignIn
from pinfold.api.password_checks import PasswordChecks
from pinfold.api.ui.pictures import Pictures
from pinfold.api.ui.samples import Samples
from pinfold.api.ui.sessions import Sessions, Streams
from pinfold.api.ui.token_cookies import TokenCookies
from pinfold.core.settings import DEFAULT_CONNECTIONS, ConsoleAddresses
from pinfold.service.fleet import Fleet
from pinfold.store.database import Database

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServices:
    """The parts behind the routes.

    `placement_app` is the embedded Placement, None with a remote one. `checks` is None
    with `--no-auth`, and without accounts beside Keystone; `tokens`, and `keystone` and
    `cookies` for the web page's sign-in, are None without Keystone. `proxies` are trusted to
    forward a client's address. `connections` counts all connections. `sessions`, `streams`, `samples` and `pictures` are the web page's.
    `images` is the directory of images. `lease_seconds` is how long a host counts as up after a heartbeat.
    `attach_seconds` is how long the answer to the attachment of an interface waits for the agent.
    `consoles` is None if no consoles are served. With `shows_passwords`, the answer to a create repeats the password that the caller gave.
    """

    database: Database
    fleet: Fleet
    placement: Placement
    images: Path
    placement_app: Wsgi | None = None
    checks: PasswordChecks | None = None
    tokens: Tokens | None = None
    keystone: KeystoneSignIn | None = None
    cookies: TokenCookies | None = None
    proxies: Proxies = field(default_factory=Proxies)
    connections: Connections = field(default_factory=lambda: Connections(DEFAULT_CONNECTIONS))
    lease_seconds: float = 30.0
    attach_seconds: float = 20.0
    consoles: ConsoleAddresses | None = None
    shows_passwords: bool = True
    sessions: Sessions = field(default_factory=Sessions)
    streams: Streams = field(default_factory=Streams)
    samples: Samples = field(default_factory=Samples)
    pictures: Pictures = field(default_factory=Pictures)
    ended: threading.Event = field(default_factory=threading.Event)
    """Set when the process is about to end: requests that wait for orders are answered at once."""

    @property
    def open_to_all(self) -> bool:
        """Whether users are let in without authentication. Then the `Host` of every request is checked."""
        return self.checks is None and self.tokens is None


def services_of(request: Request) -> ApiServices:
    """The services with which this application was created."""
    found: ApiServices = request.app.state.services
    return found


async def _services(request: Request) -> ApiServices:
    """The same as a dependency. It is a coroutine, because FastAPI calls plain functions in a thread."""
    return services_of(request)


Services = Annotated[ApiServices, Depends(_services)]
"""The type of a route's parameter that receives the services."""
