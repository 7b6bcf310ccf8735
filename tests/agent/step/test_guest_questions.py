"""Questions about guests: each is answered once, all at once, and none by an agent that ends."""

from __future__ import annotations

from tests.agent.script import Script

from pinfold.agent.actions import AnswerQuestion
from pinfold.agent.events import Failed, OrdersRead, QuestionAnswered
from pinfold.agent.responses import ParsedOrders
from pinfold.agent.wire import Orders
from pinfold.core.guest_questions import About, GuestQuestion
from pinfold.core.identity import GuestId
from pinfold.host.loop_events import Stop

GUEST = GuestId("65b7a311-9ff5-4dc7-9bd5-a5a2a8a5f6e2")


def question(number: int) -> GuestQuestion:
    return GuestQuestion(number=number, guest=GUEST, about=About.CONSOLE_LOG)


def started() -> Script:
    script = Script()
    script.plays(())
    return script


def asked(script: Script, *numbers: int, count: int) -> list[int]:
    """The questions that the agent begins to answer when it reads these orders."""
    orders = Orders(count=count, guest_questions=tuple(question(number) for number in numbers))
    done = script.tell(OrdersRead(parsed=ParsedOrders(orders=orders), polled=True, when=script.when()))
    return [action.question.number for action in done if isinstance(action, AnswerQuestion)]


def test_each_question_is_answered_once_and_at_once() -> None:
    script = started()
    assert asked(script, 1, 2, count=5) == [1, 2]
    assert asked(script, 1, 2, 3, count=6) == [3]
    script.tell(QuestionAnswered(when=script.when()))
    assert asked(script, 1, count=7) == [], "the service has not stored the answer yet"
    assert asked(script, count=8) == []
    assert script.state.guest_questions == frozenset()


def test_a_failed_answer_is_logged_and_not_tried_again() -> None:
    script = started()
    asked(script, 1, count=5)
    script.tell(Failed(when=script.when(), action=AnswerQuestion(question=question(1)), why="the service is away"))
    assert script.state.troubles["guest questions"] == "a question of the service about a guest is not answered: the service is away"
    assert asked(script, 1, count=6) == []
    asked(script, 1, 2, count=7)
    script.tell(QuestionAnswered(when=script.when()))
    assert "guest questions" not in script.state.troubles


def test_an_agent_that_ends_answers_nothing_more() -> None:
    script = started()
    script.tell(Stop(when=script.when()))
    assert asked(script, 1, count=5) == []
