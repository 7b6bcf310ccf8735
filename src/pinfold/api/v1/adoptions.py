"""Adopt domains of hosts in `/v1`, and release adopted servers."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from fastapi import Body, Request, Response
from msgspec import Struct

from pinfold.api.caller import caller_of
from pinfold.api.compute.servers.single import server
from pinfold.api.dependencies import Services
from pinfold.api.response_schema import written_as
from pinfold.api.router import Router
from pinfold.api.v1.hosts import find
from pinfold.core.adoption import WantedAdoption
from pinfold.core.encoding import plain, reader
from pinfold.core.identity import GuestId
from pinfold.store.records import Requester

router = Router(prefix="/v1", tags=["hosts"])

_read_adoption = reader(WantedAdoption)


class Adopted(Struct, frozen=True, kw_only=True):
    """The server that was made of a domain, and its host. The host's agent takes the domain over next."""

    server: GuestId
    name: str
    host: str


AdoptionBody = Annotated[dict[str, Any], Body(), written_as(WantedAdoption)]
AdoptedAnswer = Annotated[dict[str, Any], written_as(Adopted)]


@router.post("/hosts/{name}/adoptions", status_code=202)
def adopt(name: str, body: AdoptionBody, request: Request, services: Services) -> AdoptedAnswer:
    """Make a server of a domain that is on the host already, in the place that it has. The host's agent then takes it over as it runs.

    The server is in error if the agent cannot. 409 if the place breaks a rule there, if the domain is a server already, or if the host is
    down or its agent too old.
    """
    host, wanted = find(services, name), _read_adoption(body, "adoption")
    caller = caller_of(request)
    by = Requester(request=f"req-{uuid.uuid4()}", account=caller.user, project=caller.project)
    services.fleet.adopter.adopt(host.id, wanted, by)
    shown: AdoptedAnswer = plain(Adopted(server=wanted.guest, name=wanted.name, host=host.name))
    return shown


@router.post("/servers/{server_id}/release", status_code=202, response_class=Response)
def release(server_id: GuestId, request: Request, services: Services) -> Response:
    """Give an adopted server back: its agent removes pinfold's record, and its domain goes on. Then the server is gone.

    409 if pinfold made its domain, if something is under way, or if its host is down.
    """
    services.fleet.guests.release(server(services, request, server_id).id)
    return Response(status_code=202)
