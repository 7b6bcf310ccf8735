"""What one create costs: statements, transactions, writes to Placement. Counts, never times. Real databases, a real Placement."""

from __future__ import annotations

import uuid
from collections import Counter
from typing import Any, Final

import pytest
import sqlalchemy as sa
from tests.build.requests import floating, pinned
from tests.build.rows import add_host
from tests.rig.promises import at_rest
from tests.service.test_together import counted, written

from pinfold.accounting.client import Placement
from pinfold.accounting.embedded import Embedded
from pinfold.core.errors import Conflict
from pinfold.core.identity import GuestId, HostId
from pinfold.core.request.model import Flavor, GuestRequest
from pinfold.scheduler.model import SchedulerSettings
from pinfold.service.fleet import Fleet, assemble
from pinfold.store import guests, hosts
from pinfold.store.database import Database
from pinfold.store.records import NewGuest, Requester

pytestmark = pytest.mark.real_placement

STATEMENTS: Final = {"postgresql": 5, "sqlite": 8}
"""The quota, the guest, its event, the intended claim; then the guest's arrival, which SQLite writes row by row."""


@pytest.fixture
def placement(embedded: Embedded) -> Placement:
    return embedded.client


def fleet_of(database: Database, placement: Placement, *names: str) -> Fleet:
    """A fleet that reads the index once: what it reads from time to time is no cost of a create."""
    fleet = assemble(database, placement, SchedulerSettings(refresh_seconds=3600, late_seconds=-1))
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
def test_a_create_takes_two_transactions_few_statements_and_one_write_to_placement(
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
    assert (commits["commit"], wrote) == (2, ["PUT"])
    assert host_of(database, new.id) is not None
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
