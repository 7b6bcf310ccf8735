"""What networks a new server is on, and the addresses of a server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from pinfold.api.errors import ApiError
from pinfold.api.request_body import RequestBody
from pinfold.core.errors import Conflict, InvalidRequest
from pinfold.core.networks import MOST_INTERFACES, Port
from pinfold.service.networks import FleetNetwork, Networks
from pinfold.store.records import WantedPort

_Text = Annotated[str, Field(max_length=255)]


class RequestedNetwork(RequestBody):
    """One network of a new server: its id, and an address if the user chose one. `tag` has no effect."""

    uuid: _Text | None = None
    port: _Text | None = None
    fixed_ip: _Text | None = None
    tag: _Text | None = None


RequestedNetworks: TypeAlias = Literal["auto", "none"] | Annotated[list[RequestedNetwork], Field(max_length=64)] | None


def wanted_ports(networks: Networks, asked: RequestedNetworks, servers: int) -> tuple[WantedPort, ...]:
    """The ports that each of so many servers gets. As in Nova, `auto` and nothing mean the only network, if there is one.

    Raises `ApiError` 400 for a network that no host offers or an address that cannot be given, 501 for a port that was made before;
    `Conflict` if `auto` does not say which network.
    """
    if asked == "none" or asked == []:
        return ()
    known = networks.all()
    if asked is None or asked == "auto":
        if len(known) > 1:
            names = ", ".join(network.name for network in known)
            raise Conflict(f"Multiple possible networks found ({names}), use a Network ID to be more specific.")
        return tuple(_wanted(network, "") for network in known)
    if len(asked) > MOST_INTERFACES:
        raise InvalidRequest(f"networks has {len(asked)} entries; at most {MOST_INTERFACES} are allowed", key="networks")
    return tuple(_asked(known, one, servers) for one in asked)


def wanted_port(networks: Networks, network_id: str | None, fixed_ip: str | None) -> WantedPort:
    """The port that a server gets which is there already; without an id of a network, on the only one. Raises as `wanted_ports`."""
    known = networks.all()
    if network_id is None and len(known) != 1:
        names = ", ".join(network.name for network in known) or "none"
        raise ApiError(400, f"The networks are {names}: name the one to attach as net_id.")
    chosen = known[0].id if network_id is None else network_id
    return _asked(known, RequestedNetwork(uuid=chosen, fixed_ip=fixed_ip), 1)


def addresses(ports: Sequence[Port], *, extended: bool = True) -> dict[str, list[dict[str, Any]]]:
    """The `addresses` of a server: by network, those that are known. Addresses of DHCP servers are not. `extended` adds type and MAC."""
    shown: dict[str, list[dict[str, Any]]] = {}
    for port in ports:
        found = shown.setdefault(port.network, [])
        if port.address:
            more = {"OS-EXT-IPS:type": "fixed", "OS-EXT-IPS-MAC:mac_addr": port.mac} if extended else {}
            found.append({"addr": port.address, "version": 4, **more})
    return shown


def _asked(known: Sequence[FleetNetwork], asked: RequestedNetwork, servers: int) -> WantedPort:
    if asked.port is not None:
        raise ApiError(501, "Ports are made with their server and cannot be made before: name the network instead of a port.")
    if asked.uuid is None:
        raise InvalidRequest("an entry of networks names no uuid; the id of a network is required", key="networks")
    network = next((network for network in known if network.id == asked.uuid), None)
    if network is None:
        raise ApiError(400, f"Network {asked.uuid} could not be found.")
    if asked.fixed_ip is None:
        return _wanted(network, "")
    if network.static is None:
        raise ApiError(400, f"fixed_ip {asked.fixed_ip} cannot be given: network {network.name} has no static range, guests use DHCP.")
    if not network.static.holds(asked.fixed_ip):
        span = f"{network.static.first}-{network.static.last}"
        raise ApiError(400, f"fixed_ip {asked.fixed_ip} cannot be given: addresses of network {network.name} are {span}.")
    if servers > 1:
        raise ApiError(400, "Unable to launch multiple instances with a single configured fixed IP address.")
    return _wanted(network, asked.fixed_ip)


def _wanted(network: FleetNetwork, address: str) -> WantedPort:
    if network.dispute:
        raise Conflict(f"Network {network.name} cannot be used: {network.dispute}.")
    return WantedPort(network=network.name, mtu=network.network.mtu, address=address, static=network.static)
