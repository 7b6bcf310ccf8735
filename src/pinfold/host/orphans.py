"""Guests that a service started here and that no service knows any more: after its database was lost, or it is gone for good.

Their host's agent never touches them, since it cannot tell them from another service's; they hold their pCPUs until an operator decides.
Who knows which guests does not belong here (`agent.client`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift.remedy import OWNER
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Driver, HostGuest
from pinfold.host import disk, serial
from pinfold.host.lock import owner
from pinfold.host.stop import stop


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """One guest without a service: the pCPUs that it holds alone, and its disk, None where it has none of ours."""

    guest: HostGuest
    holds: CpuSet
    disk: Path | None


def orphans(settings: HostSettings, guests: Iterable[HostGuest], known: frozenset[str]) -> tuple[Orphan, ...]:
    """The guests with a record that a host's agent wrote and an id that is not `known`, ordered by name.

    Guests that were started straight on the host have no service, and are never among them.
    """
    found = []
    for guest in guests:
        if guest.record is None or guest.record.owner == OWNER or guest.id in known:
            continue
        path = disk.overlay_path(settings, guest.id)
        found.append(Orphan(guest=guest, holds=guest.record.fit.taken, disk=path if path.exists() else None))
    return tuple(sorted(found, key=lambda orphan: (orphan.guest.name, orphan.guest.id)))


def remove(driver: Driver, settings: HostSettings, orphan: Orphan, *, delete_files: bool) -> None:
    """End the guest and forget its definition, so that its pCPUs are free; its disk and its serial logs stay, unless they are to go too.

    Raises as `host.stop.stop`.
    """
    guest = orphan.guest.id
    stop(driver, settings, guest, remove=True, keep_disk=not delete_files, agent=owner(settings))
    if delete_files:
        serial.forget(settings, guest)
