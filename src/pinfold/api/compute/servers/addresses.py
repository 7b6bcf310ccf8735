"""The addresses and interfaces of a server in the Compute API. Interfaces are made with their server, and are read-only here."""

from __future__ import annotations

from typing import Any, Literal, cast

from fastapi import APIRouter, Request
from typing_extensions import TypedDict

from pinfold.api.compute.links import ROOT
from pinfold.api.compute.servers.networks import addresses
from pinfold.api.compute.servers.single import server
from pinfold.api.dependencies import ApiServices, Services
from pinfold.api.response_schema import closed
from pinfold.core.errors import not_found
from pinfold.core.identity import GuestId
from pinfold.core.networks import Port, network_id, subnet_id
from pinfold.store import ports
from pinfold.store.records import GuestRecord, Observed

router = APIRouter(prefix=ROOT, tags=["servers"])


@closed
class Address(TypedDict):
    """One address."""

    addr: str
    version: Literal[4, 6]


@closed
class AddressList(TypedDict):
    """The addresses of a server by network."""

    addresses: dict[str, list[Address]]


@closed
class InterfaceAddress(TypedDict):
    """An address of an interface."""

    subnet_id: str
    ip_address: str


@closed
class InterfaceShown(TypedDict):
    """An interface of a server."""

    port_id: str
    net_id: str
    mac_addr: str
    port_state: Literal["ACTIVE", "DOWN"]
    fixed_ips: list[InterfaceAddress]


@closed
class InterfaceList(TypedDict):
    """The interfaces of a server, in their order."""

    interfaceAttachments: list[InterfaceShown]


@closed
class InterfaceAnswer(TypedDict):
    """One interface of a server."""

    interfaceAttachment: InterfaceShown


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


@router.get("/servers/{server_id}/os-interface")
def list_interfaces(server_id: GuestId, request: Request, services: Services) -> InterfaceList:
    """The interfaces of a server."""
    guest = server(services, request, server_id)
    return {"interfaceAttachments": [_interface(guest, port) for port in _ports(services, guest)]}


@router.get("/servers/{server_id}/os-interface/{port_id}")
def show_interface(server_id: GuestId, port_id: str, request: Request, services: Services) -> InterfaceAnswer:
    """One interface of a server by the id of its port."""
    guest = server(services, request, server_id)
    for port in _ports(services, guest):
        if port.id == port_id:
            return {"interfaceAttachment": _interface(guest, port)}
    raise not_found("Port", port_id)


def _ports(services: ApiServices, guest: GuestRecord) -> tuple[Port, ...]:
    if not guest.request.nics:
        return ()
    with services.database.read() as connection:
        return ports.of_guest(connection, guest.id)


def _addresses(found: tuple[Port, ...]) -> dict[str, list[Address]]:
    plain: dict[str, list[dict[str, Any]]] = addresses(found)
    return {name: [cast("Address", {"addr": one["addr"], "version": one["version"]}) for one in some] for name, some in plain.items()}


def _interface(guest: GuestRecord, port: Port) -> InterfaceShown:
    static = port.static
    return {
        "port_id": port.id,
        "net_id": network_id(port.network),
        "mac_addr": port.mac,
        "port_state": "ACTIVE" if guest.observed is Observed.RUNNING else "DOWN",
        "fixed_ips": [] if static is None else [{"subnet_id": subnet_id(port.network, static), "ip_address": port.address}],
    }
