"""The part of `step` that answers questions about guests, each once and at once. The service bounds how many it asks."""

from __future__ import annotations

from pinfold.agent.actions import AnswerQuestion
from pinfold.agent.draft import Draft

_ABOUT = "guest questions"


def asked(draft: Draft) -> None:
    """Answer the questions of the orders that are new."""
    orders = draft.state.orders
    questions = () if orders is None else orders.guest_questions
    if draft.state.ending or not (questions or draft.state.guest_questions):
        return
    for question in questions:
        if question.number not in draft.state.guest_questions:
            draft.do(AnswerQuestion(question=question))
    draft.change(guest_questions=frozenset(question.number for question in questions))


def answered(draft: Draft) -> None:
    """Log that answers reach the service again, if they did not."""
    draft.complain(_ABOUT, "")


def failed(draft: Draft, why: str) -> None:
    """Do not try again: whoever asked does not wait that long, and may ask again."""
    draft.complain(_ABOUT, f"a question of the service about a guest is not answered: {why}")
