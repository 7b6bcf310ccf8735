"""Attach interfaces to guests that exist, and detach them: port, booking and claim change together. Decision 0038.

1. Attach: in one transaction the port is made, and the claim is amended to book one interface more. The agent gets both with its orders,
   attaches, and reports. What it could not attach is nowhere, and the port goes the way of a detached one.
2. Detach: the port is marked, and the claim gets a new revision. The agent detaches, and reports.
3. Once the agent has reported that an interface is gone, the port is deleted, and the claim is amended to book one interface less.

An agent's report, and that an interface is gone, are stored in one transaction. If a process dies before 3, the healer does it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import replace

from pinfold.accounting.placement_responses import OverCapacity
from pinfold.core import host_features
from pinfold.core.errors import Conflict, InvalidRequest, Unavailable
from pinfold.core.fit.answer import Fit, NoFit
from pinfold.core.identity import GuestId
from pinfold.core.networks import MOST_INTERFACES, Port
from pinfold.core.overhead import rebooked
from pinfold.service.claims.amend import Amender, StaleError
from pinfold.store import claims, guest_events, guests, hosts, port_changes
from pinfold.store.database import Database
from pinfold.store.port_changes import ChangingPort
from pinfold.store.records import (
    DELETING,
    ClaimRecord,
    ClaimState,
    Desired,
    GuestRecord,
    HostLedger,
    Observed,
    Pause,
    PortState,
    WantedPort,
)

ATTACH: Final = "attach_interface"
DETACH: Final = "detach_interface"
"""Nova's words for what is asked."""

_TRIES: Final = 2 * MOST_INTERFACES
"""How often a change is decided anew: all interfaces of a guest may be attached at once, and one that is outrun may outrun another."""

_log = logging.getLogger(__name__)
Answer = TypeVar("Answer")


class SeenInterfaces(Struct, frozen=True, kw_only=True):
    """What an agent reports of a guest at the claim's revision: the MAC addresses of ordered interfaces that it has, also in a part of its
    definitions, and why those could not be changed that are as they were.
    """

    revision: int
    macs: frozenset[str]
    failures: Mapping[str, str]


class _Ground(Struct, frozen=True, kw_only=True):
    """A guest, its claim, its host and its ports, read at one instant."""

    guest: GuestRecord
    claim: ClaimRecord
    host: HostLedger
    ports: tuple[ChangingPort, ...]

    def fit(self, nics: int) -> Fit | NoFit:
        """The claim's fit with so many interfaces, booked by today's options."""
        return rebooked(self.claim.fit, replace(self.guest.request, nics=nics), self.host.state)


