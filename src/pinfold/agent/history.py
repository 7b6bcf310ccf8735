"""The part of `step` that answers questions about the last hour of the host, one at a time, and each once."""

from __future__ import annotations

from pinfold.agent.actions import SendHistory
from pinfold.agent.draft import Draft

_ABOUT = "history"


def asked(draft: Draft) -> None:
    """Answer the question of the orders, if it is a new one, after the one that is being answered."""
    orders = draft.state.orders
    question = None if orders is None else orders.question
    if question is not None and question.number != draft.state.question and not draft.state.answering:
        draft.change(question=question.number, answering=True)
        draft.do(SendHistory(question=question))


def sent(draft: Draft) -> None:
    """Go on to the question that came meanwhile, if any."""
    draft.complain(_ABOUT, "")
    draft.change(answering=False)
    asked(draft)


def failed(draft: Draft, why: str) -> None:
    """Do not try again: whoever asked does not wait that long, and may ask again."""
    draft.complain(_ABOUT, f"the samples of the host are not sent: {why}")
    draft.change(answering=False)
    asked(draft)
