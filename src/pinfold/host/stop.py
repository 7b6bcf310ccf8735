"""End or pause a guest of ours. Foreign guests are never touched."""

from __future__ import annotations

from msgspec import Struct

from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Driver, HostGuest, refuse_remote
from pinfold.host import disk, serial
from pinfold.host.lock import host_lock, refuse_if_owned
from pinfold.host.survey import pick
from pinfold.host.verify import record_of


class StopResult(Struct, frozen=True, kw_only=True):
    """A guest that no longer runs, as it was before, and whether its definition, claim and disk were removed too."""

    guest: HostGuest
    removed: bool


def stop(
    driver: Driver,
    settings: HostSettings,
    key: str,
    *,
    remove: bool = False,
    keep_disk: bool = False,
    graceful_seconds: float = 0.0,
    agent: str = "",
) -> StopResult:
    """Ends the guest with that name or id. When this returns, no process of it is left.

    Without `remove` the guest stays defined and keeps its claim. With it, its disk and its console log are deleted too, unless `keep_disk`.
    `agent` is the caller's name if it is the host's agent.
    Raises `InvalidRequest` if there is no such guest, it is not ours, or the host is remote or owned by an agent; `Unavailable` if the
    hypervisor is away.
    """
    guest = _ours(driver, settings, key, agent)
    # Outside the lock, because a shutdown may take long and others must be able to start meanwhile.
    driver.stop(guest.id, remove=False, graceful_seconds=graceful_seconds)
    if remove:
        with host_lock(settings):
            driver.stop(guest.id, remove=True)
            if not keep_disk:
                disk.remove(settings, guest.id)
                serial.forget(settings, guest.id)
    return StopResult(guest=guest, removed=remove)


def shut_down(driver: Driver, settings: HostSettings, key: str, *, agent: str = "") -> None:
    """Asks the guest with that name or id to shut down, and returns at once. Raises as `stop`."""
    driver.shut_down(_ours(driver, settings, key, agent).id)


def pause(driver: Driver, settings: HostSettings, key: str, *, agent: str = "") -> None:
    """Pauses the guest with that name or id; its process stays. Raises as `stop`."""
    driver.pause(_ours(driver, settings, key, agent).id)


def save(driver: Driver, settings: HostSettings, key: str, *, agent: str = "") -> None:
    """Saves the memory of the guest with that name or id to disk, and ends its process. The next start goes on from there.

    Raises as `stop`, and `InvalidRequest` if the hypervisor cannot save the guest, which then goes on.
    """
    driver.save(_ours(driver, settings, key, agent).id)


def _ours(driver: Driver, settings: HostSettings, key: str, agent: str) -> HostGuest:
    refuse_remote(driver, "a guest is stopped on its own host")
    refuse_if_owned(settings, "guest stop", by=agent)
    guest = pick(driver.guests(), key)
    record_of(guest)
    return guest
