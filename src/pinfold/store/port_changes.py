"""Store what is under way with the ports of guests that exist: attached and detached interfaces. `service.guests.interfaces` decides.

Each change of a port is a compare-and-set on its state, and names the event that asked for it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import sqlalchemy as sa

from pinfold.core.errors import Conflict
from pinfold.core.identity import GuestId, HostId
from pinfold.core.networks import Port
from pinfold.store import guest_events, ports
from pinfold.store.database import tell
from pinfold.store.records import PortState, WantedPort
from pinfold.store.schema import guest, port


class ChangingPort(NamedTuple):
    """A port, what is under way with it, and the number of the event that asked for that, None for none."""

    port: Port
    state: PortState
    event: int | None


class OrderedPorts(NamedTuple):
    """The ports whose interfaces a guest is to have, and the MAC addresses of interfaces that it is to lose."""

    ports: tuple[Port, ...] = ()
    detach: tuple[str, ...] = ()


NO_PORTS: Final = OrderedPorts()
"""Those of a guest without a port."""


def topic(guest_id: GuestId) -> str:
    """The topic of the notification that a change of one of the guest's ports has ended."""
    return f"port:{guest_id}"


def attach(connection: sa.Connection, guest_id: GuestId, wanted: WantedPort, event: int) -> Port:
    """Make one more port of a guest, which its agent is to attach. Raises `Conflict` as `ports.create`."""
    last = sa.select(sa.func.coalesce(sa.func.max(port.c.place), -1)).where(port.c.guest == guest_id)
    (made,) = ports.create(connection, guest_id, (wanted,), first=int(connection.execute(last).scalar_one()) + 1)
    connection.execute(port.update().where(port.c.id == made.id).values(state=PortState.ATTACHING.value, event=event))
    return made


def detach(connection: sa.Connection, found: ChangingPort, event: int) -> None:
    """Order the agent to detach a port's interface. An attachment that this overtakes has failed. Raises `Conflict` if the port has
    changed.
    """
    if found.event is not None:
        guest_events.finish(connection, found.event, "the interface was detached before it was attached")
    _step(connection, found, PortState.DETACHING, event)


def end(connection: sa.Connection, guest_id: GuestId, found: ChangingPort, after: PortState, failure: str = "") -> None:
    """End what is under way with a port, and the event that asked for it. Raises `Conflict` if the port has changed."""
    _step(connection, found, after, None)
    if found.event is not None:
        guest_events.finish(connection, found.event, failure)
    tell(connection, topic(guest_id))


def forget(connection: sa.Connection, found: ChangingPort) -> None:
    """Delete a port whose interface is gone; its address is free again. Raises `Conflict` if the port has changed."""
    done = connection.execute(port.delete().where(port.c.id == found.port.id, port.c.state == found.state.value))
    _refuse_unless(done.rowcount == 1, found)


def of_guest(connection: sa.Connection, guest_id: GuestId) -> tuple[ChangingPort, ...]:
    """Every port of a guest with its state, in their order."""
    rows = connection.execute(sa.select(port).where(port.c.guest == guest_id).order_by(port.c.place)).mappings()
    return tuple(ChangingPort(ports.record(row), PortState(row["state"]), row["event"]) for row in rows)


def of_host(connection: sa.Connection, host_id: HostId) -> dict[str, OrderedPorts]:
    """What the agent of a host is to do with the interfaces of its guests, by guest; guests without a port are left out."""
    of_guests = port.c.guest.in_(sa.select(guest.c.id).where(guest.c.host == host_id))
    found: dict[str, OrderedPorts] = {}
    for row in connection.execute(sa.select(port).where(of_guests).order_by(port.c.guest, port.c.place)).mappings():
        known = found.get(row["guest"], NO_PORTS)
        match PortState(row["state"]):
            case PortState.ATTACHED | PortState.ATTACHING:
                found[row["guest"]] = known._replace(ports=(*known.ports, ports.record(row)))
            case PortState.DETACHING:
                found[row["guest"]] = known._replace(detach=(*known.detach, row["mac"]))
            case PortState.DETACHED:
                pass
    return found


def unfinished(connection: sa.Connection, limit: int = 100) -> tuple[GuestId, ...]:
    """Guests with a port whose interface is gone and whose address and booking were not given back yet."""
    chosen = sa.select(port.c.guest).where(port.c.state == PortState.DETACHED.value).distinct().order_by(port.c.guest).limit(limit)
    return tuple(GuestId(found) for found in connection.execute(chosen).scalars())


def _step(connection: sa.Connection, found: ChangingPort, after: PortState, event: int | None) -> None:
    same = (port.c.id == found.port.id, port.c.state == found.state.value)
    done = connection.execute(port.update().where(*same).values(state=after.value, event=event))
    _refuse_unless(done.rowcount == 1, found)


def _refuse_unless(done: bool, found: ChangingPort) -> None:
    if not done:
        raise Conflict(f"port {found.port.id} is gone, or has changed meanwhile")
