"""Several guests that are alike are claimed together. Real databases, a real Placement."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from tests.build.requests import pinned
from tests.build.rows import add_guest, add_host, wanted
from tests.rig.placement_requests import heard
from tests.rig.promises import at_rest

from pinfold.accounting.client import Placement
from pinfold.accounting.embedded import Embedded, InProcessClient
from pinfold.core.errors import Conflict, Unavailable
from pinfold.core.identity import GuestId
from pinfold.core.request.model import EmulatorPolicy, GuestRequest
from pinfold.scheduler.model import HostSearch, SchedulerSettings
from pinfold.service.claims.outcome import Claimed, Refused
from pinfold.service.fleet import Fleet, assemble
from pinfold.store import guests
from pinfold.store.database import Database
from pinfold.store.records import Desired

pytestmark = pytest.mark.real_placement

REQUEST = pinned(2, emulator=EmulatorPolicy.SHARE)
SETTINGS = SchedulerSettings(late_seconds=-1)


@pytest.fixture
def placement(embedded: Embedded) -> Placement:
    return embedded.client


@pytest.fixture
def wide(embedded: Embedded) -> Placement:
    """The same Placement, which is asked to take several writes at the same time."""
    return Placement(InProcessClient(embedded.app), writers=2)


def fleet_of(database: Database, placement: Placement, names: str) -> tuple[Fleet, list[str]]:
    fleet = assemble(database, placement, SETTINGS)
    hosts = [add_host(database, name) for name in names.split()]
    for host in hosts:
        fleet.providers.sync(host)
    return fleet, hosts


def searches(database: Database, count: int, request: GuestRequest = REQUEST) -> list[HostSearch]:
    return [wanted(add_guest(database, request), request) for _ in range(count)]


def settle(database: Database, placement: Placement) -> None:
    assemble(database, placement, SETTINGS).healer.heal()
    at_rest(database, placement)


@contextmanager
def counted(database: Database) -> Iterator[list[str]]:
    """The SQL statements that the database is asked to execute."""
    seen: list[str] = []

    def note(*arguments: Any) -> None:
        seen.append(arguments[2])

    sa.event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        sa.event.remove(database.engine, "before_cursor_execute", note)


@contextmanager
def written(placement: Placement) -> Iterator[list[str]]:
    """The requests that change something in Placement."""
    seen: list[str] = []

    def note(request: Any) -> None:
        if request.method != "GET":
            seen.append(request.method)

    with heard(placement, note):
        yield seen


def test_guests_of_one_body_take_one_write_to_placement_and_statements_by_host(database: Database, placement: Placement) -> None:
    fleet, hosts = fleet_of(database, placement, "c01 c02 c03 c04")
    fleet.together.create_all(searches(database, 2))
    few, many = searches(database, 4), searches(database, 10)
    with counted(database) as first, written(placement) as wrote:
        fleet.together.create_all(few)
    with counted(database) as second, written(placement) as wrote_many:
        found = fleet.together.create_all(many)
    assert (wrote, wrote_many) == (["POST"], ["POST"])
    touched = {one.host for one in found if isinstance(one, Claimed)}
    assert len(touched) < 10
    # The claims are one statement, and each host has at most four: revision, claims, owners, guests.
    assert len(second) <= len(first) + 4 * len(touched)
    at_rest(database, placement)
    assert touched <= set(hosts)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_guests_are_claimed_in_their_order_until_room_ends_and_the_others_have_reasons(database: Database, placement: Placement) -> None:
    fleet, _ = fleet_of(database, placement, "c01 c02")
    asked = searches(database, 17)
    found = fleet.together.create_all(asked)
    assert [one.guest for one in found if isinstance(one, Claimed | Refused)] == [one.guest for one in asked]
    assert [isinstance(one, Claimed) for one in found] == [True] * 14 + [False] * 3  # 6 and 8 free pCPUs in the cells of each host
    assert all(one.refusals for one in found if isinstance(one, Refused))
    settle(database, placement)


def test_only_the_guests_of_a_host_over_capacity_are_placed_anew(database: Database, placement: Placement) -> None:
    fleet, hosts = fleet_of(database, placement, "c01 c02 c03")
    foreign = str(uuid.uuid4())
    placement.allocate(foreign, ((hosts[0], (("PCPU", 12),)),), generation=None)  # the ledger does not know of it
    with written(placement) as wrote:
        found = fleet.together.create_all(searches(database, 12))
    assert all(isinstance(one, Claimed) for one in found)
    by_host = {host: [one for one in found if isinstance(one, Claimed) and one.host == host] for host in hosts}
    assert len(by_host[hosts[0]]) <= 1
    assert wrote.count("POST") <= 1 + len(hosts)
    allocation = placement.allocation(foreign)
    assert allocation is not None
    placement.empty(allocation)
    settle(database, placement)


def test_guests_of_a_host_that_changed_since_are_placed_all_the_same(database: Database, placement: Placement) -> None:
    fleet, _ = fleet_of(database, placement, "c01 c02")
    slow = assemble(database, placement, SchedulerSettings(refresh_seconds=3600, late_seconds=-1))
    assert all(isinstance(one, Claimed) for one in slow.together.create_all(searches(database, 2)))
    assert all(isinstance(one, Claimed) for one in fleet.together.create_all(searches(database, 4)))
    found = slow.together.create_all(searches(database, 6))
    assert all(isinstance(one, Claimed) for one in found), found
    settle(database, placement)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_guest_that_is_unwanted_by_now_holds_up_none_of_the_others(database: Database, placement: Placement) -> None:
    fleet, _ = fleet_of(database, placement, "c01 c02")
    asked = searches(database, 5)
    with database.write() as connection:
        guests.want(connection, GuestId(asked[2].guest), Desired.ABSENT, task="deleting")
    found = fleet.together.create_all(asked)
    assert [type(one) for one in found] == [Claimed, Claimed, Conflict, Claimed, Claimed]
    settle(database, placement)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_guest_with_a_claim_already_keeps_it(database: Database, placement: Placement) -> None:
    fleet, _ = fleet_of(database, placement, "c01 c02")
    asked = searches(database, 3)
    first = fleet.claimer.create(asked[1])
    found = fleet.together.create_all(asked)
    assert [type(one) for one in found] == [Claimed, Conflict, Claimed]
    assert isinstance(first, Claimed)
    settle(database, placement)


def test_bodies_at_once_never_share_a_pcpu(database: Database, placement: Placement) -> None:
    fleets = [fleet_of(database, placement, "c01 c02")[0], assemble(database, placement, SETTINGS)]
    found: list[object] = []

    def run(number: int) -> None:
        found.extend(fleets[number % 2].together.create_all(searches(database, 3)))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [type(one) for one in found] == [Claimed] * 12
    settle(database, placement)


def test_the_hosts_of_many_guests_are_written_side_by_side(database: Database, wide: Placement) -> None:
    fleet, hosts = fleet_of(database, wide, "c01 c02 c03")
    both = threading.Barrier(2)

    def note(request: httpx.Request) -> None:
        if request.method == "POST":
            both.wait(timeout=60)  # raises unless the other write is under way as well

    with heard(wide, note), written(wide) as wrote:
        found = fleet.together.create_all(searches(database, 20))
    assert wrote == ["POST", "POST"]
    assert [type(one) for one in found] == [Claimed] * 20
    assert {one.host for one in found if isinstance(one, Claimed)} == set(hosts)
    at_rest(database, wide)


def test_a_write_that_is_refused_leaves_those_beside_it(database: Database, wide: Placement) -> None:
    fleet, hosts = fleet_of(database, wide, "c01 c02 c03 c04")
    foreign = str(uuid.uuid4())
    wide.allocate(foreign, ((hosts[0], (("PCPU", 12),)),), generation=None)  # the ledger does not know of it
    with written(wide) as wrote:
        found = fleet.together.create_all(searches(database, 21))
    assert [type(one) for one in found] == [Claimed] * 21
    # Two parts, of which one is refused if the host is among those that were chosen. Its hosts are written one by one.
    assert wrote.count("POST") <= 2 + 2
    allocation = wide.allocation(foreign)
    assert allocation is not None
    wide.empty(allocation)
    settle(database, wide)


def test_a_write_that_is_not_answered_is_an_error_of_its_guests_alone(database: Database, wide: Placement) -> None:
    fleet, _ = fleet_of(database, wide, "c01 c02 c03")
    asked = searches(database, 20)
    first = threading.Lock()

    def note(request: httpx.Request) -> None:
        if request.method == "POST" and first.acquire(blocking=False):
            raise httpx.ConnectError("away")

    with heard(wide, note):
        found = fleet.together.create_all(asked)
    kept = [one for one in found if isinstance(one, Claimed)]
    assert 0 < len(kept) < 20
    assert all(isinstance(one, Claimed | Unavailable) for one in found)
    assert [one.guest for one in kept] == [search.guest for search, one in zip(asked, found, strict=True) if isinstance(one, Claimed)]
    settle(database, wide)
