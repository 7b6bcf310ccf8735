"""Take a guest of somebody else's under management without a restart, and give it back. `host.adoption` decides what its record says."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Final

from pinfold.core.drift.remedy import OWNER
from pinfold.core.errors import InvalidRequest, PinfoldError
from pinfold.core.identity import ClaimId
from pinfold.core.printable import shell_word
from pinfold.core.request.model import EmulatorPolicy
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Driver, HostGuest
from pinfold.host.adoption import Adoption, adoption
from pinfold.host.lock import host_lock, refuse_if_owned
from pinfold.host.pool_change import ThreadMove, moves_to
from pinfold.host.survey import Survey, pick, survey
from pinfold.host.verify import record_of

_NO_SERVICE: Final = "a service neither adopts guests nor gives its servers back"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptPlan:
    """What adopting a guest means on the host as surveyed, and the threads that move for it."""

    seen: Survey
    found: Adoption
    moves: tuple[ThreadMove, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedAdoption:
    """A plan that was carried out. `guest` is the guest now. `failure` says why it could not be adopted, '' for success; it was undone."""

    plan: AdoptPlan
    guest: HostGuest
    failure: str = ""

    @property
    def adopted(self) -> bool:
        """Whether the guest is ours now."""
        return not self.failure and self.plan.found.record is not None


def plan(driver: Driver, settings: HostSettings, key: str, *, policy: EmulatorPolicy | None = None) -> AdoptPlan:
    """What adopting the guest with that name or id means. Reads only.

    Raises `InvalidRequest` if there is no such guest, it is ours already or its record is damaged, if the pools do not fit the host, for a
    remote host and for guests without definitions; `Unavailable`.
    """
    if not driver.local:
        raise InvalidRequest(f"a guest is adopted on its own host alone; {driver.uri} is remote and read-only", key="uri")
    if driver.sole_manager:
        raise InvalidRequest(f"guests of {driver.uri} have no definition that could hold a record", key="uri")
    seen = survey(driver, settings)
    guest = seen.guest(key)
    if guest.record is not None:
        whose = "pinfold's" if guest.record.owner == OWNER else f"that of {guest.record.owner}"
        raise InvalidRequest(f"guest {guest.name} has a record already, {whose}", key="guest")
    if guest.problem and guest.nova is None:
        name = shell_word(guest.name)
        raise InvalidRequest(
            f"guest {guest.name} has a record that cannot be read: {guest.problem}; stop it, `pinfold guest replace {name} --flavor NAME`",
            key="guest",
        )
    observation = driver.observe(guest) if guest.active else None
    claim = ClaimId(str(uuid.uuid4()))
    found = adoption(settings, seen, guest, driver.shape(guest.id), observation, policy=policy, claim=claim)
    moves = () if found.after is None or observation is None else moves_to(observation, found.after)
    return AdoptPlan(seen=seen, found=found, moves=moves)


def adopt(driver: Driver, settings: HostSettings, key: str, *, policy: EmulatorPolicy | None = None) -> AppliedAdoption:
    """Make a plan and carry it out under the host's lock, unless something conflicts.

    1. Move the threads of a running guest, each read back.
    2. Write the record and the pins into its definition, and the record into the running guest.
    If a step fails, the record is removed and the threads are moved back. Raises `InvalidRequest` if an agent owns the host, and what
    `plan` raises.
    """
    refuse_if_owned(settings, "guest adopt --apply", instead=_NO_SERVICE)
    with host_lock(settings):
        found = plan(driver, settings, key, policy=policy)
        guest, record, after = found.found.guest, found.found.record, found.found.after
        if record is None or after is None:
            return AppliedAdoption(plan=found, guest=guest)
        try:
            if guest.active:
                driver.pin(guest.id, after, live_only=True)
            driver.adopt(guest.id, record)
        except PinfoldError as error:
            return AppliedAdoption(plan=found, guest=guest, failure=f"{error}{_undone(driver, found.found)}")
        return AppliedAdoption(plan=found, guest=pick(driver.guests(), guest.id))


def release(driver: Driver, settings: HostSettings, key: str) -> HostGuest:
    """Remove the record of the guest with that name or id. It runs on as it is pinned, and its pins count as a stranger's.

    Raises `InvalidRequest` if there is no such guest, it is not ours or another owner's, for a remote host and one of an agent;
    `Unavailable`.
    """
    if not driver.local:
        raise InvalidRequest(f"a guest is released on its own host alone; {driver.uri} is remote and read-only", key="uri")
    refuse_if_owned(settings, "guest release", instead=_NO_SERVICE)
    with host_lock(settings):
        guest = pick(driver.guests(), key)
        record = record_of(guest)
        if record.owner != OWNER:
            raise InvalidRequest(f"guest {guest.name} is of {record.owner}, which alone can release it", key="guest")
        driver.forget(guest.id)
        return pick(driver.guests(), guest.id)


def _undone(driver: Driver, found: Adoption) -> str:
    """Remove the record and move the threads back. Returns '' for success, else what is left, as the rest of a sentence."""
    guest = found.guest
    try:
        driver.forget(guest.id)
        if guest.active:
            driver.pin(guest.id, found.before, live_only=True)
    except PinfoldError as error:
        return f"; not all of it could be undone: {error}"
    return "; its threads were moved back" if guest.active else ""
