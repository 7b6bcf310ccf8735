"""Actions on a server: start, stop, reboot. `unsupported_actions` has Nova's other ones."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Response

from pinfold.api.compute.headers import Version
from pinfold.api.compute.links import ROOT
from pinfold.api.compute.servers.single import server
from pinfold.api.compute.servers.unsupported_actions import UNSUPPORTED_ACTIONS
from pinfold.api.dependencies import Services
from pinfold.api.errors import ApiError
from pinfold.core.errors import InvalidRequest
from pinfold.core.identity import GuestId

router = APIRouter(prefix=ROOT, tags=["servers"])

_OneAction = Annotated[dict[str, Any], Body(min_length=1, max_length=1)]


@router.post("/servers/{server_id}/action", status_code=202, response_class=Response, responses={501: {}})
def act(
    server_id: GuestId, body: Annotated[dict[str, Any], Body(min_length=1, max_length=1)], services: Services, version: Version
) -> Response:
    """Start, stop or reboot a server; 409 when its state or something under way forbids it.

    If the host's pools no longer have a stopped server's place, it starts in another place there; 409 with the reasons if there is none.
    """
    action, argument = next(iter(body.items()))
    server(services, server_id)
    match action:
        case "os-start":
            services.fleet.guests.start(server_id)
        case "os-stop":
            services.fleet.guests.stop(server_id)
        case "reboot":
            kind = argument.get("type") if isinstance(argument, dict) else None
            if not isinstance(kind, str) or kind.upper() not in ("SOFT", "HARD") or len(argument) != 1:
                raise InvalidRequest("reboot takes a type, SOFT or HARD", key="type")
            services.fleet.guests.reboot(server_id, hard=kind.upper() == "HARD")
        case _ if action in UNSUPPORTED_ACTIONS:
            raise UNSUPPORTED_ACTIONS[action].refuse(version)
        case _:
            raise ApiError(400, f"There is no such action: {action[:64]}")
    return Response(status_code=202)
