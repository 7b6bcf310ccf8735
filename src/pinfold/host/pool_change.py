"""Let the guests of a host without a service follow its pools of today: first the plan, then the moves. `core.pool_change` decides.

Our guests follow with all their threads that do not run on pCPUs of their own, and their records are amended. Nova's guests of policy
`share` follow with their overhead threads, and Nova's metadata stays. The service moves the guests of its agents.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from msgspec import Struct, field, structs

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import ExpectedMasks, FindingCode, InferredMasks, Subject, expected, outside_pools, place_of
from pinfold.core.drift.remedy import OWNER, followed
from pinfold.core.errors import InvalidRequest, PinfoldError
from pinfold.core.fit.answer import NoFit
from pinfold.core.host import Claim, HostState
from pinfold.core.ledger import amend as amend_ledger
from pinfold.core.overhead import Masks, ThreadClass, masks, table
from pinfold.core.plural import count, pcpus
from pinfold.core.pool_change import follow
from pinfold.core.printable import shell_word
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Driver, HostGuest, Observation, Record, refuse_remote
from pinfold.host.amend import moved, write
from pinfold.host.claims import reading_of
from pinfold.host.lock import host_lock, refuse_if_owned
from pinfold.host.survey import Survey, survey
from pinfold.host.verify import GuestOrigin

AT_NOVAS_REBOOT: Final = (
    "at its next hard reboot Nova writes its pins anew, by the cpu_shared_set that nova-compute was started with: restart nova-compute "
    "before that, or the threads go back"
)
_POLICY_UNKNOWN: Final = (
    "Nova did not write its emulator policy, and its emulator pin shows none by the pools of today; reboot it with "
    "`openstack server reboot --hard`"
)
_PLACE_UNKNOWN: Final = "the pCPUs that its overhead threads belong on are not known, or offline; `pinfold audit` says more"


class ThreadMove(Struct, frozen=True, kw_only=True):
    """So many threads of one class with the same mask, and the set that they move to. `vcpu` is set for a vCPU thread."""

    thread_class: ThreadClass
    vcpu: int | None = None
    count: int = field(name="threads")
    before: CpuSet = field(name="from")
    after: CpuSet = field(name="to")

    def __str__(self) -> str:
        """For example `4 emulator threads from 0 to 0-1`, or `vCPU 1 from 0 to 0-1`."""
        kind = "kernel" if self.thread_class is ThreadClass.KTHREAD else self.thread_class.value
        what = count(self.count, f"{kind} thread") if self.vcpu is None else f"vCPU {self.vcpu}"
        return f"{what} from {self.before} to {self.after}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestChange:
    """What the pools of today mean for one guest. `pending`: something of it has to change, and can.

    `before` and `after` are its places; vCPUs that stay have an empty set in `after`. `record` is the amended record, None for a guest of
    Nova's. `retiring` are pCPUs of its own that left the dedicated pool or are offline; it keeps them. `why` says why it cannot follow,
    '' if it can. `later` says what will undo the move, '' if nothing does.
    """

    guest: HostGuest
    origin: GuestOrigin
    before: Masks | InferredMasks
    after: Masks | InferredMasks
    pending: bool = False
    moves: tuple[ThreadMove, ...] = ()
    record: Record | None = None
    retiring: CpuSet = CpuSet()
    why: str = ""
    later: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolPlan:
    """The guests that the pools of today concern, ordered by id; guests that are in place are left out. `warnings` are about the pools."""

    seen: Survey
    changes: tuple[GuestChange, ...]
    warnings: tuple[str, ...] = ()

    @property
    def settled(self) -> bool:
        """Whether every guest is where the pools of today put it. A guest that keeps retiring pCPUs is."""
        return not any(change.pending or change.why for change in self.changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedPlan:
    """A plan that was carried out. `failures` maps the ids of guests that could not be moved to the reason; they were moved back."""

    plan: PoolPlan
    failures: dict[str, str]

    @property
    def complete(self) -> bool:
        """Whether every guest is where the pools of today put it."""
        return not self.failures and not any(change.why for change in self.plan.changes)


def plan(driver: Driver, settings: HostSettings) -> PoolPlan:
    """What the pools of today mean for every guest of the host. Reads only.

    Raises `InvalidRequest` if the pools do not fit the host, for a remote host, and for `Driver.sole_manager`; `Unavailable`.
    """
    refuse_remote(driver, "threads are moved on their own host")
    if driver.sole_manager:
        raise InvalidRequest(f"guests of {driver.uri} have no record of their places; `pinfold repair` moves them by the pools", key="uri")
    seen = survey(driver, settings)
    state, changes = seen.state, []
    for guest in seen.guests:
        if guest.record is not None and guest.record.owner == OWNER:
            change = _ours(driver, state, guest, guest.record)
            if change.pending and change.record is not None:
                state = amend_ledger(state, guest.id, change.record.fit)  # the next guest finds what this one will book
        elif guest.record is not None:
            change = _left(state, guest, guest.record, followed(Subject(name=guest.name, owner=guest.record.owner)))
        elif guest.nova is not None and not guest.problem and seen.configured is not None:
            change = _novas(driver, seen, guest)
        else:
            continue
        if change.pending or change.why or change.retiring:
            changes.append(change)
    return PoolPlan(seen=seen, changes=tuple(changes), warnings=(*seen.warnings, *_shared_too_soon(state, changes)))


def refuse_no_pools(settings: HostSettings, advice: str = "") -> None:
    """Raise `InvalidRequest` where no file sets pools: guests would leave the pools that they are on. `advice` says what to do instead."""
    if settings.pools.names_pools:
        return
    where = f"{settings.source} sets none" if settings.source else "there is no configuration file"
    sentence = f"no pools are configured: {where}, and guests would leave the pools that they are on"
    raise InvalidRequest(f"{sentence}; {advice}" if advice else sentence, key="--config")


def apply(driver: Driver, settings: HostSettings, *, without_pools: bool = False) -> AppliedPlan:
    """Make a plan and carry it out, guest by guest in its order, under the host's lock. The masks of all threads are read afterwards.

    A guest that fails is moved back and the others go on, because those that have followed are right by the pools of today. Raises
    `InvalidRequest` if an agent owns the host, if no pools are configured, unless `without_pools`, and what `plan` raises.
    """
    refuse_if_owned(settings, "host pools --apply")
    if not without_pools:
        refuse_no_pools(settings)
    failures: dict[str, str] = {}
    with host_lock(settings):
        found = plan(driver, settings)
        for change in found.changes:
            if change.pending and (failure := _carry_out(driver, found.seen, change)):
                failures[change.guest.id] = failure
    return AppliedPlan(plan=found, failures=failures)


def _ours(driver: Driver, state: HostState, guest: HostGuest, record: Record) -> GuestChange:
    before = masks(record.fit)
    if record.request is None:
        name = shell_word(guest.name)
        why = f"its record does not say what was asked for: stop it, `pinfold guest replace {name} --flavor NAME`, start it"
        return _left(state, guest, record, why)
    found = follow(Claim(guest=guest.id, fit=record.fit), record.request, state)
    if isinstance(found, NoFit):
        return GuestChange(guest=guest, origin=GuestOrigin.OURS, before=before, after=before, why=found.sentence())
    after = moved(before, masks(found.fit))
    return GuestChange(
        guest=guest,
        origin=GuestOrigin.OURS,
        before=before,
        after=after,
        pending=found.fit != record.fit,
        moves=moves_to(driver.observe(guest), after) if guest.active and found.fit != record.fit else (),
        record=structs.replace(record, fit=found.fit),
        retiring=found.retiring,
    )


def _left(state: HostState, guest: HostGuest, record: Record, why: str) -> GuestChange:
    """A guest with a record that is left where it is, with the reason if that is outside the pools of today."""
    place = structs.replace(place_of(record.fit), alone=CpuSet())
    outside = outside_pools(Subject(name=guest.name), place, state.pools, state.topology.online)
    before = masks(record.fit)
    retiring = record.fit.taken - (state.pools.dedicated & state.topology.online)
    return GuestChange(guest=guest, origin=GuestOrigin.OURS, before=before, after=before, retiring=retiring, why=why if outside else "")


def _novas(driver: Driver, seen: Survey, guest: HostGuest) -> GuestChange:
    """The change of a guest of Nova's: its overhead threads, if its policy puts them on the overhead pool."""
    online = seen.state.topology.online
    reading = reading_of(seen, Subject(name=guest.name), guest)
    pinned = guest.pins.emulator or guest.pins.placement or online
    before = InferredMasks(vcpus=reading.wanted.vcpus, overhead=pinned)
    after = InferredMasks(vcpus=(CpuSet(),) * guest.vcpus, overhead=reading.wanted.overhead & online)
    change = GuestChange(guest=guest, origin=GuestOrigin.NOVA, before=before, after=after)
    if any(finding.code is FindingCode.EMULATOR_POLICY for finding in reading.findings) and reading.policy is None:
        return replace(change, why=_POLICY_UNKNOWN)
    if not guest.active or reading.policy is None or not table.uses_pool(reading.policy):
        return change
    if not after.overhead:
        return replace(change, why=_PLACE_UNKNOWN)
    moves = moves_to(driver.observe(guest), after)
    pending = bool(moves) or pinned & online != after.overhead
    return replace(change, pending=pending, moves=moves, later=AT_NOVAS_REBOOT if pending else "")


