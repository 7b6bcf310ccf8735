"""Giving a stopped guest of ours another place on its host, by the pools of today. Starting it does not belong here (`host.start`).

Under the host's lock: survey, fit as if what the guest holds were free, check that nobody else holds any of it, rewrite the definition.
The guest's id, its disk and the rest of its definition stay. The hypervisor replaces a definition whole or not at all, and everything that
can be refused is refused before, so that on failure the old definition stays.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from pinfold.core.drift import Finding, out_of_place
from pinfold.core.drift.remedy import OWNER
from pinfold.core.errors import Conflict, InvalidRequest
from pinfold.core.fit.engine import fit as find_fit
from pinfold.core.fit.model import Fit, NoFit
from pinfold.core.ledger import HostState, Ledger, release
from pinfold.core.plural import count
from pinfold.core.printable import shell_word
from pinfold.core.request.compile import compile_request
from pinfold.core.request.model import Flavor, GuestRequest
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Driver, HostGuest, Record
from pinfold.host.claims import contested, subject_of
from pinfold.host.lock import host_lock, refuse_if_owned
from pinfold.host.survey import Survey, survey
from pinfold.host.verify import record_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceResult:
    """A guest with its definition rewritten. `before` is the place that it had, None where its record could not be read.

    `because` says why that place does not hold any more; where it does hold, `after` is the same.
    """

    guest: HostGuest
    before: Fit | None
    after: Fit
    because: tuple[Finding, ...] = ()
    warnings: tuple[str, ...] = ()


def replace(driver: Driver, settings: HostSettings, key: str, *, flavor: Flavor | None = None) -> ReplaceResult | NoFit:
    """The guest with that name or id in a place that holds, or why there is none on this host now.

    `flavor` says what the guest was asked for where its record cannot: one that was damaged, or that an earlier pinfold wrote.
    Raises `InvalidRequest` when there is no such guest, it is not ours, it runs, its record needs a flavor or has no use for one, and where
    the host is remote or owned by an agent; `Conflict` when somebody else holds a pCPU of the new place; `Unavailable`.
    """
    if not driver.local:
        raise InvalidRequest(f"a guest is placed on its own host alone; {driver.uri} is remote and read-only", key="uri")
    refuse_if_owned(settings, "guest replace")
    with host_lock(settings):
        seen = survey(driver, settings)
        guest = seen.guest(key)
        if guest.active:
            raise InvalidRequest(
                f"guest {guest.name} is {guest.state.value}, and only a stopped guest is placed again; "
                f"`pinfold guest stop {shell_word(guest.name)}`",
                key="guest",
            )
        request = _asked(guest, flavor)
        because = _because(seen, settings, guest)
        kept = None if guest.record is None or because else guest.record.fit
        found = kept or find_fit(request, _without(seen.state, guest), settings.strategy)
        if isinstance(found, NoFit):
            return found
        record = _record(guest, request, found, "" if flavor is None else flavor.name)
        _refuse_contested(seen, guest, record)
        after = driver.redefine(guest.id, record, request)
    return ReplaceResult(
        guest=after, before=guest.record.fit if guest.record else None, after=found, because=because, warnings=seen.warnings
    )


def _asked(guest: HostGuest, flavor: Flavor | None) -> GuestRequest:
    """What the guest was asked for: by its record, or by its flavor where the record does not say it."""
    record = None if _damaged(guest) else record_of(guest)
    if record is not None and record.request is not None:
        if flavor is not None:
            raise InvalidRequest(
                f"the record of guest {guest.name} says what was asked for; --flavor is for a guest whose record does not", key="--flavor"
            )
        return record.request
    if flavor is None:
        why = (
            f"cannot be read: {guest.problem}"
            if record is None
            else "was written by an earlier pinfold and does not say what was asked for"
        )
        raise InvalidRequest(f"the record of guest {guest.name} {why}; name the guest's flavor with --flavor", key="--flavor")
    request = compile_request(flavor, disks=guest.disks, nics=guest.nics)
    if (request.vcpus, request.memory_mib) != (guest.vcpus, guest.whole_memory_mib):
        has, wants = (
            f"{count(guest.vcpus, 'vCPU')} and {guest.whole_memory_mib} MiB",
            f"{count(request.vcpus, 'vCPU')} and {request.memory_mib} MiB",
        )
        raise InvalidRequest(f"guest {guest.name} has {has}, flavor {flavor.name} {wants}", key="--flavor")
    if record is not None and request.emulator_policy is not record.policy:
        has, wants = record.policy.value, request.emulator_policy.value
        raise InvalidRequest(f"guest {guest.name} has the emulator policy {has}, flavor {flavor.name} {wants}", key="--flavor")
    return request


def _damaged(guest: HostGuest) -> bool:
    """Whether the guest has a record of ours that cannot be read."""
    return guest.record is None and guest.nova is None and bool(guest.problem)


def _record(guest: HostGuest, request: GuestRequest, found: Fit, flavor: str) -> Record:
    if guest.record is not None:
        return dataclasses.replace(guest.record, fit=found, request=request)
    return Record(guest=guest.id, policy=request.emulator_policy, fit=found, flavor=flavor, owner=OWNER, request=request)


def _because(seen: Survey, settings: HostSettings, guest: HostGuest) -> tuple[Finding, ...]:
    if guest.record is None:
        return ()
    place = out_of_place(subject_of(settings, guest), guest.record.fit, seen.state.pools, seen.state.topology.online)
    return (*contested(seen, guest.id), *place)


def _without(state: HostState, guest: HostGuest) -> HostState:
    """The host as it would be without the guest: what it holds may be given to it again."""
    if guest.record is not None:
        return release(state, guest.id)
    others = tuple(other for other in state.ledger.foreign if other.name != guest.name)
    return dataclasses.replace(state, ledger=Ledger(claims=state.ledger.claims, foreign=others))


def _refuse_contested(seen: Survey, guest: HostGuest, placed: Record) -> None:
    """Raises `Conflict` where the new place is not the guest's alone: the engine trusts the ledger, this looks at everybody's pins."""
    there = dataclasses.replace(guest, record=placed, problem="")
    others = tuple(there if other.id == guest.id else other for other in seen.guests)
    lost = contested(dataclasses.replace(seen, guests=others), guest.id)
    if lost:
        raise Conflict(f"guest {guest.name} was not placed again: " + "; ".join(finding.sentence() for finding in lost))
