"""Attach interfaces to a guest of ours that exists, and detach them. `agent.reconcile` decides when.

Each act can be repeated: what is there is not attached again, and what is gone is not detached again. The guest's record says what it
books, and is amended before an interface comes and after it has gone (`amend`), so nothing here takes the host's lock.
"""

from __future__ import annotations

from typing import Final

from pinfold.core.drift import Finding
from pinfold.core.errors import Conflict, InvalidRequest, PinfoldError, Unavailable
from pinfold.core.overhead import masks
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Driver, HostGuest, Interface
from pinfold.host.lock import refuse_if_owned
from pinfold.host.survey import pick
from pinfold.host.verify import record_of, verify

DETACH_SECONDS: Final = 20.0
"""How long a running guest may take to let go of an interface. As in Nova, it is asked several times."""


def attach(driver: Driver, settings: HostSettings, key: str, interface: Interface, *, agent: str = "") -> None:
    """Attach an interface to a guest of ours, and see that the threads that came with it are where the guest's record says.

    Raises `InvalidRequest` if there is no such guest, it is not ours or the hypervisor refuses, `Conflict` if a new thread cannot be
    placed; the guest does not have the interface then. `Unavailable`: try again, nothing is known.
    """
    refuse_if_owned(settings, "guest attach", by=agent)
    guest = pick(driver.guests(), key)
    record_of(guest)
    if interface.mac in guest.macs_everywhere:
        return
    before = _threads(driver, guest)
    try:
        driver.attach(guest.id, interface)
        _place_new_threads(driver, settings, guest, before)
    except (InvalidRequest, Conflict) as error:
        _undo(driver, guest, interface, error)
        raise


def detach(driver: Driver, settings: HostSettings, key: str, mac: str, *, agent: str = "") -> None:
    """Detach the interface with that MAC address from a guest of ours; one that is not there is no error.

    Raises `InvalidRequest` if there is no such guest, it is not ours, or it does not let go; the interface stays then. `Unavailable`.
    """
    refuse_if_owned(settings, "guest detach", by=agent)
    guest = pick(driver.guests(), key)
    record_of(guest)
    if mac in guest.macs_anywhere:
        driver.detach(guest.id, mac, seconds=DETACH_SECONDS)


def _threads(driver: Driver, guest: HostGuest) -> frozenset[int]:
    return frozenset(thread.tid for thread in driver.observe(guest).threads) if guest.active else frozenset()


def _place_new_threads(driver: Driver, settings: HostSettings, guest: HostGuest, before: frozenset[int]) -> None:
    """Move the guest's threads to their recorded places if one that was not there before is elsewhere. Raises `Conflict` if it stays
    there.
    """
    wrong = _misplaced(driver, settings, guest, before)
    if wrong:
        driver.pin(guest.id, masks(record_of(guest).fit))
        wrong = _misplaced(driver, settings, guest, before)
    if wrong:
        raise Conflict("; ".join(finding.sentence() for finding in wrong))


def _misplaced(driver: Driver, settings: HostSettings, guest: HostGuest, before: frozenset[int]) -> tuple[Finding, ...]:
    now = pick(driver.guests(), guest.id)
    if not now.active:
        return ()
    drift = verify(driver, settings, now, online=driver.topology().online).drift
    return tuple(finding for finding in drift if finding.tids - before)


def _undo(driver: Driver, guest: HostGuest, interface: Interface, error: PinfoldError) -> None:
    """Remove what an attachment that failed has left. Raises `Unavailable` if that fails too: the attachment is tried again then."""
    try:
        if interface.mac in pick(driver.guests(), guest.id).macs_anywhere:
            driver.detach(guest.id, interface.mac, seconds=DETACH_SECONDS)
    except (InvalidRequest, Conflict) as left:
        raise Unavailable(f"{error}; a part of it is left: {left}") from error
