"""Sweep a host once: survey it, audit every guest, and measure. Changes nothing."""

from __future__ import annotations

import time

from msgspec import Struct

from pinfold.core.fit.capacity import FlavorDemand, HostCapacity, capacity
from pinfold.core.fit.count import count_host
from pinfold.core.host_map import HostMap
from pinfold.core.repairs import Drifted
from pinfold.core.settings import HostSettings, RepairScope
from pinfold.core.usage import Sample
from pinfold.drivers.port import Driver
from pinfold.host.audit import Audit, audit_of
from pinfold.host.map import map_of
from pinfold.host.measure import sample
from pinfold.host.memory import SeldomMemory
from pinfold.host.repair import drifted_guests
from pinfold.host.survey import survey
from pinfold.watch.snapshot import Snapshot, snapshot_of


class SweepResult(Struct, frozen=True, kw_only=True):
    """The outcome of one sweep, with the whole audit and the host's map."""

    audit: Audit
    drawn: HostMap
    snapshot: Snapshot
    sample: Sample
    seconds: float
    unread: tuple[tuple[str, str], ...] = ()
    drifted: tuple[Drifted, ...] = ()
    capacity: HostCapacity | None = None


def sweep(
    driver: Driver,
    settings: HostSettings,
    scope: RepairScope = RepairScope.OFF,
    flavors: tuple[FlavorDemand, ...] = (),
    before: SweepResult | None = None,
    memory: SeldomMemory | None = None,
) -> SweepResult:
    """Sweep the host. Guests that cannot be read are left out of the audit, and named. `scope` says whose drift may be repaired.
    `flavors` are those whose free slots are counted. `before` is an earlier result with the same flavors: what has not changed since is
    taken from it. `memory` reads where guests' memory lies, from sweep to sweep.

    Raises `Unavailable` if the hypervisor or procfs cannot be read, `InvalidRequest` if the pools do not fit the host.
    """
    began = time.perf_counter()
    unread: dict[str, str] = {}
    last = None if before is None else before.audit
    seen = survey(driver, settings, None if last is None else last.seen)
    found = audit_of(driver, settings, seen, lambda guest, error: unread.update({guest.name: str(error)}), last, memory=memory)
    if before is not None and seen is before.audit.seen:
        drawn, slots = before.drawn, before.capacity
    else:
        drawn, slots = map_of(seen), capacity(count_host(seen.state), flavors) if flavors else None
    return SweepResult(
        audit=found,
        drawn=drawn,
        snapshot=before.snapshot if before is not None and found is last else snapshot_of(found, drawn, driver.uri),
        sample=sample(found, drawn),
        seconds=time.perf_counter() - began,
        unread=tuple(sorted(unread.items())),
        drifted=drifted_guests(driver, found, scope),
        capacity=slots,
    )
