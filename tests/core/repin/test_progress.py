"""How far a re-pin of a service's guests is: who is on the way, who has arrived, and when all go back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from msgspec.structs import replace
from tests.build.hosts import cpus, state
from tests.build.requests import guest
from tests.core.repin.test_repin import Guests, changed, crowded, filled, small

from pinfold.core.cpuset import CpuSet
from pinfold.core.encoding import decoder, encode
from pinfold.core.errors import InvariantViolation
from pinfold.core.fit.answer import Fit
from pinfold.core.host import HostState
from pinfold.core.identity import ClaimId, GuestId
from pinfold.core.ledger import amend, claim, release
from pinfold.core.repin.plan import Step, repin
from pinfold.core.repin.progress import GuestMove, Phase, Progress, between, collapsed, looked_at, told, turned_back

A, B = (ClaimId(f"{digit * 8}-0000-4000-8000-000000000000") for digit in "ab")


def _two() -> tuple[Progress, dict[ClaimId, Fit]]:
    """Guests a and b on their way from pCPUs 0 and 1 to 2 and 3, and the fits of their claims."""
    where, asked = filled(state("core:4", dedicated="0-3"), a=guest("1"), b=guest("1"))
    steps = repin(changed(where, "2-3"), asked).steps
    moves = tuple(
        GuestMove(guest=name, claim=name, before=step.before, after=step.after, revision=7)
        for name, step in zip((A, B), steps, strict=True)
    )
    return Progress(phase=Phase.MOVING, moves=moves), {move.claim: move.after for move in moves}


def test_both_places_are_held_until_all_have_arrived() -> None:
    progress, held = _two()
    taken = CpuSet.union(fit.taken for fit in held.values())
    assert between(progress, taken) == cpus("0-1")
    first = looked_at(told(progress, A, 7), held)
    assert first.phase is Phase.MOVING and between(first, taken) == cpus("0-1"), "there is a way back for both"
    last = looked_at(told(first, B, 8), held)
    assert last.phase is Phase.MOVED and between(last, taken) == CpuSet()
    assert between(None, taken) == CpuSet()


def test_a_report_of_an_earlier_revision_or_of_another_claim_tells_nothing() -> None:
    progress, held = _two()
    assert told(progress, A, 6) == progress
    assert told(progress, ClaimId("c"), 9, why="no") == progress
    assert looked_at(progress, held) == progress


def test_one_that_cannot_be_moved_turns_all_back_and_the_reason_stays() -> None:
    progress, held = _two()
    failed = told(told(progress, A, 7), B, 5, why="pCPU 3 is offline", name="web")
    assert failed.fails and failed.failure == "guest web was not moved: pCPU 3 is offline"
    assert looked_at(failed, held).fails
    back = turned_back(failed, 8, [A, B])
    assert [(move.claim, str(move.before.taken), str(move.after.taken)) for move in back.moves] == [(B, "3", "1"), (A, "2", "0")]
    now = {move.claim: move.after for move in back.moves}
    assert between(back, cpus("0-1")) == cpus("2-3")
    half = looked_at(told(back, B, 8), now)
    assert half.phase is Phase.TURNING_BACK
    over = looked_at(told(half, A, 8), now)
    assert over.phase is Phase.UNDONE and over.failure == failed.failure
    assert told(over, A, 9, why="late") == over


def test_one_that_cannot_go_back_stays_on_its_way_until_it_can() -> None:
    progress, _ = _two()
    failed = told(told(progress, A, 7), B, 5, why="no")
    back = turned_back(failed, 8, [A, B])
    now = {move.claim: move.after for move in back.moves}
    stuck = looked_at(told(told(back, B, 8), A, 7, why="pCPU 0 is offline"), now)
    assert stuck.phase is Phase.TURNING_BACK and [move.why for move in stuck.moves] == ["", "pCPU 0 is offline"]
    assert stuck.failure == failed.failure and between(stuck, cpus("0-1")) == cpus("2-3")
    assert looked_at(told(stuck, A, 9), now).phase is Phase.UNDONE


def test_a_guest_that_left_or_got_another_place_holds_nobody_up() -> None:
    progress, held = _two()
    left = looked_at(told(progress, A, 7), {A: held[A]})
    assert left.phase is Phase.MOVED
    other = replace(held[B], cells=progress.moves[1].before.cells)
    assert looked_at(told(progress, A, 7), {A: held[A], B: other}).phase is Phase.MOVED
    assert looked_at(turned_back(told(progress, B, 5, why="no"), 8, []), {}).phase is Phase.UNDONE


def test_it_is_read_back_as_it_was_written() -> None:
    progress, _ = _two()
    assert decoder(Progress)(encode(progress), "progress") == progress


def test_two_steps_of_a_guest_become_one() -> None:
    def fit(text: str) -> Fit:
        return filled(state("core:4", dedicated=text), a=guest("1"))[0].ledger.claims[0].fit

    steps = (
        Step(guest=GuestId("a"), before=fit("1"), after=fit("2")),
        Step(guest=GuestId("b"), before=fit("0"), after=fit("1")),
        Step(guest=GuestId("a"), before=fit("2"), after=fit("3")),
    )
    assert [(step.guest, str(step.before.taken), str(step.after.taken)) for step in collapsed(steps)] == [("a", "1", "3"), ("b", "0", "1")]
    assert collapsed((steps[0], Step(guest=GuestId("a"), before=fit("2"), after=fit("1")))) == ()
    swapped = (Step(guest=GuestId("a"), before=fit("1"), after=fit("0")), Step(guest=GuestId("b"), before=fit("0"), after=fit("1")))
    with pytest.raises(InvariantViolation, match="the steps of guests a, b wait for each other"):
        collapsed(swapped)


@settings(max_examples=300)
@given(crowded(small()))
def test_every_plan_can_be_carried_out_with_one_step_for_each_guest(made: tuple[HostState, Guests]) -> None:
    where, asked = made
    plan = repin(where, asked)
    now = where
    for step in plan.steps:
        now = amend(now, step.guest, step.after)
    steps = collapsed(plan.steps)
    assert len({step.guest for step in steps}) == len(steps)
    then = where
    for step in steps:
        claim(release(then, step.guest), step.guest, step.after)
        then = amend(then, step.guest, step.after)
    assert then.ledger == now.ledger
