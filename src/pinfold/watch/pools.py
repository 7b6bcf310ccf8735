"""Decide when the watch compares guests with the configured pools, and what it says about them. Pure; `host.pool_change` plans and moves.

1. They are compared after the first sweep, and after each sweep that finds other pools.
2. With `apply` also two seconds after other guests run, because a guest may have been started with the old pools.
3. As long as a guest is not where the pools of today put it, they are compared again every minute.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from msgspec import Struct

from pinfold.core.identity import GuestId
from pinfold.core.plural import count

AGAIN_SECONDS: Final = 60.0
SETTLE_SECONDS: Final = 2.0


class PoolsMode(Enum):
    """What happens to running guests when the pools have changed: the watch says who is left behind, or moves them."""

    REPORT = "report"
    APPLY = "apply"


class Follower(Struct, frozen=True, kw_only=True):
    """A guest that the pools of today concern. `pending`: it has to move, or was moved.

    `moves` are its threads that move, as phrases. `why` says why it cannot follow, '' if it can. `later` says what will undo the move,
    '' if nothing does.
    """

    guest_id: GuestId
    name: str
    pending: bool = False
    moves: tuple[str, ...] = ()
    why: str = ""
    later: str = ""

    @property
    def moved(self) -> str:
        """The sentence that it was moved."""
        moves = f": {', '.join(self.moves)}" if self.moves else ""
        return f"guest {self.name} follows the pools of today, without a restart{moves}" + (f"; {self.later}" if self.later else "")


def left_behind(guests: tuple[Follower, ...], mode: PoolsMode) -> str:
    """One sentence for each thing that keeps guests from the pools of today, '' if every guest is on them.

    >>> left_behind((Follower(guest_id="1", name="web", pending=True),), PoolsMode.REPORT)
    '1 guest is not on the pools of today (web); `pinfold host pools` shows how to move it'
    """
    sentences = []
    behind = [one for one in guests if one.pending and not one.why]
    if behind and mode is PoolsMode.REPORT:
        few = len(behind) == 1
        names = ", ".join(one.name for one in behind)
        sentences.append(
            f"{count(len(behind), 'guest')} {'is' if few else 'are'} not on the pools of today ({names}); `pinfold host pools` shows how "
            f"to move {'it' if few else 'them'}"
        )
        novas: dict[str, list[str]] = {}
        for one in behind:
            if one.later:
                novas.setdefault(one.later, []).append(one.name)
        sentences += [f"Nova's {', '.join(named)}: {later}" for later, named in novas.items()]
    sentences += [f"guest {one.name} does not follow the pools of today: {one.why}" for one in guests if one.why]
    return "; ".join(sentences)
