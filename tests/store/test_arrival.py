"""A guest's arrival as one statement, beside claims that come to the host before it. PostgreSQL, which alone has the statement."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence

import pytest
from tests.build.fits import fit
from tests.build.requests import pinned
from tests.build.rows import add_guest, add_host

from pinfold.core.errors import Conflict
from pinfold.core.fit.answer import Fit
from pinfold.core.host import Claim
from pinfold.core.identity import ClaimId, GuestId, HostId
from pinfold.store import arrival, claims, guests, hosts
from pinfold.store.arrival import Arrival, Arrived
from pinfold.store.claim_rows import IntendedClaim
from pinfold.store.claims import HeldClaim
from pinfold.store.database import Database
from pinfold.store.records import ClaimRecord, Desired

pytestmark = pytest.mark.parametrize("database", [pytest.param("postgresql", marks=pytest.mark.real_postgresql)], indirect=True)

FIRST = 1
"""The revision of a host that was registered just now."""


def intend(database: Database, host: HostId, wanted: Fit) -> Arrival:
    """A guest, and its intended claim."""
    new = Arrival(claim=ClaimId(str(uuid.uuid4())), guest=GuestId(add_guest(database, pinned(1))), host=host, fit=wanted)
    with database.write() as connection:
        claims.intend(connection, IntendedClaim(id=new.claim, guest=new.guest, host=host, amounts=(), fit=wanted), seconds=60)
    return new


def record(database: Database, one: Arrival) -> ClaimRecord:
    with database.read() as connection:
        found = claims.get(connection, one.claim)
    assert found is not None
    return found


def arrive(
    database: Database, one: Arrival, *, decided_on: int = FIRST, known: Iterable[ClaimRecord] = (), foreseen: Sequence[Fit] = ()
) -> Arrived:
    with database.write_once() as connection:
        return arrival.arrive_at_once(connection, one, decided_on=decided_on, known=known, foreseen=foreseen)


def pcpus(database: Database, one: Arrival) -> list[int]:
    """The pCPUs that a guest owns, if its claim is held by them."""
    with database.read() as connection:
        owned = [pcpu for pcpu, (guest, _) in claims.owners(connection, one.host).items() if guest == one.guest]
    assert owned == list(record(database, one).fit.taken)
    return owned


def on_host(database: Database, one: Arrival) -> bool:
    with database.read() as connection:
        owners = {guest for guest, _ in claims.owners(connection, one.host).values()}
        return guests.get(connection, one.guest).host == one.host and one.guest in owners


def test_a_guest_arrives_after_claims_that_were_known_at_its_decision(database: Database) -> None:
    host = HostId(add_host(database, "c01"))
    first, second, third, last = (intend(database, host, fit(pcpu)) for pcpu in "1234")
    known = [record(database, one) for one in (first, second, third)]
    assert arrive(database, second) == Arrived(made=2, news=None)
    assert arrive(database, first, decided_on=2) == Arrived(made=3, news=None)
    found = arrive(database, last, known=known)
    assert found.made == 4
    assert found.news is not None and found.news.revision == 3
    assert [(one.id, one.held) for one in found.news.held] == [(second.claim, 2), (first.claim, 3)]
    assert [one.id for one in found.news.intended] == [third.claim]
    assert on_host(database, last)


@pytest.mark.parametrize("change", ["unknown", "another fit", "known and unknown at one revision", "something else", "amended"])
def test_a_guest_does_not_arrive_after_anything_else(database: Database, change: str) -> None:
    host = HostId(add_host(database, "c01"))
    first, second, last = (intend(database, host, fit(pcpu)) for pcpu in "123")
    known, decided_on = [record(database, first)], FIRST
    with database.write() as connection:
        if change == "unknown":
            arrival.arrive(connection, first, revision=2)
            arrival.arrive(connection, second, revision=3)
        elif change == "another fit":
            arrival.arrive(connection, Arrival(claim=first.claim, guest=first.guest, host=host, fit=fit("5")), revision=2)
        elif change == "known and unknown at one revision":
            made = hosts.advance_newest(connection, host)
            claims.hold_all(
                connection, [HeldClaim(id=one.claim, guest=one.guest, fit=one.fit) for one in (first, second)], host=host, revision=made
            )
        elif change == "something else":
            arrival.arrive(connection, first, revision=2)
            hosts.bump(connection, host, ledger=True)
        else:
            arrival.arrive(connection, second, revision=2)
            decided_on = 2
            held = claims.get(connection, second.claim)
            assert held is not None
            claims.amend(connection, held, fit=fit("2"), amounts=(), revision=hosts.advance_newest(connection, host))
            known = [*known, held]
    found = arrive(database, last, decided_on=decided_on, known=known)
    assert found.made is None
    assert found.news is not None and found.news.revision > FIRST
    assert not on_host(database, last)
    assert record(database, last).state.value == "intended"
    # Fitted again on what is there by now, it arrives.
    assert arrive(database, last, decided_on=found.news.revision).made == found.news.revision + 1


def test_a_pcpu_that_a_known_claim_took_after_all_is_refused_by_its_owner(database: Database) -> None:
    """No decision makes two such fits; if one did, the key of the pCPU's owner is in the way."""
    host = HostId(add_host(database, "c01"))
    first, last = intend(database, host, fit("1")), intend(database, host, fit("1"))
    known = [record(database, first)]
    arrive(database, first)
    with pytest.raises(Conflict, match="has an owner already"):
        arrive(database, last, known=known)
    assert not on_host(database, last)


