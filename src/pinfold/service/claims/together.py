"""Claim hosts for several guests that are alike, with one or few writes to Placement and one transaction for each host.

It takes the steps of `claim`, each for all guests at once:
0. Decide about one guest after another, each as if those before it were claimed. Write all claim rows in one transaction.
1. Write all allocations in one request, all or nothing; for many guests, in a request for each of a few parts, all of whose hosts differ.
   The parts go on side by side. If Placement refuses, write those of each host alone.
2. For each host one transaction, on PostgreSQL one statement: revision, claims, owners of pCPUs and guests, all of them or none. If the
   host has changed since, the guests are fitted again there, for the same amounts.

What Placement refuses for a host is forgotten, and its guests are left to `claim`, one after another. So are the guests of a host that
takes one of them no more: `claim` goes on from what is written, redirects the intended claim, and the allocation follows. So every
guarantee of `claim` holds for each guest, and a process that dies leaves what `claim` leaves.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import sqlalchemy as sa

from pinfold.accounting.client import Placement
from pinfold.accounting.placement_responses import OverCapacity
from pinfold.accounting.resources import amounts, union
from pinfold.core.errors import Conflict, InvalidRequest, PinfoldError, Unavailable
from pinfold.core.host import Claim
from pinfold.core.identity import ClaimId, GuestId, HostId
from pinfold.faultpoints import fault_point
from pinfold.scheduler.decide import decide_many, untrait
from pinfold.scheduler.index import Entry
from pinfold.scheduler.model import Candidate, HostSearch
from pinfold.scheduler.scheduler import Scheduler
from pinfold.service.claims import newest
from pinfold.service.claims.amend import StaleError
from pinfold.service.claims.attempt import Attempt
from pinfold.service.claims.claim import Claimer
from pinfold.service.claims.outcome import Claimed, Refused
from pinfold.service.claims.side_by_side import SideBySide
from pinfold.store import arrival, claims, guests, hosts
from pinfold.store.claim_rows import IntendedClaim
from pinfold.store.claims import HeldClaim
from pinfold.store.database import Database

MOST: Final = 100
"""The most guests that are claimed together: their intended claims have one deadline."""
PART: Final = 10
"""The fewest guests for whom a write to Placement of their own pays."""
_THREADS: Final = 4
_log = logging.getLogger(__name__)

Outcome = Claimed | Refused | PinfoldError


@dataclass(frozen=True, slots=True)
class _Group:
    """The guests that are to be on one host, with the decisions about them."""

    entry: Entry
    chosen: tuple[tuple[Attempt, Candidate], ...]


class Together:
    """Claims hosts for several guests. Safe to share between threads."""

    def __init__(self, database: Database, placement: Placement, scheduler: Scheduler, claimer: Claimer) -> None:
        self._database = database
        self._placement = placement
        self._scheduler = scheduler
        self._index = scheduler.index
        self._claimer = claimer
        self._side_by_side = SideBySide(_THREADS, "pinfold-together")

    def create_all(self, wanted: Sequence[HostSearch], begun: Attempt | None = None) -> list[Outcome]:
        """What comes of each search, in their order: as `Claimer.create`, with the error where that raises one.

        The searches differ in the guest only, and are about claims by which guests run. `begun` is what `Claimer.begin` began for the only
        one.
        """
        if begun is not None:
            return [self._alone(begun)]
        demand = self._index.kinds.demand(untrait(wanted[0].request))
        attempts = [Attempt(wanted=one, demand=demand) for one in wanted]
        held: dict[GuestId, Outcome] = {}
        if len(attempts) > 1:
            for start in range(0, len(attempts), MOST):
                self._claim(attempts[start : start + MOST], held)
        return [held.get(one.wanted.guest) or self._alone(one) for one in attempts]

    def _alone(self, attempt: Attempt) -> Outcome:
        try:
            return self._claimer.create(attempt.wanted, attempt)
        except PinfoldError as error:
            return error

    def _claim(self, attempts: Sequence[Attempt], held: dict[GuestId, Outcome]) -> None:
        """Claim what can be claimed together. What fails for one of the guests only is left to `_alone`."""
        try:
            groups = self._decide(attempts)
            if sum(len(group.chosen) for group in groups) < 2 or not self._intend(groups):
                return
        except Unavailable as error:
            held |= self._resolved(attempts, error)
            return
        fault_point("claim.intended")
        parts = _parts(groups, self._placement.writers)
        for found in self._side_by_side.run([partial(self._claim_part, part) for part in parts]):
            held |= found

    def _claim_part(self, groups: Sequence[_Group]) -> dict[GuestId, Outcome]:
        """Steps 1 and 2 for some of the hosts: what comes of their guests, without those that are left to `_alone`."""
        held: dict[GuestId, Outcome] = {}
        try:
            for group in self._book(groups):
                held |= self._hold(group)
        except Unavailable as error:
            attempts = [attempt for group in groups for attempt, _ in group.chosen]
            held |= self._resolved([one for one in attempts if one.wanted.guest not in held], error)
        return held

    def _resolved(self, attempts: Iterable[Attempt], error: Unavailable) -> dict[GuestId, Outcome]:
        _log.warning("guests could not be claimed together: %s", error)
        return {one.wanted.guest: self._claimer.resolve(one, settles=False) or error for one in attempts}

    def _decide(self, attempts: Sequence[Attempt]) -> list[_Group]:
        self._scheduler.freshness.look()
        self._scheduler.shapes.look()
        first = attempts[0]
        conditions = self._scheduler.sets.conditions(first.wanted)
        ids = [one.wanted.guest for one in attempts]
        chosen: dict[HostId, list[tuple[Attempt, Candidate]]] = {}
        for attempt, candidate in zip(
            attempts, decide_many(self._index, ids, first.demand, conditions, self._scheduler.settings), strict=False
        ):
            chosen.setdefault(candidate.host, []).append((attempt, candidate))
        groups = []
        for host, pairs in chosen.items():
            entry = self._index.get(host)
            if entry is not None and not self._scheduler.sets.lost(first.wanted, host):
                groups.append(_Group(entry, tuple(pairs)))
        return groups

    def _intend(self, groups: Iterable[_Group]) -> bool:
        """Step 0. False if one of the guests has a claim already, or is gone; then nothing is written."""
        rows: list[tuple[Attempt, IntendedClaim]] = []
        for group in groups:
            for attempt, candidate in group.chosen:
                claim = IntendedClaim(
                    id=ClaimId(str(uuid.uuid4())),
                    guest=attempt.wanted.guest,
                    host=candidate.host,
                    amounts=amounts(candidate.fit, group.entry.state),
                    fit=candidate.fit,
                    shapes=candidate.shapes,
                )
                rows.append((attempt, claim))
        try:
            with self._database.write() as connection:
                claims.intend_all(connection, [row for _, row in rows], seconds=self._scheduler.settings.claim_seconds)
        except Conflict as error:
            _log.info("guests are claimed one by one: %s", error)
            return False
        for attempt, row in rows:
            attempt.claim, attempt.shapes = row.id, row.shapes
        return True

    def _book(self, groups: Sequence[_Group]) -> Iterable[_Group]:
        """Step 1. The groups whose allocations are written."""
        if self._allocate(groups):
            fault_point("claim.allocated")
            return groups
        booked = [group for group in groups if len(groups) > 1 and self._allocate((group,))]
        self._forget(attempt for group in groups if group not in booked for attempt, _ in group.chosen)
        return booked

    def _forget(self, refused: Iterable[Attempt]) -> None:
        """Delete the claims of guests whose allocations were refused: nothing of them is in Placement."""
        with self._database.write() as connection:
            for attempt in refused:
                try:
                    claims.abandon(connection, _id(attempt), expired=False)
                    claims.forget(connection, _id(attempt))
                except Conflict:  # the healer was faster, and finishes it
                    _log.info("guest %s: its claim was abandoned before it was refused", attempt.wanted.guest)
                attempt.claim = None

    def _allocate(self, groups: Sequence[_Group]) -> bool:
        wanted = [
            (attempt, group.entry.id, amounts(candidate.fit, group.entry.state)) for group in groups for attempt, candidate in group.chosen
        ]
        try:
            self._placement.allocate_all({attempt.wanted.guest: union([(host, booked)]) for attempt, host, booked in wanted})
        except (OverCapacity, Conflict, InvalidRequest) as error:
            _log.info("Placement refuses %s guests on %s hosts: %s", len(wanted), len(groups), error)
            return False
        for attempt, host, booked in wanted:
            attempt.host, attempt.booked = host, booked
        return True

    def _hold(self, group: _Group) -> Mapping[GuestId, Claimed]:
        """Step 2; nothing is held if the host takes one of them no more, or one of the claims has changed since."""
        entry = group.entry
        with self._claimer.locks[entry.id]:
            try:
                rows, made = self._arrive(group)
            except (Conflict, StaleError) as error:
                _log.info("%s guests are claimed one by one: %s", len(group.chosen), error or "the host has changed")
                return {}
            self._index.claimed_all(entry.id, [Claim(guest=row.guest, fit=row.fit, id=row.id) for row in rows], made)
        fault_point("claim.held")
        return {
            row.guest: Claimed(claim=row.id, guest=row.guest, host=entry.id, name=entry.name, revision=made, fit=row.fit) for row in rows
        }

    def _arrive(self, group: _Group) -> tuple[list[HeldClaim], int]:
        """The claims that are held, and the host's revision that this made: on PostgreSQL by one statement, unless the host has changed."""
        host, revision = group.entry.id, group.chosen[0][1].revision
        rows = [HeldClaim(id=_id(attempt), guest=attempt.wanted.guest, fit=candidate.fit) for attempt, candidate in group.chosen]
        if self._database.postgresql:
            with self._database.write_once() as connection:
                at_once = arrival.arrive_all_at_once(connection, rows, host=host, decided_on=revision)
            if at_once is not None:
                fault_point("claim.pinned")
                return rows, at_once
        with self._database.write() as connection:
            made = hosts.advance_newest(connection, host)
            if made == revision + 1:
                claims.hold_all(connection, rows, host=host, revision=made)
            else:
                rows = self._fitted_again(connection, group, made)
                for row in rows:
                    claims.hold(connection, row.id, guest=row.guest, host=host, fit=row.fit, revision=made)
            guests.place_all(connection, [row.guest for row in rows], host)
            fault_point("claim.pinned")
        return rows, made

    def _fitted_again(self, connection: sa.Connection, group: _Group, made: int) -> list[HeldClaim]:
        """The claims of the group on the host as it is by now. Raises `StaleError`."""
        host, chosen = group.entry.id, group.chosen
        wanted = [(attempt, candidate.fit, attempt.booked) for attempt, candidate in chosen]
        fits = newest.fits(connection, self._index, host, made - 1, wanted)
        return [HeldClaim(id=_id(attempt), guest=attempt.wanted.guest, fit=fit) for (attempt, _), fit in zip(chosen, fits, strict=True)]


def _parts(groups: Sequence[_Group], most: int) -> list[list[_Group]]:
    """The hosts in at most so many parts, of about as many guests each; fewer parts if there are few guests."""
    count = max(1, min(most, len(groups), sum(len(group.chosen) for group in groups) // PART))
    parts: list[list[_Group]] = [[] for _ in range(count)]
    for group in sorted(groups, key=lambda group: -len(group.chosen)):
        min(parts, key=lambda part: sum(len(one.chosen) for one in part)).append(group)
    return parts


def _id(attempt: Attempt) -> ClaimId:
    assert attempt.claim is not None
    return attempt.claim
