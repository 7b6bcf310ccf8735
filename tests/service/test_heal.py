"""Healing what crashes left behind, on real databases and a real Placement."""

from __future__ import annotations

import uuid

import pytest
import sqlalchemy as sa
from msgspec import structs
from tests.build.requests import pinned
from tests.build.rows import add_guest, add_host, wanted
from tests.rig.promises import at_rest
from tests.service.claiming import EAGER, create, refuse, synced_hosts

from pinfold.accounting.client import Placement
from pinfold.accounting.placement_responses import Allocation
from pinfold.accounting.resources import PCPU
from pinfold.core.errors import Conflict
from pinfold.core.reasons import ReasonCode
from pinfold.core.request.model import GuestRequest
from pinfold.service.claims.outcome import Claimed
from pinfold.service.fleet import Fleet, assemble
from pinfold.store import claims, guests, hosts
from pinfold.store.claim_rows import IntendedClaim
from pinfold.store.database import Database
from pinfold.store.records import ClaimState, Desired
from pinfold.store.schema import claim as claim_table

pytestmark = pytest.mark.real_placement


def _intend(database: Database, host: str, request: GuestRequest, *, seconds: float) -> tuple[str, str]:
    """A claimer's step 0, by hand: guest and claim."""
    guest, claim = add_guest(database, request), str(uuid.uuid4())
    with database.read() as connection:
        (found,) = hosts.ledgers(connection, (host,))
    from pinfold.core.fit.answer import Fit
    from pinfold.core.fit.engine import fit

    answer = fit(request, found.state)
    assert isinstance(answer, Fit)
    with database.write() as connection:
        intended = IntendedClaim(id=claim, guest=guest, host=host, amounts=((PCPU, 2),), fit=answer)
        claims.intend(connection, intended, seconds=seconds)
    return guest, claim


