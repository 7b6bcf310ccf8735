"""Shared parts of the tests of claims: settings, and the two outcomes of a create."""

from __future__ import annotations

from tests.build.rows import add_guest, add_host, wanted

from pinfold.core.request.model import GuestRequest
from pinfold.scheduler.model import SchedulerSettings
from pinfold.service.claims.outcome import Claimed, Refused
from pinfold.service.fleet import Fleet
from pinfold.store.database import Database

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