def moves_to(observation: Observation, after: ExpectedMasks) -> tuple[ThreadMove, ...]:
    """The threads that are elsewhere, by class, vCPU and mask, in the order of the classes."""
    found: Counter[tuple[ThreadClass, int | None, CpuSet, CpuSet]] = Counter()
    for thread in observation.threads:
        wanted = expected(after, thread)
        if wanted is not None and thread.allowed != wanted:
            found[thread.thread_class, thread.vcpu, thread.allowed, wanted] += 1
    moves = [ThreadMove(thread_class=kind, count=n, before=old, after=new, vcpu=vcpu) for (kind, vcpu, old, new), n in found.items()]
    order = list(ThreadClass)
    return tuple(sorted(moves, key=lambda move: (order.index(move.thread_class), move.vcpu or 0, move.before.mask)))


def _shared_too_soon(state: HostState, changes: Iterable[GuestChange]) -> list[str]:
    """A warning for each guest whose retiring pCPUs are in another pool already, so that other threads run beside its vCPUs."""
    pool = state.pools.shared | (state.pools.overhead or CpuSet())
    return [
        f"guest {change.guest.name} shares {pcpus(str(change.retiring & pool))} with threads of other guests until it ends or is placed "
        "again: the shared or overhead pool has taken what was its own"
        for change in changes
        if change.retiring & pool
    ]


def _carry_out(driver: Driver, seen: Survey, change: GuestChange) -> str:
    """Move the guest's threads and amend its record. Returns '' for success, else why it failed, after moving the threads back."""
    try:
        if change.record is None:
            driver.pin(change.guest.id, change.after)
        else:
            write(driver, change.guest, change.record)
    except PinfoldError as error:
        return f"{error}{_moved_back(driver, seen, change)}"
    return ""


def _moved_back(driver: Driver, seen: Survey, change: GuestChange) -> str:
    """Move the threads of a running guest back. Returns '' for success, else why not, as the rest of a sentence."""
    if not change.guest.active:
        return ""
    stays = [not cpus for cpus in change.after.vcpus]
    vcpus = tuple(CpuSet() if stay else cpus for stay, cpus in zip(stays, change.before.vcpus, strict=True))
    online = seen.state.topology.online
    back = structs.replace(change.before, vcpus=vcpus, overhead=change.before.overhead & online)
    if not back.overhead:
        return "; its threads are on the old set or on the new one: the old pCPUs are offline"
    try:
        driver.pin(change.guest.id, back)
    except PinfoldError as error:
        return f"; its threads are on the old set or on the new one, because they could not be moved back: {error}"
    return "; its threads were moved back"