def test_an_expired_claim_is_abandoned_and_emptied(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    guest, claim = _intend(database, host, pinned(2), seconds=-1)
    placement.allocate(guest, ((host, ((PCPU, 2),)),), generation=None)
    healed = fleet.healer.heal()
    assert (healed.abandoned, healed.emptied) == (1, 1)
    at_rest(database, placement)
    with database.read() as connection:
        assert claims.get(connection, claim) is None


def test_a_claim_within_its_deadline_is_left_alone(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    guest, claim = _intend(database, host, pinned(2), seconds=600)
    placement.allocate(guest, ((host, ((PCPU, 2),)),), generation=None)
    healed = fleet.healer.heal()
    assert (healed.abandoned, healed.emptied) == (0, 0)
    assert placement.allocation(guest) is not None
    with database.read() as connection:
        found = claims.get(connection, claim)
    assert found is not None
    assert found.state is ClaimState.INTENDED


def test_one_run_ends_a_backlog_of_any_length(database: Database, placement: Placement, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pinfold.service.healing._AT_ONCE", 2)
    patient = assemble(database, placement, structs.replace(EAGER, late_seconds=3600))
    (host,) = synced_hosts(database, patient, "c01")
    kept = {_intend(database, host, pinned(1), seconds=-1)[1] for _ in range(3)}
    assert patient.healer.heal().abandoned == 3
    released = [create(database, patient, pinned(1)) for _ in range(5)]
    with database.write() as connection:
        for made in released:
            claims.unpin(connection, made.claim)
    assert patient.healer.heal().released == 5
    assert all(placement.allocation(made.guest) is None for made in released)
    with database.read() as connection:
        assert {claim.id for claim in claims.unfinished(connection)} == kept


def test_a_late_put_of_an_abandoned_claim_is_emptied(database: Database, placement: Placement) -> None:
    patient = assemble(database, placement, structs.replace(EAGER, late_seconds=3600))
    (host,) = synced_hosts(database, patient, "c01")
    guest, claim = _intend(database, host, pinned(2), seconds=-1)
    assert patient.healer.heal().abandoned == 1
    placement.allocate(guest, ((host, ((PCPU, 2),)),), generation=None)
    assert patient.healer.heal().emptied == 1
    with database.write() as connection:
        assert claims.get(connection, claim) is not None
        claims.forget(connection, claim)
    placement.allocate(guest, ((host, ((PCPU, 2),)),), generation=None)
    assert patient.healer.heal().emptied == 1
    at_rest(database, placement)


def test_a_late_put_never_harms_the_guests_next_claim(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    guest, _ = _intend(database, host, pinned(2), seconds=-1)
    fleet.healer.heal()
    placement.allocate(guest, ((host, ((PCPU, 2),)),), generation=None)
    made = fleet.claimer.create(wanted(guest, pinned(3)))
    assert isinstance(made, Claimed)
    with pytest.raises(Conflict):
        placement.allocate(guest, ((host, ((PCPU, 2),)),), generation=None)
    fleet.healer.heal()
    at_rest(database, placement)


def test_a_claimer_whose_claim_was_abandoned_gets_nothing(database: Database, fleet: Fleet, placement: Placement) -> None:
    """The healer runs between the claimer's PUT and its transaction: the deadline is over at the moment when Placement answers."""
    (host,) = synced_hosts(database, fleet, "c01")
    guest = add_guest(database, pinned(2))
    healer = assemble(database, placement, structs.replace(EAGER, late_seconds=3600))

    class Slow(Placement):
        def allocate(self, *arguments: object, **named: object) -> None:
            super().allocate(*arguments, **named)  # type: ignore[arg-type]
            with database.write() as connection:
                connection.execute(sa.update(claim_table).values(deadline=0.0))
            healer.healer.heal()

    slow = assemble(database, Slow(placement._http), EAGER)
    with pytest.raises(Conflict):
        slow.claimer.create(wanted(guest, pinned(2)))
    with database.read() as connection:
        assert claims.live(connection, guest) is None
        assert claims.owners(connection, host) == {}
    at_rest(database, placement)
    outcome = slow.scheduler.preview(wanted(guest, pinned(2)))
    assert outcome.candidates


def test_a_release_that_stopped_half_way_is_finished(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    made = create(database, fleet, pinned(2))
    with database.write() as connection:
        hosts.bump(connection, host, ledger=True)
        claims.unpin(connection, made.claim)
    assert placement.allocation(made.guest) is not None
    assert fleet.healer.heal().released == 1
    at_rest(database, placement)


def test_an_allocation_that_was_lost_or_changed_is_restored(database: Database, fleet: Fleet, placement: Placement) -> None:
    first, second = synced_hosts(database, fleet, "c01", "c02")
    made = create(database, fleet, pinned(2), hosts=frozenset({first}))
    found = placement.allocation(made.guest)
    assert found is not None
    placement.empty(found)
    assert fleet.healer.heal().restored == 1
    at_rest(database, placement)
    found = placement.allocation(made.guest)
    assert found is not None
    placement.allocate(made.guest, ((second, ((PCPU, 1),)),), generation=found.generation)
    assert fleet.healer.heal().restored == 1
    at_rest(database, placement)


def test_what_cannot_be_restored_is_told(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    made = create(database, fleet, pinned(2))
    found = placement.allocation(made.guest)
    assert found is not None
    placement.empty(found)
    _foreign_allocation(placement, host, 14)
    (problem,) = fleet.healer.heal().problems
    assert "runs without its allocation" in problem


def _foreign_allocation(placement: Placement, host: str, count: int) -> str:
    consumer = str(uuid.uuid4())
    body = {
        "allocations": {host: {"resources": {PCPU: count}}},
        "project_id": "nova",
        "user_id": "nova",
        "consumer_generation": None,
        "consumer_type": "INSTANCE",
    }
    answer = placement._http.put(f"/allocations/{consumer}", json=body, headers={"OpenStack-API-Version": "placement 1.39"})
    assert answer.status_code == 204
    return consumer


def test_consumers_of_others_are_never_touched(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    consumer = _foreign_allocation(placement, host, 3)
    fleet.healer.heal()
    assert placement.allocation(consumer) is not None
    assert dict(placement.usages(host))[PCPU] == 3


def test_inventory_that_was_changed_by_hand_is_put_right(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    generation, offered = placement.inventories(host)
    placement.put_inventories(host, generation, offered[:1])
    assert fleet.healer.heal().synced == 1
    assert placement.inventories(host)[1] == offered


def test_a_host_without_its_provider_is_refused_until_it_is_healed(database: Database, fleet: Fleet) -> None:
    add_host(database, "c01")
    refused = refuse(database, fleet, pinned(2))
    assert refused.refusals[0].no_fit.reasons[0].code is ReasonCode.PLACEMENT
    assert fleet.healer.heal().synced == 1
    create(database, fleet, pinned(2))


def test_a_provider_of_the_hosts_name_with_another_id_is_told(database: Database, fleet: Fleet, placement: Placement) -> None:
    placement.create_provider(str(uuid.uuid4()), "c01")
    add_host(database, "c01")
    (problem,) = fleet.healer.heal().problems
    assert problem == "host c01: Placement has a resource provider named c01 with another id"


def test_one_guest_that_cannot_be_buried_does_not_keep_the_others_from_it(database: Database, placement: Placement) -> None:
    busy: set[str] = set()

    class Busy(Placement):
        def empty(self, allocation: Allocation) -> None:
            if allocation.consumer in busy:
                raise Conflict("somebody else is at it")
            super().empty(allocation)

    fleet = assemble(database, Busy(placement._http), EAGER)
    fleet.healer.start()
    (host,) = synced_hosts(database, fleet, "c01")
    made = sorted(create(database, fleet, pinned(2)).guest for _ in range(2))
    with database.write() as connection:
        for guest in made:
            guests.want(connection, guest, Desired.ABSENT, task="deleting")
        hosts.expire(connection, host)
        hosts.fence(connection, host)
    busy.add(made[0])
    healed = fleet.healer.heal()
    assert (healed.released, healed.problems) == (1, ())
    with database.read() as connection:
        assert guests.get(connection, made[1]).deleted is not None
    busy.clear()
    fleet.healer.heal()
    at_rest(database, placement)


def test_scheduling_that_stopped_half_way_is_told(database: Database, placement: Placement) -> None:
    fleet = assemble(database, placement, structs.replace(EAGER, claim_seconds=0))
    guest = add_guest(database, pinned(2))
    assert fleet.healer.heal().interrupted == (guest,)


def test_a_guest_whose_state_an_administrator_resets_still_finds_a_host(database: Database, placement: Placement) -> None:
    fleet = assemble(database, placement, structs.replace(EAGER, claim_seconds=0))
    (host,) = synced_hosts(database, fleet, "c01")
    guest = add_guest(database, pinned(2))
    fleet.edits.reset(guest, error=True)
    fleet.edits.reset(guest, error=False)
    fleet.healer.tend()
    with database.read() as connection:
        found = guests.get(connection, guest)
    assert (found.host, found.task, found.reset) == (host, "spawning", False)
    at_rest(database, placement)


def test_a_guest_whose_claim_is_only_intended_can_be_released(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    guest, _ = _intend(database, host, pinned(2), seconds=600)
    placement.allocate(guest, ((host, ((PCPU, 2),)),), generation=None)
    fleet.releaser.release(guest)
    at_rest(database, placement)
