"""Let a guest's record follow its claim, while the guest goes on. `agent.reconcile` decides when."""

from __future__ import annotations

from msgspec.structs import replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest, PinfoldError, Unavailable
from pinfold.core.overhead import Masks, masks
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Driver, HostGuest, Record
from pinfold.host.claims import contested
from pinfold.host.lock import host_lock, refuse_if_owned
from pinfold.host.survey import pick, survey
from pinfold.host.verify import record_of


class NotMoved(PinfoldError):
    """A guest was not moved to other pCPUs of its own. Its record is as it was, and so are its threads, unless the text says otherwise."""


def amend(driver: Driver, settings: HostSettings, record: Record, *, agent: str = "") -> None:
    """Write `record` in place of the guest's own. `agent` is the caller's name if it is the host's agent.

    If the places differ too, the threads of a running guest move to the new ones first: a crash in between leaves the older record, and
    this is done again. Raises `NotMoved` if a guest is to have other pCPUs of its own, and somebody else has them, or its threads cannot
    be moved there; `InvalidRequest` if there is no such guest, it is not ours, or the record is of another owner; `Unavailable`.
    """
    refuse_if_owned(settings, "guest amend", by=agent)
    with host_lock(settings):
        guest = pick(driver.guests(), record.guest)
        known = record_of(guest)
        if known.owner != record.owner:
            raise InvalidRequest(f"guest {guest.name} is of {known.owner}, not of {record.owner}; its record is left", key="guest")
        if known.fit.taken == record.fit.taken:
            write(driver, guest, record)
        else:
            _repin(driver, settings, guest, record)


def _repin(driver: Driver, settings: HostSettings, guest: HostGuest, record: Record) -> None:
    """Give the guest other pCPUs of its own, or leave it where it is. The caller holds the host's lock."""
    if lost := contested(survey(driver, settings), guest.id, record.fit.taken):
        raise NotMoved("; ".join(finding.sentence() for finding in lost))
    try:
        write(driver, guest, record)
    except PinfoldError as error:
        raise NotMoved(f"{error}{_moved_back(driver, guest, record)}") from error


def _moved_back(driver: Driver, guest: HostGuest, record: Record) -> str:
    """Move the threads back to the place in the guest's own record, and write that, because the new one may have been written before
    the failure. Returns '' for success, else why not, as the rest of a sentence.

    Raises `Unavailable`: the move is tried again then.
    """
    if not guest.active:
        return ""
    try:
        driver.pin(guest.id, moved(masks(record.fit), masks(record_of(guest).fit)))
        driver.amend(guest.id, record_of(guest))
    except Unavailable:
        raise
    except PinfoldError as error:
        return f"; its threads are on the old set or on the new one, because they could not be moved back: {error}"
    return ""


def write(driver: Driver, guest: HostGuest, record: Record) -> None:
    """Move the threads of a guest of ours whose place changes to that in `record`, then write `record`. The caller holds the host's lock.

    Raises `InvalidRequest`, `Unavailable`; a part of the threads may have moved then.
    """
    before, after = masks(record_of(guest).fit), masks(record.fit)
    if before != after and not guest.active and record.request is not None:
        driver.redefine(guest.id, record, record.request)
        return
    if before != after:
        driver.pin(guest.id, moved(before, after))
    driver.amend(guest.id, record)


def moved(before: Masks, after: Masks) -> Masks:
    """`after`, with an empty set for each vCPU that stays where it was, so that nothing is asked of its pCPU: it may be offline."""
    stays = CpuSet(vcpu for vcpu, (old, new) in enumerate(zip(before.vcpus, after.vcpus, strict=True)) if old == new)
    return replace(after, vcpus=tuple(CpuSet() if vcpu in stays else cpus for vcpu, cpus in enumerate(after.vcpus)))
