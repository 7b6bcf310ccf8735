"""Repairs on demand: those that somebody asked for, whatever `[pinfold_agent] repair` says. Part of `step`.

A guest that is changing is not repaired: the answer says so, and whoever asked may ask again.
"""

from __future__ import annotations

import logging

from msgspec.structs import replace

from pinfold.agent.actions import RepairOnDemand, SendRepair
from pinfold.agent.draft import Draft
from pinfold.agent.drift_repairs import end
from pinfold.agent.events import RepairedOnDemand, RepairSent
from pinfold.agent.wire import shorten_failure
from pinfold.core import repairs
from pinfold.core.identity import GuestId
from pinfold.core.repair_question import RepairAnswer, RepairQuestion, RepairResult
from pinfold.core.repairs import Drifted, Result

_NEVER = float("-inf")
_BUSY = "it is being started, stopped, moved or repaired just now; ask again when that is over"


def take(draft: Draft) -> None:
    """Begin the repairs of the orders that are new, each once."""
    orders, known = draft.state.orders, draft.state.repairs_on_demand
    if orders is None or draft.state.ending:
        return
    draft.change(repairs_on_demand={one.guest: one.number for one in orders.repairs})
    for one in orders.repairs:
        if known.get(one.guest) != one.number:
            _begin(draft, one)


def _begin(draft: Draft, question: RepairQuestion) -> None:
    guest = question.guest
    if guest in draft.state.repairing or draft.guest(guest).work is not None:
        draft.do(SendRepair(guest=guest, answer=RepairAnswer(number=question.number, result=RepairResult.FAILED, sentence=_BUSY)))
        return
    draft.change(repairing=draft.state.repairing | {guest})
    draft.do(RepairOnDemand(question=question))


def answered(draft: Draft, event: RepairedOnDemand | RepairSent) -> None:
    """Go on after a repair, or after the service was told of it."""
    if isinstance(event, RepairedOnDemand):
        _ended(draft, event)
    else:
        draft.complain(f"answer about guest {event.guest}", "", guest=event.guest)


def _ended(draft: Draft, event: RepairedOnDemand) -> None:
    """Tell the service. The agent's own repairs of the guest begin anew."""
    guest, answer = event.guest, event.answer
    counted = Drifted(guest_id=guest, name="", pid=0, classes=event.classes)
    if event.classes and answer.result is not RepairResult.NEEDLESS:
        result = Result.DONE if answer.result is RepairResult.DONE else Result.FAILED
        draft.change(repair_counts=repairs.counted(draft.state.repair_counts, counted, result))
    draft.change(repairs={key: known for key, known in draft.state.repairs.items() if key != guest}, swept=_NEVER)
    end(draft, guest)
    draft.change(audits=replace(draft.state.audits, again=_NEVER))
    sentence = f"guest {guest}: a repair was asked for: {answer.result.value}; {answer.sentence}"
    draft.log(logging.WARNING, sentence)
    draft.note(guest, sentence)
    draft.do(SendRepair(guest=guest, answer=answer))


def failed(draft: Draft, action: RepairOnDemand | SendRepair, why: str) -> None:
    """Answer a repair that failed. An answer that cannot be sent is not sent again: the page says that there was none."""
    if isinstance(action, RepairOnDemand):
        question = action.question
        answer = RepairAnswer(number=question.number, result=RepairResult.FAILED, sentence=shorten_failure(why))
        draft.change(repairing=draft.state.repairing - {question.guest}, stale=True)
        draft.do(SendRepair(guest=GuestId(question.guest), answer=answer))
    else:
        draft.complain(f"answer about guest {action.guest}", f"what became of its repair is not told: {why}", guest=action.guest)
