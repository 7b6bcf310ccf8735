"""Store ports: guests' interfaces on networks, with their MAC and IP addresses. The database's unique keys forbid to give an address twice.

Also what networks the hosts offer; `hosts` stores their reports.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from msgspec.structs import replace
from sqlalchemy.dialects import postgresql, sqlite

from pinfold.core.encoding import decoder, encode
from pinfold.core.errors import Conflict, InvalidRequest
from pinfold.core.identity import GuestId
from pinfold.core.networks import HostNetwork, Port, StaticRange, mac_of
from pinfold.store.database import EpochNow
from pinfold.store.host_rows import read_networks
from pinfold.store.records import Observed, PortState, WantedPort
from pinfold.store.schema import guest, host, port
from pinfold.store.unreadable import read_or

_read_static = decoder(StaticRange)
_THERE: Final = port.c.state != PortState.DETACHED.value
_TRIES: Final = 2
"""How often the ports of several guests are made together. Then what others took meanwhile is made one by one."""
_ACTIVE: Final = sa.and_(guest.c.observed == Observed.RUNNING.value, port.c.state != PortState.ATTACHING.value)
"""What `is_active` says, for the database."""
_AT_ONCE: Final = 500
_ORDER: Final = (port.c.guest, port.c.place, port.c.id)
_PORTS: Final = (
    sa.select(port, guest.c.project, guest.c.observed, host.c.name)
    .select_from(port.join(guest, guest.c.id == port.c.guest).outerjoin(host, host.c.id == guest.c.host))
    .where(_THERE)
)
_INSERT_ALL: Final = {
    name: dialect.insert(port).values(created=EpochNow()).on_conflict_do_nothing().returning(port.c.id)
    for name, dialect in (("postgresql", postgresql), ("sqlite", sqlite))
}


class _Wanted(NamedTuple):
    """A port to make, the guest (id) that it is for, and its place among the guest's."""

    guest: GuestId
    place: int
    port: WantedPort


class GuestPort(NamedTuple):
    """A port, the guest (id) that it belongs to and that one's project, whether it is attached and the guest runs, and its host (name), ''
    for none.
    """

    guest: GuestId
    port: Port
    project: str
    active: bool = False
    host: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortFilter:
    """Which ports a listing shows: every field that is not None must hold the port's value. `hosts` are names, '' for none; `active` is as
    in `GuestPort`.
    """

    ids: tuple[str, ...] | None = None
    guests: tuple[str, ...] | None = None
    projects: tuple[str, ...] | None = None
    networks: tuple[str, ...] | None = None
    macs: tuple[str, ...] | None = None
    hosts: tuple[str, ...] | None = None
    active: bool | None = None


class Offer(NamedTuple):
    """Networks that hosts offer alike, the first of these hosts by name, and how many they are."""

    networks: tuple[HostNetwork, ...]
    host: str
    hosts: int


_EVERY: Final = PortFilter()


def create(connection: sa.Connection, guest_id: GuestId, wanted: Sequence[WantedPort], *, first: int = 0) -> tuple[Port, ...]:
    """Make ports of a guest, in that order, the first one at that place. Raises `Conflict` when an address is taken, or when a range has no
    free one.
    """
    return tuple(_create(connection, guest_id, place, one) for place, one in enumerate(wanted, first))


def create_all(connection: sa.Connection, wanted: Iterable[tuple[GuestId, Sequence[WantedPort]]]) -> None:
    """Make the ports of several new guests as `create` does, in few statements however many the guests are. Raises as `create`."""
    left = [_Wanted(guest_id, place, one) for guest_id, ports in wanted for place, one in enumerate(ports)]
    for _ in range(_TRIES):
        left = _create_together(connection, left) if left else []
    for one in left:
        _create(connection, one.guest, one.place, one.port)


def of_guests(connection: sa.Connection, ids: Iterable[str]) -> dict[str, tuple[Port, ...]]:
    """The ports of those guests, each guest's in their order, without those that are gone already; guests without a port are left out."""
    found: dict[str, list[Port]] = {}
    chosen = sa.select(port).where(port.c.guest.in_(sorted(set(ids))), _THERE).order_by(port.c.guest, port.c.place)
    for row in connection.execute(chosen).mappings():
        found.setdefault(row["guest"], []).append(record(row))
    return {guest_id: tuple(ports) for guest_id, ports in found.items()}


