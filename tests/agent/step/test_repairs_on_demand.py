"""Repairs that somebody asks for: each is done once, whatever the agent may repair by itself, and the service hears what became of it."""

from __future__ import annotations

import pytest
from tests.agent.script import G, H, Script, guest, order
from tests.agent.test_drift_repairs import agent

from pinfold.agent.actions import Action, RepairOnDemand, SendRepair
from pinfold.agent.events import Failed, OrdersRead, RepairedOnDemand, RepairSent
from pinfold.agent.responses import ParsedOrders
from pinfold.agent.wire import Orders
from pinfold.core.identity import GuestId
from pinfold.core.repair_question import RepairAnswer, RepairQuestion, RepairResult
from pinfold.core.settings import RepairScope
from pinfold.drivers.port import GuestState
from pinfold.host.loop_events import Stop

DONE = RepairAnswer(number=1, result=RepairResult.DONE, sentence="moved")


def reads(script: Script, count: int, **wanted: int) -> list[Action]:
    """What the agent does about repairs when it reads orders that ask for these, by guest (`g`, `h`)."""
    named = {"g": G, "h": H}
    repairs = tuple(RepairQuestion(guest=GuestId(named[key]), number=number) for key, number in wanted.items())
    parsed = ParsedOrders(orders=Orders(count=count, orders=(order(),), repairs=repairs))
    return about_repairs(script.tell(OrdersRead(parsed=parsed, polled=True, when=script.when())))


def about_repairs(actions: list[Action]) -> list[Action]:
    return [action for action in actions if isinstance(action, RepairOnDemand | SendRepair)]


@pytest.fixture
def script() -> Script:
    """An agent that repairs nothing by itself, with a running guest."""
    made = agent(RepairScope.OFF)
    made.plays((order(),), guest(state=GuestState.RUNNING))
    return made


def test_a_repair_is_done_once_and_the_service_hears_of_it(script: Script) -> None:
    question = RepairQuestion(guest=GuestId(G), number=1)
    assert reads(script, 5, g=1) == [RepairOnDemand(question=question)]
    assert G in script.state.repairing
    assert reads(script, 6, g=1) == [], "it is under way"
    told = script.tell(RepairedOnDemand(guest=GuestId(G), answer=DONE, classes=("emulator",), when=script.when()))
    assert about_repairs(told) == [SendRepair(guest=GuestId(G), answer=DONE)]
    assert G not in script.state.repairing and script.state.swept == float("-inf"), "the next turn audits the host"
    assert dict(script.state.repair_counts) == {("emulator", "done"): 1}
    script.tell(RepairSent(guest=GuestId(G), when=script.when()))
    assert reads(script, 7, g=1) == [], "it is done"
    assert len(reads(script, 8, g=2, h=1)) == 2


def test_a_guest_that_is_being_repaired_is_not_repaired_twice_at_once(script: Script) -> None:
    reads(script, 5, g=1)
    (answer,) = reads(script, 6, g=2)
    assert isinstance(answer, SendRepair) and answer.answer.result is RepairResult.FAILED
    assert answer.answer.number == 2 and "ask again when that is over" in answer.answer.sentence


def test_a_repair_that_fails_is_answered_with_the_reason(script: Script) -> None:
    (asked,) = reads(script, 5, g=1)
    assert isinstance(asked, RepairOnDemand)
    (answer,) = about_repairs(script.tell(Failed(action=asked, why="libvirt is away", when=script.when())))
    assert answer == SendRepair(guest=GuestId(G), answer=RepairAnswer(number=1, result=RepairResult.FAILED, sentence="libvirt is away"))
    assert G not in script.state.repairing
    script.tell(Failed(action=answer, why="the service is away", away=True, when=script.when()))
    assert "what became of its repair is not told: the service is away" in script.logged[-1]


def test_an_agent_that_ends_begins_no_repair(script: Script) -> None:
    script.tell(Stop(when=script.when()))
    assert reads(script, 5, g=1) == []
