"""Give a stopped guest of ours a new place on its host in the current pools. `host.start` starts it.

Under the host's lock: survey, fit as if the guest's own resources were free, check that nobody else holds the new place, and rewrite the
definition. The guest's id, its disk and the rest of its definition stay. The hypervisor replaces a definition whole or not at all, and all
checks come before that, so on failure the old definition stays.
"""

from __future__ import annotations

from msgspec import Struct, structs

from pinfold.core.drift import Finding, out_of_place
from pinfold.core.drift.remedy import OWNER
from pinfold.core.errors import Conflict, InvalidRequest
from pinfold.core.fit.answer import Fit, NoFit
from pinfold.core.fit.engine import fit as find_fit
from pinfold.core.host import HostState, Ledger
from pinfold.core.ledger import release
from pinfold.core.plural import count
from pinfold.core.printable import shell_word
from pinfold.core.request.compile import compile_request
from pinfold.core.request.model import Flavor, GuestRequest
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Driver, HostGuest, Record, refuse_remote
from pinfold.host.claims import contested, subject_of
from pinfold.host.lock import host_lock, refuse_if_owned
from pinfold.host.survey import Survey, survey
from pinfold.host.verify import record_of


class ReplaceResult(Struct, frozen=True, kw_only=True):
    """A guest with its definition rewritten. `before` is its old place, None if its record could not be read.

    `because` says why the old place is no longer valid. If it still is, `after` is the same place.
    """

    guest: HostGuest
    before: Fit | None
    after: Fit
    because: tuple[Finding, ...] = ()
    warnings: tuple[str, ...] = ()


def replace(driver: Driver, settings: HostSettings, key: str, *, flavor: Flavor | None = None) -> ReplaceResult | NoFit:
    """Give the guest with that name or id a valid place, or return why this host has none now.

    `flavor` replaces the request if the record lacks it: a damaged record, or one of an older pinfold. Raises `InvalidRequest` if there is
    no such guest, it is not ours or it runs, if its record needs a flavor or must not have one, and if the host is remote or owned by an
    agent; `Conflict` if somebody else holds a pCPU of the new place; `Unavailable`.
    """
    refuse_remote(driver, "a guest is placed on its own host")
    refuse_if_owned(settings, "guest replace")
    with host_lock(settings):
        seen = survey(driver, settings)
        guest = seen.guest(key)
        if not _damaged(guest):
            record_of(guest)  # raises for a guest that is not ours, whose operator must not be told to stop it with pinfold
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
    """The guest's request: from its record, else from the flavor."""
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
    if (request.vcpus, request.memory_mib) != (guest.vcpus, guest.memory_mib):
        has, wants = (
            f"{count(guest.vcpus, 'vCPU')} and {guest.memory_mib} MiB",
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
        return structs.replace(guest.record, fit=found, request=request)
    return Record(guest=guest.id, policy=request.emulator_policy, fit=found, flavor=flavor, owner=OWNER, request=request)


def _because(seen: Survey, settings: HostSettings, guest: HostGuest) -> tuple[Finding, ...]:
    if guest.record is None:
        return ()
    place = out_of_place(subject_of(settings, guest), guest.record.fit, seen.state.pools, seen.state.topology.online)
    return (*contested(seen, guest.id), *place)


def _without(state: HostState, guest: HostGuest) -> HostState:
    """The host without the guest, so that the guest may get its own resources again."""
    if guest.record is not None:
        return release(state, guest.id)
    others = tuple(other for other in state.ledger.foreign if other.name != guest.name)
    return structs.replace(state, ledger=Ledger(claims=state.ledger.claims, foreign=others))


def _refuse_contested(seen: Survey, guest: HostGuest, placed: Record) -> None:
    """Raises `Conflict` if somebody else holds a pCPU of the new place. The engine trusts the ledger; this checks everybody's pins."""
    there = structs.replace(guest, record=placed, problem="")
    others = tuple(there if other.id == guest.id else other for other in seen.guests)
    lost = contested(structs.replace(seen, guests=others), guest.id)
    if lost:
        raise Conflict(f"guest {guest.name} was not placed again: " + "; ".join(finding.sentence() for finding in lost))
