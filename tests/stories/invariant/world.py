"""One host as a model: its domains, and an agent that is the real `step`, perhaps on orders that are old by then.

Agents are killed, too. What real processes and real guests do is shown in `tests/real/fleet`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

import httpx
from msgspec import structs, to_builtins
from tests.build.guests import recorded
from tests.build.hosts import as_state
from tests.rig.in_process import Agent

from pinfold.agent.actions import (
    Action,
    Announce,
    Audit,
    Confirm,
    Look,
    Perform,
    PollOrders,
    ReadOrders,
    SaveMemory,
    SaveStories,
    SendFindings,
    SendGuest,
    SendHeartbeat,
    SendReport,
    Verify,
)
from pinfold.agent.events import (
    Audited,
    Confirmed,
    Event,
    Failed,
    FindingsSent,
    HostFacts,
    Looked,
    OrdersRead,
    Outcome,
    Performed,
    Reported,
    Saved,
    StoriesSaved,
    Verified,
    Welcomed,
)
from pinfold.agent.reconcile import Act, Memory, Task
from pinfold.agent.responses import parse_orders, parse_welcome
from pinfold.agent.state import Rules, State, starting
from pinfold.agent.step import step
from pinfold.agent.wire import GuestOrder
from pinfold.core.adoption import Takeover
from pinfold.core.encoding import plain
from pinfold.core.fit.answer import Fit
from pinfold.core.host import Claim, Foreign
from pinfold.core.identity import ClaimId
from pinfold.core.request.model import EmulatorPolicy
from pinfold.drivers.port import GuestState, Record
from pinfold.host.loop_events import Log, Moment, Tick
from pinfold.host.survey import Survey

TURN_SECONDS = 40.0
"""What passes on a host's clock between two turns: a task that failed is due again."""
RULES = Rules(owner="the agent")


def name_of(guest: str) -> str:
    """The name of a stranger's domain."""
    return f"domain-{guest}"


class DiedError(BaseException):
    """An API process was killed: nothing of it catches this."""


@dataclass
class Domain:
    """A domain on a host: what its record says, and whether it runs."""

    claim: ClaimId
    revision: int
    fit: Fit
    state: GuestState


