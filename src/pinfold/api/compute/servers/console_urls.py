"""Links to servers' serial consoles, each with a token that is good for ten minutes and one server."""

from __future__ import annotations

from typing import Any, Final, Literal

from fastapi import Request
from typing_extensions import TypedDict

from pinfold.api.caller import caller_of
from pinfold.api.compute.headers import Version
from pinfold.api.compute.links import ROOT, base
from pinfold.api.compute.servers.agent_answers import host_of
from pinfold.api.compute.servers.single import unlocked
from pinfold.api.dependencies import ApiServices, Services
from pinfold.api.errors import ApiError
from pinfold.api.microversion import Microversion
from pinfold.api.request_body import RequestBody
from pinfold.api.response_schema import closed
from pinfold.api.router import Router
from pinfold.api.websocket import CLIENTS
from pinfold.core.errors import Conflict, InvalidRequest
from pinfold.core.identity import GuestId
from pinfold.store.records import Observed

router = Router(prefix=ROOT, tags=["servers"])

_SINCE: Final = Microversion(2, 6)
_UNTIL: Final = Microversion(2, 5)
_DISPLAYS: Final = "pinfold's guests have no display, only a serial console: use `openstack console url show --serial`."
_OFF: Final = "consoles to type into are off here: [serial_console] enabled = true in the API's configuration switches them on"
_KINDS: Final = {
    "vnc": ("novnc", "xvpvnc"),
    "spice": ("spice-html5", "spice-direct"),
    "rdp": ("rdp-html5",),
    "serial": ("serial",),
    "mks": ("webmks",),
}
"""By protocol, the types of consoles that Nova has."""
CONSOLE_URL: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "console": {
            "type": "object",
            "properties": {"type": {"type": "string"}, "url": {"type": "string"}},
            "required": ["type", "url"],
            "additionalProperties": False,
        }
    },
    "required": ["console"],
    "additionalProperties": False,
}


class NewConsole(RequestBody):
    protocol: Literal["vnc", "spice", "rdp", "serial", "mks"]
    type: Literal["novnc", "xvpvnc", "spice-html5", "spice-direct", "rdp-html5", "serial", "webmks"]


class CreateConsole(RequestBody):
    """The body that asks for a console."""

    remote_console: NewConsole


@closed
class RemoteConsole(TypedDict):
    """A console's kind and its link."""

    protocol: Literal["serial"]
    type: Literal["serial"]
    url: str


@closed
class ConsoleShown(TypedDict):
    """The answer to `CreateConsole`."""

    remote_console: RemoteConsole


@router.post("/servers/{server_id}/remote-consoles", responses={501: {}, 503: {}})
def create_console(server_id: GuestId, body: CreateConsole, request: Request, services: Services, version: Version) -> ConsoleShown:
    """A link to a running server's serial console, for a WebSocket, good for ten minutes. 409 for a server that does not run, 501 for
    other kinds of consoles and where `[serial_console] enabled` is off, 503 while the agent is away.
    """
    if version < _SINCE:
        raise ApiError(404, "The resource could not be found.")
    asked = body.remote_console
    if asked.type not in _KINDS[asked.protocol]:
        raise InvalidRequest(f"a console of protocol {asked.protocol} has the type {' or '.join(_KINDS[asked.protocol])}", key="type")
    return {"remote_console": {"protocol": "serial", "type": "serial", "url": _link(services, request, server_id, asked.protocol)}}


def serial_console(server_id: GuestId, argument: object, request: Request, services: ApiServices, version: Microversion) -> dict[str, Any]:
    """The answer to Nova's older action for the same. Raises `InvalidRequest` for another argument than Nova's."""
    if version > _UNTIL:
        raise ApiError(404, "The action os-getSerialConsole ended with microversion 2.5: use POST /servers/{id}/remote-consoles.")
    if argument != {"type": "serial"}:
        raise InvalidRequest("os-getSerialConsole takes a type, serial", key="type")
    return {"console": {"type": "serial", "url": _link(services, request, server_id, "serial")}}


def _link(services: ApiServices, request: Request, server_id: GuestId, protocol: str) -> str:
    guest = unlocked(services, request, server_id)
    if protocol != "serial":
        raise ApiError(501, _DISPLAYS)
    if services.consoles is None:
        raise ApiError(501, f"{_OFF}.")
    if guest.observed not in (Observed.RUNNING, Observed.PAUSED):
        raise Conflict(f"Instance {server_id} does not run: only a running server has a console")
    host_of(services, guest)
    token = services.fleet.consoles.token(guest.id, caller_of(request).user)
    return f"{services.consoles.base_url or _here(request)}/?token={token}"


def _here(request: Request) -> str:
    """The address of consoles at the address that the client used."""
    return f"ws{base(request).removeprefix('http')}{CLIENTS}"
