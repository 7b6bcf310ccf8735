"""Actions on a server: start, stop, reboot. Nova's other actions answer 501."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Response

from pinfold.api.compute.links import ROOT
from pinfold.api.compute.servers.single import server
from pinfold.api.dependencies import Services
from pinfold.api.errors import ApiError
from pinfold.core.errors import InvalidRequest

router = APIRouter(prefix=ROOT, tags=["servers"])


_KNOWN: Final = frozenset(
    {
        "addFixedIp",
        "addFloatingIp",
        "addSecurityGroup",
        "changePassword",
        "confirmResize",
        "createBackup",
        "createImage",
        "evacuate",
        "forceDelete",
        "injectNetworkInfo",
        "lock",
        "migrate",
        "os-getConsoleOutput",
        "os-getRDPConsole",
        "os-getSPICEConsole",
        "os-getSerialConsole",
        "os-getVNCConsole",
        "os-migrateLive",
        "os-resetState",
        "pause",
        "rebuild",
        "removeFixedIp",
        "removeFloatingIp",
        "removeSecurityGroup",
        "rescue",
        "resetNetwork",
        "resize",
        "restore",
        "resume",
        "revertResize",
        "shelve",
        "shelveOffload",
        "suspend",
        "trigger_crash_dump",
        "unlock",
        "unpause",
        "unrescue",
        "unshelve",
    }
)


@router.post("/servers/{server_id}/action", status_code=202, response_class=Response, responses={501: {}})
def act(server_id: str, body: Annotated[dict[str, Any], Body(min_length=1, max_length=1)], services: Services) -> Response:
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
        case _ if action in _KNOWN:
            raise ApiError(501, f"The action {action} is not supported.")
        case _:
            raise ApiError(400, f"There is no such action: {action[:64]}")
    return Response(status_code=202)
