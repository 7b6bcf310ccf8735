"""Nova's earlier routes to networks: those of the Network API, in Nova's words. They are read-only.

Where the hosts have no static range for a network, all but its id and label is null, as in every cloud since Nova has no networks itself.
"""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Final

from typing_extensions import TypedDict

from pinfold.api.compute.links import ROOT
from pinfold.api.compute.proxies import until
from pinfold.api.dependencies import ApiServices, Services
from pinfold.api.response_schema import closed
from pinfold.api.router import Router
from pinfold.core.errors import not_found
from pinfold.service.networks import FleetNetwork

_ELSEWHERE: Final = "Networks are at the network API, under /network/v2.0/networks; `openstack network list` asks that one."

router = Router(prefix=ROOT, tags=["networks"], dependencies=[until(35, _ELSEWHERE)], responses={404: {}})


class Labelled(TypedDict):
    """The keys of a network that each route has."""

    id: str
    label: str
    cidr: str | None


@closed
class ProjectsNetwork(Labelled):
    """A network as its users see it."""


@closed
class NetworkInFull(Labelled):
    """A network with the addresses of its static range."""

    netmask: str | None
    broadcast: str | None
    gateway: str | None
    dns1: str | None
    dns2: str | None
    cidr_v6: None
    netmask_v6: None
    gateway_v6: None


@closed
class NetworksInFull(TypedDict):
    """The networks."""

    networks: list[NetworkInFull]


@closed
class NetworkInFullAnswer(TypedDict):
    """One network."""

    network: NetworkInFull


@closed
class ProjectsNetworks(TypedDict):
    """The networks, as their users see them."""

    networks: list[ProjectsNetwork]


@closed
class ProjectsNetworkAnswer(TypedDict):
    """One network, as its users see it."""

    network: ProjectsNetwork


@router.get("/os-networks")
def list_networks_in_full(services: Services) -> NetworksInFull:
    """The networks that hosts offer, by name."""
    return {"networks": [_full(found) for found in services.fleet.networks.all()]}


@router.get("/os-networks/{network_id}")
def show_network_in_full(network_id: str, services: Services) -> NetworkInFullAnswer:
    """One network by its id; a name is no id."""
    return {"network": _full(_get(services, network_id))}


@router.get("/os-tenant-networks")
def list_projects_networks(services: Services) -> ProjectsNetworks:
    """The networks that a project may use: all that hosts offer, by name."""
    return {"networks": [_labelled(found) for found in services.fleet.networks.all()]}


@router.get("/os-tenant-networks/{network_id}")
def show_projects_network(network_id: str, services: Services) -> ProjectsNetworkAnswer:
    """One of them by its id."""
    return {"network": _labelled(_get(services, network_id))}


def _labelled(found: FleetNetwork) -> ProjectsNetwork:
    return {"id": found.id, "label": found.name, "cidr": None if found.static is None else found.static.cidr}


def _full(found: FleetNetwork) -> NetworkInFull:
    static = found.static
    dns = () if static is None else static.dns
    first, second, *_ = (*dns, None, None)
    return {
        **_labelled(found),
        "netmask": None if static is None else static.netmask,
        "broadcast": None if static is None else str(IPv4Network(static.cidr).broadcast_address),
        "gateway": None if static is None else static.gateway or None,
        "dns1": first,
        "dns2": second,
        "cidr_v6": None,
        "netmask_v6": None,
        "gateway_v6": None,
    }


def _get(services: ApiServices, network_id: str) -> FleetNetwork:
    found = services.fleet.networks.find(network_id)
    if found is None:
        raise not_found("Network", network_id)
    return found