def of_guest(connection: sa.Connection, guest_id: GuestId) -> tuple[Port, ...]:
    """The ports of one guest, in their order."""
    return of_guests(connection, (guest_id,)).get(guest_id, ())


def addressed(connection: sa.Connection, part: str) -> frozenset[GuestId]:
    """The guests with a port whose address holds that text."""
    chosen = sa.select(port.c.guest).where(port.c.address.contains(part, autoescape=True))
    return frozenset(connection.execute(chosen).scalars())


def page(
    connection: sa.Connection,
    wanted: PortFilter = _EVERY,
    *,
    keep: Callable[[GuestPort], bool] | None = None,
    marker: str | None = None,
    limit: int | None = None,
) -> tuple[GuestPort, ...]:
    """The matching ports, by guest and place, at most `limit`, after the one with the id `marker`. Raises `InvalidRequest` for a
    marker that is not there, or is of none of the projects.

    `keep` is a test that the database cannot do. The ports that it refuses do not count; they are read in few statements.
    """
    query = _PORTS.where(*_conditions(wanted))
    if marker is not None:
        seen = _conditions(PortFilter(ids=(marker,), projects=wanted.projects))
        after = connection.execute(_PORTS.where(*seen)).mappings().first()
        if after is None:
            raise InvalidRequest(f"marker [{marker[:255]}] not found", key="marker")
        query = query.where(_follows(after))
    return tuple(islice(filter(keep, _read(connection, query, None if keep is None else _AT_ONCE, limit)), limit))


def find(connection: sa.Connection, port_id: str) -> GuestPort | None:
    """One port, or None."""
    return next(iter(page(connection, PortFilter(ids=(port_id,)))), None)


def count(connection: sa.Connection, project: str) -> int:
    """How many ports the guests of a project have."""
    joined = port.join(guest, guest.c.id == port.c.guest)
    return int(connection.execute(sa.select(sa.func.count()).select_from(joined).where(_THERE, guest.c.project == project)).scalar_one())


def networks(connection: sa.Connection) -> tuple[str, ...]:
    """The names of the networks that ports are on."""
    return tuple(connection.execute(sa.select(port.c.network).distinct().order_by(port.c.network)).scalars())


def is_active(state: str, observed: Observed) -> bool:
    """Whether packets can go through the port of a guest that its agent saw so."""
    return observed is Observed.RUNNING and state != PortState.ATTACHING.value


def forget(connection: sa.Connection, guest_id: GuestId) -> None:
    """Delete the ports of a guest that is gone; their addresses are free again."""
    connection.execute(port.delete().where(port.c.guest == guest_id))


def offers(connection: sa.Connection) -> tuple[Offer, ...]:
    """What networks the hosts offer, by the name of the first host that offers them."""
    query = sa.select(host.c.networks, sa.func.min(host.c.name), sa.func.count()).where(host.c.networks != "").group_by(host.c.networks)
    found = (Offer(read_or(read_networks, row[0], f"networks of host {row[1]}", ()), row[1], row[2]) for row in connection.execute(query))
    return tuple(sorted(found, key=lambda offer: offer.host))


def _conditions(wanted: PortFilter) -> list[Any]:
    among = {
        port.c.id: wanted.ids,
        port.c.guest: wanted.guests,
        guest.c.project: wanted.projects,
        port.c.network: wanted.networks,
        port.c.mac: wanted.macs,
        sa.func.coalesce(host.c.name, ""): wanted.hosts,
    }
    conditions: list[Any] = [column.in_(values) for column, values in among.items() if values is not None]
    if wanted.active is not None:
        conditions.append(_ACTIVE if wanted.active else ~_ACTIVE)
    return conditions


def _read(connection: sa.Connection, query: sa.Select[Any], at_once: int | None, limit: int | None) -> Iterator[GuestPort]:
    """The ports of a query in their order: `limit` in one statement, or all, so many `at_once`."""
    size = limit if at_once is None else max(limit or 0, at_once)
    rest = query
    while True:
        rows = connection.execute(rest.order_by(*_ORDER).limit(size)).mappings().all()
        for row in rows:
            active = is_active(row["state"], Observed(row["observed"]))
            yield GuestPort(row["guest"], record(row), row["project"], active, row["name"] or "")
        if at_once is None or size is None or len(rows) < size:
            return
        rest = query.where(_follows(rows[-1]))


