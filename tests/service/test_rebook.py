"""Booking a guest's overhead again after its host's options changed, on real databases and a real Placement."""

from __future__ import annotations

import pytest
from msgspec import structs
from tests.build.hosts import report
from tests.build.requests import pinned
from tests.build.rows import add_guest
from tests.rig.promises import at_rest
from tests.service.claiming import EAGER, HealedBetween, change, claim_of, create, synced_hosts

from pinfold.accounting.client import Placement
from pinfold.accounting.resources import OVERHEAD
from pinfold.core.errors import Conflict, InvalidRequest
from pinfold.core.host import Booking, Limits, OverheadRates
from pinfold.core.reasons import ReasonCode
from pinfold.core.request.model import EmulatorPolicy
from pinfold.service.claims.outcome import Claimed
from pinfold.service.fleet import Fleet, assemble
from pinfold.store import hosts
from pinfold.store.database import Database
from pinfold.store.records import HostReport

pytestmark = pytest.mark.real_placement

OPTIONS = Limits(reserved_memory_mib=0)


def _rates(guest: int, **more: object) -> HostReport:
    return report(limits=structs.replace(OPTIONS, rates=OverheadRates(guest=guest), **more))  # type: ignore[arg-type]


def _sharing(database: Database, fleet: Fleet) -> Claimed:
    return create(database, fleet, pinned(4, emulator=EmulatorPolicy.SHARE))


def _revision(database: Database, host: str) -> int:
    with database.read() as connection:
        return hosts.get(connection, host).revision


def test_rates_that_rose_and_fell_are_booked(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    made = _sharing(database, fleet)
    held = claim_of(database, made.guest).held
    for rate, expected in ((200, 208), (5, 13), (5, 13)):
        change(database, fleet, host, _rates(rate))
        assert dict(placement.usages(host))[OVERHEAD] != expected or rate == 5
        fleet.rebooker.rebook(made.guest)
        assert dict(placement.usages(host))[OVERHEAD] == expected
        claim = claim_of(database, made.guest)
        assert (claim.id, claim.held, claim.fit.taken) == (made.claim, held, made.fit.taken)
        assert held < claim.revision and (rate != 200 or claim.revision == _revision(database, host))
        at_rest(database, placement)
    with pytest.raises(InvalidRequest, match="holds no claim"):
        fleet.rebooker.rebook(add_guest(database, pinned(1)))


def test_a_fraction_of_nothing_books_nothing_and_a_fraction_books_again(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    made = _sharing(database, fleet)
    for fraction, expected in ((0.0, 0), (0.5, 28)):
        change(database, fleet, host, report(limits=structs.replace(OPTIONS, shared_fraction=fraction)))
        fleet.rebooker.rebook(made.guest)
        fleet.providers.sync(host)
        assert dict(placement.usages(host)).get(OVERHEAD, 0) == expected
        assert claim_of(database, made.guest).fit.overhead_millicpu == expected
        at_rest(database, placement)


def test_a_guest_that_does_not_share_books_nothing(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    made = create(database, fleet, pinned(4))
    fleet.rebooker.rebook(made.guest)
    assert dict(placement.usages(host))[OVERHEAD] == 0
    at_rest(database, placement)


def test_what_the_pool_has_no_room_for_is_refused_and_changes_nothing(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    made = _sharing(database, fleet)
    change(database, fleet, host, _rates(5000))
    with pytest.raises(Conflict, match="overhead pool has 1000 of 5008 millicpu free"):
        fleet.rebooker.rebook(made.guest)
    assert claim_of(database, made.guest).fit == made.fit
    at_rest(database, placement)


def test_where_booking_is_reported_the_pool_is_overbooked_with_a_warning(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    made = _sharing(database, fleet)
    change(database, fleet, host, _rates(5000, booking=Booking.REPORT))
    fleet.rebooker.rebook(made.guest)
    found = claim_of(database, made.guest).fit
    assert found.overhead_millicpu == 5008
    assert [reason.code for reason in found.warnings] == [ReasonCode.OVERHEAD_BOOKED]
    at_rest(database, placement)
    change(database, fleet, host, _rates(20, booking=Booking.REPORT))
    fleet.rebooker.rebook(made.guest)
    assert claim_of(database, made.guest).fit.warnings == ()
    at_rest(database, placement)


def test_a_healer_that_comes_between_does_not_leave_placement_behind(database: Database, placement: Placement) -> None:
    """A growing booking is written to Placement first; a healer that sees it would restore the ledger's smaller amounts."""
    healer = assemble(database, placement, EAGER)
    healer.healer.start()
    (host,) = synced_hosts(database, healer, "c01")
    made = _sharing(database, healer)
    change(database, healer, host, _rates(200))
    watched = HealedBetween(placement, healer)
    assemble(database, watched, EAGER).rebooker.rebook(made.guest)
    assert watched.restored == [1]
    assert dict(placement.usages(host))[OVERHEAD] == 208
    at_rest(database, placement)


def test_a_guest_whose_allocation_is_gone_is_not_given_one(database: Database, fleet: Fleet, placement: Placement) -> None:
    """The guest may be about to be released; the healer restores the allocation of a held claim."""
    (host,) = synced_hosts(database, fleet, "c01")
    made = _sharing(database, fleet)
    change(database, fleet, host, _rates(200))
    found = placement.allocation(made.guest)
    assert found is not None
    placement.empty(found)
    with pytest.raises(Conflict, match="no allocation"):
        fleet.rebooker.rebook(made.guest)
    assert placement.allocation(made.guest) is None
    fleet.healer.heal()
    at_rest(database, placement)
