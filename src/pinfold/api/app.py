"""`create_app`: build the ASGI application from the services that it uses."""

from __future__ import annotations

from typing import Final, Literal

from a2wsgi import WSGIMiddleware
from fastapi import APIRouter, FastAPI, Request
from starlette.routing import Match, Route
from typing_extensions import TypedDict

from pinfold import __version__
from pinfold.api import errors, identity, metrics
from pinfold.api.admission import Admission
from pinfold.api.agent import routes as agents
from pinfold.api.agent.authentication import AgentAuthentication
from pinfold.api.asgi import Receive, Scope, Send
from pinfold.api.audit_log import AuditLog
from pinfold.api.auth import Authentication
from pinfold.api.bounds import Bounds
from pinfold.api.client_address import ClientAddress
from pinfold.api.compute import (
    aggregates,
    image_proxy,
    key_pairs,
    limits,
    migrations,
    network_proxy,
    quotas,
    unsupported,
    usage,
    versions,
    zones,
)
from pinfold.api.compute import services as compute_services
from pinfold.api.compute.flavors import routes as flavors
from pinfold.api.compute.headers import ComputeHeaders
from pinfold.api.compute.hypervisors import os_hosts
from pinfold.api.compute.hypervisors import routes as hypervisors
from pinfold.api.compute.servers import (
    actions,
    addresses,
    agent_answers,
    console_urls,
    create,
    events,
    guest_passwords,
    interfaces,
    listing,
    metadata,
    single,
    tags,
)
from pinfold.api.console_sockets import ConsoleSockets
from pinfold.api.cross_site import JsonPosts, LoopbackHosts
from pinfold.api.dependencies import ApiServices, Wsgi
from pinfold.api.image import changes as image_changes
from pinfold.api.image import routes as images
from pinfold.api.network import routes as networks
from pinfold.api.openapi import HEALTH, describe
from pinfold.api.response_schema import closed
from pinfold.api.shared_response import shared
from pinfold.api.ui import change_routes as ui_changes
from pinfold.api.ui import routes as ui
from pinfold.api.ui import sign_in as ui_sign_in
from pinfold.api.v1 import adoptions, capacity, drift, history, hosts, placements, pools, repin
from pinfold.api.v1 import quotas as project_quotas
from pinfold.core.errors import PinfoldError

ROUTERS: Final[tuple[APIRouter, ...]] = (
    create.router,  # routes are tried one after another, so the most frequent ones come first
    versions.router,
    identity.router,
    flavors.router,
    listing.router,
    single.router,
    metadata.router,
    addresses.router,
    interfaces.router,
    actions.router,
    agent_answers.router,
    console_urls.router,
    tags.router,
    events.router,
    guest_passwords.router,
    migrations.router,
    hypervisors.router,
    compute_services.router,
    aggregates.router,
    zones.router,
    key_pairs.router,
    limits.router,
    quotas.router,
    usage.router,
    os_hosts.router,
    image_proxy.router,
    network_proxy.router,
    image_changes.router,
    images.router,
    networks.router,
    agents.router,
    hosts.router,
    placements.router,
    pools.router,
    repin.router,
    adoptions.router,
    capacity.router,
    drift.router,
    history.router,
    project_quotas.router,
    metrics.router,
    ui.router,
    ui_sign_in.router,
    ui_changes.router,
)
_PLACEMENT: Final = "/placement"
_PLACEMENT_THREADS: Final = 10
_NOBODY: Final = "00000000-0000-0000-0000-000000000000"


