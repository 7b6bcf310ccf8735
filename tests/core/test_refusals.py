"""Which constraint fails first, what is not looked at, and which refusal is the nearest miss."""

from __future__ import annotations

from pinfold.core.reasons import Kind, Reason, ReasonCode
from pinfold.core.refusals import Constraint, Mark, checks, nearness


def lacks(code: ReasonCode, needed: int = 0, available: int = 0, *, cell: int | None = None, kind: Kind = Kind.INSUFFICIENT) -> Reason:
    return Reason(code=code, kind=kind, cell=cell, needed=needed, available=available)


def marks(*reasons: Reason) -> dict[str, str]:
    """Every mark but for what passes."""
    return {check.constraint.value: check.mark.value for check in checks(reasons) if check.mark is not Mark.PASSES}


def test_every_code_belongs_to_a_constraint() -> None:
    for code in ReasonCode:
        assert [check.mark for check in checks((lacks(code),))].count(Mark.FIRST) == 1, code


def test_without_reasons_everything_passes() -> None:
    assert {check.mark for check in checks(())} == {Mark.PASSES}
    assert [check.constraint for check in checks(())] == list(Constraint)


def test_the_first_that_fails_is_marked_and_the_others_fail_too() -> None:
    assert marks(lacks(ReasonCode.MEMORY, 9, 1), lacks(ReasonCode.OVERHEAD_BOOKED, 90, 40)) == {
        "overhead": "fails first",
        "memory": "fails",
    }


def test_a_host_that_is_down_was_not_looked_at() -> None:
    assert set(marks(lacks(ReasonCode.HOST_DOWN)).values()) == {"fails first", "not looked at"}
    assert marks(lacks(ReasonCode.NO_DEDICATED_POOL, 4))["pCPUs"] == "not looked at"


def test_a_cell_says_more_than_that_no_cell_takes_the_guest() -> None:
    none = lacks(ReasonCode.GUEST_CELL)
    memory = lacks(ReasonCode.MEMORY, 10, 9, cell=1)
    assert marks(none, lacks(ReasonCode.DEDICATED_PCPUS, 4, 0, cell=0), memory) == {"memory": "fails first"}
    assert marks(none) == {"cells": "fails first"}


def test_the_nearest_miss_lacks_least() -> None:
    one_pcpu, two = (lacks(ReasonCode.DEDICATED_PCPUS, 4, 3),), (lacks(ReasonCode.DEDICATED_PCPUS, 4, 2),)
    never = (lacks(ReasonCode.DEDICATED_PCPUS, 4, 3, kind=Kind.INFEASIBLE),)
    both = (*one_pcpu, lacks(ReasonCode.MEMORY, 10, 9))
    down = (lacks(ReasonCode.HOST_DOWN),)
    assert sorted((down, both, never, two, one_pcpu), key=nearness) == [one_pcpu, two, both, never, down]
