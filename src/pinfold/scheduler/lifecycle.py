"""What users ask of guests, turned into claims and orders; and the tending that goes on with what a dead process left half-way.

What agents and operators say of guests does not belong here (`reports`), nor how a claim is made or healed (`schedule`), nor how anything
is shown.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final

import sqlalchemy as sa

from pinfold.core.errors import Conflict, InvalidRequest, PinfoldError, Unavailable
from pinfold.scheduler.faults import failed_on, nowhere, with_refusals
from pinfold.scheduler.model import Claimed, Healed, HostRefusal, Move, Refused, Wanted
from pinfold.scheduler.moves import with_move
from pinfold.scheduler.schedule import Scheduler
from pinfold.store import claims, guests, hosts
from pinfold.store.database import Database
from pinfold.store.guests import GuestFilter
from pinfold.store.model import ClaimState, Desired, GuestRecord, NewGuest, Observed

_log = logging.getLogger(__name__)

_AT_REST: Final = (Observed.STOPPED, Observed.CRASHED, Observed.ABSENT)
"""What an agent has said of a guest that holds no pCPU busy."""
_ONLY_ON: Final = "only_on"
DELETED_SECONDS: Final = 30 * 86400.0
"""For how long a guest that is gone can still be asked for."""
TOMBSTONE_SECONDS: Final = 30 * 86400.0
"""For how long at least a host is told of guests that are gone from it."""
TOMBSTONE_CHANGES: Final = 2000
"""A host is told of guests that are gone from it until its ledger has changed so often since: more often than any host has guests."""

_MEMBER_OF: Final = "member_of"
REBOOTING: Final = "rebooting"
REBOOTING_HARD: Final = "rebooting_hard"


class Lifecycle:
    """The service's verbs for guests. Safe to share between threads; any number of processes may use one on the same database."""

    def __init__(self, database: Database, scheduler: Scheduler) -> None:
        self._database = database
        self._scheduler = scheduler

    def create(self, new: NewGuest, *, only_on: str = "", member_of: frozenset[str] = frozenset()) -> None:
        """Store a guest and find it a host; a guest that no host takes is stored with its fault, each host's reasons in it.

        `only_on` is the one host id allowed, '' for any; `member_of` are Placement aggregates, of one of which the host must be a member.
        Raises `Conflict` when the id exists, `Unavailable` when the database is away before the guest is stored.
        """
        hints = {_ONLY_ON: only_on, _MEMBER_OF: ",".join(sorted(member_of))}
        details = dict(new.details) | {key: value for key, value in hints.items() if value}
        with self._database.write() as connection:
            stored = guests.create(connection, replace(new, details=tuple(sorted(details.items()))))
        self.place(stored)

    def place(self, guest: GuestRecord) -> None:
        """Find a host for a stored guest that has none, and claim it there. What goes wrong becomes the guest's fault."""
        details = dict(guest.details)
        only_on = details.get(_ONLY_ON, "")
        wanted = Wanted(
            guest=guest.id,
            request=guest.request,
            hosts=frozenset({only_on}) if only_on else None,
            exclude=failed_on(guest),
            member_of=frozenset(filter(None, details.get(_MEMBER_OF, "").split(","))),
        )
        try:
            answer = self._scheduler.create(wanted)
        except Conflict as error:
            _log.info("guest %s was not placed: %s", guest.id, error)
            self.remove_if_unwanted(guest.id)
            return
        except PinfoldError as error:
            _log.error("guest %s was not placed: %s", guest.id, error)
            self.fail(guest, 503 if isinstance(error, Unavailable) else 500, f"The guest could not be placed: {error}")
            return
        if isinstance(answer, Refused):
            self.fail(guest, 500, answer.sentence(), answer.refusals)
        else:
            _log.info("guest %s is claimed on %s at revision %s", guest.id, answer.name, answer.revision)
            self._keep_refusals(guest, answer)

    def start(self, guest_id: str) -> GuestRecord:
        """The user wants a stopped guest, or one whose start failed, to run.

        Where its claim no longer lies within its host's pools it starts in another place there, and its details say so.
        Raises `Conflict` when it runs, something is under way, or its place is lost and its host has no other.
        """
        guest = self._quiet(guest_id, "start")
        if guest.desired is Desired.RUNNING and guest.observed in (Observed.RUNNING, Observed.PAUSED):
            raise Conflict(f"Cannot 'start' instance {guest_id} while it is in vm_state active")
        return self._boot(guest, "powering-on")

    def stop(self, guest_id: str) -> GuestRecord:
        """The user wants a running guest to shut down, its claim kept. Raises `Conflict` when it does not run or something is under way."""
        guest = self._quiet(guest_id, "stop")
        if guest.desired is not Desired.RUNNING or guest.observed not in (Observed.RUNNING, Observed.PAUSED):
            raise Conflict(f"Cannot 'stop' instance {guest_id} while it is in vm_state {_at_rest(guest)}")
        return self._want(guest, Desired.STOPPED, "powering-off")

    def reboot(self, guest_id: str, *, hard: bool) -> GuestRecord:
        """The user wants one boot more: of a running guest, which is asked to shut down first, or `hard`, of any guest on a host.

        Raises `Conflict` when something is under way; a hard reboot may overtake one that is not, as in Nova.
        """
        guest = self._quiet(guest_id, "reboot", unless=REBOOTING if hard else "")
        if not hard and (guest.desired is not Desired.RUNNING or guest.observed is not Observed.RUNNING):
            raise Conflict(f"Cannot 'reboot' instance {guest_id} while it is in vm_state {_at_rest(guest)}")
        return self._boot(guest, REBOOTING_HARD if hard else REBOOTING)

    def delete(self, guest_id: str) -> None:
        """The user wants the guest gone: at once where no host holds it, else when its agent has confirmed.

        Raises `InvalidRequest` when there is none. A guest on a host that is away stays, deleting, until the host returns or is fenced.
        """
        guest = self.get(guest_id)
        if guest.deleted is not None:
            raise InvalidRequest(f"guest {guest_id}: no such guest")
        with self._database.write() as connection:
            guests.want(connection, guest_id, Desired.ABSENT, task="deleting")
        self.remove_if_unwanted(guest_id)

    def tend(self, *, place: bool = True) -> Healed:
        """Heal, place again what a dead process left half-way, remove unwanted guests that nothing holds, and forget what is long gone.

        Run at the start, then on a schedule; `place` only once the agents have had the time to speak. While every host is down, as for a
        moment after the database's clock has jumped, nothing is placed either: it could only be refused.
        """
        healed = self._scheduler.heal()
        with self._database.read() as connection:
            known = hosts.marks(connection) if healed.interrupted else ()
        place = place and (not known or any(host.up for host in known))
        for guest_id in healed.interrupted if place else ():
            guest = self.get(guest_id)
            if guest.desired is not Desired.ABSENT and guest.host is None and guest.task == "scheduling":
                self.place(guest)
        with self._database.read() as connection:
            unwanted = guests.page(connection, GuestFilter(desired=Desired.ABSENT))
        for guest in unwanted:
            self.remove_if_unwanted(guest.id)
        with self._database.write() as connection:
            guests.purge(connection, DELETED_SECONDS)
            hosts.forget_tombstones(connection, older_than_seconds=TOMBSTONE_SECONDS, changes=TOMBSTONE_CHANGES)
        return healed

    def get(self, guest_id: str) -> GuestRecord:
        """One guest, deleted ones too. Raises `InvalidRequest` when there is none."""
        with self._database.read() as connection:
            return guests.get(connection, guest_id)

    def fail(self, guest: GuestRecord, code: int, message: str, refusals: tuple[HostRefusal, ...] = ()) -> None:
        """Put a guest that has no host in error; one that is gone already is left."""
        try:
            with self._database.write() as connection:
                guests.fail(connection, guest.id, nowhere(guest, code, message, refusals))
        except Conflict as error:
            _log.info("guest %s is gone already: %s", guest.id, error)

    def remove_if_unwanted(self, guest_id: str) -> None:
        """Remove a guest that is wanted absent and that nothing holds: no host, no claim but one whose allocation is being emptied."""
        try:
            with self._database.write() as connection:
                guest = guests.find(connection, guest_id)
                if guest is None or guest.deleted is not None or guest.desired is not Desired.ABSENT:
                    return
                claim = claims.live(connection, guest_id)
                if claim is None or claim.state is ClaimState.RELEASING:
                    guests.remove(connection, guest_id)
        except Conflict as error:
            _log.info("guest %s is gone already: %s", guest_id, error)

    def _boot(self, guest: GuestRecord, task: str) -> GuestRecord:
        """One boot more; of a guest at rest in a place that its host's pools still have, or in another one there."""

        def start(connection: sa.Connection, move: Move) -> None:
            guests.want(connection, guest.id, Desired.RUNNING, task=task, reboot=True, revision=guest.revision)
            guests.edit(connection, guest.id, details=with_move(guests.get(connection, guest.id), move))

        try:
            move = self._scheduler.replace(guest.id, start) if guest.observed in _AT_REST else None
        except Conflict as error:
            raise Conflict(f"Cannot 'start' instance {guest.id}: {error}") from error
        if move is None:
            return self._want(guest, Desired.RUNNING, task, reboot=True)
        words = "; ".join(move.because)
        _log.warning("guest %s starts in another place on %s, %s -> %s: %s", guest.id, move.host, move.before, move.after, words)
        assert guest.host is not None
        self._scheduler.sync_host_or_later(guest.host)  # pCPUs that the pools had lost are not claimed any more
        return self.get(guest.id)

    def _want(self, guest: GuestRecord, desired: Desired, task: str, *, reboot: bool = False) -> GuestRecord:
        with self._database.write() as connection:
            return guests.want(connection, guest.id, desired, task=task, reboot=reboot, revision=guest.revision)

    def _quiet(self, guest_id: str, verb: str, *, unless: str = "") -> GuestRecord:
        """The guest, when nothing is under way but a task `unless`, and a host holds it. Raises `Conflict`."""
        guest = self.get(guest_id)
        if guest.task not in ("", unless) or guest.desired is Desired.ABSENT:
            raise Conflict(f"Cannot '{verb}' instance {guest_id} while it is in task_state {guest.task or 'deleting'}")
        if guest.host is None:
            raise Conflict(f"Cannot '{verb}' instance {guest_id} while it is in vm_state error")
        return guest

    def _keep_refusals(self, guest: GuestRecord, answer: Claimed) -> None:
        """What other hosts lacked is kept with the guest, also when one took it."""
        if not answer.refusals:
            return
        try:
            with self._database.write() as connection:
                guests.edit(connection, guest.id, details=with_refusals(guests.hold(connection, guest.id), answer.refusals))
        except Conflict as error:
            _log.info("guest %s is gone already: %s", guest.id, error)


def _at_rest(guest: GuestRecord) -> str:
    """Nova's word for a guest with which nothing is under way and that cannot be told to stop."""
    if guest.fault is not None:
        return "error"
    return "paused" if guest.observed is Observed.PAUSED else "stopped"