class Interfaces:
    """Attaches and detaches interfaces. Safe to share between threads; any number of processes may use one on the same database."""

    def __init__(self, database: Database, amender: Amender) -> None:
        self._database = database
        self._amender = amender

    def attach(self, guest_id: GuestId, wanted: WantedPort, *, event: int) -> Port:
        """Make a port of a guest, which its agent attaches then. `event` is the number of the event that asks for it.

        Raises `Conflict` when its state or something under way forbids it, when its host does not offer the network, cannot attach, or has
        no room for one interface more, and when the address is taken; `Unavailable`.
        """

        def once() -> Port:
            ground = self._changeable(guest_id, ATTACH)
            why = _cannot_attach(ground, wanted.network)
            if why:
                raise _refused(ATTACH, guest_id, why)
            nics = ground.guest.request.nics + 1
            fit = ground.fit(nics)
            if isinstance(fit, NoFit):
                raise _refused(ATTACH, guest_id, f"{ground.host.record.name}: {fit.sentence()}")
            made: list[Port] = []

            def write(connection: sa.Connection, _: int) -> None:
                guests.count_interfaces(connection, guest_id, nics)
                made.append(port_changes.attach(connection, guest_id, wanted, event))

            try:
                self._amender.amend(ground.claim, ground.host.state, fit, write, moved=False)
            except OverCapacity as error:
                raise _refused(ATTACH, guest_id, f"{ground.host.record.name}: {error}") from error
            return made[-1]

        return self._on_newest(guest_id, ATTACH, once)

    def detach(self, guest_id: GuestId, port_id: str, *, event: int) -> None:
        """Let a guest's agent detach the interface of a port, which is deleted then. An attachment that is under way has failed.

        Raises `InvalidRequest` when the guest has no such port, `Conflict` when its state or something under way forbids it, `Unavailable`.
        """

        def once() -> None:
            ground = self._changeable(guest_id, DETACH)
            found = next((one for one in ground.ports if one.port.id == port_id and one.state is not PortState.DETACHED), None)
            if found is None:
                raise InvalidRequest(f"guest {guest_id} has no port {port_id}", key="port_id")
            if found.state is PortState.DETACHING:
                raise _refused(DETACH, guest_id, f"port {port_id} is being detached already")

            def write(connection: sa.Connection, _: int) -> None:
                guests.hold(connection, guest_id)
                port_changes.detach(connection, found, event)

            try:
                self._amender.amend(ground.claim, ground.host.state, ground.claim.fit, write, moved=False)
            except OverCapacity as error:
                raise _refused(DETACH, guest_id, f"{ground.host.record.name}: {error}") from error

        self._on_newest(guest_id, DETACH, once)

    def hear(self, connection: sa.Connection, guest_id: GuestId, seen: SeenInterfaces) -> bool:
        """Store what an agent reports of the interfaces that are being changed. Returns whether `finish_or_later` has something to do.

        What it says of an earlier revision of the claim is of no effect: it has another order by now. The caller holds the guest's row, as
        everybody does who changes a port; so the claim is read after it.
        """
        changing = [one for one in port_changes.of_guest(connection, guest_id) if one.state is not PortState.ATTACHED]
        claim = claims.live(connection, guest_id) if changing else None
        if claim is None or seen.revision != claim.revision:
            return False
        for one in changing:
            after, failure = _after(one, seen)
            if after is not one.state:
                port_changes.end(connection, guest_id, one, after, failure)
        return any(_after(one, seen)[0] is PortState.DETACHED for one in changing)

    def finish_or_later(self, guest_id: GuestId) -> None:
        """As `finish`; a failure is logged and left to the healer."""
        try:
            self.finish(guest_id)
        except (Conflict, InvalidRequest, Unavailable) as error:
            _log.warning("guest %s: the address and the booking of an interface that is gone are given back later: %s", guest_id, error)

    def finish(self, guest_id: GuestId) -> None:
        """Delete the ports of a guest whose interfaces are gone, and book them no more. Raises `Conflict`, `Unavailable`."""

        def once() -> None:
            with self._database.read() as connection:
                ports = port_changes.of_guest(connection, guest_id)
            gone = tuple(one for one in ports if one.state is PortState.DETACHED)
            if gone:
                self._give_back(guest_id, gone)

        self._on_newest(guest_id, DETACH, once)

    def outcome(self, event: int) -> str | None:
        """Why the change that this event asked for failed, '' if it did not; None while it is under way."""
        with self._database.read() as connection:
            found = guest_events.find(connection, event)
        return None if found is not None and found.ended is None else "" if found is None else found.failure

    def unfinished(self) -> tuple[GuestId, ...]:
        """Guests for which a process that died left something to `finish`, at most 100."""
        with self._database.read() as connection:
            return port_changes.unfinished(connection)

    def _give_back(self, guest_id: GuestId, gone: tuple[ChangingPort, ...]) -> None:
        ground = self._ground(guest_id)

        def write(connection: sa.Connection, _: int = 0) -> None:
            for one in gone:
                port_changes.forget(connection, one)
            guests.count_interfaces(connection, guest_id, max(0, guests.get(connection, guest_id).request.nics - len(gone)))

        if ground is None:  # it has no claim: it books nothing, and a later claim counts what is left
            with self._database.write() as connection:
                write(connection)
            return
        smaller = ground.fit(max(0, ground.guest.request.nics - len(gone)))
        fit = ground.claim.fit if isinstance(smaller, NoFit) else smaller
        try:
            self._amender.amend(ground.claim, ground.host.state, fit, write, moved=False)
        except OverCapacity as error:
            raise Conflict(str(error)) from error

    def _changeable(self, guest_id: GuestId, verb: str) -> _Ground:
        """What a change of the guest's interfaces is decided on. Raises `Conflict` when nothing may be changed now."""
        ground = self._ground(guest_id)
        if ground is None:
            raise _refused(verb, guest_id, "it is on no host")
        guest, host = ground.guest, ground.host.record
        if guest.task or guest.desired is Desired.ABSENT:
            raise Conflict(f"Cannot '{verb}' instance {guest_id} while it is in task_state {guest.task or DELETING}")
        if guest.pause is Pause.ON_DISK or guest.reset or guest.observed not in (Observed.RUNNING, Observed.PAUSED, Observed.STOPPED):
            state = "suspended" if guest.pause is Pause.ON_DISK else "error"
            raise Conflict(f"Cannot '{verb}' instance {guest_id} while it is in vm_state {state}")
        if not host.up:
            raise _refused(verb, guest_id, f"host {host.name} is down")
        if host_features.INTERFACES not in host.report.features:
            raise _refused(verb, guest_id, f"the agent of host {host.name} is of an earlier pinfold; upgrade it")
        return ground

    def _ground(self, guest_id: GuestId) -> _Ground | None:
        """What the guest's claim and ports are now; None if it holds no claim."""
        with self._database.read() as connection:
            guest, claim = guests.get(connection, guest_id), claims.live(connection, guest_id)
            if claim is None or claim.state is not ClaimState.HELD:
                return None
            (host,) = hosts.ledgers(connection, (claim.host,))
            return _Ground(guest=guest, claim=claim, host=host, ports=port_changes.of_guest(connection, guest_id))

    def _on_newest(self, guest_id: GuestId, verb: str, change: Callable[[], Answer]) -> Answer:
        """What `change` returns. If the guest's host or allocation changes while it decides, it decides anew."""
        for _ in range(_TRIES):
            try:
                return change()
            except StaleError:
                continue
        raise _refused(verb, guest_id, f"its host or its interfaces changed {_TRIES} times meanwhile; try again")


