"""The agent's repairs of drifted guests, beside its turns: `core.repairs` says when one begins and when the agent gives up. Part of `step`.

An audit says which guests have drifted. A guest that is changing, by a task or by its repair, is left out until the next look.
"""

from __future__ import annotations

import logging

from msgspec.structs import replace

from pinfold.agent.actions import Repair
from pinfold.agent.draft import Draft
from pinfold.core import repairs
from pinfold.core.drift import Finding
from pinfold.core.identity import GuestId
from pinfold.core.repairs import Drifted, Result
from pinfold.core.settings import RepairScope


def after_audit(draft: Draft, drifted: tuple[Drifted, ...], running: frozenset[GuestId], busy: frozenset[GuestId]) -> tuple[Finding, ...]:
    """Begin the repairs that are due, and return a finding for each guest that is left alone. `busy` are guests that were changing."""
    if draft.state.rules.repair is RepairScope.OFF:
        return ()
    settled = tuple(one for one in drifted if one.guest_id not in busy)
    book, undone = repairs.after_sweep(draft.state.repairs, settled, running, draft.now)
    draft.change(repairs=book)
    for one in undone:
        draft.change(repair_counts=repairs.counted(draft.state.repair_counts, one, Result.UNDONE))
        _say(draft, one, f"guest {one.name}: somebody undid its repair")
    given_up = repairs.findings(book, repairs.BY_AN_AGENT)
    draft.complain("repair", "; ".join(f"{finding.sentence()}; {finding.advice}" for finding in given_up))
    if not draft.state.ending:
        for one in repairs.due(book, draft.now):
            if one.guest_id not in busy:
                draft.change(repairing=draft.state.repairing | {one.guest_id})
                draft.do(Repair(guest=one))
    return given_up


def repaired(draft: Draft, one: Drifted, failure: str, *, needless: bool = False) -> None:
    """Keep the outcome of a repair."""
    guest, book = one.guest_id, draft.state.repairs
    draft.change(
        repairs=repairs.needless(book, guest, draft.now) if needless else repairs.repaired(book, guest, draft.now, failed=bool(failure))
    )
    end(draft, guest)
    if not needless:
        draft.change(repair_counts=repairs.counted(draft.state.repair_counts, one, Result.FAILED if failure else Result.DONE))
    draft.complain(f"repair of guest {guest}", f"guest {one.name} cannot be repaired: {failure}" if failure else "", guest=guest)
    if not failure and not needless:
        _say(draft, one, f"guest {one.name} was repaired, its threads are in their places; what would undo it: {one.undoer}")


def end(draft: Draft, guest: GuestId) -> None:
    """The repair of a guest is over. What was seen of the guest before is old now: look at the host again."""
    audits = draft.state.audits
    if audits.began is not None:
        audits = replace(audits, moving=audits.moving | {guest})
    draft.change(repairing=draft.state.repairing - {guest}, audits=audits, stale=True)
    if draft.state.turn is not None:
        draft.change_turn(moving=draft.turn.moving | {guest})


def _say(draft: Draft, one: Drifted, sentence: str) -> None:
    draft.log(logging.WARNING, sentence)
    draft.note(one.guest_id, sentence)
