"""What one create costs: statements, transactions, writes to Placement. Counts, never times. Real databases, a real Placement."""

from __future__ import annotations

import uuid
from collections import Counter
from functools import partial
from typing import Any, Final

import pytest
import sqlalchemy as sa
from msgspec.structs import replace
from tests.build.hosts import report
from tests.build.requests import floating, pinned
from tests.build.rows import add_host, wanted
from tests.rig.promises import at_rest
from tests.rig.turns import PlacementInTurns, Turns
from tests.service.test_beside import Between
from tests.service.test_together import counted, written

from pinfold.accounting.client import Placement
from pinfold.accounting.embedded import Embedded
from pinfold.core.config_drive import GuestConfig
from pinfold.core.errors import Conflict, LimitReached
from pinfold.core.identity import GuestId, HostId
from pinfold.core.networks import HostNetwork, NetworkKind, StaticRange
from pinfold.core.request.model import Flavor, GuestRequest
from pinfold.scheduler.model import HostStrategy, SchedulerSettings
from pinfold.service.fleet import Fleet, assemble
from pinfold.store import claims, guests, hosts
from pinfold.store.database import Database
from pinfold.store.records import Desired, NewGuest, Requester, WantedPort

pytestmark = pytest.mark.real_placement

STATEMENTS: Final = {"postgresql": 2, "sqlite": 8}
"""The guest with its event and its intended claim, then its arrival. SQLite reads the quota and writes row by row."""
TRANSACTIONS: Final = {"postgresql": 0, "sqlite": 2}
"""Those that are begun and ended. On PostgreSQL each of the two statements commits by itself."""
SETTINGS: Final = SchedulerSettings(refresh_seconds=3600, late_seconds=-1)
"""With an index that is read once: what is read from time to time is no cost of a create."""


@pytest.fixture
def placement(embedded: Embedded) -> Placement:
    return embedded.client


def fleet_of(database: Database, placement: Placement, *names: str, strategy: HostStrategy = HostStrategy.LEAST_LOSS) -> Fleet:
    """A fleet with hosts of these names, by `SETTINGS`."""
    fleet = assemble(database, placement, replace(SETTINGS, strategy=strategy))
    for name in names:
        fleet.providers.sync(add_host(database, name))
    return fleet


def new_guest(request: GuestRequest) -> NewGuest:
    flavor = Flavor(vcpus=request.vcpus, memory_mib=request.memory_mib, name="f")
    by = Requester(request="req-1", account="alice", project="p")
    return NewGuest(id=GuestId(str(uuid.uuid4())), name="vm", flavor=flavor, request=request, project="p", by=by)


def host_of(database: Database, guest: GuestId) -> str | None:
    with database.read() as connection:
        return guests.get(connection, guest).host


@pytest.mark.parametrize(("request_", "owns"), [(pinned(2), True), (floating(2), False)], ids=["pinned", "floating"])
def test_a_create_takes_few_statements_in_two_steps_and_one_write_to_placement(
    database: Database, placement: Placement, request_: GuestRequest, owns: bool
) -> None:
    fleet = fleet_of(database, placement, "c01", "c02")
    fleet.guests.create(new_guest(request_))
    commits: Counter[str] = Counter()

    def note(*_: Any) -> None:
        commits["commit"] += 1

    sa.event.listen(database.engine, "commit", note)
    new = new_guest(request_)
    try:
        with counted(database) as seen, written(placement) as wrote:
            fleet.guests.create(new)
    finally:
        sa.event.remove(database.engine, "commit", note)
    statements = [one for one in seen if not one.startswith("BEGIN")]
    left_out = database.engine.dialect.name == "sqlite" and not owns  # a guest that floats owns no pCPU
    assert len(statements) == STATEMENTS[database.engine.dialect.name] - left_out, statements
    assert (commits["commit"], wrote) == (TRANSACTIONS[database.engine.dialect.name], ["PUT"])
    assert host_of(database, new.id) is not None
    at_rest(database, placement)


