"""The oracle tests itself, then the engine against the oracle; the counts are printed at the end of the run's captured output."""

from __future__ import annotations

import os

import pytest
from tests.oracle import cpsat, enumeration
from tests.oracle.generate import as_fit, case
from tests.oracle.oracle import is_small
from tests.oracle.room import read
from tests.oracle.run import tally_of
from tests.oracle.valid import valid

from pinfold.core.fit.answer import NoFit

SEED = 20_261_122
CASES = 5000
SELF_CASES = 400


def test_enumeration_and_cp_sat_agree() -> None:
    accepted = compared = 0
    for index in range(SELF_CASES):
        one = case(SEED, index)
        room = read(one.state)
        if not one.request.cells or not is_small(room):
            continue
        compared += 1
        answer = enumeration.feasible_in(one.request, room)
        accepted += answer
        assert cpsat.feasible_in(one.request, room) is answer, one.seed
    print(f"enumeration and CP-SAT agree on {compared} cases, {accepted} of them accepted")
    assert compared > SELF_CASES // 2
    assert 0.2 < accepted / compared < 0.8


def test_every_placement_of_the_oracle_is_a_valid_fit() -> None:
    checked = 0
    for index in range(SELF_CASES):
        one = case(SEED, index)
        room = read(one.state)
        placement = next(enumeration.placements(one.request, room), None) if is_small(room) else None
        if placement is not None and one.state.limits.booking.value == "enforce":
            checked += 1
            assert valid(one.request, one.state, as_fit(one.request, one.state, placement)) == [], one.seed
    assert checked > SELF_CASES // 8


def test_the_same_number_gives_the_same_case() -> None:
    assert [case(SEED, index) for index in range(20)] == [case(SEED, index) for index in range(20)]


@pytest.mark.timeout(600)
def test_the_engine_agrees_with_the_oracle(capsys: pytest.CaptureFixture[str]) -> None:
    tally = tally_of(CASES, SEED, jobs=len(os.sched_getaffinity(0)))
    with capsys.disabled():
        print(f"\noracle, seed {SEED}: " + tally.summary().replace("\n", "\n  "))
    assert tally.wrong == []
    assert tally.shortfalls() == []


def test_refusals_of_the_engine_say_why() -> None:
    from pinfold.core.fit.engine import fit

    refusals = [
        answer
        for one in (case(SEED, index) for index in range(100))
        if isinstance(answer := fit(one.request, one.state, one.strategy), NoFit)
    ]
    assert refusals
    assert all(reason.sentence() for answer in refusals for reason in answer.reasons)
