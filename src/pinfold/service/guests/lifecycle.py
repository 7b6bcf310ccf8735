"""Turn what users want of guests into claims and orders. `reports` handles what agents and operators say about guests."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

import sqlalchemy as sa
from msgspec.structs import replace

from pinfold.core.adoption import NOT_ADOPTED
from pinfold.core.errors import Conflict, InvalidRequest, PinfoldError, Unavailable
from pinfold.core.identity import GuestId, HostId
from pinfold.core.quota import Amount, amount_of
from pinfold.core.request.aggregate_specs import aggregate_specs
from pinfold.scheduler.model import HostRefusal, HostSearch
from pinfold.service.claims.attempt import Attempt
from pinfold.service.claims.claim import Claimer
from pinfold.service.claims.outcome import Claimed, Refused
from pinfold.service.claims.replace import Replacer
from pinfold.service.claims.together import Outcome, Together
from pinfold.service.guests.edits import PAUSING, Edits
from pinfold.service.guests.faults import failed_on, nowhere, past_refusals
from pinfold.service.guests.refusals import Refusals
from pinfold.service.providers import Providers
from pinfold.service.quotas import refuse_excess
from pinfold.store import claims, flavors, guests, hosts, ports
from pinfold.store.database import Database
from pinfold.store.records import (
    ADOPTING,
    DELETING,
    RELEASING,
    ClaimState,
    Desired,
    FailedStart,
    GuestRecord,
    Move,
    NewGuest,
    Observed,
    Pause,
    Rebuild,
)

_log = logging.getLogger(__name__)

_ACTIVE: Final = (Observed.RUNNING, Observed.PAUSED)
"""The observed states in which a guest has a process."""
_AT_REST: Final = (Observed.STOPPED, Observed.CRASHED, Observed.ABSENT)
"""The observed states in which a guest keeps no pCPU busy."""
TRIES: Final = 5
"""How often a change of a guest is tried that reports of its agent overtake."""

REBUILDS: Final = 4
"""The first protocol of agents that make disks anew."""
REBOOTING: Final = "rebooting"
UNPAUSING: Final = "unpausing"
RESUMING: Final = "resuming"
REBOOTING_HARD: Final = "rebooting_hard"


class Lifecycle:
    """The service's operations on guests. Safe to share between threads; any number of processes may use one on the same database.

    `refusals` counts the guests that no host took.
    """

    def __init__(
        self, database: Database, claimer: Claimer, together: Together, replacer: Replacer, providers: Providers, edits: Edits
    ) -> None:
        self._database = database
        self._claimer = claimer
        self._together = together
        self._replacer = replacer
        self._providers = providers
        self._edits = edits
        self.refusals = Refusals()

    def create(self, new: NewGuest) -> None:
        """Store a guest and find a host for it, as `create_all`."""
        self.create_all((new,))

    def create_all(self, new: Sequence[NewGuest]) -> None:
        """Store guests that are alike, all or none, then find a host for each. A guest that no host takes is stored with its fault, which
        holds each host's reasons.

        Raises `LimitReached` when the quota of their project has no room for all, `Conflict` when an id exists or an address is taken,
        `FlavorChanged` when their flavor is not as it was seen, `Unavailable` when the database is away before they are stored.
        """
        search = self._search(new[0], frozenset(port.network for port in new[0].ports))
        begun = self._begin(search) if len(new) == 1 else None
        try:
            stored = self._store(new, begun)
        except Conflict as error:
            if begun is None or isinstance(error, flavors.FlavorChanged):
                raise
            # The host may be gone by now. Store the guest without it; what is in its own way is in the way again.
            begun, stored = None, self._store(new, None)
        outcomes = self._together.create_all([replace(search, guest=guest.id) for guest in stored], begun)
        for guest, outcome in zip(stored, outcomes, strict=True):
            self._placed(guest, outcome)

    def _begin(self, search: HostSearch) -> Attempt | None:
        """The decision about a single guest, so that its claim is intended in the transaction that stores it; None if it has to wait."""
        try:
            return self._claimer.begin(search)
        except PinfoldError as error:
            _log.info("guest %s is stored before its host is looked for: %s", search.guest, error)
            return None

    def _store(self, new: Sequence[NewGuest], begun: Attempt | None) -> tuple[GuestRecord, ...]:
        at_once = None if begun is None else self._claimer.store(begun, new[0])
        if at_once is not None:
            return (at_once,)
        with self._database.write() as connection:
            if new[0].seen_flavor is not None:
                flavors.refuse_changed(connection, new[0].seen_flavor)
            refuse_excess(connection, new[0].project, Amount().plus(amount_of(new[0].request), len(new)))
            stored = guests.create_all(connection, new)
            if begun is not None:
                self._claimer.intend(connection, begun)
        return stored

    def search(self, guest: GuestRecord) -> HostSearch:
        """What a stored guest asks of a host."""
        return replace(self._search(guest, self._networks(guest)), exclude=failed_on(guest))

    def _search(self, guest: GuestRecord | NewGuest, networks: frozenset[str]) -> HostSearch:
        return HostSearch(
            guest=guest.id,
            request=guest.request,
            hosts=frozenset({HostId(guest.only_on)}) if guest.only_on else None,
            member_of=guest.member_of,
            aggregates=aggregate_specs(guest.flavor),
            networks=networks,
        )

    def place(self, guest: GuestRecord) -> None:
        """Find and claim a host for a stored guest that has none. Any failure becomes the guest's fault."""
        try:
            search = self.search(guest)
        except PinfoldError as error:
            self._placed(guest, error)
        else:
            self._placed(guest, *self._together.create_all([search]))

    def _placed(self, guest: GuestRecord, outcome: Outcome) -> None:
        if isinstance(outcome, Conflict):
            _log.info("guest %s was not placed: %s", guest.id, outcome)
            self.remove_if_unwanted(guest.id)
        elif isinstance(outcome, PinfoldError):
            _log.error("guest %s was not placed: %s", guest.id, outcome)
            self.fail(guest, 503 if isinstance(outcome, Unavailable) else 500, f"The guest could not be placed: {outcome}")
        elif isinstance(outcome, Refused):
            self.refusals.count(outcome)
            self.fail(guest, 500, outcome.sentence(), outcome.refusals)
        else:
            _log.info("guest %s is claimed on %s at revision %s", guest.id, outcome.name, outcome.revision)
            self._keep_refusals(guest, outcome)

    def _networks(self, guest: GuestRecord) -> frozenset[str]:
        if not guest.request.nics:
            return frozenset()
        with self._database.read() as connection:
            return frozenset(port.network for port in ports.of_guest(connection, guest.id))

    def start(self, guest_id: GuestId) -> GuestRecord:
        """Start a stopped guest, or one whose start failed.

        If its claim no longer lies within its host's pools, it starts in another place there, and its record says so. Raises `Conflict`
        when it runs, when something is under way, or when its place is lost and its host has no other.
        """

        def boot() -> GuestRecord:
            guest = self._quiet(guest_id, "start")
            if guest.desired is Desired.RUNNING and (guest.observed in _ACTIVE or guest.pause is Pause.ON_DISK):
                raise _wrong_state(guest, "start")
            return self._boot(guest, "powering-on")

        return self._on_newest(guest_id, boot)

    def stop(self, guest_id: GuestId) -> GuestRecord:
        """Shut down a running guest and keep its claim. Raises `Conflict` when it does not run or something is under way."""

        def end() -> GuestRecord:
            guest = self._quiet(guest_id, "stop")
            if guest.desired is not Desired.RUNNING or guest.observed not in _ACTIVE or guest.pause is not Pause.NONE:
                raise _wrong_state(guest, "stop")
            return self._want(guest, Desired.STOPPED, "powering-off")

        return self._on_newest(guest_id, end)

    def reboot(self, guest_id: GuestId, *, hard: bool) -> GuestRecord:
        """Boot a guest once more: a running guest, which is asked to shut down first, or with `hard` any guest on a host.

        Raises `Conflict` when something is under way; as in Nova, a hard reboot may overtake one that is not.
        """

        if hard:
            self._edits.forget_reset(guest_id)

        def boot() -> GuestRecord:
            guest = self._quiet(guest_id, "reboot", unless=REBOOTING if hard else "")
            if not hard and not _runs(guest):
                raise _wrong_state(guest, "reboot")
            return self._boot(guest, REBOOTING_HARD if hard else REBOOTING)

        return self._on_newest(guest_id, boot)

    def pause(self, guest_id: GuestId) -> GuestRecord:
        """Stop the vCPUs of a running guest, whose process stays. Raises `Conflict` when it does not run or something is under way."""
        return self._pause(guest_id, "pause", Pause.IN_MEMORY)

    def suspend(self, guest_id: GuestId) -> GuestRecord:
        """Save the memory of a running guest to its host's disk, and end its process. Raises as `pause`."""
        return self._pause(guest_id, "suspend", Pause.ON_DISK)

    def unpause(self, guest_id: GuestId) -> GuestRecord:
        """Let a paused guest go on. Raises `Conflict` when it is not paused, when something is under way, and when it is to run already, as
        after it failed to go on: its agent tries again, and its report would be no new one, so that no task would end.
        """

        def go_on() -> GuestRecord:
            guest = self._quiet(guest_id, "unpause")
            to_run = guest.pause is Pause.NONE
            if guest.desired is not Desired.RUNNING or guest.observed is not Observed.PAUSED or (to_run and _vm_state(guest) == "error"):
                raise _wrong_state(guest, "unpause")
            if to_run:
                raise Conflict(f"Cannot 'unpause' instance {guest_id}: it is to run already, and its agent tries until it does")
            return self._want(guest, Desired.RUNNING, UNPAUSING)

        return self._on_newest(guest_id, go_on)

    def resume(self, guest_id: GuestId) -> GuestRecord:
        """Let a suspended guest go on from its saved memory. Raises `Conflict` when it is not suspended or something is under way."""

        def go_on() -> GuestRecord:
            guest = self._quiet(guest_id, "resume")
            if guest.pause is not Pause.ON_DISK or guest.observed in _ACTIVE:
                raise _wrong_state(guest, "resume")
            return self._want(guest, Desired.RUNNING, RESUMING, reboot=True)

        return self._on_newest(guest_id, go_on)

    def _pause(self, guest_id: GuestId, verb: str, pause: Pause) -> GuestRecord:
        def end() -> GuestRecord:
            guest = self._quiet(guest_id, verb)
            if not _runs(guest):
                raise _wrong_state(guest, verb)
            self._refuse_early_agent(guest, verb)
            return self._want(guest, Desired.RUNNING, PAUSING[pause], pause=pause)

        return self._on_newest(guest_id, end)

    def _refuse_early_agent(self, guest: GuestRecord, verb: str, *, least: int = 1) -> None:
        """Raise `Conflict` if the agent of the guest's host speaks no protocol that has the order, `least` or later."""
        assert guest.host is not None
        with self._database.read() as connection:
            host = hosts.get(connection, guest.host)
        if host.report.protocol < least:
            raise Conflict(f"Cannot '{verb}' instance {guest.id}: the agent of host {host.name} is of an earlier pinfold; upgrade it")

    def rebuild(self, guest_id: GuestId, change: Callable[[GuestRecord], Rebuild]) -> GuestRecord:
        """Have the disk and the config drive of a guest made anew, in its place; it runs or is stopped as before, and one that ended
        by itself is stopped. `change` says what the guest is then, and is asked again if the guest changes meanwhile.

        Raises `Conflict` when the guest is paused, suspended, has an emulated TPM or was adopted, when its agent is of an earlier pinfold,
        or when something is under way; and what `change` raises.
        """

        def make_anew() -> GuestRecord:
            guest = self._quiet(guest_id, "rebuild")
            if not guest.booted or _vm_state(guest) not in ("active", "stopped", "error"):
                raise _wrong_state(guest, "rebuild")
            if guest.adopted:
                raise Conflict(f"Cannot 'rebuild' instance {guest_id}: pinfold did not make its domain, and cannot make it anew")
            if guest.request.wants.tpm:
                raise Conflict(f"Cannot 'rebuild' instance {guest_id}: it has an emulated TPM, whose keys the new disk would not know")
            self._refuse_early_agent(guest, "rebuild", least=REBUILDS)
            new = change(guest)
            desired = Desired.STOPPED if _vm_state(guest) == "stopped" else guest.desired
            with self._database.write() as connection:
                return guests.rebuild(connection, guest, new, desired)

        return self._on_newest(guest_id, make_anew)

    def delete(self, guest_id: GuestId) -> None:
        """Delete a guest: at once if no host holds it, else when its agent has confirmed that it is gone.

        Raises `InvalidRequest` when there is none. A guest on a host that is away stays, deleting, until the host returns or is fenced.
        """
        guest = self.get(guest_id)
        if guest.deleted is not None:
            raise InvalidRequest(f"guest {guest_id}: no such guest")
        with self._database.write() as connection:
            guests.want(connection, guest_id, Desired.ABSENT, task=DELETING)
        self.remove_if_unwanted(guest_id)

    def get(self, guest_id: GuestId) -> GuestRecord:
        """One guest, including deleted ones. Raises `InvalidRequest` when there is none."""
        with self._database.read() as connection:
            return guests.get(connection, guest_id)

    def fail(self, guest: GuestRecord, code: int, message: str, refusals: tuple[HostRefusal, ...] = ()) -> None:
        """Put a guest that has no host in error; leave one that is gone already."""
        try:
            self._database.change(lambda connection: guests.fail(connection, guest.id, nowhere(guest, code, message, refusals)))
        except Conflict as error:
            _log.info("guest %s is gone already: %s", guest.id, error)

    def release(self, guest_id: GuestId) -> GuestRecord:
        """Have its agent remove its record from an adopted guest, whose domain goes on without the service; then release its claim.

        Raises `Conflict` when it was not adopted, when something is under way, or when its host is down.
        """

        def give_back() -> GuestRecord:
            guest = self._quiet(guest_id, "release")
            if not guest.adopted:
                raise Conflict(f"Cannot 'release' instance {guest_id}: pinfold made its domain; only an adopted guest can be released")
            assert guest.host is not None
            with self._database.read() as connection:
                host = hosts.get(connection, guest.host)
            if not host.up:
                raise Conflict(f"Cannot 'release' instance {guest_id}: host {host.name} is down")
            return self._want(guest, Desired.ABSENT, RELEASING)

        return self._on_newest(guest_id, give_back)

    def not_adopted(self, guest: GuestRecord, why: str) -> None:
        """Put a guest in error whose domain was not taken over after all. It has no claim any more."""
        if guest.host is not None and self.displace(guest, guest.host, task=ADOPTING) is None:
            return
        self.fail(guest, 500, f"{NOT_ADOPTED}{why}")
        if guest.host is not None:
            self._providers.sync_or_later(guest.host)

    def displace(self, guest: GuestRecord, host_id: HostId, *, task: str, failed: FailedStart | None = None) -> GuestRecord | None:
        """Take the guest off that host and return it; None if another process did so first."""

        def take_off(connection: sa.Connection) -> GuestRecord:
            guests.displace(connection, guest.id, host=host_id, task=task)
            return guests.get(connection, guest.id) if failed is None else guests.note_failed_start(connection, guest.id, failed)

        try:
            return self._database.change(take_off)
        except Conflict as error:
            _log.info("guest %s has left host %s already: %s", guest.id, host_id, error)
            return None

    def remove_if_unwanted(self, guest_id: GuestId) -> None:
        """Remove a guest that is wanted absent and that nothing holds: no host, and no claim except one whose allocation is being
        emptied.
        """

        def remove(connection: sa.Connection) -> None:
            guest = guests.find(connection, guest_id)
            if guest is None or guest.deleted is not None or guest.desired is not Desired.ABSENT:
                return
            if all(claim.state is ClaimState.RELEASING for claim in claims.all_live(connection, guest_id)):
                guests.remove(connection, guest_id)

        try:
            self._database.change(remove)
        except Conflict as error:
            _log.info("guest %s is gone already: %s", guest_id, error)

    def _on_newest(self, guest_id: GuestId, change: Callable[[], GuestRecord]) -> GuestRecord:
        """What `change` returns. If the guest changes while it reads and writes it, as a report of its agent does, it is tried again."""
        for _ in range(TRIES - 1):
            before = self.get(guest_id).revision
            try:
                return change()
            except Conflict:
                if self.get(guest_id).revision == before:
                    raise
        return change()

    def _boot(self, guest: GuestRecord, task: str) -> GuestRecord:
        """Ask for one boot more. A guest at rest keeps its place if its host's pools still have it, else it gets another one there."""

        def start(connection: sa.Connection, move: Move) -> None:
            guests.want(connection, guest.id, Desired.RUNNING, task=task, reboot=True, revision=guest.revision)
            guests.note_move(connection, guest.id, move)

        try:
            move = self._replacer.replace(guest.id, start) if guest.observed in _AT_REST else None
        except Conflict as error:
            raise Conflict(f"Cannot 'start' instance {guest.id}: {error}") from error
        if move is None:
            return self._want(guest, Desired.RUNNING, task, reboot=True)
        words = "; ".join(move.because)
        _log.warning("guest %s starts in another place on %s, %s -> %s: %s", guest.id, move.host, move.before, move.after, words)
        assert guest.host is not None
        self._providers.sync_or_later(guest.host)  # the claim no longer holds pCPUs that the pools lost
        return self.get(guest.id)

    def _want(self, guest: GuestRecord, desired: Desired, task: str, *, reboot: bool = False, pause: Pause = Pause.NONE) -> GuestRecord:
        with self._database.write() as connection:
            return guests.want(connection, guest.id, desired, task=task, reboot=reboot, pause=pause, revision=guest.revision)

    def _quiet(self, guest_id: GuestId, verb: str, *, unless: str = "") -> GuestRecord:
        """The guest, if a host holds it and nothing is under way except a task in `unless`. Raises `Conflict`."""
        guest = self.get(guest_id)
        if guest.task not in ("", unless) or guest.desired is Desired.ABSENT:
            raise Conflict(f"Cannot '{verb}' instance {guest_id} while it is in task_state {guest.task or DELETING}")
        if guest.host is None:
            raise Conflict(f"Cannot '{verb}' instance {guest_id} while it is in vm_state error")
        return guest

    def _keep_refusals(self, guest: GuestRecord, answer: Claimed) -> None:
        """Keep with the guest what other hosts lacked, also when one took it."""
        if not answer.refusals:
            return
        try:
            self._database.change(lambda connection: guests.note_refusals(connection, guest.id, past_refusals(answer.refusals)))
        except Conflict as error:
            _log.info("guest %s is gone already: %s", guest.id, error)


def _runs(guest: GuestRecord) -> bool:
    failed = guest.reset or (guest.fault is not None and guest.rebuild > 0)
    return not failed and guest.desired is Desired.RUNNING and guest.observed is Observed.RUNNING and guest.pause is Pause.NONE


def _wrong_state(guest: GuestRecord, verb: str) -> Conflict:
    return Conflict(f"Cannot '{verb}' instance {guest.id} while it is in vm_state {_vm_state(guest)}")


def _vm_state(guest: GuestRecord) -> str:
    """Nova's word for what a guest is doing when nothing is under way with it."""
    if guest.reset or (guest.fault is not None and (guest.rebuild or guest.observed is not Observed.RUNNING)):
        return "error"
    if guest.observed is Observed.PAUSED:
        return "paused"
    if guest.pause is Pause.ON_DISK:
        return "suspended"
    return "active" if guest.observed is Observed.RUNNING else "stopped"
