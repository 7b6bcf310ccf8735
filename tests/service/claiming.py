"""Shared parts of the tests of claims: settings, the two outcomes of a create, and what comes between."""

from __future__ import annotations

from tests.build.rows import add_guest, add_host, wanted

from pinfold.accounting.client import Placement
from pinfold.core.request.model import GuestRequest
from pinfold.scheduler.model import SchedulerSettings
from pinfold.service.claims.outcome import Claimed, Refused
from pinfold.service.fleet import Fleet
from pinfold.store import claims, hosts
from pinfold.store.database import Database
from pinfold.store.records import ClaimRecord, HostReport

SLOW_EYES = SchedulerSettings(refresh_seconds=1e9, claim_seconds=600)
EAGER = SchedulerSettings(refresh_seconds=0, traits_seconds=0, claim_seconds=600, late_seconds=-1)


def synced_hosts(database: Database, fleet: Fleet, *names: str) -> list[str]:
    made = [add_host(database, name) for name in names]
    for host in made:
        fleet.providers.sync(host)
    return made


def create(database: Database, fleet: Fleet, request: GuestRequest, **more: object) -> Claimed:
    outcome = fleet.claimer.create(wanted(add_guest(database, request), request, **more))
    assert isinstance(outcome, Claimed), outcome
    return outcome


def refuse(database: Database, fleet: Fleet, request: GuestRequest, **more: object) -> Refused:
    outcome = fleet.claimer.create(wanted(add_guest(database, request), request, **more))
    assert isinstance(outcome, Refused), outcome
    return outcome


def change(database: Database, fleet: Fleet, host: str, reported: HostReport) -> None:
    """The host's agent reports other pools or options, and Placement knows them."""
    with database.write() as connection:
        hosts.report(connection, host, reported, lease_seconds=3600)
    fleet.providers.sync(host)


def claim_of(database: Database, guest: str) -> ClaimRecord:
    """The claim by which the guest runs."""
    with database.read() as connection:
        found = claims.live(connection, guest)
    assert found is not None
    return found


class HealedBetween(Placement):
    """The same Placement; after the first allocation that is written, another process heals. `restored` says how much it did."""

    def __init__(self, placement: Placement, healer: Fleet) -> None:
        super().__init__(placement._http)
        self._healer = healer
        self.restored: list[int] = []

    def allocate(self, *arguments: object, **named: object) -> None:
        super().allocate(*arguments, **named)  # type: ignore[arg-type]
        if not self.restored:
            self.restored.append(self._healer.healer.heal().restored)
