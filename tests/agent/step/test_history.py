"""Questions about the host's samples: each is answered once, one after another."""

from __future__ import annotations

from tests.agent.script import Script

from pinfold.agent.actions import SendHistory
from pinfold.agent.events import Failed, HistorySent, OrdersRead
from pinfold.agent.responses import ParsedOrders
from pinfold.agent.wire import Orders
from pinfold.core.history import HistoryQuestion


def asked(script: Script, number: int | None, *, count: int) -> list[int]:
    """The questions that the agent begins to answer when it reads these orders."""
    question = None if number is None else HistoryQuestion(number=number, seconds=60)
    parsed = ParsedOrders(orders=Orders(count=count, question=question))
    return answered(script.tell(OrdersRead(parsed=parsed, polled=True, when=script.when())))


def answered(actions: object) -> list[int]:
    assert isinstance(actions, tuple | list)
    return [action.question.number for action in actions if isinstance(action, SendHistory)]


def started() -> Script:
    script = Script()
    script.plays(())
    return script


def test_a_question_is_answered_once() -> None:
    script = started()
    assert asked(script, 7, count=5) == [7]
    script.tell(HistorySent(when=script.when()))
    assert asked(script, 7, count=6) == []
    assert asked(script, None, count=7) == []
    assert asked(script, 8, count=8) == [8]


def test_a_question_that_comes_while_another_is_answered_waits_for_that() -> None:
    script = started()
    assert asked(script, 1, count=5) == [1]
    assert asked(script, 2, count=6) == []
    assert answered(script.tell(HistorySent(when=script.when()))) == [2]
    assert answered(script.tell(HistorySent(when=script.when()))) == []


def test_an_answer_that_cannot_be_sent_is_said_once_and_not_tried_again() -> None:
    script = started()
    asked(script, 1, count=5)
    question = SendHistory(question=HistoryQuestion(number=1, seconds=60))
    assert script.tell(Failed(action=question, why="the service is away", away=True, when=script.when())) == []
    assert script.logged[-1] == "the samples of the host are not sent: the service is away"
    assert asked(script, 1, count=6) == []
    assert asked(script, 2, count=7) == [2]
