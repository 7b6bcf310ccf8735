"""Actions on a server: start, stop, reboot, pause, suspend, rebuild, lock, reset. `unsupported_actions` has Nova's other ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import Body, Request, Response
from fastapi.responses import JSONResponse

from pinfold.api.caller import caller_of, need_admin
from pinfold.api.compute.headers import Version
from pinfold.api.compute.links import ROOT
from pinfold.api.compute.servers.agent_answers import CONSOLE_OUTPUT, console_output
from pinfold.api.compute.servers.console_urls import serial_console
from pinfold.api.compute.servers.rebuild import rebuild
from pinfold.api.compute.servers.single import requester, server, unlocked
from pinfold.api.compute.servers.unsupported_actions import UNSUPPORTED_ACTIONS
from pinfold.api.dependencies import ApiServices, Services
from pinfold.api.errors import ApiError
from pinfold.api.microversion import Microversion
from pinfold.api.router import Router
from pinfold.api.threads import in_thread
from pinfold.core.errors import InvalidRequest
from pinfold.core.identity import GuestId
from pinfold.service.guests.lifecycle import Lifecycle

router = Router(prefix=ROOT, tags=["servers"])

_OneAction = Annotated[dict[str, Any], Body(min_length=1, max_length=1)]
_LOCK_REASON: Final = Microversion(2, 73)
_MOST_REASON: Final = 255

_PLAIN: Final[dict[str, Callable[[Lifecycle, GuestId], object]]] = {
    "os-start": Lifecycle.start,
    "os-stop": Lifecycle.stop,
    "pause": Lifecycle.pause,
    "unpause": Lifecycle.unpause,
    "suspend": Lifecycle.suspend,
    "resume": Lifecycle.resume,
    "forceDelete": Lifecycle.delete,
}
"""The actions without an argument."""
_EVENTS: Final = {"os-start": "start", "os-stop": "stop", "forceDelete": "delete"}
"""Nova's words for what was asked, where they differ from the action's name."""


@router.post("/servers/{server_id}/action", status_code=202, response_class=Response, responses={200: CONSOLE_OUTPUT, 501: {}, 503: {}})
async def act(server_id: GuestId, body: _OneAction, request: Request, services: Services, version: Version) -> Response:
    """Start, stop, reboot, pause, unpause, suspend, resume, rebuild, lock, unlock, reset or delete a server; 409 when its state or
    something under way forbids it.

    If the host's pools no longer have a stopped server's place, it starts in another place there; 409 with the reasons if there is none.
    `os-getConsoleOutput` answers 200 with the end of the server's console log, which its agent is asked for; 503 while the agent is away.
    `rebuild` answers 202 with the server, which gets a new disk from the image `imageRef`, and keeps its place.
    `os-getSerialConsole`, up to microversion 2.5, answers 200 with a link to its console.
    """
    action, argument = next(iter(body.items()))
    if action == "os-getConsoleOutput":
        return JSONResponse(await console_output(server_id, argument, request, services))
    if action == "os-getSerialConsole":
        return JSONResponse(await in_thread(serial_console, server_id, argument, request, services, version))
    return await in_thread(_act, server_id, action, argument, request, services, version)


def _act(server_id: GuestId, action: str, argument: object, request: Request, services: ApiServices, version: Microversion) -> Response:
    lifecycle = services.fleet.guests
    if action in _PLAIN:
        unlocked(services, request, server_id)
        with services.fleet.events.asked(server_id, _EVENTS.get(action, action), requester(request)):
            _PLAIN[action](lifecycle, server_id)
        return Response(status_code=202)
    match action:
        case "reboot":
            unlocked(services, request, server_id)
            hard = _is_hard(argument)
            with services.fleet.events.asked(server_id, "reboot", requester(request)):
                lifecycle.reboot(server_id, hard=hard)
        case "rebuild":
            return rebuild(server_id, argument, request, services, version)
        case "lock":
            server(services, request, server_id)
            by = "admin" if caller_of(request).admin else "owner"
            reason = _reason(argument, version)
            with services.fleet.events.asked(server_id, "lock", requester(request), at_once=True):
                services.fleet.edits.lock(server_id, by=by, reason=reason)
        case "unlock":
            _unlock(services, request, server_id)
        case "os-resetState":
            server(services, request, server_id)
            need_admin(request, "os_compute_api:os-admin-actions:reset_state")
            services.fleet.edits.reset(server_id, error=_is_error(argument))
        case _:
            server(services, request, server_id)
            if action in UNSUPPORTED_ACTIONS:
                raise UNSUPPORTED_ACTIONS[action].refuse(version)
            raise ApiError(400, f"There is no such action: {action[:64]}")
    return Response(status_code=202)


def _is_hard(argument: object) -> bool:
    kind = argument.get("type") if isinstance(argument, dict) and len(argument) == 1 else None
    if not isinstance(kind, str) or kind.upper() not in ("SOFT", "HARD"):
        raise InvalidRequest("reboot takes a type, SOFT or HARD", key="type")
    return kind.upper() == "HARD"


def _is_error(argument: object) -> bool:
    state = argument.get("state") if isinstance(argument, dict) and len(argument) == 1 else None
    if state not in ("active", "error"):
        raise InvalidRequest("os-resetState takes a state, active or error", key="state")
    return bool(state == "error")


def _reason(argument: object, version: Microversion) -> str | None:
    if argument is None or argument == {}:
        return None
    if version < _LOCK_REASON:
        raise InvalidRequest("locked_reason is accepted from microversion 2.73 on", key="locked_reason")
    reason = argument.get("locked_reason") if isinstance(argument, dict) and len(argument) == 1 else None
    if not isinstance(reason, str) or not 0 < len(reason) <= _MOST_REASON:
        raise InvalidRequest(f"lock takes a locked_reason of 1 to {_MOST_REASON} characters, or null", key="locked_reason")
    return reason


def _unlock(services: ApiServices, request: Request, server_id: GuestId) -> None:
    """Unlock a server. What an admin has locked, only an admin unlocks."""
    if ("locked", "admin") in server(services, request, server_id).details:
        unlocked(services, request, server_id)
    with services.fleet.events.asked(server_id, "unlock", requester(request), at_once=True):
        services.fleet.edits.unlock(server_id)
