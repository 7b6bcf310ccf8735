"""Placement (16.0) promises more than a host has when the provider changes within a `PUT`. Real databases, a real Placement on PostgreSQL.

Placement then tries again inside the transaction of its first try, and counts what that one wrote as what the provider held before. The
ledger does not count with Placement: it refuses the guest, and Placement is corrected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from msgspec import structs
from tests.build.requests import pinned
from tests.build.rows import add_guest, wanted
from tests.postgres import PostgreSQL
from tests.rig.promises import at_rest
from tests.service.claiming import SLOW_EYES, create, refuse, synced_hosts

from pinfold.accounting.client import Placement
from pinfold.accounting.embedded import EmbeddedPlacement, load, unload
from pinfold.accounting.resources import PCPU
from pinfold.core.request.model import EmulatorPolicy
from pinfold.scheduler.model import HostStrategy
from pinfold.service.claims.outcome import Claimed, Refused
from pinfold.service.fleet import Fleet, assemble
from pinfold.store.database import Database

pytestmark = [
    pytest.mark.real_placement,
    pytest.mark.real_postgresql,
    pytest.mark.parametrize("database", ["postgresql"], indirect=True),
]

PACKING = structs.replace(SLOW_EYES, strategy=HostStrategy.PACK, top=1)
"""The fullest host that takes the guest, and no other."""
SIX = pinned(6, emulator=EmulatorPolicy.SHARE)
"""A host has 16 dedicated pCPUs in two cells: it takes two of these."""


@pytest.fixture(scope="module")
def placement_url(postgresql: PostgreSQL) -> str:
    return postgresql.create_database()


@pytest.fixture
def placement(placement_url: str) -> Iterator[Placement]:
    """Placement on PostgreSQL, where its requests run beside each other."""
    found = load(EmbeddedPlacement(url=placement_url)).client
    yield found
    for provider in found.providers():
        for consumer, _ in found.provider_allocations(provider.uuid):
            allocation = found.allocation(consumer)
            assert allocation is not None
            found.empty(allocation)
        found.delete_provider(provider.uuid)
    unload()


class Watched(Placement):
    """The same Placement. `most` is the most that was ever used of the host's pCPUs after an allocation was written."""

    def __init__(self, placement: Placement, host: str) -> None:
        super().__init__(placement._http)
        self._host = host
        self.most = 0

    def allocate(self, *arguments: object, **named: object) -> None:
        super().allocate(*arguments, **named)  # type: ignore[arg-type]
        self._look()

    def allocate_all(self, *arguments: object, **named: object) -> None:
        super().allocate_all(*arguments, **named)  # type: ignore[arg-type]
        self._look()

    def _look(self) -> None:
        self.most = max(self.most, dict(self.usages(self._host))[PCPU])


@contextmanager
def before_the_provider_is_counted_up(act: Callable[[], object]) -> Iterator[None]:
    """Once Placement has written the next allocation, and before it compares the provider's generation, something else happens."""
    from placement import db_api

    engine = db_api.get_placement_engine()
    acts = [act]

    def look(connection: object, cursor: object, statement: str, *rest: Any) -> None:
        if acts and statement.startswith("UPDATE resource_providers"):
            acts.pop()()

    sa.event.listen(engine, "before_cursor_execute", look)
    try:
        yield
    finally:
        sa.event.remove(engine, "before_cursor_execute", look)
    assert not acts, "Placement has compared no generation"


def two_processes(database: Database, placement: Placement, host: str) -> tuple[Fleet, Fleet, Watched]:
    """Two schedulers that know the host as it is now and hear nothing of each other. The second one writes by `Watched`."""
    watched = Watched(placement, host)
    found = assemble(database, placement, PACKING), assemble(database, watched, PACKING)
    for fleet in found:
        fleet.scheduler.freshness.now()
    return *found, watched


def test_a_host_that_placement_overbooks_takes_one_guest_and_the_other_learns_why(database: Database, placement: Placement) -> None:
    first = assemble(database, placement, SLOW_EYES)
    (host,) = synced_hosts(database, first, "c01")
    first.scheduler.freshness.now()
    create(database, first, SIX)
    quick, slow, watched = two_processes(database, placement, host)
    made: list[Claimed] = []
    with before_the_provider_is_counted_up(lambda: made.append(create(database, quick, SIX))):
        refused = refuse(database, slow, SIX)
    assert watched.most == 18, "Placement has overbooked its 16"
    assert made[0].host == host
    assert "cell 1 has 2 free dedicated pCPUs, 6 needed" in refused.sentence()
    assert placement.allocation(refused.guest) is None
    assert dict(placement.usages(host))[PCPU] == 12
    at_rest(database, placement)


def test_a_guest_that_placement_overbooked_goes_to_the_next_host(database: Database, placement: Placement) -> None:
    first = assemble(database, placement, SLOW_EYES)
    host, other = synced_hosts(database, first, "c01", "c02")
    first.scheduler.freshness.now()
    here = frozenset({host})
    create(database, first, SIX, hosts=here)
    quick, slow, watched = two_processes(database, placement, host)
    made: list[Claimed] = []
    with before_the_provider_is_counted_up(lambda: made.append(create(database, quick, SIX, hosts=here))):
        moved = create(database, slow, SIX)
    assert watched.most == 18, "Placement has overbooked its 16"
    assert (made[0].host, moved.host) == (host, other)
    assert [dict(placement.usages(one))[PCPU] for one in (host, other)] == [12, 6]
    at_rest(database, placement)


def test_of_two_guests_of_one_body_that_placement_overbooks_those_are_held_that_fit(database: Database, placement: Placement) -> None:
    first = assemble(database, placement, SLOW_EYES)
    (host,) = synced_hosts(database, first, "c01")
    quick, slow, watched = two_processes(database, placement, host)
    made: list[Claimed] = []
    guests = [wanted(add_guest(database, SIX), SIX) for _ in range(2)]
    with before_the_provider_is_counted_up(lambda: made.append(create(database, quick, SIX))):
        outcomes = slow.together.create_all(guests)
    assert watched.most == 18, "Placement has overbooked its 16"
    held, refused = outcomes
    assert isinstance(held, Claimed)
    assert isinstance(refused, Refused)
    assert not held.fit.taken & made[0].fit.taken
    assert placement.allocation(refused.guest) is None
    assert dict(placement.usages(host))[PCPU] == 12
    at_rest(database, placement)