@pytest.mark.parametrize("count", [10, 100])
def test_a_body_takes_statements_by_host_and_not_by_guest(database: Database, placement: Placement, count: int) -> None:
    lan = HostNetwork(name="lan", kind=NetworkKind.BRIDGE, source="br0")
    fleet = fleet_of(database, placement)
    for name in ("c01", "c02", "c03"):
        fleet.providers.sync(add_host(database, name, replace(report(cores=30, threads=1), networks=(lan,))))
    fleet.guests.create(new_guest(pinned(1)))
    port = WantedPort(network="lan", static=StaticRange(cidr="192.0.2.0/24", first="192.0.2.10", last="192.0.2.200"))
    config = GuestConfig(name="vm", hostname="vm")
    new = [replace(new_guest(replace(pinned(1), nics=1)), config=config, ports=(port,)) for _ in range(count)]
    with counted(database) as seen, written(placement) as wrote:
        fleet.guests.create_all(new)
    hosts_of = {host_of(database, one.id) for one in new}
    assert None not in hosts_of
    statements = [one for one in seen if not one.startswith("BEGIN")]
    # The quota, the guests, their drives, their events, the addresses that are taken, their ports, their claims; then the arrival.
    assert len(statements) == 7 + (1 if database.postgresql else 4) * len(hosts_of), statements
    assert wrote == ["POST"]
    at_rest(database, placement)


def test_a_create_that_another_process_overtook_takes_no_second_write_to_placement(database: Database, placement: Placement) -> None:
    fleet = fleet_of(database, placement, "c01")
    other = fleet_of(database, placement)
    for one in (fleet, other, fleet):
        new = new_guest(pinned(1))
        with written(placement) as wrote:
            one.guests.create(new)
        assert wrote == ["PUT"]
        assert host_of(database, new.id) is not None
    at_rest(database, placement)


def test_a_guest_whose_host_is_gone_by_then_is_stored_all_the_same(database: Database, placement: Placement) -> None:
    fleet, new = fleet_of(database, placement), new_guest(pinned(1))
    host = HostId(add_host(database, "c01"))
    fleet.scheduler.freshness.now()
    with database.write() as connection:
        hosts.remove(connection, host)
    fleet.guests.create(new)
    with database.read() as connection:
        found = guests.get(connection, new.id)
    assert (found.host, found.task) == (None, "scheduling")


def test_a_guest_that_exists_already_is_refused(database: Database, placement: Placement) -> None:
    fleet = fleet_of(database, placement, "c01")
    new = new_guest(pinned(1))
    fleet.guests.create(new)
    with pytest.raises(Conflict, match="exists already"):
        fleet.guests.create(new)
    at_rest(database, placement)


def test_a_create_that_others_overtook_at_each_step_takes_one_statement_more_for_each(database: Database, placement: Placement) -> None:
    """On PostgreSQL, where a statement that comes too late returns what is new."""
    if not database.postgresql:
        pytest.skip("SQLite reads what is new by statements of their own")
    other = fleet_of(database, placement, "c01")
    fleet = fleet_of(database, Between(placement, lambda: other.guests.create(new_guest(pinned(1)))))
    fleet.scheduler.freshness.now()
    fleet.scheduler.shapes.look()
    other.guests.create(new_guest(pinned(1)))
    new = new_guest(pinned(1))
    with counted(database) as seen:
        fleet.guests.create(new)
    # Of this create its first statement, the other decision, and two tries to arrive; of the other one, whose claim is intended beside this
    # one, the same without the second try.
    assert len(seen) == 4 + 3, seen
    at_rest(database, placement)


def test_a_create_is_prepared_for_as_many_claims_of_others_as_came_lately(database: Database, placement: Placement) -> None:
    if not database.postgresql:
        pytest.skip("SQLite writes row by row")
    other, fleet = fleet_of(database, placement, "c01"), fleet_of(database, placement)
    fleet.scheduler.freshness.now()
    fleet.scheduler.shapes.look()
    for statements in (3, 2, 2):  # first its claim is redirected
        other.guests.create(new_guest(pinned(1)))
        new = new_guest(pinned(1))
        with counted(database) as seen:
            fleet.guests.create(new)
        assert len(seen) == statements, seen
        assert host_of(database, new.id) is not None
    at_rest(database, placement)


