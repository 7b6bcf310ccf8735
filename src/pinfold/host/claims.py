"""Who holds which pCPU of a surveyed host, and whether a guest's record is still valid there. Pure."""

from __future__ import annotations

from msgspec.structs import replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Finding, Holder, Owner, Severity, Subject, out_of_place, two_owners
from pinfold.core.errors import Conflict
from pinfold.core.fit.answer import Fit
from pinfold.core.identity import GuestId
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import HostGuest
from pinfold.host import nova
from pinfold.host.places import Places, belonging, places
from pinfold.host.survey import Survey, own_pins


def subject_of(settings: HostSettings, guest: HostGuest) -> Subject:
    """The guest as findings and repair commands name it."""
    return Subject(
        name=guest.name,
        id=guest.id,
        pid=guest.pid,
        active=guest.active,
        realtime_priority=settings.realtime_priority,
        persistent=guest.persistent,
        owner="" if guest.record is None else guest.record.owner,
    )


def owners(seen: Survey) -> tuple[Holder, ...]:
    """The owners of pinned pCPUs, ordered by guest id: from our records, Nova's decisions, and the pins of foreign guests.

    Pins of a Nova guest that differ from Nova's decision are a finding about that guest; they make no second owner.
    """
    return tuple(_holder(seen, guest) for guest in seen.guests)


def holders(seen: Survey) -> tuple[Holder, ...]:
    """Everybody who is pinned on the host, ordered by guest id. Our guests and Nova's pinned guests hold their pCPUs alone.

    Other pins of a Nova guest, such as its emulator's, are shared with others.
    """
    return tuple(holder for guest in seen.guests for holder in _holders(seen, guest))


def _holders(seen: Survey, guest: HostGuest) -> tuple[Holder, ...]:
    alone = _holder(seen, guest)
    rest = own_pins(guest, seen.state.topology) - alone.cpus if guest.nova is not None and guest.record is None else CpuSet()
    return (alone, replace(alone, cpus=rest, alone=False)) if rest else (alone,)


def _holder(seen: Survey, guest: HostGuest) -> Holder:
    if guest.record is not None:
        name, cpus, owner = f"guest {guest.name}", guest.record.fit.taken, Owner.OURS
    elif guest.nova is not None:
        name, cpus, owner = f"Nova's guest {guest.name}", reading_of(seen, Subject(name=guest.name), guest).place.alone, Owner.NOVA
    else:
        name, cpus, owner = f"foreign guest {guest.name}", own_pins(guest, seen.state.topology), Owner.OTHER
    return Holder(
        name=name,
        cpus=cpus,
        alone=owner is not Owner.OTHER,
        guest=guest.name,
        guest_id=guest.id,
        owner=owner,
        keeper="" if guest.record is None else guest.record.owner,
        runs=guest.active,
    )


def reading_of(seen: Survey, subject: Subject, guest: HostGuest) -> nova.Reading:
    """The reading of a Nova guest on a surveyed host."""
    topology, taken = seen.state.topology, 0
    for claim in seen.state.ledger.claims if guest.active and not guest.kept_first else ():
        taken |= claim.fit.taken.mask
    ours = CpuSet.from_mask(taken)
    return nova.read(subject, guest, seen.configured, topology.online, cells=len(topology.cells), ours=ours)


def places_of(seen: Survey, guest: HostGuest) -> Places:
    """Where a foreign guest belongs: a Nova guest by the evidence of an audit, any other by its pins, and so is Nova's without pools."""
    pools = seen.state.pools
    if guest.nova is None or guest.problem or seen.configured is None:
        return places(guest, pools)
    return belonging(guest, reading_of(seen, Subject(name=guest.name), guest), pools, seen.state.topology.online)


def contested(seen: Survey, guest: GuestId, cpus: CpuSet | None = None) -> tuple[Finding, ...]:
    """The pCPUs of the guest with that id (or of `cpus`, for it) that somebody else holds too. Raises `Conflict` if somebody has removed
    the guest.
    """
    mine = next((_holder(seen, other) for other in seen.guests if other.id == guest), None)
    if mine is None:
        raise Conflict(f"guest {guest} is not on this host any more: somebody else removed it")
    mine = mine if cpus is None else replace(mine, cpus=cpus)
    others = (holder for other in seen.guests if other.id != guest for holder in _holders(seen, other))
    # A stopped guest comes back to its pCPUs, so it counts like a running one.
    shared = (replace(other, cpus=other.cpus & mine.cpus, runs=True) for other in others)
    return two_owners([replace(mine, runs=True), *shared])


def misplaced(seen: Survey, settings: HostSettings, guest: HostGuest, fit: Fit) -> tuple[Finding, ...]:
    """Why the recorded fit of a guest of ours is no longer valid on this host: lost pCPUs, changed pools, offline pCPUs.

    Notes are left out, such as an overhead pool that has grown, because they take nothing from the guest.
    """
    online = seen.state.topology.online
    found = contested(seen, guest.id) + out_of_place(subject_of(settings, guest), fit, seen.state.pools, online)
    return tuple(finding for finding in found if finding.severity is Severity.DRIFT)
