"""Re-pin the running guests of a host: show the plan, amend the claims, and see the guests arrive. `core.repin` decides.

1. The plan is made of the host's ledger at one revision. In one transaction the claims of all its guests get their new places (`amend`),
   and the host's row says who is on its way (`core.repin.progress`). A host that has changed meanwhile is planned anew.
2. The host's agent gets the claims with its orders, moves the threads of one guest after another, reads them back from procfs, and
   reports each guest with the record of its new place.
3. Once all have arrived, what they left is free. If an agent reports that it cannot move a guest, all claims get their first places
   again, and the guests that had moved go back by the same protocol.

The report and what follows from it are stored in one transaction. If a process dies before 3, the healer does it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from pinfold.accounting.placement_responses import OverCapacity
from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Subject
from pinfold.core.drift.remedy import replaced
from pinfold.core.errors import Conflict, InvalidRequest, Unavailable
from pinfold.core.fit.capacity import NotCounted, demands_of
from pinfold.core.fit.demand import prepare
from pinfold.core.host import HostState
from pinfold.core.identity import GuestId, HostId
from pinfold.core.repin.gain import why_kept
from pinfold.core.repin.plan import Repin, Step, repin
from pinfold.core.repin.progress import GuestMove, Phase, Progress, collapsed, looked_at, told, turned_back
from pinfold.core.repin.written import WrittenStay
from pinfold.core.request.model import Flavor
from pinfold.scheduler.decide import untrait
from pinfold.scheduler.scheduler import Scheduler
from pinfold.service.claims.amend import TRIES, Amender, StaleError
from pinfold.service.providers import Providers
from pinfold.store import claims, guests, hosts
from pinfold.store.database import Database
from pinfold.store.records import DELETING, ClaimRecord, ClaimState, Desired, GuestRecord, HostLedger, HostRecord, Observed

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RepinPlan:
    """What helps a host of the service, decided on the revision in `host`; the names of its guests by id; who keeps retiring pCPUs, and
    why; and the flavors that are not counted.
    """

    host: HostRecord
    found: Repin
    names: Mapping[str, str]
    stays: tuple[WrittenStay, ...]
    not_counted: tuple[NotCounted, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ground:
    """What a plan is made of, read at one instant: the host, its guests by id, and their claims."""

    ledger: HostLedger
    guests: Mapping[GuestId, GuestRecord]
    held: Mapping[GuestId, ClaimRecord]


class Repinner:
    """Re-pins the guests of hosts. Safe to share between threads; any number of processes may use one on the same database."""

    def __init__(self, database: Database, scheduler: Scheduler, amender: Amender, providers: Providers) -> None:
        self._database = database
        self._fresh = scheduler.freshness
        self._amender = amender
        self._providers = providers

    def plan(self, host: HostId, flavors: Sequence[Flavor]) -> RepinPlan:
        """Which moves inside the host's cells help, and what they gain for guests of these flavors. Changes nothing.

        Raises `InvalidRequest` if there is no such host.
        """
        return _plan(self._ground(host), flavors)

    def apply(self, host: HostId, flavors: Sequence[Flavor], *, revision: int | None = None) -> RepinPlan:
        """Make a plan, and amend the claims of its guests. A plan without steps changes nothing.

        With `revision`, the plan must be that of this revision of the host. Raises `Conflict` if the host has another one, is away, is
        being re-pinned already, has no room in Placement, or changes `TRIES` times in a row; `InvalidRequest`, `Unavailable`.
        """
        for _ in range(TRIES):
            ground = self._ground(host)
            _refuse(ground.ledger.record, revision)
            found = _plan(ground, flavors)
            steps = collapsed(found.found.steps)
            if not steps:
                return found
            try:
                self._begin(ground, steps)
            except StaleError:
                continue
            except OverCapacity as error:
                raise Conflict(f"the guests of host {found.host.name} are not moved: {error}") from error
            self._providers.sync_or_later(host)
            return found
        raise Conflict(f"host {host} changed {TRIES} times while its guests were to be moved; try again")

    def under_way(self, connection: sa.Connection, host: HostId) -> Progress | None:
        """The host's re-pin if it is under way, and then its row stays locked; else None.

        Ask before the transaction changes rows of guests: changes of claims lock the host's row first, too.
        """
        known = hosts.repin(connection, host)
        if known is None or not known.under_way:
            return None
        return hosts.repin(connection, host, lock=True)

    def hear(self, connection: sa.Connection, known: Progress, claim: ClaimRecord, revision: int, *, why: str, name: str) -> bool:
        """An agent reports a guest whose record is of that claim and revision; `why` says that its threads could not follow the claim.

        Part of the transaction that stores the report; `known` is what `under_way` has returned in it. Returns whether the caller is to
        `tend` the host after it.
        """
        heard = told(known, claim.id, revision, why=why, name=name)
        if heard == known:
            return False
        hosts.keep_repin(connection, claim.host, heard)
        return True

    def tend_or_later(self, host: HostId) -> None:
        """`tend`; a failure is logged and left to the healer."""
        try:
            self.tend(host)
        except (Unavailable, Conflict, InvalidRequest) as error:
            self._providers.leave_to_healer()
            _log.warning("the re-pin of host %s goes on later: %s", host, error)

    def tend(self, host: HostId) -> None:
        """Go on with the host's re-pin: turn its guests back if one cannot be moved, and end it when nobody is on the way any more.

        Raises `Conflict` if the host keeps changing, or is away while its guests are to be turned back; `Unavailable`.
        """
        for _ in range(TRIES):
            with self._database.write() as connection:
                known = hosts.repin(connection, host, lock=True)
                if known is None or not known.under_way:
                    return
                live = {claim.id: claim.fit for claim in claims.of_host(connection, host, ClaimState.HELD)}
                found = looked_at(known, live)
                if found != known:
                    hosts.keep_repin(connection, host, found)
                if not found.under_way:
                    hosts.bump(connection, host, ledger=True)
            if found.under_way and not found.fails:
                return
            if not found.under_way:
                _log.info("the re-pin of host %s is over: its guests are %s", host, found.phase.value)
                self._fresh.host(host)
                self._providers.sync_or_later(host)
                return
            _log.warning("the guests of host %s go back to where they were: %s", host, found.failure)
            try:
                self._turn_back(host)
            except StaleError:
                continue
        raise Conflict(f"host {host} changed {TRIES} times, or is away, while its guests were to be moved back")

    def _ground(self, host: HostId) -> _Ground:
        with self._database.read() as connection:
            ledgers, orders = hosts.ledgers(connection, (host,)), guests.orders(connection, host)
        if not ledgers:
            raise InvalidRequest(f"host {host}: no such host")
        return _Ground(
            ledger=ledgers[0],
            guests={guest.id: guest for guest, _ in orders},
            held={claim.guest: claim for _, claim in orders},
        )

    def _begin(self, ground: _Ground, steps: Sequence[Step]) -> None:
        host, held = ground.ledger.record.id, ground.held

        def note(connection: sa.Connection, made: int) -> None:
            moves = tuple(
                GuestMove(guest=step.guest, claim=held[step.guest].id, before=step.before, after=step.after, revision=made)
                for step in steps
            )
            hosts.keep_repin(connection, host, Progress(phase=Phase.MOVING, moves=moves))

        self._amender.amend_all(ground.ledger.state, [(held[step.guest], step.after) for step in steps], note, moved=False)

    def _turn_back(self, host: HostId) -> None:
        """Give the claims their first places again. Raises `StaleError` if the host has changed or is away."""
        ground = self._ground(host)
        known = ground.ledger.record.repin
        if known is None or not known.fails:
            return
        by_id = {claim.id: claim for claim in ground.held.values()}
        back = [
            (by_id[move.claim], move.before)
            for move in reversed(known.moves)
            if move.claim in by_id and by_id[move.claim].fit.taken == move.after.taken
        ]

        def note(connection: sa.Connection, made: int) -> None:
            hosts.keep_repin(connection, host, turned_back(known, made, [claim.id for claim, _ in back]))

        if back:
            self._amender.amend_all(ground.ledger.state, back, note, moved=False)
        else:
            with self._database.write() as connection:
                note(connection, ground.ledger.record.revision)
        self._providers.sync_or_later(host)


def _plan(ground: _Ground, flavors: Sequence[Flavor]) -> RepinPlan:
    state = ground.ledger.state
    asked, refused = demands_of(flavors)
    demands = tuple((name, prepare(untrait(demand.request))) for name, demand in asked)
    movable = {guest: one.request for guest, one in ground.guests.items() if not _why_not(one)}
    found = repin(state, movable, demands)
    return RepinPlan(
        host=ground.ledger.record,
        found=found,
        names={guest: one.name for guest, one in ground.guests.items()},
        stays=tuple(_stay(ground, left.guest, left.pcpus, state) for left in found.stays),
        not_counted=refused,
    )


def _refuse(host: HostRecord, revision: int | None) -> None:
    if revision is not None and host.revision != revision:
        raise Conflict(f"host {host.name} is at revision {host.revision} by now, not {revision}; look at the plan anew")
    if host.repin is not None and host.repin.under_way:
        raise Conflict(f"guests of host {host.name} are on their way by an earlier plan; wait until they have arrived")
    if not host.up:
        raise Conflict(f"host {host.name} is down: nobody could move its guests")


def _why_not(guest: GuestRecord) -> str:
    """Why a guest is not moved; '' if it can be."""
    if guest.task or guest.desired is Desired.ABSENT:
        return f"its task {guest.task or DELETING} is under way"
    if guest.desired is not Desired.RUNNING or guest.observed is not Observed.RUNNING:
        return "it does not run"
    return ""


def _stay(ground: _Ground, guest: GuestId, kept: CpuSet, state: HostState) -> WrittenStay:
    if guest not in ground.guests:
        return WrittenStay(id=guest, name=guest, pcpus=kept, why="it is leaving the host")
    one, claim = ground.guests[guest], ground.held[guest]
    why = _why_not(one) or why_kept(claim.fit, one.request, kept, state.topology.offline)
    subject = Subject(name=one.name, id=guest, active=one.observed is Observed.RUNNING, owner="its agent")
    return WrittenStay(id=guest, name=one.name, pcpus=kept, why=f"{why}; a new place would free them: {replaced(subject)}")
