"""Putting the threads of our guests back where they were recorded. What counts as drift, and other people's guests, do not belong here."""

from __future__ import annotations

from dataclasses import dataclass

from pinfold.core.errors import InvalidRequest
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Driver
from pinfold.host.lock import host_lock
from pinfold.host.survey import pick
from pinfold.host.verify import Verdict, record_of, verify


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """One guest that had drifted: the verdict before, and the one after it was pinned again (drift that is left is no longer ours)."""

    before: Verdict
    after: Verdict


def repair(driver: Driver, settings: HostSettings, key: str = "") -> tuple[Repaired, ...]:
    """Pins every running guest of ours that has drifted, or only the one with that name or id; ordered by guest id.

    Raises `InvalidRequest` for a remote host or a guest that is not there or not ours, `Unavailable` when the hypervisor is away.
    """
    if not driver.local:
        raise InvalidRequest(f"threads are moved on their own host alone; {driver.uri} is remote and read-only", key="uri")
    with host_lock(settings):
        guests, online = driver.guests(), driver.topology().online
        if key:
            guests = (pick(guests, key),)
            record_of(guests[0])
        done = []
        for guest in guests:
            if guest.record is None or not guest.active:
                continue
            before = verify(driver, settings, guest, online=online)
            if before.drift:
                driver.pin(guest.id, before.masks)
                fresh = pick(driver.guests(), guest.id)
                done.append(Repaired(before=before, after=verify(driver, settings, fresh, online=online)))
        return tuple(done)
