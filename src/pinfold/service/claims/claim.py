"""Claim a host for a guest. `scheduler.decide` says which hosts are worth claiming; `healing` clears up after a claimer that died.

0. Write the claim row: `intended`, with a deadline by the database's clock, and the amounts; for a single new guest, together with the
   guest. If others have claimed on that host since, or intend to, decide once more beside them. For another host or other amounts,
   redirect the row.
1. Write the allocation in Placement, which holds the guest's other claims too: first without a consumer generation; later ones with the
   generation that was read *before* the claim row was redirected. So a claimer whose claim was abandoned meanwhile can never overwrite its
   successor's allocation.
2. In one transaction, move the host's revision to the next, the claim from `intended` to `held`, the pCPUs to their owner and the guest to
   its host. Each part must hit exactly its row, or all of it is rolled back. If the host has another revision than at the decision, the
   guest is fitted again on what is there by now, for the same amounts. On PostgreSQL the step is one statement, which takes effect at that
   revision, or after claims only that were known at the decision or foreseen, and is tried again at another; elsewhere, or if that does not
   help, the first statement locks the host's row.

If the host has no such fit any more and losses decide, decide again, at most `TRIES` times for a guest: the host may not be the best one
any more. Otherwise fit again on the same host, at most `TRIES` times; then, or when room is lacking, try the next host. If all
hosts refuse, refresh the index and retry those that refused only because others were faster. At every instant Placement >= ledger: the
allocation is written before the pins and removed after them.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
import uuid
from collections import defaultdict
from typing import Final

import sqlalchemy as sa
from msgspec.structs import replace

from pinfold.accounting.client import Placement
from pinfold.accounting.placement_responses import OverCapacity
from pinfold.accounting.resources import Amounts, Shares, amounts, union
from pinfold.core.errors import Conflict, InvalidRequest, PinfoldError, Unavailable
from pinfold.core.fit.answer import Fit, NoFit
from pinfold.core.host import Claim
from pinfold.core.host_features import needed
from pinfold.core.identity import ClaimId, HostId
from pinfold.core.reasons import Kind, Reason, ReasonCode
from pinfold.faultpoints import fault_point
from pinfold.scheduler.decide import Conditions, closed, decide, decides_by_loss, explain, fit_on, refusal, untrait
from pinfold.scheduler.index import Entry
from pinfold.scheduler.model import Candidate, HostRefusal, HostSearch
from pinfold.scheduler.scheduler import Scheduler
from pinfold.service.claims import newest
from pinfold.service.claims.amend import TRIES, StaleError
from pinfold.service.claims.attempt import Attempt
from pinfold.service.claims.booking import booked_by, settle
from pinfold.service.claims.foresight import Foresight, note_row
from pinfold.service.claims.outcome import Claimed, Refused
from pinfold.store import arrival, claims, new_guest
from pinfold.store.arrival import Arrival, Came
from pinfold.store.claim_rows import IntendedClaim
from pinfold.store.database import Database
from pinfold.store.host_news import HostNews, Seen
from pinfold.store.records import ClaimRecord, ClaimState, GuestRecord, NewGuest

_CONSUMER_TRIES: Final = 5
_SETTLE_SECONDS: Final = 0.1
_UNSEEN_GENERATION: Final = 0
"""The generation of a consumer that Placement (16.0) keeps after it refused an allocation for a missing provider; a read does not show
it.
"""
_log = logging.getLogger(__name__)


class Claimer:
    """Claims hosts for guests. Safe to share between threads."""

    def __init__(self, database: Database, placement: Placement, scheduler: Scheduler) -> None:
        self._database = database
        self._placement = placement
        self._index = scheduler.index
        self._fresh = scheduler.freshness
        self._sets = scheduler.sets
        self._shapes = scheduler.shapes
        self._settings = scheduler.settings
        self._foresight = Foresight(scheduler.index)
        # Threads of one process take turns here, so that only other processes can make their revision stale.
        self.locks: defaultdict[HostId, threading.Lock] = defaultdict(threading.Lock)

    def begin(self, wanted: HostSearch) -> Attempt:
        """Decide about a guest that is not stored yet. `intend` goes on in the transaction that stores it, then `create`.

        Raises `Unavailable`.
        """
        attempt = self._attempt(wanted)
        attempt.conditions = self._conditions(wanted)
        attempt.candidates = decide(self._index, wanted.guest, attempt.demand, attempt.conditions, self._settings)
        return attempt

    def _attempt(self, wanted: HostSearch) -> Attempt:
        return Attempt(wanted=wanted, demand=self._index.kinds.demand(untrait(wanted.request)))

    def intend(self, connection: sa.Connection, attempt: Attempt) -> None:
        """Write step 0 of what `begin` decided, in the caller's transaction; nothing if no host takes the guest. Raises `Conflict` as
        `create`; then roll back.
        """
        if attempt.candidates and attempt.conditions is not None:
            attempt.candidates = self._intend_first(connection, attempt, attempt.candidates, attempt.conditions)

    def store(self, attempt: Attempt, new: NewGuest) -> GuestRecord | None:
        """Store the guest together with step 0 of what `begin` decided, as one statement; `create` then decides once more if others were
        faster. None, with nothing written, if that is not possible for it.

        Raises `Conflict` when the guest exists, or when the host is gone; `Unavailable`.
        """
        if not self._database.postgresql or new.config is not None or new.ports or not attempt.candidates:
            return None
        best = attempt.candidates[0]
        intent = self._intent(ClaimId(str(uuid.uuid4())), attempt.wanted, best)
        if intent is None:
            return None
        seconds, later = self._settings.claim_seconds, self._foresight.later_fits(attempt, best, intent)
        with self._database.write_once() as connection:
            stored = new_guest.create_intended(connection, new, intent, seconds=seconds, decided_on=best.revision, later=later)
        if stored is None:
            return None
        record, seen = stored
        attempt.claim, attempt.candidates = intent.id, note_row(attempt, intent, later, seen, attempt.candidates)
        attempt.seen = seen if attempt.foreseen is None else None
        self._foresight.intended(seen.newer)
        return record

    def _conditions(self, wanted: HostSearch) -> Conditions:
        """What a host must be for the guest, with an index that is up to date."""
        self._fresh.look()
        self._shapes.look()
        return self._sets.conditions(wanted)

    def create(self, wanted: HostSearch, attempt: Attempt | None = None) -> Claimed | Refused:
        """Find a host and claim it. The guest's row must exist (`store.guests.create`). `attempt` is what `together` or `begin` began for
        the guest.

        On success the guest is on its host with the task `spawning`, and the host's agent has been notified. A refusal leaves the guest's
        row as it is; the caller stores the fault. Raises `Conflict` when the guest has a live claim of that role, is gone or is wanted
        absent by now, or when the healer was faster; `Unavailable` when Placement or the database went away (the healer then clears up).
        """
        attempt = attempt or self._attempt(wanted)
        try:
            conditions = attempt.conditions or self._conditions(wanted)
            claimed = self._claim_any(attempt, conditions)
            if claimed is None:
                self._fresh.now()
                attempt.ask_again()
                claimed = self._claim_any(attempt, conditions)
            if claimed is not None:
                return claimed
            self._give_up(attempt)
        except PinfoldError:
            found = self.resolve(attempt)
            if found is not None:
                return found
            raise
        told, considered = explain(self._index, attempt.demand, conditions, attempt.tried)
        registered = self._index.look(lambda view: len(view.entries))
        return Refused(guest=wanted.guest, refusals=told, considered=considered, registered=registered)

    def _claim_any(self, attempt: Attempt, conditions: Conditions) -> Claimed | None:
        """Try hosts from the best on, until one is held or the index has no more."""
        while True:
            left = conditions
            if attempt.tried:
                left = dataclasses.replace(conditions, exclude=conditions.exclude | attempt.tried.keys())
            candidates, attempt.candidates = attempt.candidates, ()
            if not candidates:
                attempt.beside, attempt.foreseen = {}, None
                candidates = decide(self._index, attempt.wanted.guest, attempt.demand, left, self._settings)
            if not candidates:
                return None
            if attempt.claim is None:
                with self._database.write() as connection:
                    candidates = self._intend_first(connection, attempt, candidates, left)
            elif attempt.seen is not None and _overtaken(candidates[0], attempt.seen):
                with self._database.write_once() as connection:
                    candidates = self._beside_others(connection, attempt, candidates, left, attempt.seen)
            attempt.seen = None
            for candidate in candidates:
                outcome = self._claim_on(attempt, candidate)
                if isinstance(outcome, Claimed):
                    return outcome
                if outcome is None:
                    break
                attempt.tried[candidate.host] = outcome

    def _intend_first(
        self, connection: sa.Connection, attempt: Attempt, candidates: tuple[Candidate, ...], conditions: Conditions
    ) -> tuple[Candidate, ...]:
        """Step 0 for the best host, decided once more beside what others have claimed there since or intend to. Returns the hosts in the
        order in which to try them; the claim row is for the first.
        """
        intent = self._intent(ClaimId(str(uuid.uuid4())), attempt.wanted, candidates[0])
        if intent is None:
            return candidates
        seen = self._write_intent(connection, intent, written=False, decided_on=candidates[0].revision)
        attempt.claim, attempt.intent = intent.id, intent
        return self._beside_others(connection, attempt, candidates, conditions, seen)

    def _beside_others(
        self, connection: sa.Connection, attempt: Attempt, candidates: tuple[Candidate, ...], conditions: Conditions, seen: Seen
    ) -> tuple[Candidate, ...]:
        """Decide once more beside what others have claimed on the first host since or intend to, and redirect the claim row if that changes
        the decision; then again for the new host.
        """
        assert attempt.claim is not None
        known: dict[HostId, Entry] = {}
        intended: dict[HostId, tuple[ClaimRecord, ...]] = {}
        for _ in range(TRIES):
            best = candidates[0]
            if best.host in known or not _overtaken(best, seen):
                break
            other = newest.beside(connection, self._index, best.host, attempt, seen.news)
            if other is None:
                break
            known[best.host], intended[best.host] = other.entry, other.claims
            again = decide(self._index, attempt.wanted.guest, attempt.demand, conditions, self._settings, known)
            if not again:
                break
            candidates, attempt.beside = again, dict(intended)
            if attempt.intent is not None and (again[0].host, again[0].fit) == (attempt.intent.host, attempt.intent.fit):
                break
            intent = self._intent(attempt.claim, attempt.wanted, again[0], known.get(again[0].host))
            if intent is None:
                break
            # Guests like this one that find the host full come to the same other host.
            later = () if again[0].host in known or not self._database.postgresql else self._foresight.later_fits(attempt, again[0], intent)
            seconds, decided_on = self._settings.claim_seconds, again[0].revision
            seen = claims.redirect(connection, intent, seconds=seconds, decided_on=decided_on, later=later)
            candidates = note_row(attempt, intent, later, seen, candidates)
            if attempt.foreseen is not None:
                break
        return candidates

    def _intent(self, claim: ClaimId, search: HostSearch, best: Candidate, entry: Entry | None = None) -> IntendedClaim | None:
        """The claim row for a decision; None if the index has forgotten its host."""
        entry = entry or self._index.get(best.host)
        if entry is None:
            return None
        booked = amounts(best.fit, entry.state)
        return _intent(claim, search, best.host, best.fit, booked, best.shapes)

    def _write_intent(self, connection: sa.Connection, intent: IntendedClaim, *, written: bool, decided_on: int | None = None) -> Seen:
        write = claims.redirect if written else claims.intend
        return write(connection, intent, seconds=self._settings.claim_seconds, decided_on=decided_on)

    def _claim_on(self, attempt: Attempt, candidate: Candidate) -> Claimed | HostRefusal | None:
        """The claim, or why the host refuses; None if it has changed since the decision, which is to be made again."""
        entry = self._index.get(candidate.host)
        if entry is None:
            return _refused(candidate, ReasonCode.HOST_DOWN)
        lost = self._sets.lost(attempt.wanted, candidate.host)
        if lost:
            return refusal(entry, NoFit(reasons=lost))
        wanted, revision, attempt.shapes = candidate.fit, candidate.revision, candidate.shapes
        for attempts in range(TRIES):
            booked = amounts(wanted, entry.state)
            lacking: OverCapacity | None = None
            try:
                if attempt.host != entry.id or attempt.booked != booked:
                    self._book(attempt, entry, wanted, booked)
                return self._hold(attempt, entry, wanted, revision)
            except OverCapacity as error:
                lacking = error
            except StaleError:
                pass
            newer = self._newer(candidate.host, revision)
            if newer is None:
                return _refused(candidate, ReasonCode.HOST_DOWN)
            if lacking is not None and newer.state.revision == revision and not self._waited(attempt, candidate.host, attempts):
                reason = Reason(code=ReasonCode.PLACEMENT, kind=Kind.INSUFFICIENT, detail=str(lacking))
                return refusal(newer, NoFit(reasons=(reason,)))
            if lacking is None and attempt.overtaken < TRIES and decides_by_loss(attempt.demand, self._settings):
                attempt.overtaken += 1
                return None
            answer = self._fit_again(attempt, newer)
            if isinstance(answer, HostRefusal):
                return answer
            entry, wanted, revision = newer, answer, newer.state.revision
            attempt.beside, attempt.foreseen = {}, None
        return _refused(candidate, ReasonCode.STALE, TRIES)

    def _newer(self, host: HostId, revision: int) -> Entry | None:
        known = self._index.get(host)
        return known if known is not None and known.state.revision > revision else self._fresh.host(host)

    def _waited(self, attempt: Attempt, host: HostId, attempts: int) -> bool:
        """Placement lacks room that the ledger has. Wait, longer each time, for claims that come or go there to end. Returns False when
        there are none, or when it takes too long.
        """
        with self._database.read() as connection:
            waiting = attempts + 1 < TRIES and claims.under_way(connection, host, attempt.wanted.guest)
        if waiting:
            time.sleep(_SETTLE_SECONDS * 2**attempts)
        return waiting

    def _fit_again(self, attempt: Attempt, entry: Entry) -> Fit | HostRefusal:
        shut = closed(entry, Conditions(networks=attempt.wanted.networks, features=needed(attempt.wanted.request)))
        if shut is not None:
            return shut
        answer = fit_on(entry, attempt.demand)
        return refusal(entry, answer) if isinstance(answer, NoFit) else answer

    def _book(self, attempt: Attempt, entry: Entry, wanted: Fit, booked: Amounts) -> None:
        """Steps 0 and 1: write the claim row, then the allocation. Raises `OverCapacity`."""
        generation: int | None = None
        if attempt.booked:
            generation = self._generation(attempt)
        for _ in range(_CONSUMER_TRIES):
            shares = self._intend(attempt, entry.id, wanted, booked, alone=generation is None)
            fault_point("claim.intended")
            try:
                self._placement.allocate(attempt.wanted.guest, shares, generation=generation)
            except Conflict:
                found = self._generation(attempt)
                generation = _UNSEEN_GENERATION if found is None and generation is None else found
                continue
            except InvalidRequest as error:
                # A missing provider has no room; the healer creates it.
                raise OverCapacity(str(error)) from error
            attempt.host, attempt.booked = entry.id, booked
            fault_point("claim.allocated")
            return
        raise Conflict(f"guest {attempt.wanted.guest}: its allocation in Placement keeps changing")

    def _intend(self, attempt: Attempt, host: HostId, wanted: Fit, booked: Amounts, *, alone: bool) -> Shares:
        """Write the claim row. Returns the allocation that the guest is to have: that of this claim, and unless it is `alone` in Placement,
        of the guest's other claims.
        """
        claim = attempt.claim or ClaimId(str(uuid.uuid4()))
        intent = _intent(claim, attempt.wanted, host, wanted, booked, attempt.shapes)
        first, attempt.intent = attempt.intent, None
        if alone and first == intent:
            return union([(host, booked)])
        with self._database.write() as connection:
            self._write_intent(connection, intent, written=attempt.claim is not None)
            shares = union([(host, booked)]) if alone else booked_by(connection, attempt.wanted.guest)
        attempt.claim = claim
        return shares

    def _generation(self, attempt: Attempt) -> int | None:
        found = self._placement.allocation(attempt.wanted.guest)
        if found is not None and not found.ours:
            raise Conflict(f"guest {attempt.wanted.guest}: Placement has a consumer of that id, of the type {found.consumer_type}")
        return None if found is None else found.generation

    def _hold(self, attempt: Attempt, entry: Entry, wanted: Fit, revision: int) -> Claimed:
        """Step 2. Raises `StaleError` when the host takes the guest no more for what is booked."""
        guest, claim = attempt.wanted.guest, attempt.claim
        assert claim is not None
        arriving = Arrival(claim=claim, guest=guest, host=entry.id, fit=wanted, role=attempt.wanted.role)
        with self.locks[entry.id]:
            wanted, made, others = self._arrive(attempt, arriving, revision)
            self._index.followed(entry.id, (*others, (made, Claim(guest=guest, fit=wanted, id=claim))), made)
            if attempt.foreseen is not None:
                self._fresh.known(entry.id, made)
        fault_point("claim.held")
        refusals = tuple(attempt.tried.values())
        return Claimed(claim=claim, guest=guest, host=entry.id, name=entry.name, revision=made, fit=wanted, refusals=refusals)

    def _arrive(self, attempt: Attempt, arriving: Arrival, revision: int) -> tuple[Fit, int, Came]:
        """The fit by which the guest is on its host, the revision that this made, and the foreseen claims before it, of which the index
        has not heard. Raises as `_hold`.
        """
        found = self._arrive_at_once(attempt, arriving, revision) if self._database.postgresql else None
        if found is not None:
            return found
        host, fit = arriving.host, arriving.fit
        with self._database.write() as connection:
            made = arrival.arrive(connection, arriving, revision=revision + 1)
            if made is None:
                raise StaleError
            if made != revision + 1:
                (fit,) = newest.fits(connection, self._index, host, made - 1, [(attempt, fit, attempt.booked)])
                arrival.settle(connection, replace(arriving, fit=fit), revision=made)
            fault_point("claim.pinned")
        return fit, made, ()

    def _arrive_at_once(self, attempt: Attempt, arriving: Arrival, revision: int) -> tuple[Fit, int, Came] | None:
        """The same by one statement, again each time that the host has changed; None if a transaction that locks the host's row has to say
        what is in the way.
        """
        host, fit, known = arriving.host, arriving.fit, attempt.beside.get(arriving.host, ())
        fits = () if attempt.foreseen is None else attempt.foreseen.on(host, revision)
        waited = False
        for _ in range(TRIES):
            with self._database.write_once() as connection:
                came = arrival.arrive_at_once(connection, replace(arriving, fit=fit), decided_on=revision, known=known, foreseen=fits)
            newer = None if came.news is None else self._index.catch_up(host, came.news)
            if came.made is not None:
                fault_point("claim.pinned")
                others = came.made - 1 - revision
                if fits:
                    self._foresight.arrived(others)
                return fits[others] if fits else fit, came.made, came.came
            if came.news is None:
                if waited:
                    return None
                waited = True  # for a change of the host that was under way: the next try sees what it was
                continue
            newer = newer or self._fresh.host(host)
            if newer is None:
                raise StaleError
            revision = newer.state.revision
            if fits:
                fits = self._foresight.fits_again(attempt, newer, fit)
                fit = fits[0]
            else:
                fit, known = self._fit_beside(attempt, newer, fit, came.news)
        return None

    def _fit_beside(self, attempt: Attempt, entry: Entry, fit: Fit, news: HostNews) -> tuple[Fit, tuple[ClaimRecord, ...]]:
        """The fit on a host that has changed, and the claims beside which it was made: those that others intend there, if they leave room.
        Raises `StaleError`.
        """
        other = newest.with_intended(self._index, entry, attempt, news)
        wanted = [(attempt, fit, attempt.booked)]
        try:
            (found,) = newest.fits_on(self._index, other.entry, wanted)
        except StaleError:
            (found,) = newest.fits_on(self._index, entry, wanted)
            return found, ()
        return found, other.claims

    def _give_up(self, attempt: Attempt) -> None:
        """Remove everything that the attempt wrote. Every call was answered, so nothing can arrive late."""
        if attempt.claim is None:
            return
        with self._database.write() as connection:
            claims.abandon(connection, attempt.claim, expired=False)
        if attempt.booked:
            settle(self._database, self._placement, attempt.wanted.guest)
        with self._database.write() as connection:
            claims.forget(connection, attempt.claim)

    def resolve(self, attempt: Attempt, *, settles: bool = True) -> Claimed | None:
        """After an error, return the claim if it is held after all (the response to a commit was lost); otherwise hand it to the healer at
        once. With `settles`, try to correct Placement before.
        """
        if attempt.claim is None:
            return None
        try:
            with self._database.read() as connection:
                found = claims.get(connection, attempt.claim)
            if found is None:
                return None
            if found.state is ClaimState.HELD:
                self._fresh.host(found.host)
                name = self._index.get(found.host)
                return Claimed(
                    claim=found.id,
                    guest=found.guest,
                    host=found.host,
                    name=name.name if name else "",
                    revision=found.revision,
                    fit=found.fit,
                    refusals=tuple(attempt.tried.values()),
                )
            if found.state is ClaimState.INTENDED:
                with self._database.write() as connection:
                    claims.abandon(connection, attempt.claim, expired=False)
            if settles:
                settle(self._database, self._placement, attempt.wanted.guest)
        except (Unavailable, Conflict) as error:
            _log.warning("claim %s is left to the healer: %s", attempt.claim, error)
        return None


def _overtaken(best: Candidate, seen: Seen) -> bool:
    """Whether others have claimed on the host since the decision, or intend to."""
    return seen.revision != best.revision or seen.others > 0


def _intent(claim: ClaimId, search: HostSearch, host: HostId, fit: Fit, booked: Amounts, shapes: int) -> IntendedClaim:
    return IntendedClaim(id=claim, guest=search.guest, host=host, amounts=booked, fit=fit, role=search.role, shapes=shapes)


def _refused(candidate: Candidate, code: ReasonCode, needed: int = 0) -> HostRefusal:
    reason = Reason(code=code, kind=Kind.INSUFFICIENT, needed=needed)
    return HostRefusal(host=candidate.host, name=candidate.name, revision=candidate.revision, no_fit=NoFit(reasons=(reason,)))
