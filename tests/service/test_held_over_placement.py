"""A create asks Placement without an open transaction and without a lock of a host, so a slow Placement makes no other request wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from tests.build.requests import pinned
from tests.rig.placement_requests import heard
from tests.service.test_create_costs import fleet_of, host_of, new_guest

from pinfold.accounting.client import Placement
from pinfold.core.identity import HostId
from pinfold.service.fleet import Fleet
from pinfold.store.database import Database

pytestmark = pytest.mark.real_placement

MANY: Final = 5


@contextmanager
def watched(database: Database, placement: Placement, fleet: Fleet) -> Iterator[list[tuple[str, int, int]]]:
    """Each request to Placement: its method, and how many of our database connections and locks of hosts are in use when it is sent."""
    seen: list[tuple[str, int, int]] = []
    pool: Any = database.engine.pool

    def in_use() -> int:
        """Without those that are kept ready: they are in no transaction."""
        found: int = pool.checkedout() - len(database._ready)
        return found

    idle = in_use()

    def note(request: Any) -> None:
        seen.append((request.method, in_use() - idle, sum(lock.locked() for lock in fleet.claimer.locks.values())))

    with heard(placement, note):
        yield seen


def test_the_witness_sees_what_is_held(database: Database, placement: Placement) -> None:
    fleet = fleet_of(database, placement, "c01")
    with watched(database, placement, fleet) as seen:
        with database.write(), fleet.claimer.locks[HostId("c01")]:
            placement.providers()
        placement.providers()
    assert seen == [("GET", 1, 1), ("GET", 0, 0)]


def test_a_create_and_a_body_of_several_hold_nothing_while_placement_is_asked(database: Database, placement: Placement) -> None:
    fleet = fleet_of(database, placement, "c01", "c02")
    other = fleet_of(database, placement)
    made = []
    for one in (fleet, other, fleet):  # each has missed what the other did
        with watched(database, placement, one) as seen:
            single, several = new_guest(pinned(1)), [new_guest(pinned(1)) for _ in range(MANY)]
            one.guests.create(single)
            one.guests.create_all(several)
        assert {method for method, _, _ in seen} >= {"PUT", "POST"}
        assert {(connections, locks) for _, connections, locks in seen} == {(0, 0)}
        made += [single, *several]
    assert all(host_of(database, guest.id) for guest in made[: 2 * (1 + MANY)])
