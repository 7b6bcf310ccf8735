"""Which constraint of a host fails first for a guest, and which refusal is the nearest miss. Pure; `core.fit.explain` finds the reasons."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final

from msgspec import Struct

from pinfold.core.reasons import Kind, Reason, ReasonCode


class Constraint(Enum):
    """What a host must fulfil, in the order in which pictures show it. The values are for people."""

    SERVICE = "in service"
    CONDITIONS = "as asked for"
    DISK = "disk"
    POOLS = "pools"
    OVERHEAD = "overhead"
    PCPUS = "pCPUs"
    MEMORY = "memory"
    CELLS = "cells"


class Mark(Enum):
    """Whether a host fulfils a constraint. FIRST is the first one that it does not; UNKNOWN was not looked at after another one failed."""

    PASSES = "passes"
    FIRST = "fails first"
    FAILS = "fails"
    UNKNOWN = "not looked at"


class Check(Struct, frozen=True, kw_only=True):
    """One constraint on one host. `reason` is why it fails: on a host of several cells, that of the cell that lacks least."""

    constraint: Constraint
    mark: Mark
    reason: Reason | None = None

    def short(self) -> str:
        """The amounts in a few characters, '' without any.

        >>> Check(
        ...     constraint=Constraint.PCPUS, mark=Mark.FIRST,
        ...     reason=Reason(code=ReasonCode.DEDICATED_PCPUS, kind=Kind.INSUFFICIENT, cell=1, needed=8, available=7),
        ... ).short()
        '7 of 8'
        """
        return f"{self.reason.available:,} of {self.reason.needed:,}" if self.reason is not None and self.reason.needed else ""


_CONSTRAINTS: Final = {
    Constraint.SERVICE: (ReasonCode.HOST_DOWN, ReasonCode.HOST_DISABLED, ReasonCode.STALE, ReasonCode.PLACEMENT),
    Constraint.CONDITIONS: (
        ReasonCode.MISSING_TRAIT,
        ReasonCode.FORBIDDEN_TRAIT,
        ReasonCode.MISSING_NETWORK,
        ReasonCode.AGGREGATE,
        ReasonCode.AGGREGATE_METADATA,
        ReasonCode.MISSING_FEATURE,
        ReasonCode.PROCESSOR,
    ),
    Constraint.DISK: (ReasonCode.DISK,),
    Constraint.POOLS: (
        ReasonCode.NO_DEDICATED_POOL,
        ReasonCode.NO_SHARED_POOL,
        ReasonCode.NO_OVERHEAD_POOL,
        ReasonCode.OVERHEAD_POOL_OFFLINE,
    ),
    Constraint.OVERHEAD: (ReasonCode.OVERHEAD_BOOKED, ReasonCode.OVERHEAD_CELL_BOOKED),
    Constraint.PCPUS: (
        ReasonCode.DEDICATED_PCPUS,
        ReasonCode.EMULATOR_PCPU,
        ReasonCode.THREAD_SIBLINGS,
        ReasonCode.WHOLE_CORES,
        ReasonCode.SHARED_PCPUS,
        ReasonCode.SHARED_CAPACITY,
    ),
    Constraint.MEMORY: (ReasonCode.MEMORY, ReasonCode.PAGES, ReasonCode.PAGE_SIZE),
    Constraint.CELLS: (ReasonCode.TOO_FEW_CELLS, ReasonCode.GUEST_CELL, ReasonCode.CELL_COMBINATION),
}
_OF: Final = {code: constraint for constraint, codes in _CONSTRAINTS.items() for code in codes}
_HIDES: Final = {
    Constraint.SERVICE: frozenset(Constraint),
    Constraint.CONDITIONS: frozenset(Constraint) - {Constraint.SERVICE},
    Constraint.POOLS: frozenset({Constraint.PCPUS, Constraint.CELLS}),
}
"""What is not looked at any more when a constraint fails."""


def checks(reasons: Sequence[Reason]) -> tuple[Check, ...]:
    """Every constraint of a host that refuses for these reasons, in order; without reasons all pass.

    Reasons of cells count as those of the cell that lacks least. They say more than that no cell takes a guest cell, so that is left out
    beside them.

    >>> reasons = (
    ...     Reason(code=ReasonCode.GUEST_CELL, kind=Kind.INSUFFICIENT, detail="0"),
    ...     Reason(code=ReasonCode.DEDICATED_PCPUS, kind=Kind.INSUFFICIENT, cell=0, needed=4, available=1),
    ...     Reason(code=ReasonCode.DEDICATED_PCPUS, kind=Kind.INSUFFICIENT, cell=1, needed=4, available=3),
    ... )
    >>> [(check.constraint.value, check.mark.value, check.short()) for check in checks(reasons) if check.mark is not Mark.PASSES]
    [('pCPUs', 'fails first', '3 of 4')]
    """
    told = _nearest(reasons)
    hidden = frozenset().union(*(_HIDES.get(_OF[reason.code], frozenset()) for reason in told))
    found: list[Check] = []
    failed = False
    for constraint in Constraint:
        reason = max((one for one in told if _OF[one.code] is constraint), key=_lack, default=None)
        if reason is not None:
            found.append(Check(constraint=constraint, mark=Mark.FAILS if failed else Mark.FIRST, reason=reason))
            failed = True
        else:
            found.append(Check(constraint=constraint, mark=Mark.UNKNOWN if constraint in hidden else Mark.PASSES))
    return tuple(found)


def nearness(reasons: Sequence[Reason]) -> tuple[bool, bool, int, float]:
    """The key that sorts refusals, the nearest miss first: a host that was looked at as a whole, one that may take the guest after
    releases, one that fails fewest constraints, and then by the largest part that is missing of something.
    """
    told, marks = _nearest(reasons), [check.mark for check in checks(reasons)]
    never = any(reason.kind is Kind.INFEASIBLE for reason in reasons if reason.cell is None)
    fails = sum(mark in (Mark.FIRST, Mark.FAILS) for mark in marks)
    return Mark.UNKNOWN in marks, never, fails, max((_lack(reason) for reason in told), default=0.0)


def _nearest(reasons: Sequence[Reason]) -> tuple[Reason, ...]:
    """The reasons of the host, and those of the cell that lacks least."""
    host = [reason for reason in reasons if reason.cell is None]
    by_cell = [
        [reason for reason in reasons if reason.cell == cell] for cell in sorted({one.cell for one in reasons if one.cell is not None})
    ]
    if not by_cell:
        return tuple(host)
    best = min(by_cell, key=lambda found: (found[0].kind is Kind.INFEASIBLE, len(found), max(_lack(one) for one in found)))
    return (*(reason for reason in host if _OF[reason.code] is not Constraint.CELLS), *best)


def _lack(reason: Reason) -> float:
    """The missing part, from 0 to 1; 1 where nothing is counted."""
    return (reason.needed - reason.available) / reason.needed if reason.needed else 1.0