def test_a_guest_arrives_at_once_after_a_claim_beside_which_it_was_decided(database: Database, placement: Placement) -> None:
    if not database.postgresql:
        pytest.skip("SQLite writes row by row")
    other, first = fleet_of(database, placement, "c01"), new_guest(pinned(1))
    search = wanted(first.id, first.request)
    attempt = other.claimer.begin(search)
    assert other.claimer.store(attempt, first) is not None
    fleet = fleet_of(database, Between(placement, lambda: other.claimer.create(search, attempt)))
    fleet.scheduler.freshness.now()
    fleet.scheduler.shapes.look()
    new = new_guest(pinned(1))
    with counted(database) as seen:
        fleet.guests.create(new)
    # Its first statement, the other decision, the arrival of the other guest and its own.
    assert len(seen) == 4, seen
    known = fleet.scheduler.index.get(HostId(host_of(database, new.id) or ""))
    with database.read() as connection:
        (ledger,) = hosts.ledgers(connection)
    assert known is not None and known.state.ledger == ledger.state.ledger and known.state.revision == ledger.record.revision
    at_rest(database, placement)


def test_a_guest_that_is_deleted_before_it_arrives_leaves_nothing_on_the_host(database: Database, placement: Placement) -> None:
    new = new_guest(pinned(1))

    def unwanted() -> None:
        with database.write() as connection:
            guests.want(connection, new.id, Desired.ABSENT, task="deleting")

    fleet = fleet_of(database, Between(placement, unwanted), "c01")
    fleet.guests.create(new)
    fleet.healer.heal()
    with database.read() as connection:
        (ledger,) = hosts.ledgers(connection)
        owners = claims.owners(connection, ledger.record.id)
    assert (ledger.record.revision, ledger.state.ledger.claims, owners) == (1, (), {})
    at_rest(database, placement)


@pytest.mark.parametrize("limit", [-1, 2])
def test_a_project_with_a_quota_gets_what_it_allows(database: Database, placement: Placement, limit: int) -> None:
    fleet = fleet_of(database, placement, "c01")
    fleet.quotas.change("p", {"instances": limit}, force=False)
    made = [new_guest(pinned(1)) for _ in range(3)]
    for new in made[:2]:
        fleet.guests.create(new)
        assert host_of(database, new.id) is not None
    if limit == 2:
        with pytest.raises(LimitReached):
            fleet.guests.create(made[2])
    else:
        fleet.guests.create(made[2])
    at_rest(database, placement)


def test_creates_of_one_kind_that_overtake_each_other_take_no_more_statements_once_they_expect_it(
    database: Database, placement: Placement
) -> None:
    if not database.postgresql:
        pytest.skip("SQLite writes row by row")
    other = fleet_of(database, placement, "c01")
    between = Between(placement, lambda: None)
    fleet = fleet_of(database, between)
    for one in (fleet, other):
        one.scheduler.freshness.now()
        one.scheduler.shapes.look()
    made = []
    for _ in range(3):
        between.acts.append(lambda: other.guests.create(new_guest(pinned(1))))
        made += [new_guest(pinned(1)), new_guest(pinned(1))]
        with counted(database) as seen:
            other.guests.create(made[-2])  # unknown to the create that follows, and another one comes while that asks Placement
            fleet.guests.create(made[-1])
    assert len(seen) == 3 * STATEMENTS["postgresql"], seen
    assert between.writes == 3
    assert all(host_of(database, one.id) is not None for one in made)
    with database.read() as connection:
        (ledger,) = hosts.ledgers(connection)
        owners = claims.owners(connection, ledger.record.id)
    assert (len(owners), ledger.record.revision) == (9, 10)
    # Nobody left a gap: each took the pCPUs that were next.
    assert sorted(owners) == sorted(ledger.state.pools.dedicated)[:9]
    at_rest(database, placement)


def test_a_look_does_not_read_the_claims_that_a_create_hears_of_anyway(database: Database, placement: Placement) -> None:
    if not database.postgresql:
        pytest.skip("on SQLite, claims of guests that are alike are not foreseen")
    fleet, other = fleet_of(database, placement, "c01"), fleet_of(database, placement)
    for one in (fleet, other):
        one.scheduler.freshness.now()
        one.scheduler.shapes.look()
    for round_ in range(5):
        other.guests.create(new_guest(pinned(1)))
        new = new_guest(pinned(1))
        if round_ >= 2:  # it expects others by then
            fleet.scheduler.freshness._looked = float("-inf")  # a look is due
        with counted(database) as seen:
            fleet.guests.create(new)
        assert host_of(database, new.id) is not None
    assert len(seen) == STATEMENTS["postgresql"] + 1, seen  # the marks of all hosts
    known = fleet.scheduler.index.get(HostId(host_of(database, new.id) or ""))
    with database.read() as connection:
        (ledger,) = hosts.ledgers(connection)
    assert known is not None and known.state.ledger == ledger.state.ledger and known.state.revision == ledger.record.revision
    at_rest(database, placement)