def test_a_host_that_takes_no_guests_any_more_takes_none(database: Database) -> None:
    host = HostId(add_host(database, "c01"))
    first, last = intend(database, host, fit("1")), intend(database, host, fit("2"))
    known = [record(database, first)]
    arrive(database, first)
    with database.write() as connection:
        hosts.disable(connection, host)
    assert arrive(database, last, known=known).made is None
    assert arrive(database, last, decided_on=2) == Arrived(made=None, news=None)


def held(one: Arrival) -> HeldClaim:
    return HeldClaim(id=one.claim, guest=one.guest, fit=one.fit)


def arrive_all(database: Database, *arriving: Arrival, decided_on: int = FIRST) -> int | None:
    with database.write_once() as connection:
        return arrival.arrive_all_at_once(connection, [held(one) for one in arriving], host=arriving[0].host, decided_on=decided_on)


def test_guests_of_one_body_arrive_on_a_host_by_one_revision(database: Database) -> None:
    host = HostId(add_host(database, "c01"))
    first, second, third = (intend(database, host, fit(pcpus)) for pcpus in ("1-2", "3", "4"))
    assert arrive_all(database, first, second) == 2
    assert [(record(database, one).state.value, record(database, one).held) for one in (first, second)] == [("held", 2)] * 2
    assert on_host(database, first) and on_host(database, second) and not on_host(database, third)
    with database.read() as connection:
        owners = claims.owners(connection, host)
        assert hosts.get(connection, host).revision == 2
    assert {pcpu: guest for pcpu, (guest, _) in owners.items()} == {1: first.guest, 2: first.guest, 3: second.guest}


@pytest.mark.parametrize("change", ["the host", "a claim", "a guest", "the host takes no guests"])
def test_no_guest_of_a_body_arrives_if_something_has_changed_for_one(database: Database, change: str) -> None:
    host = HostId(add_host(database, "c01"))
    first, second = (intend(database, host, fit(pcpu)) for pcpu in "12")
    with database.write() as connection:
        if change == "the host":
            hosts.bump(connection, host, ledger=True)
        elif change == "a claim":
            claims.abandon(connection, second.claim, expired=False)
        elif change == "a guest":
            guests.want(connection, second.guest, Desired.ABSENT, task="deleting")
        else:
            hosts.disable(connection, host)
    assert arrive_all(database, first, second) is None
    assert not on_host(database, first) and record(database, first).state.value == "intended"
    with database.read() as connection:
        assert claims.owners(connection, host) == {}
        assert hosts.get(connection, host).revision == (2 if change == "the host" else FIRST)


