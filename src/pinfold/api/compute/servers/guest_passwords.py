"""The password that a server's guest made and posted to Nova's metadata service: none, because pinfold has no such service."""

from __future__ import annotations

from typing import Literal

from fastapi import Request, Response
from typing_extensions import TypedDict

from pinfold.api.compute.links import ROOT
from pinfold.api.compute.servers.single import server
from pinfold.api.dependencies import Services
from pinfold.api.response_schema import closed
from pinfold.api.router import Router
from pinfold.core.identity import GuestId

router = Router(prefix=f"{ROOT}/servers/{{server_id}}/os-server-password", tags=["servers"])


@closed
class GuestPassword(TypedDict):
    """'', as in Nova before a guest has posted one."""

    password: Literal[""]


@router.get("")
def show_guest_password(server_id: GuestId, request: Request, services: Services) -> GuestPassword:
    """The password that the guest made: none. Log in with the key pair, or with `adminPass`."""
    server(services, request, server_id)
    return {"password": ""}


@router.delete("", status_code=204, response_class=Response)
def forget_guest_password(server_id: GuestId, request: Request, services: Services) -> Response:
    """Forget that password. Nothing changes."""
    server(services, request, server_id)
    return Response(status_code=204)
