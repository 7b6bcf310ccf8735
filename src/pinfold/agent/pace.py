"""`Pace`: when to try an action again that did not change the guest's state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pinfold.agent.reconcile import Action

FIRST_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tried:
    action: Action
    seconds: float
    again: float


class Pace:
    """Remembers the last action for each guest. The same action is due again after 1 second, then 2, 4, and so on up to 30. Another action,
    or the same one for another order, is due at once. Times come from any clock that only goes forward.

    >>> pace, action = Pace(), Action(act=__import__("pinfold.agent.reconcile").agent.reconcile.Act.STOP, guest="g")
    >>> pace.done(action, 10.0)
    >>> pace.due(action, 10.5), pace.due(action, 11.0), pace.wait(10.25)
    (False, True, 0.75)
    """

    def __init__(self) -> None:
        self._tried: dict[str, _Tried] = {}

    def due(self, action: Action, now: float) -> bool:
        """Whether the action may be performed now."""
        last = self._tried.get(action.guest)
        return last is None or last.action != action or now >= last.again

    def done(self, action: Action, now: float) -> None:
        """Record that the action was performed, with whatever outcome."""
        last = self._tried.get(action.guest)
        repeated = last is not None and last.action == action and now < last.again + LONGEST_SECONDS
        seconds = min(2 * last.seconds, LONGEST_SECONDS) if repeated and last is not None else FIRST_SECONDS
        self._tried[action.guest] = _Tried(action=action, seconds=seconds, again=now + seconds)

    def wait(self, now: float) -> float:
        """Seconds until an action is due again; infinite when there is none. It forgets actions that were due long ago."""
        self._tried = {guest: tried for guest, tried in self._tried.items() if now < tried.again + LONGEST_SECONDS}
        return min((tried.again - now for tried in self._tried.values() if tried.again > now), default=float("inf"))
