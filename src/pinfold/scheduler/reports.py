"""What agents and operators say of guests, turned into releases, faults and new places: a guest was seen, is absent, its host is fenced.

One rule holds throughout: a claim is given back only after the agent has confirmed that neither domain nor process remains, or an operator
has said that the host is powered off. What users ask does not belong here (`lifecycle`), nor how a claim is given back (`release`).
"""

from __future__ import annotations

import logging
from typing import Final

import sqlalchemy as sa

from pinfold.core.errors import Conflict, InvalidRequest
from pinfold.scheduler.faults import failed_on, in_place, with_failed_start
from pinfold.scheduler.lifecycle import Lifecycle
from pinfold.scheduler.schedule import Scheduler
from pinfold.store import claims, guests, hosts
from pinfold.store.database import Database
from pinfold.store.guests import GuestFilter
from pinfold.store.model import Desired, GuestRecord, Observed, Pairs

_log = logging.getLogger(__name__)

MOST_HOSTS_TRIED: Final = 3
"""A guest whose start failed on so many hosts is in error; the fault lies with the guest more likely than with the hosts."""


class Reports:
    """What is told of guests. Safe to share between threads; any number of processes may use one on the same database."""

    def __init__(self, database: Database, scheduler: Scheduler, lifecycle: Lifecycle) -> None:
        self._database = database
        self._scheduler = scheduler
        self._lifecycle = lifecycle

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
                self._lifecycle.remove_if_unwanted(guest_id)
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
            self._lifecycle.remove_if_unwanted(guest_id)
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
                self._lifecycle.remove_if_unwanted(guest.id)
                continue
            if self._displace(guest, host_id, task="") is None:
                continue
            self._lifecycle.fail(guest, 500, f"The host {name} was fenced while the guest was on it; what it held is released.")
            lost.append(guest.id)
        return tuple(lost)

    def _elsewhere(self, guest: GuestRecord, host_id: str, failure: str) -> None:
        with self._database.read() as connection:
            name = hosts.get(connection, host_id).name
        after = self._displace(guest, host_id, task="scheduling", details=with_failed_start(guest, host_id, name, failure))
        if after is None:
            return
        if len(failed_on(after)) < MOST_HOSTS_TRIED:
            self._lifecycle.place(after)
        else:
            self._lifecycle.fail(after, 500, f"The start failed on {MOST_HOSTS_TRIED} hosts")

    def _displace(self, guest: GuestRecord, host_id: str, *, task: str, details: Pairs | None = None) -> GuestRecord | None:
        """The guest off that host; None where it was not there any more, since somebody else who was told the same was first."""
        try:
            with self._database.write() as connection:
                guests.displace(connection, guest.id, host=host_id, task=task)
                return guests.edit(connection, guest.id, details=details)
        except Conflict as error:
            _log.info("guest %s has left host %s already: %s", guest.id, host_id, error)
            return None


def _left_half_way(guest: GuestRecord, host_id: str) -> bool:
    """Whether a wanted guest that never ran is still on a host that holds no claim for it: whoever released that was cut short then."""
    return guest.host == host_id and guest.desired is not Desired.ABSENT and not guest.booted


def _fail_in_place(connection: sa.Connection, guest: GuestRecord, host_id: str, failure: str) -> None:
    """The guest is in error where it is. A failure that is told again, with nothing tried in between, changes nothing."""
    fault = in_place(hosts.get(connection, host_id).name, failure)
    if guest.task or guest.fault is None or guest.fault.message != fault.message:
        guests.fail(connection, guest.id, fault)


def _done(guest: GuestRecord, observed: Observed, booted: int | None) -> bool:
    """Whether what is under way is over, now that its agent has seen this."""
    if guest.desired is Desired.STOPPED:
        return observed in (Observed.STOPPED, Observed.CRASHED, Observed.ABSENT)
    if guest.desired is Desired.RUNNING:
        last = guest.booted if booted is None else booted
        return last >= guest.boots
    return False