def _follows(before: sa.RowMapping) -> sa.ColumnElement[bool]:
    """Whether a port comes after another in a listing."""
    guest_id, place, port_id = before["guest"], before["place"], before["id"]
    later = sa.or_(port.c.place > place, sa.and_(port.c.place == place, port.c.id > port_id))
    return sa.and_(port.c.guest >= guest_id, sa.or_(port.c.guest > guest_id, later))


def _create(connection: sa.Connection, guest_id: GuestId, place: int, wanted: WantedPort) -> Port:
    made = _unaddressed(connection, wanted)
    values = {**_row(guest_id, place, made), "created": EpochNow()}
    tried: Iterable[str] = ("",)
    if wanted.static is not None:
        tried = (wanted.address,) if wanted.address else _free(connection, wanted.network, wanted.static)
    for address in tried:
        if _insert(connection, {**values, "address": address or None}):
            return replace(made, address=address)
    if wanted.static is None or wanted.address:
        raise Conflict(f"Fixed IP address {wanted.address or made.mac} is already in use on network {wanted.network}.")
    first, last = wanted.static.first, wanted.static.last
    raise Conflict(f"No more IP addresses available on network {wanted.network}: all of {first} to {last} are in use.")


def _create_together(connection: sa.Connection, wanted: Sequence[_Wanted]) -> list[_Wanted]:
    """Make ports, each with a free address of its range if it is to have one. Returns those whose address was taken meanwhile, or for which
    there was none.
    """
    free: dict[tuple[str, StaticRange], Iterator[str]] = {}
    rows: list[dict[str, Any]] = []
    left: list[_Wanted] = []
    asked: dict[str, _Wanted] = {}
    fixed = {one.port.address for one in wanted}
    for one in wanted:
        static, address = one.port.static, one.port.address or None
        if static is None:
            address = None
        elif address is None:
            if (one.port.network, static) not in free:
                found = _free(connection, one.port.network, static)
                free[one.port.network, static] = (each for each in found if each not in fixed)
            address = next(free[one.port.network, static], None)
            if address is None:
                left.append(one)
                continue
        row = {**_row(one.guest, one.place, _new(one.port)), "address": address}
        rows.append(row)
        asked[row["id"]] = one
    made = set(connection.execute(_INSERT_ALL[connection.dialect.name], rows).scalars()) if rows else set()
    return left + [one for port_id, one in asked.items() if port_id not in made]


def _unaddressed(connection: sa.Connection, wanted: WantedPort) -> Port:
    """A new port without an IP address, whose MAC address no other port has."""
    while True:
        made = _new(wanted)
        if connection.execute(sa.select(port.c.id).where(port.c.mac == made.mac)).first() is None:
            return made


def _new(wanted: WantedPort) -> Port:
    """A new port without an IP address."""
    port_id = str(uuid.uuid4())
    return Port(id=port_id, network=wanted.network, mac=mac_of(port_id), mtu=wanted.mtu, static=wanted.static)


def _row(guest_id: GuestId, place: int, made: Port) -> dict[str, Any]:
    """The columns of a new port but its address and its time."""
    return {
        "id": made.id,
        "guest": guest_id,
        "place": place,
        "network": made.network,
        "mac": made.mac,
        "mtu": made.mtu,
        "static": "" if made.static is None else encode(made.static),
    }


def _free(connection: sa.Connection, network: str, static: StaticRange) -> Iterable[str]:
    """The addresses of a range that no port has now, ascending. Another process may take one meanwhile."""
    taken = set(connection.execute(sa.select(port.c.address).where(port.c.network == network)).scalars())
    return (address for address in static.addresses() if address not in taken)


def _insert(connection: sa.Connection, values: dict[str, Any]) -> bool:
    """Add a row. Returns False if its MAC address or its address on the network is taken."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    return connection.execute(dialect.insert(port).values(values).on_conflict_do_nothing()).rowcount == 1


def record(row: sa.RowMapping) -> Port:
    """The port of a row."""
    return Port(
        id=row["id"],
        network=row["network"],
        mac=row["mac"],
        mtu=row["mtu"],
        address=row["address"] or "",
        static=_read_static(row["static"], f"port {row['id']}") if row["static"] else None,
    )
