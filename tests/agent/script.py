"""A scripted agent: `step` with its state, told one event after another. A host, its guests and their orders are values."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from tests.build import orders
from tests.build.guests import recorded
from tests.build.hosts import as_state, report

from pinfold.agent.actions import Action, Audit, Look, Perform, ReadOrders, SaveStories, SendGuest, SendHeartbeat, SendReport, Verify
from pinfold.agent.events import (
    Event,
    Failed,
    HostFacts,
    Looked,
    OrdersRead,
    Outcome,
    Performed,
    Reported,
    Verified,
    Welcomed,
)
from pinfold.agent.reconcile import Memory
from pinfold.agent.responses import ParsedOrders, RefusedOrder
from pinfold.agent.state import Phase, Rules, State, starting
from pinfold.agent.step import step
from pinfold.agent.wire import GuestOrder, Orders, Renewal, Welcome
from pinfold.core.cpuset import CpuSet
from pinfold.core.fit.answer import Fit
from pinfold.core.identity import ClaimId
from pinfold.core.options import Option
from pinfold.core.request.model import EmulatorPolicy
from pinfold.drivers.port import GuestState, HostGuest, Record
from pinfold.host.loop_events import Log, Moment, Tick
from pinfold.host.survey import Survey
from pinfold.store.records import Desired

OWNER = "the agent of c1"
RULES = Rules(
    owner=OWNER,
    sweep_seconds=10.0,
    shutdown_seconds=60.0,
    options=(Option(key="[a] b", value="1"), Option(key="[a] c", value="old", secret=True)),
)
FACTS = HostFacts(host_boot="boot-1")
LEASE = 6.0
FIT = Fit(vcpus=1, memory_mib=64, float_vcpus=CpuSet.of(0), float_set=CpuSet.of(0), emulator=CpuSet.of(0))


def id_of(number: int) -> str:
    """The id of a guest, from a small number."""
    return str(uuid.UUID(int=number))


G, H = id_of(1), id_of(2)
CLAIM = ClaimId(id_of(99))


def order(guest: str = G, desired: Desired = Desired.RUNNING, *, boot: int = 1, revision: int = 3) -> GuestOrder:
    """An order for one guest."""
    return orders.order(guest, desired, claim=CLAIM, revision=revision, boot=boot, name=f"server-{guest[-1]}", fit=FIT)


def guest(
    key: str = G, state: GuestState = GuestState.STOPPED, *, revision: int = 3, hangs: str = "", claim: ClaimId | None = CLAIM
) -> HostGuest:
    """A guest of the service on the host."""
    record = Record(guest=key, policy=EmulatorPolicy.UNSET, fit=FIT, claim=claim, revision=revision, owner=OWNER)
    return recorded(record, name=f"instance-{key}", state=state, hangs=hangs)


def survey(*guests: HostGuest) -> Survey:
    """A host with these guests."""
    return Survey(state=as_state(report(), name="c1"), guests=guests)


@dataclass
class Script:
    """The agent. Every call says what the agent does next; `logged` is the log, `begun` everything else that it ever began."""

    memory: Memory = field(default_factory=Memory)
    state: State = field(init=False)
    at: float = 1000.0
    begun: list[Action] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = starting(self.memory, RULES, self.at)

    def when(self) -> Moment:
        return Moment(at=self.at, time=1e9 + self.at)

    def tell(self, event: Event) -> list[Action]:
        """Tell it one event."""
        self.state, actions = step(self.state, event)
        self.logged += [action.sentence for action in actions if isinstance(action, Log)]
        found = [action for action in actions if not isinstance(action, Log)]
        self.begun += found
        return found

    def passes(self, seconds: float) -> list[Action]:
        """Let time pass."""
        self.at += seconds
        return self.tell(Tick(when=self.when()))

    def orders(self, *orders: GuestOrder, count: int = 1, polled: bool = False, refused: tuple[RefusedOrder, ...] = ()) -> list[Action]:
        """Answer with these orders."""
        parsed = ParsedOrders(orders=Orders(count=count, orders=orders), refused=refused)
        return self.tell(OrdersRead(parsed=parsed, polled=polled, when=self.when()))

    def poll_ends(self, digest: str = "d", *, renewed: bool = True) -> list[Action]:
        """Answer a poll after which nothing has changed."""
        lease = Renewal(report=digest, lease_seconds=LEASE) if renewed else None
        return self.tell(OrdersRead(parsed=ParsedOrders(orders=Orders(count=1, lease=lease)), polled=True, when=self.when()))

    def sees(self, *guests: HostGuest) -> list[Action]:
        """Let its look succeed."""
        return self.tell(Looked(seen=survey(*guests), facts=FACTS, when=self.when()))

    def welcome(self, digest: str = "d") -> list[Action]:
        """Answer its report or its heartbeat."""
        welcome = Welcome(host=id_of(7), revision=1, report=digest, orders=1, lease_seconds=LEASE)
        return self.tell(Welcomed(welcome=welcome, when=self.when()))

    def fails(self, action: Action, why: str = "no answer", *, away: bool = True, again: float = 0.0) -> list[Action]:
        """Let an action fail."""
        return self.tell(Failed(action=action, why=why, away=away, again=again, when=self.when()))

    def performing(self, key: str = G) -> Perform:
        """The task of a guest that it began last."""
        return [action for action in self.begun if isinstance(action, Perform) and action.task.guest == key][-1]

    def ends(self, key: str = G, *, outcome: Outcome) -> list[Action]:
        """Let a guest's task end."""
        return self.tell(Performed(guest=key, outcome=outcome, when=self.when()))

    def plays(self, orders: tuple[GuestOrder, ...], *guests: HostGuest, failing: bool | None = None, drift: str = "") -> None:
        """Play one whole turn. `failing` lets the reports of guests fail: True without an answer, False refused.

        Another look, if the agent begins one, stays under way until the next turn is played.
        """
        looking, looked = self.state.turn is not None and self.state.turn.phase is Phase.LOOK, False
        actions: list[Action] = [Look()] if looking else self.passes(max(0.0, self.state.turn_again - self.at))
        while actions:
            action = actions.pop(0)
            match action:
                case ReadOrders():
                    actions += self.orders(*orders)
                case Look() if not looked:
                    looked = True
                    actions += self.sees(*guests)
                case SendReport() | SendHeartbeat():
                    actions += self.welcome()
                case Verify():
                    actions += self.tell(Verified(threads=None, drift=drift, when=self.when()))
                case SendGuest() if failing is not None:
                    actions += self.fails(action, away=failing)
                case SendGuest(guest=key, report=told):
                    actions += self.tell(Reported(guest=key, report=told, when=self.when()))
                case _:
                    pass


def kinds(actions: list[Action]) -> list[str]:
    """The names of the actions, without those that write stories and that begin audits."""
    return [type(action).__name__ for action in actions if not isinstance(action, SaveStories | Audit)]


def up(*orders: GuestOrder) -> Script:
    """An agent that has read its orders, and whose look is under way."""
    script = Script()
    assert kinds(script.passes(0.0)) == ["ReadOrders"]
    assert kinds(script.orders(*orders)) == ["Look"]
    return script


def up_and_polling(*orders: GuestOrder) -> Script:
    """An agent whose host has reported, and whose first poll is under way."""
    script = up(*orders)
    script.sees()
    assert "PollOrders" in kinds(script.welcome())
    return script


def removing() -> Script:
    """An agent that has performed a removal: the save of its tombstone is under way."""
    script = up(order(desired=Desired.ABSENT))
    script.sees(guest())
    assert kinds(script.welcome()) == ["Announce", "Perform", "PollOrders"]
    assert kinds(script.ends(outcome=Outcome(gone=True))) == ["SaveMemory"]
    return script