def _after(one: ChangingPort, seen: SeenInterfaces) -> tuple[PortState, str]:
    """The state of a port after its agent reported, and why the change failed, '' if it did not. Pure.

    An interface that could not be attached is nowhere; one that could not be detached is as it was.
    """
    failure = seen.failures.get(one.port.mac, "")
    match one.state:
        case PortState.ATTACHING if failure:
            return PortState.DETACHED, failure
        case PortState.ATTACHING if one.port.mac in seen.macs:
            return PortState.ATTACHED, ""
        case PortState.DETACHING if failure:
            return PortState.ATTACHED, failure
        case PortState.DETACHING if one.port.mac not in seen.macs:
            return PortState.DETACHED, ""
    return one.state, ""


def _cannot_attach(ground: _Ground, network: str) -> str:
    """Why the guest's host cannot attach an interface on that network; '' if it can."""
    host = ground.host.record
    offered = next((one for one in host.report.networks if one.name == network), None)
    if offered is None:
        return f"host {host.name} does not offer the network {network}"
    if ground.guest.request.queues > 1 and not offered.has_queues:
        return f"host {host.name} offers the network {network} in user mode, with one queue, and hw:vif_multiqueue_enabled asks for more"
    if len(ground.ports) >= MOST_INTERFACES:
        return f"it has {len(ground.ports)} interfaces; at most {MOST_INTERFACES} are allowed"
    return ""


def _refused(verb: str, guest_id: GuestId, why: str) -> Conflict:
    return Conflict(f"Cannot '{verb}' instance {guest_id}: {why}")
