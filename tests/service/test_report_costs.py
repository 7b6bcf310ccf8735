"""What the report of a host costs that is back after an outage, and that has not changed. Counts, never times. A real Placement."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.build.hosts import report
from tests.rig.placement_requests import heard
from tests.service.claiming import claim_of, create, synced_hosts
from tests.service.test_follow import SHARE, other_pools
from tests.service.test_together import counted

from pinfold.accounting.client import Placement
from pinfold.service.fleet import Fleet
from pinfold.service.guests.reports import ClaimName
from pinfold.service.hosts import OtherHost
from pinfold.store import hosts
from pinfold.store.database import Database
from pinfold.store.records import Observed

pytestmark = pytest.mark.real_placement

LEASE = 3600.0


@contextmanager
def asked(placement: Placement) -> Iterator[list[str]]:
    """The requests to Placement."""
    seen: list[str] = []

    def note(request: Any) -> None:
        seen.append(f"{request.method} {request.url.path}")

    with heard(placement, note):
        yield seen


def statements(seen: list[str]) -> list[str]:
    """Those that do not begin a transaction."""
    return [one for one in seen if not one.startswith("BEGIN")]


def test_a_host_that_is_back_and_has_not_changed_takes_four_statements_and_nothing_of_placement(
    database: Database, fleet: Fleet, placement: Placement
) -> None:
    """Two store the report and the lease, two read the guests that may have to follow the host's pools."""
    (host,) = synced_hosts(database, fleet, "c01")
    first = fleet.hosts.report(host, "c01", report(), lease_seconds=LEASE)
    fleet.hosts.end_lease(host)
    with counted(database) as seen, asked(placement) as wanted:
        back = fleet.hosts.report(host, "c01", report(), lease_seconds=LEASE)
    assert (len(statements(seen)), wanted) == (4, [])
    assert (back.was_up, back.changed, back.report, back.orders) == (False, False, first.report, first.orders)
    with counted(database) as seen, asked(placement) as wanted:
        assert fleet.hosts.report(host, "c01", report(), lease_seconds=LEASE).was_up
    assert (len(statements(seen)), wanted) == (2, [])
    with counted(database) as seen:
        assert fleet.hosts.heartbeat(host, lease_seconds=LEASE).report == first.report
    assert len(statements(seen)) == 1
    with database.read() as connection:
        assert hosts.get(connection, host).up


def test_the_report_of_a_guest_takes_four_statements(database: Database, fleet: Fleet, placement: Placement) -> None:
    """Whether its host is being re-pinned, the guest, which is locked with that, its claim, and what was seen."""
    (host,) = synced_hosts(database, fleet, "c01")
    made = create(database, fleet, SHARE)
    named = ClaimName(claim=made.claim, revision=made.revision)
    fleet.reports.seen(host, made.guest, named, Observed.RUNNING, booted=1, report=None)
    with counted(database) as seen, asked(placement) as wanted:
        fleet.reports.seen(host, made.guest, named, Observed.RUNNING, booted=1, report=None)
    assert (len(statements(seen)), wanted) == (4, []), seen


def test_the_guests_of_a_host_that_is_back_follow_pools_that_changed_while_it_was_away(
    database: Database, fleet: Fleet, placement: Placement
) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    made = create(database, fleet, SHARE)
    changed = other_pools("0,8-9", "1-7,10-15")
    with database.write() as connection:
        hosts.report(connection, host, changed, lease_seconds=3600)
    fleet.hosts.end_lease(host)
    before = claim_of(database, made.guest)
    assert not fleet.hosts.report(host, "c01", changed, lease_seconds=LEASE).changed
    after = claim_of(database, made.guest)
    assert after.revision > before.revision and after.fit.emulator == changed.pools.overhead


def test_a_change_reaches_placement_with_the_report(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    with asked(placement) as wanted:
        assert fleet.hosts.report(host, "c01", other_pools("0-3", "4-15"), lease_seconds=LEASE).changed
    assert f"PUT /resource_providers/{host}/inventories" in wanted


def test_a_report_of_another_host_is_refused_and_changes_nothing(database: Database, fleet: Fleet) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    with pytest.raises(OtherHost, match=r"This token is of host c01, not of c02\."):
        fleet.hosts.report(host, "c02", other_pools("0-3", "4-15"), lease_seconds=LEASE)
    with database.read() as connection:
        assert hosts.get(connection, host).revision == 1
