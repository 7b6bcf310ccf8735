"""Turn what agents report about guests (seen, absent) into releases, faults and new places. `lifecycle` handles what users ask.

A claim is released only after the agent confirmed that neither domain nor process remains, or after an operator said that the host is
powered off (`Hosts.fence`).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from pinfold.core.adoption import Takeover
from pinfold.core.errors import Conflict, InvalidRequest, RolledBack
from pinfold.core.identity import ClaimId, GuestId, HostId
from pinfold.service.claims.release import Releaser
from pinfold.service.claims.repin import Repinner
from pinfold.service.guests.faults import failed_on, in_place
from pinfold.service.guests.interfaces import Interfaces, SeenInterfaces
from pinfold.service.guests.lifecycle import UNPAUSING, Lifecycle
from pinfold.service.providers import Providers
from pinfold.store import claims, guest_configs, guest_events, guests, hosts
from pinfold.store.database import Database
from pinfold.store.records import REBUILDING, SCHEDULING, ClaimRecord, Desired, FailedStart, GuestRecord, Observed, Pause

_log = logging.getLogger(__name__)

MOST_HOSTS_TRIED: Final = 3
"""A guest whose start failed on this many hosts is put in error: the fault is more likely the guest's than the hosts'."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimName:
    """How an agent names a claim: by its id, or by a revision if it is of an earlier pinfold or read the record of one."""

    claim: ClaimId | None
    revision: int

    def means(self, found: ClaimRecord) -> bool:
        """Whether it is this claim."""
        return self.revision == found.held if self.claim is None else self.claim == found.id

    def sentence(self) -> str:
        """Such as `claim of revision 7`."""
        return f"claim of revision {self.revision}" if self.claim is None else f"claim {self.claim}"


