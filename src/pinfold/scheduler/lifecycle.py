"""A guest's life in the service: what a user asks and what an agent reports, turned into claims, orders and releases.

One rule holds throughout: a claim is given back only after the agent has confirmed that neither domain nor process remains, or an operator
has said that the host is powered off. How a claim is made or healed does not belong here (`schedule`), nor how anything is shown.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final

import sqlalchemy as sa

from pinfold.core.errors import Conflict, InvalidRequest, PinfoldError, Unavailable
from pinfold.scheduler.model import Claimed, Healed, HostRefusal, Refused, Wanted
from pinfold.scheduler.schedule import Scheduler
from pinfold.store import claims, guests, hosts
from pinfold.store.database import Database
from pinfold.store.guests import GuestFilter
from pinfold.store.model import ClaimState, Desired, Fault, GuestRecord, NewGuest, Observed, Pairs

_log = logging.getLogger(__name__)

MOST_HOSTS_TRIED: Final = 3
"""A guest whose start failed on so many hosts is in error; the fault lies with the guest more likely than with the hosts."""

_FAILED_ON: Final = "failed_on:"
"""One detail for each host that the guest's start failed on: this and the host's id, and the sentence that says why."""
_REFUSED: Final = "refused"
"""One line for each host that refused before another one took the guest: its revision, its name, and the sentence."""
_LONGEST: Final = 4096
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
            exclude=frozenset(key.removeprefix(_FAILED_ON) for key in details if key.startswith(_FAILED_ON)),
            member_of=frozenset(filter(None, details.get(_MEMBER_OF, "").split(","))),
        )
        try:
            answer = self._scheduler.create(wanted)
        except Conflict as error:
            _log.info("guest %s was not placed: %s", guest.id, error)
            self._remove_if_unwanted(guest.id)
            return
        except PinfoldError as error:
            _log.error("guest %s was not placed: %s", guest.id, error)
            self._fail(guest, 503 if isinstance(error, Unavailable) else 500, f"The guest could not be placed: {error}")
            return
        if isinstance(answer, Refused):
            self._fail(guest, 500, answer.sentence(), answer.refusals)
        else:
            _log.info("guest %s is claimed on %s at revision %s", guest.id, answer.name, answer.revision)
            self._keep_refusals(guest, answer)

    def start(self, guest_id: str) -> GuestRecord:
        """The user wants a stopped guest, or one whose start failed, to run. Raises `Conflict` when it runs, or something is under way."""
        guest = self._quiet(guest_id, "start")
        if guest.desired is Desired.RUNNING and guest.observed in (Observed.RUNNING, Observed.PAUSED):
            raise Conflict(f"Cannot 'start' instance {guest_id} while it is in vm_state active")
        return self._want(guest, Desired.RUNNING, "powering-on", reboot=True)

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
        return self._want(guest, Desired.RUNNING, REBOOTING_HARD if hard else REBOOTING, reboot=True)

    def delete(self, guest_id: str) -> None:
        """The user wants the guest gone: at once where no host holds it, else when its agent has confirmed.

        Raises `InvalidRequest` when there is none. A guest on a host that is away stays, deleting, until the host returns or is fenced.
        """
        guest = self.get(guest_id)
        if guest.deleted is not None:
            raise InvalidRequest(f"guest {guest_id}: no such guest")
        with self._database.write() as connection:
            guests.want(connection, guest_id, Desired.ABSENT, task="deleting")
        self._remove_if_unwanted(guest_id)

    def seen(
        self, host_id: str, guest_id: str, revision: int, observed: Observed, *, booted: int | None, report: str | None, failure: str = ""
    ) -> None:
        """An agent reports what one of its guests, of the claim of that revision, is doing.

        `failure` says why its last boot led to nothing: it is in error then, with its host, claim and disk, until a later boot succeeds.
        A report about a guest that is not that host's, or of an earlier claim, is dropped with a log entry.
        """
        try:
            with self._database.write() as connection:
                guest = guests.get(connection, guest_id)
                claim = claims.live(connection, guest_id)
                if claim is None or claim.host != host_id or claim.revision != revision:
                    raise Conflict(f"the host has no claim of revision {revision} for it")
                done = _done(guest, observed, booted)
                after = guests.observe(connection, guest_id, observed, host=host_id, booted=booted, report=report, done=done)
                if failure and done and guest.desired is Desired.RUNNING:
                    _fail_in_place(connection, guest, host_id, failure)
                elif after.fault is not None and observed is Observed.RUNNING and done:
                    guests.mend(connection, guest_id)
        except (Conflict, InvalidRequest) as error:
            _log.info("host %s reported %s of guest %s, to no effect: %s", host_id, observed.value, guest_id, error)

    def absent(self, host_id: str, guest_id: str, revision: int, failure: str = "") -> None:
        """An agent confirms that neither domain nor process of a guest remains, as of the claim of that revision.

        An unwanted guest is released and removed. A wanted one was not started there (`failure` says why): it is released and tried
        elsewhere, on at most `MOST_HOSTS_TRIED` hosts. One that has run before keeps its host, for its disk is there, and is in error. A
        confirmation of an earlier claim changes nothing.
        """
        with self._database.read() as connection:
            guest = guests.find(connection, guest_id)
            claim = claims.live(connection, guest_id)
        if guest is None or claim is None or claim.host != host_id or claim.revision != revision:
            if guest is not None:
                self._remove_if_unwanted(guest_id)
            if guest is not None and claim is None and _left_half_way(guest, host_id) and failure:
                self._elsewhere(guest, host_id, failure)
            return
        if guest.desired is not Desired.ABSENT and not failure:
            _log.warning("host %s lost guest %s, which is wanted; its claim stays", host_id, guest_id)
            return
        if guest.desired is not Desired.ABSENT and guest.booted:
            with self._database.write() as connection:
                guests.observe(connection, guest_id, Observed.ABSENT, host=host_id)
                _fail_in_place(connection, guest, host_id, failure)
            return
        self._scheduler.release(guest_id, claim=claim.id, bury=True)
        if guest.desired is Desired.ABSENT:
            self._remove_if_unwanted(guest_id)
        else:
            self._elsewhere(guest, host_id, failure)

    def fence(self, host_id: str) -> tuple[str, ...]:
        """An operator's word that the host is powered off: everything on it is released, its unwanted guests are removed.

        Returns the ids of the guests that were on it and are still wanted; they are in error, without a host, and can be deleted.
        Raises `Conflict` while the host's lease runs.
        """
        with self._database.write() as connection:
            hosts.fence(connection, host_id)
            name = hosts.get(connection, host_id).name
        with self._database.read() as connection:
            there = guests.page(connection, GuestFilter(host=host_id))
            held = claims.of_guests(connection, [guest.id for guest in there])
        lost = []
        for guest in there:
            if guest.id in held:
                self._scheduler.release(guest.id, claim=held[guest.id].id, bury=True)
            if guest.desired is Desired.ABSENT:
                self._remove_if_unwanted(guest.id)
                continue
            if self._displace(guest, host_id, task="") is None:
                continue
            self._fail(guest, 500, f"The host {name} was fenced while the guest was on it; what it held is released.")
            lost.append(guest.id)
        return tuple(lost)

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
            self._remove_if_unwanted(guest.id)
        with self._database.write() as connection:
            guests.purge(connection, DELETED_SECONDS)
            hosts.forget_tombstones(connection, older_than_seconds=TOMBSTONE_SECONDS, changes=TOMBSTONE_CHANGES)
        return healed

    def get(self, guest_id: str) -> GuestRecord:
        """One guest, deleted ones too. Raises `InvalidRequest` when there is none."""
        with self._database.read() as connection:
            return guests.get(connection, guest_id)

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

    def _elsewhere(self, guest: GuestRecord, host_id: str, failure: str) -> None:
        with self._database.read() as connection:
            name = hosts.get(connection, host_id).name
        details = dict(guest.details) | {f"{_FAILED_ON}{host_id}": f"{name}: the start failed: {failure}"}
        after = self._displace(guest, host_id, task="scheduling", details=tuple(sorted(details.items())))
        if after is None:
            return
        if len(failed_starts(after)) < MOST_HOSTS_TRIED:
            self.place(after)
        else:
            self._fail(after, 500, f"The start failed on {MOST_HOSTS_TRIED} hosts")

    def _displace(self, guest: GuestRecord, host_id: str, *, task: str, details: Pairs | None = None) -> GuestRecord | None:
        """The guest off that host; None where it was not there any more, since somebody else who was told the same was first."""
        try:
            with self._database.write() as connection:
                guests.displace(connection, guest.id, host=host_id, task=task)
                return guests.edit(connection, guest.id, details=details)
        except Conflict as error:
            _log.info("guest %s has left host %s already: %s", guest.id, host_id, error)
            return None

    def _keep_refusals(self, guest: GuestRecord, answer: Claimed) -> None:
        """What other hosts lacked is kept with the guest, also when one took it."""
        if not answer.refusals:
            return
        told = "".join(f"{refusal.revision} {refusal.sentence()}\n" for refusal in answer.refusals)
        details = dict(guest.details) | {_REFUSED: told[: told.rfind("\n", 0, _LONGEST)]}
        try:
            with self._database.write() as connection:
                guests.edit(connection, guest.id, details=tuple(sorted(details.items())))
        except Conflict as error:
            _log.info("guest %s is gone already: %s", guest.id, error)

    def _fail(self, guest: GuestRecord, code: int, message: str, refusals: tuple[HostRefusal, ...] = ()) -> None:
        """Put the guest in error; the starts that failed before are told with it."""
        failed = failed_starts(guest)
        fault = Fault(
            code=code,
            message="; ".join((message, *(f"{name}: {sentence}" for name, sentence in failed))),
            reasons=tuple(sorted(({told.name: told.no_fit.sentence() for told in refusals} | dict(failed)).items())),
            revisions=tuple(sorted((told.name, told.revision) for told in refusals if told.name not in dict(failed))),
        )
        try:
            with self._database.write() as connection:
                guests.fail(connection, guest.id, fault)
        except Conflict as error:
            _log.info("guest %s is gone already: %s", guest.id, error)

    def _remove_if_unwanted(self, guest_id: str) -> None:
        """Remove a guest that is wanted absent and that nothing holds: no host, no claim but one whose allocation is being emptied."""
        with self._database.write() as connection:
            guest = guests.find(connection, guest_id)
            if guest is None or guest.deleted is not None or guest.desired is not Desired.ABSENT:
                return
            claim = claims.live(connection, guest_id)
            if claim is None or claim.state is ClaimState.RELEASING:
                guests.remove(connection, guest_id)


def refused_by(guest: GuestRecord) -> tuple[tuple[str, int | None, str], ...]:
    """`(host name, revision, sentence)` of every host that did not take the guest, by name: of its fault, or of those tried before one took
    it. The revision is the host's that the refusal was decided on, None where the start failed there.
    """
    if guest.fault is not None:
        at = dict(guest.fault.revisions)
        return tuple((name, at.get(name), sentence) for name, sentence in guest.fault.reasons)
    told: list[tuple[str, int | None, str]] = [(name, None, sentence) for name, sentence in failed_starts(guest)]
    for line in dict(guest.details).get(_REFUSED, "").splitlines():
        revision, _, refusal = line.partition(" ")
        name, _, sentence = refusal.partition(": ")
        told.append((name, int(revision), sentence))
    return tuple(sorted(told, key=lambda one: (one[0], one[2])))


def _left_half_way(guest: GuestRecord, host_id: str) -> bool:
    """Whether a wanted guest that never ran is still on a host that holds no claim for it: whoever released that was cut short then."""
    return guest.host == host_id and guest.desired is not Desired.ABSENT and not guest.booted


def failed_starts(guest: GuestRecord) -> Pairs:
    """`(host name, sentence)` of every host that the guest's start failed on, ordered by name."""
    told = (text.partition(": ") for key, text in guest.details if key.startswith(_FAILED_ON))
    return tuple(sorted((name, sentence) for name, _, sentence in told))


def _fail_in_place(connection: sa.Connection, guest: GuestRecord, host_id: str, failure: str) -> None:
    """The guest is in error where it is. A failure that is told again, with nothing tried in between, changes nothing."""
    name = hosts.get(connection, host_id).name
    fault = Fault(code=500, message=f"The start failed on {name}: {failure}", reasons=((name, failure),))
    if guest.task or guest.fault is None or guest.fault.message != fault.message:
        guests.fail(connection, guest.id, fault)


def _at_rest(guest: GuestRecord) -> str:
    """Nova's word for a guest with which nothing is under way and that cannot be told to stop."""
    if guest.fault is not None:
        return "error"
    return "paused" if guest.observed is Observed.PAUSED else "stopped"


def _done(guest: GuestRecord, observed: Observed, booted: int | None) -> bool:
    """Whether what is under way is over, now that its agent has seen this."""
    if guest.desired is Desired.STOPPED:
        return observed in (Observed.STOPPED, Observed.CRASHED, Observed.ABSENT)
    if guest.desired is Desired.RUNNING:
        last = guest.booted if booted is None else booted
        return last >= guest.boots
    return False
