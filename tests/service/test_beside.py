"""Claims beside those that other processes make on the same host at the same moment. Real databases, a real Placement."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from tests.build.requests import pinned
from tests.build.rows import add_guest, wanted
from tests.rig.promises import at_rest
from tests.service.claiming import EAGER, SLOW_EYES, create, synced_hosts
from tests.service.test_together import counted

from pinfold.accounting.client import Placement
from pinfold.core.identity import HostId
from pinfold.core.request.model import EmulatorPolicy
from pinfold.scheduler.index import entry
from pinfold.service.claims.outcome import Claimed
from pinfold.service.fleet import Fleet, assemble
from pinfold.store import claims, host_news, hosts
from pinfold.store.database import Database

pytestmark = pytest.mark.real_placement

TWO = pinned(2, emulator=EmulatorPolicy.SHARE)


class Between(Placement):
    """The same Placement; before the first allocation that is written, something else happens. `writes` counts the allocations."""

    def __init__(self, placement: Placement, act: Callable[[], object]) -> None:
        super().__init__(placement._http)
        self.acts = [act]
        self.writes = 0

    def allocate(self, *arguments: object, **named: object) -> None:
        while self.acts:
            self.acts.pop()()
        self.writes += 1
        super().allocate(*arguments, **named)  # type: ignore[arg-type]


def test_two_processes_that_know_nothing_of_each_other_write_one_allocation_for_each_guest(
    database: Database, placement: Placement
) -> None:
    other = assemble(database, placement, SLOW_EYES)
    (host,) = synced_hosts(database, other, "c01")
    other.scheduler.freshness.now()
    made: list[Claimed] = []
    between = Between(placement, lambda: made.append(create(database, other, TWO)))
    first = create(database, assemble(database, between, SLOW_EYES), TWO)
    assert between.writes == 1
    assert (made[0].host, first.host) == (host, host)
    assert not made[0].fit.taken & first.fit.taken
    assert (made[0].revision, first.revision) == (2, 3)
    # The guest that was intended first kept the lowest pCPUs: the other one was decided beside it.
    assert min(first.fit.taken) < min(made[0].fit.taken)
    at_rest(database, placement)


def test_an_intention_beside_others_goes_to_the_host_that_is_best_with_them(database: Database, placement: Placement) -> None:
    other = assemble(database, placement, SLOW_EYES)
    small, large = synced_hosts(database, other, "c01", "c02")
    big = pinned(8, emulator=EmulatorPolicy.SHARE)
    made: list[Claimed] = []
    other.scheduler.freshness.now()
    between = Between(placement, lambda: made.append(create(database, other, big)))
    first = create(database, assemble(database, between, SLOW_EYES), big)
    # A host has one cell with eight free pCPUs: the second process sees that the first one is about to take it.
    assert {first.host, made[0].host} == {small, large}
    assert between.writes == 1
    at_rest(database, placement)


def test_a_claim_that_overlaps_with_one_held_meanwhile_is_fitted_again_without_another_allocation(
    database: Database, placement: Placement
) -> None:
    other = assemble(database, placement, SLOW_EYES)
    synced_hosts(database, other, "c01")
    other.scheduler.freshness.now()
    held: list[object] = []

    def claim_together() -> None:  # which does not look at what others intend
        held.extend(other.together.create_all([wanted(add_guest(database, TWO), TWO) for _ in range(2)]))

    between = Between(placement, claim_together)
    first = create(database, assemble(database, between, SLOW_EYES), TWO)
    assert between.writes == 1
    assert all(isinstance(one, Claimed) and not one.fit.taken & first.fit.taken for one in held)
    at_rest(database, placement)


def test_guests_of_one_body_are_held_on_a_host_that_changed_meanwhile(database: Database, placement: Placement) -> None:
    other = assemble(database, placement, EAGER)
    (host,) = synced_hosts(database, other, "c01")
    slow = assemble(database, placement, SLOW_EYES)
    slow.scheduler.freshness.now()
    create(database, other, TWO)
    found = slow.together.create_all([wanted(add_guest(database, TWO), TWO) for _ in range(3)])
    assert {(one.host, one.revision) for one in found if isinstance(one, Claimed)} == {(host, 3)}
    assert len(found) == 3
    at_rest(database, placement)


def test_a_release_that_came_between_is_read_in_the_transaction_that_holds(database: Database, placement: Placement) -> None:
    other = assemble(database, placement, EAGER)
    (host,) = synced_hosts(database, other, "c01")
    leaving = create(database, other, TWO)
    between = Between(placement, lambda: other.releaser.release(leaving.guest))
    slow = assemble(database, between, SLOW_EYES)
    first = create(database, slow, TWO)
    assert (first.host, first.revision) == (host, 4)
    with database.read() as connection:
        (ledger,) = hosts.ledgers(connection, (HostId(host),))
    known = slow.scheduler.index.get(HostId(host))
    assert known is not None
    assert known.state.ledger == ledger.state.ledger
    assert between.writes == 1


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_what_an_index_catches_up_with_is_what_the_store_has(database: Database, placement: Placement) -> None:
    fleet = assemble(database, placement, EAGER)
    (name,) = synced_hosts(database, fleet, "c01")
    host, caught = HostId(name), 0
    draw = random.Random(7)
    late = assemble(database, placement, SLOW_EYES)
    late.scheduler.freshness.now()
    for _ in range(60):
        guests = _step(database, fleet, host, draw)
        if draw.random() < 0.4 and guests:
            continue
        before = late.scheduler.index.get(host)
        assert before is not None
        with database.read() as connection:
            news = host_news.since(connection, host, before.state.revision)
            (ledger,) = hosts.ledgers(connection, (host,))
        assert news is not None
        found = late.scheduler.index.catch_up(host, news)
        wanted_entry = entry(ledger)
        if found is None:
            late.scheduler.freshness.host(host)
            continue
        caught += found is not before
        assert found.state == wanted_entry.state
        assert found.counts.content == wanted_entry.counts.content
    assert caught > 5


def _step(database: Database, fleet: Fleet, host: HostId, draw: random.Random) -> int:
    """Claim or release something on the host. Returns how many guests it has then."""
    with database.read() as connection:
        held = claims.held(connection, (host,))
    if held and (len(held) > 5 or draw.random() < 0.2):
        fleet.releaser.release(draw.choice(held).guest)
        return len(held) - 1
    create(database, fleet, pinned(draw.choice((1, 2)), emulator=EmulatorPolicy.SHARE))
    return len(held) + 1


def test_a_look_reads_of_hosts_that_others_claimed_on_what_is_new_alone(database: Database, placement: Placement) -> None:
    fleet = assemble(database, placement, EAGER)
    synced_hosts(database, fleet, *(f"c{number:02}" for number in range(6)))  # more than guests: not all hosts change
    late = assemble(database, placement, SLOW_EYES)
    late.scheduler.freshness.now()
    for _ in range(3):
        create(database, fleet, TWO)
    create(database, fleet, pinned(8, emulator=EmulatorPolicy.SHARE))
    with counted(database) as seen:
        late.scheduler.freshness.now()
    assert len([one for one in seen if not one.startswith("BEGIN")]) == 2, seen  # the marks of all hosts, and the new claims
    with database.read() as connection:
        ledgers = hosts.ledgers(connection)
    assert sum(len(one.state.ledger.claims) for one in ledgers) == 4
    for one in ledgers:
        found = late.scheduler.index.get(one.record.id)
        assert found is not None
        assert found.state == entry(one).state


def test_a_look_takes_over_that_a_host_is_disabled_with_the_claims_that_came_to_it(database: Database, placement: Placement) -> None:
    fleet = assemble(database, placement, EAGER)
    (name,) = synced_hosts(database, fleet, "c01")
    synced_hosts(database, fleet, "c02")
    late = assemble(database, placement, SLOW_EYES)
    late.scheduler.freshness.now()
    create(database, fleet, pinned(8, emulator=EmulatorPolicy.SHARE))
    create(database, fleet, pinned(8, emulator=EmulatorPolicy.SHARE))
    with database.write() as connection:
        hosts.disable(connection, HostId(name), "upgrade")
    late.scheduler.freshness.now()
    found = late.scheduler.index.get(HostId(name))
    assert found is not None
    assert (found.disabled, found.disabled_reason, len(found.state.ledger.claims)) == (True, "upgrade", 1)
