"""How far a service has carried out a plan to re-pin the guests of a host: which claims have moved, and which guests have followed.

A guest that is on its way holds two places: its claim has the new one, and the old one stays taken until every guest of the plan has
arrived. If a guest cannot be moved, all of them go back, because the plan was shown with its gain as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Annotated, Final

from msgspec import Meta, Struct, field
from msgspec.structs import replace

from pinfold.core.bounds import ClaimUuid, Revision, Uuid
from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvariantViolation
from pinfold.core.fit.answer import Fit
from pinfold.core.identity import ClaimId
from pinfold.core.repin.plan import Step

WHY_MOST: Final = 8_000
"""The most characters of the reason why a guest could not be moved."""
ON_THE_WAY: Final = "a re-pin that is under way"
"""Who holds, in a ledger, the pCPUs that guests on their way leave or come from."""

Why = Annotated[str, Meta(max_length=WHY_MOST)]


class Phase(Enum):
    """What becomes of a plan: its guests move, they go back because one could not be moved, or either is over."""

    MOVING = "moving"
    TURNING_BACK = "turning back"
    MOVED = "moved"
    UNDONE = "undone"


UNDER_WAY: Final = (Phase.MOVING, Phase.TURNING_BACK)


class GuestMove(Struct, frozen=True, kw_only=True):
    """One guest's move. `revision` is that of its claim since then. `why` says why its agent could not move it, '' if it could or has not
    said.
    """

    guest: Uuid
    claim: ClaimUuid
    before: Fit = field(name="from")
    after: Fit = field(name="to")
    revision: Revision
    arrived: bool = False
    why: Why = ""


class Progress(Struct, frozen=True, kw_only=True):
    """A plan that is or was carried out. `failure` names the guest that could not be moved, and why; '' for none."""

    phase: Phase
    moves: tuple[GuestMove, ...]
    failure: Why = ""

    @property
    def under_way(self) -> bool:
        """Whether some guest may still be on its way."""
        return self.phase in UNDER_WAY

    @property
    def fails(self) -> bool:
        """Whether a guest could not be moved, and the others have not been turned back yet."""
        return self.phase is Phase.MOVING and bool(self.failure)


def collapsed(steps: Sequence[Step]) -> tuple[Step, ...]:
    """One step for each guest, from its first place to its last one, so that each step takes only what those before it have left. Pure.

    Raises `InvariantViolation` if there is no such order.
    """
    first: dict[str, Step] = {}
    for step in steps:
        known = first.get(step.guest)
        first[step.guest] = step if known is None else replace(known, after=step.after)
    left = [step for step in first.values() if step.before != step.after]
    ordered: list[Step] = []
    while left:
        following = next((step for step in left if _free(step, left)), None)
        if following is None:
            raise InvariantViolation(f"the steps of guests {', '.join(step.guest for step in left)} wait for each other")
        ordered.append(following)
        left.remove(following)
    return tuple(ordered)


def _free(step: Step, left: Iterable[Step]) -> bool:
    return all(other is step or step.after.taken.isdisjoint(other.before.taken) for other in left)


def told(progress: Progress, claim: ClaimId, revision: int, *, why: str = "", name: str = "") -> Progress:
    """The progress after an agent has reported a guest with a record of that claim and revision; `why` says that it could not follow.

    A report of another claim, or of an earlier revision, changes nothing. Pure.
    """
    if not progress.under_way:
        return progress
    moves = tuple(_told(move, claim, revision, why) for move in progress.moves)
    stuck = next((move for move in moves if move.why), None)
    failure = progress.failure
    if stuck is not None and not failure:
        failure = f"guest {name or stuck.guest} was not moved: {stuck.why}"[:WHY_MOST]
    return replace(progress, moves=moves, failure=failure)


def _told(move: GuestMove, claim: ClaimId, revision: int, why: str) -> GuestMove:
    if move.claim != claim:
        return move
    if revision >= move.revision:
        return replace(move, arrived=True, why="")
    return replace(move, why=why[:WHY_MOST]) if why and not move.arrived else move


def turned_back(progress: Progress, revision: int, claims: Iterable[ClaimId]) -> Progress:
    """The progress after these claims were given their first places again, at that revision. The others have nothing to go back to.

    Pure.
    """
    gone = frozenset(claims)
    moves = tuple(
        replace(move, before=move.after, after=move.before, revision=revision, arrived=False, why="")
        for move in reversed(progress.moves)
        if move.claim in gone
    )
    return replace(progress, phase=Phase.TURNING_BACK, moves=moves)


def looked_at(progress: Progress, held: Mapping[ClaimId, Fit]) -> Progress:
    """The progress by the claims that the host holds now: a guest without its claim, or with another place, is on no way any more. Once
    nobody is, the plan is over. Pure.
    """
    if not progress.under_way:
        return progress
    moves = tuple(move if move.arrived or _stands(move, held) else replace(move, arrived=True, why="") for move in progress.moves)
    found = replace(progress, moves=moves)
    if progress.fails or not all(move.arrived for move in moves):
        return found
    return replace(found, phase=Phase.UNDONE if progress.phase is Phase.TURNING_BACK else Phase.MOVED)


def _stands(move: GuestMove, held: Mapping[ClaimId, Fit]) -> bool:
    return move.claim in held and held[move.claim].taken == move.after.taken


def between(progress: Progress | None, held: CpuSet) -> CpuSet:
    """The pCPUs that guests on their way may still use beside those that claims hold. Pure.

    All of them stay taken until the whole plan is over, so that there is a way back.
    """
    if progress is None or not progress.under_way:
        return CpuSet()
    return CpuSet.union(move.before.taken | move.after.taken for move in progress.moves) - held
