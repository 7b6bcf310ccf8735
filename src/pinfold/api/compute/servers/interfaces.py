"""The interfaces of a server in the Compute API: show, attach, detach."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final, Literal, NotRequired

from fastapi import Request, Response
from pydantic import Field
from typing_extensions import TypedDict

from pinfold.api.agent_answer import agent_answer
from pinfold.api.caller import caller_of
from pinfold.api.compute.headers import Version
from pinfold.api.compute.links import ROOT
from pinfold.api.compute.servers.networks import wanted_port
from pinfold.api.compute.servers.single import requester, server, unlocked
from pinfold.api.dependencies import ApiServices, Services
from pinfold.api.errors import ApiError
from pinfold.api.microversion import Microversion
from pinfold.api.request_body import RequestBody
from pinfold.api.response_schema import closed, since
from pinfold.api.router import Router
from pinfold.api.threads import in_thread
from pinfold.core.errors import Conflict, InvalidRequest, not_found
from pinfold.core.identity import GuestId
from pinfold.core.networks import Port, network_id, subnet_id
from pinfold.service.guests.interfaces import ATTACH, DETACH
from pinfold.store import port_changes
from pinfold.store.port_changes import ChangingPort
from pinfold.store.ports import is_active
from pinfold.store.records import GuestRecord, PortState

router = Router(prefix=f"{ROOT}/servers/{{server_id}}/os-interface", tags=["servers"])

_TAGGED: Final = Microversion(2, 49)
_SHOWS_TAG: Final = Microversion(2, 70)
_Text = Annotated[str, Field(max_length=255)]


class AttachedAddress(RequestBody):
    """The address of a new interface."""

    ip_address: _Text


class NewInterface(RequestBody):
    """A new interface: the id of a network, of the only one if there is none, and an address if the user chose one. `tag` has no effect."""

    net_id: _Text | None = None
    port_id: _Text | None = None
    fixed_ips: Annotated[list[AttachedAddress], Field(min_length=1, max_length=1)] | None = None
    tag: Annotated[str, Field(min_length=1, max_length=60)] | None = None


class AttachInterface(RequestBody):
    """The envelope of a new interface."""

    interfaceAttachment: NewInterface = NewInterface()  # noqa: N815  # Nova's key


@closed
class InterfaceAddress(TypedDict):
    """An address of an interface."""

    subnet_id: str
    ip_address: str


@closed
class InterfaceShown(TypedDict):
    """An interface of a server. It is `DOWN` while it is being attached."""

    port_id: str
    net_id: str
    mac_addr: str
    port_state: Literal["ACTIVE", "DOWN"]
    fixed_ips: list[InterfaceAddress]
    tag: NotRequired[Annotated[None, since(70)]]


@closed
class InterfaceList(TypedDict):
    """The interfaces of a server, in their order."""

    interfaceAttachments: list[InterfaceShown]


@closed
class InterfaceAnswer(TypedDict):
    """One interface of a server."""

    interfaceAttachment: InterfaceShown


@router.get("")
def list_interfaces(server_id: GuestId, request: Request, services: Services, version: Version) -> InterfaceList:
    """The interfaces of a server."""
    guest = server(services, request, server_id)
    return {"interfaceAttachments": [_shown(guest, one, version) for one in _ports(services, guest)]}


@router.get("/{port_id}")
def show_interface(server_id: GuestId, port_id: str, request: Request, services: Services, version: Version) -> InterfaceAnswer:
    """One interface of a server by the id of its port."""
    guest = server(services, request, server_id)
    return {"interfaceAttachment": _shown(guest, _port(services, guest, port_id), version)}


@router.post("", responses={501: {}})
async def attach_interface(
    server_id: GuestId, body: AttachInterface, request: Request, services: Services, version: Version
) -> InterfaceAnswer:
    """Attach an interface to a server on a network that its host offers. The answer comes when the server has the interface, or after a
    while; 409 with the reason if it could not be attached: then the server has no such port.
    """
    asked = body.interfaceAttachment
    made: Port | None = None

    async def ask() -> Callable[[], str | None]:
        nonlocal made
        made, event = await in_thread(_attach, services, request, server_id, asked, version)
        return lambda: services.fleet.interfaces.outcome(event)

    failure = await agent_answer(services, port_changes.topic(server_id), ask, services.attach_seconds)
    assert made is not None
    if failure:
        raise Conflict(f"Failed to attach network adapter device to {server_id}: {failure}")
    guest = await in_thread(server, services, request, server_id)
    state = PortState.ATTACHING if failure is None else PortState.ATTACHED
    return {"interfaceAttachment": _shown(guest, ChangingPort(made, state, None), version)}


@router.delete("/{port_id}", status_code=202, response_class=Response)
def detach_interface(server_id: GuestId, port_id: str, request: Request, services: Services) -> Response:
    """Detach an interface of a server by the id of its port. It is gone when the guest has let go of it. If the guest does not, the
    interface stays, and the server's events say why.
    """
    guest = unlocked(services, request, server_id)
    _port(services, guest, port_id)
    with services.fleet.events.asked(server_id, DETACH, requester(request)) as event:
        services.fleet.interfaces.detach(server_id, port_id, event=event)
    return Response(status_code=202)


def _attach(services: ApiServices, request: Request, server_id: GuestId, asked: NewInterface, version: Microversion) -> tuple[Port, int]:
    """The new port, and the number of the event that asks for its interface."""
    unlocked(services, request, server_id)
    if asked.tag is not None and version < _TAGGED:
        raise InvalidRequest(f"tag is accepted from microversion {_TAGGED} on", key="tag")
    if asked.port_id is not None:
        _refuse_port(services, request, asked)
    if asked.fixed_ips is not None and asked.net_id is None:
        raise InvalidRequest("fixed_ips is given without net_id; name the network of the address", key="fixed_ips")
    address = asked.fixed_ips[0].ip_address if asked.fixed_ips else None
    wanted = wanted_port(services.fleet.networks, asked.net_id, address)
    with services.fleet.events.asked(server_id, ATTACH, requester(request)) as event:
        return services.fleet.interfaces.attach(server_id, wanted, event=event), event


def _refuse_port(services: ApiServices, request: Request, asked: NewInterface) -> None:
    """Refuse a port: every port is one of a server, and made with its interface."""
    if asked.net_id is not None:
        raise InvalidRequest("Must not input both net_id and port_id", key="port_id")
    caller = caller_of(request)
    found = services.fleet.networks.port(asked.port_id or "")
    if found is not None and caller.sees(found.project):
        raise Conflict(f"Port {asked.port_id} is still in use.")
    raise ApiError(501, "Ports are made with their interface and cannot be made before: name the network instead of a port.")


def _ports(services: ApiServices, guest: GuestRecord) -> tuple[ChangingPort, ...]:
    if not guest.request.nics:
        return ()
    with services.database.read() as connection:
        return tuple(one for one in port_changes.of_guest(connection, guest.id) if one.state is not PortState.DETACHED)


def _port(services: ApiServices, guest: GuestRecord, port_id: str) -> ChangingPort:
    """The guest's port of that id. Raises `NotFound`."""
    for one in _ports(services, guest):
        if one.port.id == port_id:
            return one
    raise not_found("Port", port_id)


def _shown(guest: GuestRecord, one: ChangingPort, version: Microversion) -> InterfaceShown:
    port, static = one.port, one.port.static
    shown: InterfaceShown = {
        "port_id": port.id,
        "net_id": network_id(port.network),
        "mac_addr": port.mac,
        "port_state": "ACTIVE" if is_active(one.state.value, guest.observed) else "DOWN",
        "fixed_ips": [] if static is None else [{"subnet_id": subnet_id(port.network, static), "ip_address": port.address}],
    }
    if version >= _SHOWS_TAG:
        shown["tag"] = None
    return shown