def test_no_guest_of_a_body_arrives_if_a_pcpu_of_one_has_an_owner(database: Database) -> None:
    host = HostId(add_host(database, "c01"))
    other, first, second = (intend(database, host, fit(pcpu)) for pcpu in "212")
    assert arrive(database, other).made == 2
    with pytest.raises(Conflict, match="one of the pCPUs of 2 claims has an owner already"):
        arrive_all(database, first, second, decided_on=2)
    assert on_host(database, other) and not on_host(database, first) and not on_host(database, second)


FORESEEN = [fit(pcpu) for pcpu in "123"]


def test_a_guest_gets_the_fit_that_was_foreseen_for_as_many_others_as_came_before(database: Database) -> None:
    host = HostId(add_host(database, "c01"))
    first, second, third, last = (intend(database, host, fit(pcpu)) for pcpu in "1234")
    assert arrive(database, second, foreseen=FORESEEN) == Arrived(made=2, news=None)
    assert (pcpus(database, second), on_host(database, second)) == ([1], True)
    found = arrive(database, first, foreseen=FORESEEN)
    assert found == Arrived(made=3, news=None, came=((2, Claim(guest=second.guest, fit=FORESEEN[0], id=second.claim)),))
    assert pcpus(database, first) == [2]
    # Who knows of one of the two already foresees less.
    found = arrive(database, third, decided_on=2, foreseen=FORESEEN[1:])
    assert found == Arrived(made=4, news=None, came=((3, Claim(guest=first.guest, fit=FORESEEN[1], id=first.claim)),))
    assert pcpus(database, third) == [3]
    late = arrive(database, last, foreseen=FORESEEN)
    assert late.made is None
    assert late.news is not None and late.news.revision == 4
    assert record(database, last).state.value == "intended"


@pytest.mark.parametrize("change", ["another fit", "a later one first", "two at one revision", "something else", "amended", "released"])
def test_a_guest_does_not_arrive_after_what_was_not_foreseen(database: Database, change: str) -> None:
    host = HostId(add_host(database, "c01"))
    first, second, last = (intend(database, host, fit(pcpu)) for pcpu in "123")
    with database.write() as connection:
        if change == "another fit":
            arrival.arrive(connection, Arrival(claim=first.claim, guest=first.guest, host=host, fit=fit("5")), revision=2)
        elif change == "a later one first":
            arrival.arrive(connection, second, revision=2)
        elif change == "two at one revision":
            made = hosts.advance_newest(connection, host)
            claims.hold_all(
                connection, [HeldClaim(id=one.claim, guest=one.guest, fit=one.fit) for one in (first, second)], host=host, revision=made
            )
        else:
            arrival.arrive(connection, first, revision=2)
            if change == "something else":
                hosts.bump(connection, host, ledger=True)
            elif change == "amended":
                held = claims.get(connection, first.claim)
                assert held is not None
                claims.amend(connection, held, fit=fit("1"), amounts=(), revision=hosts.advance_newest(connection, host))
            else:
                claims.unpin(connection, first.claim)
                hosts.bump(connection, host, ledger=True)
    found = arrive(database, last, foreseen=FORESEEN)
    assert found.made is None
    assert found.news is not None and found.news.revision > FIRST
    assert not on_host(database, last)
    assert arrive(database, last, decided_on=found.news.revision, foreseen=[fit("7")]).made == found.news.revision + 1
    assert pcpus(database, last) == [7]


def test_a_guest_that_is_gone_does_not_arrive_as_foreseen(database: Database) -> None:
    host = HostId(add_host(database, "c01"))
    last = intend(database, host, fit("1"))
    with database.write() as connection:
        guests.want(connection, last.guest, Desired.ABSENT, task="deleting")
    assert arrive(database, last, foreseen=FORESEEN) == Arrived(made=None, news=None)
    with database.read() as connection:
        assert hosts.get(connection, host).revision == FIRST
