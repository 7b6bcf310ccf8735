"""The addresses of a server in the Compute API."""

from __future__ import annotations

from typing import Any, Literal, cast

from fastapi import Request
from typing_extensions import TypedDict

from pinfold.api.compute.links import ROOT
from pinfold.api.compute.servers.networks import addresses
from pinfold.api.compute.servers.single import server
from pinfold.api.dependencies import ApiServices, Services
from pinfold.api.response_schema import closed
from pinfold.api.router import Router
from pinfold.core.errors import not_found
from pinfold.core.identity import GuestId
from pinfold.core.networks import Port
from pinfold.store import ports
from pinfold.store.records import GuestRecord

router = Router(prefix=ROOT, tags=["servers"])


@closed
class Address(TypedDict):
    """One address."""

    addr: str
    version: Literal[4, 6]


@closed
class AddressList(TypedDict):
    """The addresses of a server by network."""

    addresses: dict[str, list[Address]]


@router.get("/servers/{server_id}/ips")
def list_addresses(server_id: GuestId, request: Request, services: Services) -> AddressList:
    """The addresses of a server that are known: those of static ranges."""
    return {"addresses": _addresses(_ports(services, server(services, request, server_id)))}


@router.get("/servers/{server_id}/ips/{label}")
def show_addresses(server_id: GuestId, label: str, request: Request, services: Services) -> dict[str, list[Address]]:
    """The addresses of a server on the network of that name."""
    found = _addresses(_ports(services, server(services, request, server_id)))
    if label not in found:
        raise not_found("Network", label)
    return {label: found[label]}


def _ports(services: ApiServices, guest: GuestRecord) -> tuple[Port, ...]:
    if not guest.request.nics:
        return ()
    with services.database.read() as connection:
        return ports.of_guest(connection, guest.id)


def _addresses(found: tuple[Port, ...]) -> dict[str, list[Address]]:
    plain: dict[str, list[dict[str, Any]]] = addresses(found)
    return {name: [cast("Address", {"addr": one["addr"], "version": one["version"]}) for one in some] for name, some in plain.items()}
