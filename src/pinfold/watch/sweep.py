"""Sweep a host once: survey it, audit every guest, and measure. Changes nothing."""

from __future__ import annotations

import time

from msgspec import Struct

from pinfold.core.fit.capacity import FlavorDemand, HostCapacity, capacity
from pinfold.core.fit.count import count_host
from pinfold.core.repairs import Drifted
from pinfold.core.settings import HostSettings, RepairScope
from pinfold.core.usage import Sample
from pinfold.drivers.port import Driver
from pinfold.host.audit import Audit, audit_of
from pinfold.host.map import map_of
from pinfold.host.measure import sample
from pinfold.host.repair import drifted_guests
from pinfold.host.survey import survey
from pinfold.watch.snapshot import Snapshot, snapshot_of


class SweepResult(Struct, frozen=True, kw_only=True):
    """The outcome of one sweep, with the whole audit."""

    audit: Audit
    snapshot: Snapshot
    sample: Sample
    seconds: float
    unread: tuple[tuple[str, str], ...] = ()
    drifted: tuple[Drifted, ...] = ()
    capacity: HostCapacity | None = None


def sweep(
    driver: Driver, settings: HostSettings, scope: RepairScope = RepairScope.OFF, flavors: tuple[FlavorDemand, ...] = ()
) -> SweepResult:
    """Sweep the host. Guests that cannot be read are left out of the audit, and named. `scope` says whose drift may be repaired.
    `flavors` are those whose free slots are counted.

    Raises `Unavailable` if the hypervisor or procfs cannot be read, `InvalidRequest` if the pools do not fit the host.
    """
    began = time.perf_counter()
    unread: dict[str, str] = {}
    found = audit_of(driver, settings, survey(driver, settings), lambda guest, error: unread.update({guest.name: str(error)}))
    drawn = map_of(found.seen)
    return SweepResult(
        audit=found,
        snapshot=snapshot_of(found, drawn, driver.uri),
        sample=sample(found, drawn),
        seconds=time.perf_counter() - began,
        unread=tuple(sorted(unread.items())),
        drifted=drifted_guests(driver, found, scope),
        capacity=capacity(count_host(found.seen.state), flavors) if flavors else None,
    )
