"""Shared parts of the tests of claims: settings, and the two outcomes of a create."""

from __future__ import annotations

from tests.fleet import add_guest, add_host, wanted

from pinfold.core.request.model import GuestRequest
from pinfold.scheduler.model import Claimed, Refused, SchedulerSettings
from pinfold.service.schedule import Scheduler
from pinfold.store.database import Database

SLOW_EYES = SchedulerSettings(refresh_seconds=1e9, claim_seconds=600)
EAGER = SchedulerSettings(refresh_seconds=0, traits_seconds=0, claim_seconds=600, late_seconds=-1)


def synced_hosts(database: Database, scheduler: Scheduler, *names: str) -> list[str]:
    made = [add_host(database, name) for name in names]
    for host in made:
        scheduler.sync_host(host)
    return made


def create(database: Database, scheduler: Scheduler, request: GuestRequest, **more: object) -> Claimed:
    outcome = scheduler.create(wanted(add_guest(database, request), request, **more))
    assert isinstance(outcome, Claimed), outcome
    return outcome


def refuse(database: Database, scheduler: Scheduler, request: GuestRequest, **more: object) -> Refused:
    outcome = scheduler.create(wanted(add_guest(database, request), request, **more))
    assert isinstance(outcome, Refused), outcome
    return outcome
