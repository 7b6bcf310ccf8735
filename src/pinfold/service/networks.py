"""The networks of the fleet, by name: those that hosts offer. Operators define them in the hosts' files, and no request makes one."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec import Struct

from pinfold.core.networks import HostNetwork, StaticRange, network_id, subnet_id
from pinfold.store import ports
from pinfold.store.database import Database
from pinfold.store.ports import GuestPort, Offer, PortFilter


class FleetNetwork(Struct, frozen=True, kw_only=True):
    """A network that `hosts` hosts offer, as the first of them by name describes it. `dispute` is a sentence if another host has another
    static range, '' if all agree.
    """

    id: str
    network: HostNetwork
    hosts: int
    dispute: str = ""

    @property
    def name(self) -> str:
        """The name of the network."""
        return self.network.name

    @property
    def static(self) -> StaticRange | None:
        """Its static range, if it has one."""
        return self.network.static

    @property
    def subnet(self) -> str:
        """The id of its subnet, '' for none."""
        return "" if self.static is None else subnet_id(self.name, self.static)


class Networks:
    """Reads networks and ports. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> tuple[FleetNetwork, ...]:
        """Every network, by name."""
        with self._database.read() as connection:
            return fleet_networks(ports.offers(connection))

    def find(self, network: str) -> FleetNetwork | None:
        """The network of that id, or None."""
        return next((found for found in self.all() if found.id == network), None)

    def ports(
        self, wanted: PortFilter, *, keep: Callable[[GuestPort], bool] | None = None, marker: str | None = None, limit: int | None = None
    ) -> tuple[GuestPort, ...]:
        """The matching ports, by guest and place. See `store.ports.page`."""
        with self._database.read() as connection:
            return ports.page(connection, wanted, keep=keep, marker=marker, limit=limit)

    def port(self, port_id: str) -> GuestPort | None:
        """One port, or None."""
        with self._database.read() as connection:
            return ports.find(connection, port_id)

    def count_ports(self, project: str) -> int:
        """How many ports the guests of a project have."""
        with self._database.read() as connection:
            return ports.count(connection, project)

    def ids_in_use(self) -> dict[str, str]:
        """The networks that ports are on, by id: also those that no host offers any more."""
        with self._database.read() as connection:
            return {network_id(name): name for name in ports.networks(connection)}


def fleet_networks(offers: Iterable[Offer]) -> tuple[FleetNetwork, ...]:
    """The networks of all offers, by name. The first offer that names one describes it."""
    found: dict[str, FleetNetwork] = {}
    described: dict[str, str] = {}
    for offer in offers:
        for network in offer.networks:
            known = found.get(network.name)
            if known is None:
                described[network.name] = offer.host
                found[network.name] = FleetNetwork(id=network_id(network.name), network=network, hosts=offer.hosts)
                continue
            dispute = known.dispute
            if not dispute and known.static != network.static:
                dispute = f"hosts {described[network.name]} and {offer.host} describe the addresses of network {network.name} differently"
            found[network.name] = FleetNetwork(id=known.id, network=known.network, hosts=known.hosts + offer.hosts, dispute=dispute)
    return tuple(found[name] for name in sorted(found))