@dataclass(repr=False)
class World:
    """One host: its domains outlive its agent, and so does the memory that its agent has saved. The agent is the real `step`.

    Its actions are performed one after another. A look that begins another turn, and the poll for orders, stay under way until the history
    comes back to this host: what others do meanwhile happens within the turn. `dies_at` is the action at which the agent is killed.
    """

    agent: Agent
    domains: dict[str, Domain] = field(default_factory=dict)
    strangers: dict[str, Fit] = field(default_factory=dict)
    """The domains without our record, by id, and where they are pinned."""
    disks: set[str] = field(default_factory=set)
    """The guests that ran here, and whose disk nobody deleted."""
    adopted: set[str] = field(default_factory=set)
    """The domains that were taken over and have not been given back."""
    ended: set[str] = field(default_factory=set)
    """Those of them that were removed."""
    saved: Memory = field(default_factory=Memory)
    state: State = field(default_factory=lambda: starting(Memory(), RULES, 0.0))
    pending: list[Action] = field(default_factory=list)
    now: float = 0.0
    boot: int = 1
    up: bool = True
    failing: bool = False
    dies_at: str = ""
    died: DiedError | None = None

    def __repr__(self) -> str:
        return self.agent.name

    def turn(self, *, fresh: bool, failing: bool = False, whole: bool = False) -> int:
        """One turn of the agent, on the orders that it has or on fresh ones. With `failing`, what would start does not.

        With `whole`, as many turns as there is something to do. How many tasks it performed.
        """
        self.now, self.failing, performed = self.now + TURN_SECONDS, failing, 0
        polls = [action for action in self.pending if isinstance(action, PollOrders)]
        events: list[Event] = [Tick(when=self._when())]
        events += [self._answered(action) for action in self.pending if not isinstance(action, PollOrders)]
        events += [self._answered(action) for action in polls] if fresh else []
        self.pending = [] if fresh else polls
        looks = 0
        while events:
            self.state, actions = step(self.state, events.pop(0))
            for action in actions:
                looks += isinstance(action, Look)
                if type(action).__name__ == self.dies_at:
                    self.restart()
                    events.clear()
                    break
                if isinstance(action, PollOrders) or (isinstance(action, Look) and looks > 1 and not whole):
                    self.pending.append(action)
                elif not isinstance(action, Log | Announce):
                    performed += isinstance(action, Perform)
                    events.append(self._answered(action))
        died, self.died = self.died, None
        if died is not None:
            raise died
        return performed

    def restart(self) -> None:
        """Another agent takes over, knowing what the dead one saved."""
        self.state, self.pending, self.dies_at = starting(self.saved, RULES, self.now), [], ""

    def _when(self) -> Moment:
        return Moment(at=self.now)

    def _answered(self, action: Action) -> Event:
        """Perform one action. Nobody answers once the API has died, nor does it answer what killed it."""
        try:
            if self.died is not None and not isinstance(action, Look | Verify | Audit | Perform | SaveMemory | SaveStories):
                raise self.died
            return self._performed(action)
        except DiedError as died:
            self.died = died
            return Failed(action=action, why="it is away", away=True, when=self._when())
        except AssertionError as refused:
            return Failed(action=action, why=str(refused), when=self._when())

    def _performed(self, action: Action) -> Event:
        when = self._when()
        match action:
            case ReadOrders() | PollOrders():
                parsed = parse_orders(json.dumps(self.agent.orders()).encode())
                return OrdersRead(parsed=parsed, polled=isinstance(action, PollOrders), when=when)
            case Look():
                return Looked(seen=self._seen(), facts=HostFacts(host_boot=str(self.boot), facts=self.agent.reported.facts), when=when)
            case SendReport(report=reported):
                return Welcomed(welcome=parse_welcome(_accepted(self.agent.hello(reported))), when=when)
            case SendHeartbeat():
                return Welcomed(welcome=parse_welcome(_accepted(self.agent.ask("POST", "/heartbeat"))), when=when)
            case Verify():
                return Verified(threads=None, drift="", when=when)
            case Audit():
                return Audited(findings=(), when=when)
            case SendFindings(report=findings):
                _accepted(self.agent.ask("PUT", "/host/findings", to_builtins(findings)))
                return FindingsSent(report=findings, when=when)
            case SendGuest(guest=guest, report=told):
                _accepted(self.agent.ask("POST", f"/guests/{guest}", plain(told)))
                return Reported(guest=guest, report=told, when=when)
            case Perform(task=task, ran=ran):
                return Performed(guest=task.guest, outcome=self._act(task, ran=ran), when=when)
            case SaveMemory(memory=memory):
                self.saved = memory
                return Saved(memory=memory, when=when)
            case SaveStories(stories=stories):
                return StoriesSaved(stories=stories, when=when)
            case Confirm(guest=guest, absence=absence):
                _accepted(self.agent.gone(guest, absence.revision, absence.failure, absence.claim))
                return Confirmed(guest=guest, when=when)
            case _:
                raise ValueError(action)

    def _seen(self) -> Survey:
        reported = self.agent.reported
        found = tuple(
            recorded(
                Record(
                    guest=guest,
                    policy=EmulatorPolicy.UNSET,
                    fit=domain.fit,
                    claim=domain.claim,
                    revision=domain.revision,
                    owner=RULES.owner,
                ),
                state=domain.state,
            )
            for guest, domain in sorted(self.domains.items())
        )
        held = tuple(Claim(guest=guest.id, fit=guest.record.fit) for guest in found if guest.record is not None)
        state = as_state(reported, name="h", claims=held)
        return Survey(state=structs.replace(state, ledger=structs.replace(state.ledger, foreign=self.foreign())), guests=found)

    def foreign(self) -> tuple[Foreign, ...]:
        """What the agent sees of strangers' domains."""
        return tuple(Foreign(name=name_of(guest), cpus=place.taken) for guest, place in sorted(self.strangers.items()))

    def _give_back(self, guest: str) -> None:
        self.adopted.discard(guest)
        if guest in self.domains:
            self.strangers[guest] = self.domains.pop(guest).fit

    def _act(self, task: Task, *, ran: bool) -> Outcome:
        guest, order = task.guest, task.order
        ran = ran or guest in self.disks or (isinstance(order, GuestOrder) and order.booted > 0)
        failure = "it does not start" if self.failing else ""
        match task.act:
            case Act.START if isinstance(order, GuestOrder) and not self.failing:
                claim = order.claim
                self.domains[guest] = Domain(claim=claim.id, revision=claim.revision, fit=claim.fit, state=GuestState.RUNNING)
                self.disks.add(guest)
                return Outcome(booted=True)
            case Act.START:
                return Outcome(booted=ran, gone=not ran, failure=failure)
            case Act.RESTART | Act.FINISH | Act.REBOOT:
                self.domains[guest].state = GuestState.STOPPED if self.failing else GuestState.RUNNING
                return Outcome(booted=True, failure=failure)
            case Act.STOP | Act.SHUT_DOWN:
                self.domains[guest].state = GuestState.STOPPED
                return Outcome()
            case Act.AMEND if isinstance(order, GuestOrder):
                self.domains[guest] = replace(self.domains[guest], revision=order.claim.revision, fit=order.claim.fit)
                return Outcome()
            case Act.ADOPT if isinstance(order, GuestOrder):
                claim = order.claim
                if self.failing or self.strangers.get(guest) != claim.fit:
                    return Outcome(gone=True, failure="it cannot be taken over")
                del self.strangers[guest]
                self.adopted.add(guest)
                self.domains[guest] = Domain(claim=claim.id, revision=claim.revision, fit=claim.fit, state=GuestState.RUNNING)
                return Outcome(booted=True)
            case Act.RELEASE:
                self._give_back(guest)
                return Outcome()
            case Act.REFUSE_STALE if isinstance(order, GuestOrder) and order.takeover is not Takeover.NONE:
                self._give_back(guest)
                return Outcome(gone=True, failure="it is stale")
            case Act.UNDEFINE:
                del self.domains[guest]
                return Outcome()
            case Act.REMOVE | Act.CONFIRM_ABSENT:
                self.disks.discard(guest)
                if guest in self.domains and guest in self.adopted:
                    self.ended.add(guest)
                self.domains.pop(guest, None)
                return Outcome(gone=True)
            case _:
                self.domains.pop(guest, None)
                return Outcome(gone=True, failure="it is stale")


def _accepted(answer: httpx.Response) -> bytes:
    assert answer.is_success, answer.text
    return answer.content