class Reports:
    """Handles reports about guests. Safe to share between threads; any number of processes may use one on the same database."""

    def __init__(
        self,
        database: Database,
        releaser: Releaser,
        lifecycle: Lifecycle,
        repinner: Repinner,
        providers: Providers,
        interfaces: Interfaces,
    ) -> None:
        self._database = database
        self._releaser = releaser
        self._lifecycle = lifecycle
        self._repinner = repinner
        self._providers = providers
        self._interfaces = interfaces

    def seen(
        self,
        host_id: HostId,
        guest_id: GuestId,
        named: ClaimName,
        observed: Observed,
        *,
        booted: int | None,
        report: str | None,
        failure: str = "",
        unmoved: str = "",
        interfaces: SeenInterfaces | None = None,
    ) -> None:
        """An agent reports what its guest of that claim is doing.

        `failure` says why its last boot failed: the guest is then in error, with its host, claim and disk, until a later boot succeeds. If
        its disk was to be made anew with it, it may run all the same, from the old disk; the next boot makes the new one. If it could not
        be resumed, it stays paused, and its agent tries again.
        `unmoved` says why its threads could not follow the claim; those that were re-pinned with it go back then. `interfaces` are those
        that it has, None if the agent does not tell. A report about a guest on another host or of an earlier claim is dropped with a log
        entry. Raises `RolledBack` for one that the database did not keep; the agent sends it again.
        """
        heard = changed = False
        try:
            with self._database.write() as connection:
                repin = self._repinner.under_way(connection, host_id)
                guest = guests.hold(connection, guest_id)  # no request of a user comes between what is read and what is written
                claim = claims.live(connection, guest_id)
                if claim is None or claim.host != host_id or not named.means(claim):
                    raise Conflict(f"the host has no {named.sentence()} for it")
                done = _done(guest, observed, booted, failure)
                after = guests.observe(connection, guest_id, observed, host=host_id, booted=booted, report=report, done=done)
                rebuilt = booted is not None and booted >= guest.rebuild > 0 and not failure
                if rebuilt:
                    guests.rebuilt(connection, after)
                if guest.config_drive and (rebuilt or (observed is Observed.RUNNING and guest.launched is None)):
                    guest_configs.forget(connection, guest_id)  # its drive is made
                if failure and done and guest.rebuild:
                    if guest.task or (booted or 0) > guest.booted:  # told once; an administrator may have cleared it since
                        _fail_in_place(connection, guest, host_id, failure)
                elif failure and done and guest.desired is Desired.RUNNING:
                    _fail_in_place(connection, guest, host_id, failure)
                elif after.fault is not None and observed is Observed.RUNNING and done:
                    guests.mend(connection, guest_id)
                if guest.task and done:
                    guest_events.end(connection, guest_id)
                heard = repin is not None and self._repinner.hear(connection, repin, claim, named.revision, why=unmoved, name=guest.name)
                changed = interfaces is not None and self._interfaces.hear(connection, guest_id, interfaces)
        except RolledBack:
            raise
        except (Conflict, InvalidRequest) as error:
            _log.info("host %s reported %s of guest %s, to no effect: %s", host_id, observed.value, guest_id, error)
        if heard:
            self._repinner.tend_or_later(host_id)
        if changed:
            self._interfaces.finish_or_later(guest_id)

    def not_paused(self, host_id: HostId, guest_id: GuestId, named: ClaimName, why: str) -> None:
        """An agent reports that its guest of that claim could not be paused: it goes on running, and the log says why.

        Raises `RolledBack`.
        """
        try:
            with self._database.write() as connection:
                guest = guests.get(connection, guest_id)
                claim = claims.live(connection, guest_id)
                if claim is None or claim.host != host_id or not named.means(claim) or guest.pause is Pause.NONE:
                    return
                guests.want(connection, guest_id, guest.desired, task="", revision=guest.revision)
                guest_events.end(connection, guest_id, why)
            _log.warning("guest %s could not be paused: %s", guest_id, why)
        except RolledBack:
            raise
        except (Conflict, InvalidRequest) as error:
            _log.info("host %s reported that guest %s was not paused, to no effect: %s", host_id, guest_id, error)

    def absent(self, host_id: HostId, guest_id: GuestId, named: ClaimName, failure: str = "") -> None:
        """An agent confirms that neither domain nor process of a guest remains, for that claim.

        An unwanted guest is released and removed. A wanted one did not start there (`failure` says why): it is released and tried on
        another host, on at most `MOST_HOSTS_TRIED` hosts. A guest that ran before keeps its host, where its disk is, and is in error. A
        confirmation of an earlier claim changes nothing.

        Of a domain that was to be taken over or given back, it means that it has no record of ours: its claim is released, and it goes on.
        """
        with self._database.read() as connection:
            guest = guests.find(connection, guest_id)
            claim = claims.live(connection, guest_id)
        if guest is None or claim is None or claim.host != host_id or not named.means(claim):
            if guest is not None:
                self._lifecycle.remove_if_unwanted(guest_id)
            if guest is not None and claim is None and _left_half_way(guest, host_id) and failure:
                self._elsewhere(guest, host_id, failure)
            return
        if guest.desired is not Desired.ABSENT and not failure:
            _log.warning("host %s lost guest %s, which is wanted; its claim stays", host_id, guest_id)
            return
        if guest.takeover is Takeover.ADOPT and guest.desired is not Desired.ABSENT:
            self._releaser.release(guest_id, claim=claim.id)
            self._lifecycle.not_adopted(guest, failure)
            return
        if guest.desired is not Desired.ABSENT and guest.booted:
            with self._database.write() as connection:
                guest = guests.hold(connection, guest_id)
                if guest.desired is Desired.ABSENT:
                    return  # its agent confirms that when it has read the order
                guests.observe(connection, guest_id, Observed.ABSENT, host=host_id)
                _fail_in_place(connection, guest, host_id, failure)
            return
        # What was given back is there, without our record: a tombstone could only mislead.
        self._releaser.release(guest_id, claim=claim.id, bury=guest.takeover is not Takeover.RELEASE)
        if guest.desired is Desired.ABSENT:
            self._lifecycle.remove_if_unwanted(guest_id)
            if guest.adopted:
                self._providers.sync_or_later(host_id)
        else:
            self._elsewhere(guest, host_id, failure)

    def _elsewhere(self, guest: GuestRecord, host_id: HostId, failure: str) -> None:
        with self._database.read() as connection:
            name = hosts.get(connection, host_id).name
        failed = FailedStart(host=host_id, name=name, sentence=f"the start failed: {failure}")
        after = self._lifecycle.displace(guest, host_id, task=SCHEDULING, failed=failed)
        if after is None:
            return
        if len(failed_on(after)) < MOST_HOSTS_TRIED:
            self._lifecycle.place(after)
        else:
            self._lifecycle.fail(after, 500, f"The start failed on {MOST_HOSTS_TRIED} hosts")


def _left_half_way(guest: GuestRecord, host_id: HostId) -> bool:
    """Whether a wanted guest that never ran is on a host that holds no claim for it: an earlier release was interrupted."""
    return guest.host == host_id and guest.desired is not Desired.ABSENT and not guest.booted


def _fail_in_place(connection: sa.Connection, guest: GuestRecord, host_id: HostId, failure: str) -> None:
    """Put the guest in error where it is. Repeating the same failure, with nothing tried in between, changes nothing."""
    fault = in_place(hosts.get(connection, host_id).name, failure, rebuild=guest.rebuild > 0)
    if guest.task or guest.fault is None or guest.fault.message != fault.message:
        guests.fail(connection, guest.id, fault)


def _done(guest: GuestRecord, observed: Observed, booted: int | None, failure: str) -> bool:
    """Whether the guest's task is over, now that its agent has seen this state."""
    performed = guest.booted if booted is None else booted
    if guest.desired is Desired.STOPPED:
        due = guest.boots if guest.task == REBUILDING else 0
        return observed in (Observed.STOPPED, Observed.CRASHED, Observed.ABSENT) and performed >= due
    if guest.desired is not Desired.RUNNING or performed < guest.boots:
        return False
    if guest.pause is not Pause.NONE:
        return observed is not Observed.RUNNING and (guest.pause is Pause.IN_MEMORY or observed is not Observed.PAUSED)
    return guest.task != UNPAUSING or observed is not Observed.PAUSED or failure != ""
