"""Guests that a service started here and no service knows any more, because its database or the whole service was lost.

The host's agent never touches them, because they may belong to another service. They hold their pCPUs until an operator decides.
`agent.client` asks the service which guests it knows.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift.remedy import OWNER
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Driver, HostGuest
from pinfold.host import disk, serial
from pinfold.host.lock import owner
from pinfold.host.stop import stop


class Orphan(Struct, frozen=True, kw_only=True):
    """One guest without a service: the pCPUs that it holds alone, and the path of its disk, None if it has none of ours."""

    guest: HostGuest
    holds: CpuSet
    disk: str | None


def orphans(settings: HostSettings, guests: Iterable[HostGuest], known: frozenset[str]) -> tuple[Orphan, ...]:
    """The guests with an agent's record and an id that is not `known`, ordered by name.

    Guests that were started directly on the host have no service and are never orphans.
    """
    found = []
    for guest in guests:
        if guest.record is None or guest.record.owner == OWNER or guest.id in known:
            continue
        path = disk.overlay_path(settings, guest.id)
        found.append(Orphan(guest=guest, holds=guest.record.fit.taken, disk=str(path) if path.exists() else None))
    return tuple(sorted(found, key=lambda orphan: (orphan.guest.name, orphan.guest.id)))


def remove(driver: Driver, settings: HostSettings, orphan: Orphan, *, delete_files: bool) -> None:
    """End the guest and remove its definition, so that its pCPUs are free. Delete its disk and serial logs only with `delete_files`.

    Raises as `host.stop.stop`.
    """
    guest = orphan.guest.id
    stop(driver, settings, guest, remove=True, keep_disk=not delete_files, agent=owner(settings))
    if delete_files:
        serial.forget(settings, guest)