def create_app(services: ApiServices) -> FastAPI:
    """The application. Every request passes these layers in order: the client's address; the bounds on connections; without authentication,
    the check of the `Host` name; the Compute headers; the audit log; the handler of unexpected errors; authentication; the protection
    from other sites' pages; the bounds on bodies. So nobody's body is read before the caller is authenticated.
    """
    app = FastAPI(
        title="pinfold",
        version=__version__,
        description="CPU placement for KVM hosts: OpenStack's Compute and image APIs, agents, and placements with their reasons.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.services = services
    errors.install(app, _methods)
    for router in (*ROUTERS, unsupported.router):
        # Not `include_router`: it would make every route a second time at the first request, and search for each request twice.
        app.router.routes.extend(router.routes)
    app.add_api_route(HEALTH, shared(_healthz), methods=["GET"], tags=["service"])
    if services.placement_app is not None:
        placement = _Placement(services.placement_app)
        app.mount(_PLACEMENT, placement)
        app.router.routes.append(Route(_PLACEMENT, placement, include_in_schema=False))
    app.openapi = describe(app)  # type: ignore[method-assign]
    for layer, options in (
        (Bounds, {}),
        (JsonPosts, {}),
        (ConsoleSockets, {"services": services}),
        (AgentAuthentication, {"services": services}),
        (
            Authentication,
            {"checks": services.checks, "tokens": services.tokens, "sessions": services.sessions, "cookies": services.cookies},
        ),
        (errors.UnexpectedErrors, {}),
        (AuditLog, {}),
        (ComputeHeaders, {}),
        (LoopbackHosts, {"wanted": services.open_to_all}),
        (Admission, {}),
        (ClientAddress, {"proxies": services.proxies}),
    ):
        app.add_middleware(layer, **options)
    return app


def _methods(scope: Scope) -> frozenset[str]:
    """The methods that the routes for a request's path accept."""
    routes = (route for router in ROUTERS for route in router.routes if isinstance(route, Route))
    return frozenset(method for route in routes if route.matches(scope)[0] is not Match.NONE for method in route.methods or ())


@closed
class Health(TypedDict):
    """Whether every part that requests need answers."""

    status: Literal["ok"]
    database: Literal["ok"]
    placement: Literal["ok", "starting"]
    accounts: Literal["ok", "stale", "off"]
    hosts: Literal["compared", "comparing"]
    version: str


def _healthz(request: Request) -> Health:
    """Whether the database and Placement answer: 200 with both named, or 503 with the one that does not, and since when.

    `accounts` are `stale` while the accounts file cannot be used and the earlier accounts stay valid, `off` without authentication. While
    Placement is away, reading, starting and stopping still work; new servers end in error. `placement` is `starting` while an embedded one
    is not loaded yet; what needs it waits. `hosts` are `comparing` after a start until each is compared with Placement; until then a host
    may refuse servers that it has room for.
    """
    services: ApiServices = request.app.state.services

    def embedded() -> None:
        """Read from the embedded Placement's database: it returns its version even when the database is damaged."""
        if services.placement_app is not None:
            services.placement.provider(_NOBODY)

    starting = services.placement.starting
    asked = () if starting else (("placement", services.placement.version), ("placement", embedded))
    for name, ask in (("database", services.database.check), *asked):
        try:
            ask()
        except PinfoldError as error:
            away = services.placement.away if name == "placement" else None
            raise errors.ApiError(503, f"{name}: {away.sentence() if away else error}") from error
    accounts: Literal["ok", "stale", "off"] = "off"
    if services.checks is not None:
        accounts = "stale" if services.checks.doorkeeper.stale else "ok"
    hosts: Literal["compared", "comparing"] = "compared" if services.fleet.healer.compared else "comparing"
    return {
        "status": "ok",
        "database": "ok",
        "placement": "starting" if starting else "ok",
        "accounts": accounts,
        "hosts": hosts,
        "version": __version__,
    }


class _Placement:
    """ASGI: the embedded Placement, which trusts its callers. Every account that gets here is its admin."""

    def __init__(self, app: Wsgi) -> None:
        self._app = WSGIMiddleware(app, workers=_PLACEMENT_THREADS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kept = [(name, value) for name, value in scope["headers"] if name not in (b"x-auth-token", b"authorization")]
        asked = {**scope, "headers": [*kept, (b"x-auth-token", b"admin")]}
        if scope["path"] == _PLACEMENT:
            # The version document may be requested without the slash, but a mount only matches paths after the slash.
            asked |= {"root_path": _PLACEMENT, "path": f"{_PLACEMENT}/"}
        await self._app(asked, receive, send)