def test_a_claim_whose_pcpus_a_guest_like_it_has_got_meanwhile_keeps_its_room(database: Database, placement: Placement) -> None:
    if not database.postgresql:
        pytest.skip("on SQLite, guests that are alike are fitted one by one")
    between, spread = Between(placement, lambda: None), HostStrategy.SPREAD
    other, third = fleet_of(database, placement, "c01", "c02", strategy=spread), fleet_of(database, placement)
    fleet = fleet_of(database, between)
    for each in (other, third, fleet):
        each.scheduler.freshness.now()
        each.scheduler.shapes.look()
    with database.read() as connection:
        one, two = sorted(ledger.record.id for ledger in hosts.ledgers(connection))
    # After one guest of three the first host has more room than the second, after two it is full. The other process was overtaken lately.
    for process, host, vcpus in ((other, one, 6), (other, two, 8), (third, two, 1), (other, two, 1)):
        process.guests.create(replace(new_guest(pinned(vcpus)), only_on=host))
    made = [replace(new_guest(pinned(3)), only_on=one), replace(new_guest(pinned(3)), only_on=one), new_guest(pinned(3))]

    def meanwhile() -> None:
        for new in made[1:]:
            other.guests.create(new)

    between.acts.append(meanwhile)
    fleet.guests.create(made[0])
    assert [host_of(database, new.id) for new in made] == [one, one, two]
    assert between.writes == 1
    at_rest(database, placement)


def creates_in_turns(database: Database, embedded: Embedded, processes: int, each: int) -> tuple[Turns, list[str]]:
    """So many processes that create at the same moment, `each` so many guests after some for practice: what these called, and the
    statements that they sent.
    """
    turns = Turns()
    host = report(cores=24, threads=1)
    fleet = assemble(database, embedded.client, SETTINGS)
    for _ in range(2 * processes):
        fleet.providers.sync(add_host(database, str(uuid.uuid4()), host))
    fleets = [assemble(database, PlacementInTurns(embedded.app, turns), SETTINGS) for _ in range(processes)]
    for one in fleets:
        one.scheduler.freshness.now()
        one.scheduler.shapes.look()

    def run(count: int) -> None:
        def create(one: Fleet) -> None:
            for _ in range(count):
                one.guests.create(new_guest(pinned(2)))

        turns.run([partial(create, one) for one in fleets])

    run(8)
    turns.calls.clear()
    with counted(database) as seen:
        run(each)
    return turns, seen


CALLS: Final = (300, 430)
"""So many of our functions does a create call at most, without HTTP and Placement: alone, and where each is overtaken by three others on
hosts that are full after eleven guests.
"""


def own_calls(turns: Turns) -> int:
    return sum(count for module, count in turns.calls.items() if module.partition(".")[0] == "pinfold")


def test_creates_of_four_processes_call_hardly_more_than_those_of_one(database: Database, embedded: Embedded) -> None:
    if not database.postgresql:
        pytest.skip("SQLite has one writer")
    each = 24
    alone, by_one = creates_in_turns(database, embedded, 1, each)
    with database.read() as connection:
        full = [ledger.record.id for ledger in hosts.ledgers(connection)]
    for host in full:
        with database.write() as connection:
            hosts.disable(connection, HostId(host))
    together, by_four = creates_in_turns(database, embedded, 4, each)
    assert own_calls(alone) <= CALLS[0] * each
    assert own_calls(together) <= CALLS[1] * 4 * each
    assert len(by_one) == 2 * each
    assert len(by_four) <= 2.5 * 4 * each
    at_rest(database, embedded.client)


def test_the_guest_of_a_create_is_what_is_stored(database: Database, placement: Placement) -> None:
    fleet = fleet_of(database, placement, "c01")
    plain = new_guest(pinned(1))
    named = replace(
        plain, id=GuestId(str(uuid.uuid4())), owner="o", description="d", image="i", metadata=(("a", "b"),), details=(("c", "d"),)
    )
    for new in (plain, replace(named, only_on=fleet.scheduler.preview(wanted(plain.id, plain.request)).candidates[0].host)):
        attempt = fleet.claimer.begin(wanted(new.id, new.request))
        stored = fleet.claimer.store(attempt, new)
        with database.write() as connection:
            made = stored or guests.create(connection, new)
        with database.read() as connection:
            assert guests.get(connection, new.id) == made
