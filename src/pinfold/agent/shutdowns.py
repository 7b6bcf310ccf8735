"""`Shutdowns`: which guests were asked to shut down, and how much longer they may take. How they are asked does not belong here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pinfold.agent.reconcile import Order, Patience, Present
from pinfold.drivers.port import GuestState
from pinfold.store.model import Desired

AGAIN_SECONDS: Final = 10.0
"""A guest that still runs is asked again so often, as Nova does it: one that was just booting has not heard the first time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    about: tuple[Desired, int, int]
    since: float
    last: float


class Shutdowns:
    """Gives every guest `seconds` to shut down, counted from the first time that it is asked for one order; with 0, none is asked.

    Nothing waits here, so that a guest that takes its time keeps nobody from being served. Times are any clock's that only goes forward.
    An agent that starts anew asks anew.

    >>> shutdowns = Shutdowns(60.0)
    >>> shutdowns.asked(Order(guest="g", claim="c", revision=3, desired=Desired.STOPPED), 100.0)
    >>> shutdowns.patience(101.0).waiting, shutdowns.patience(110.0).waiting, shutdowns.patience(160.0).over
    (frozenset({'g'}), frozenset(), frozenset({'g'}))
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._asked: dict[str, _Asked] = {}

    def asked(self, order: Order, now: float) -> None:
        """The guest is being asked for this order."""
        before = self._asked.get(order.guest)
        about = _about(order)
        since = before.since if before is not None and before.about == about else now
        self._asked[order.guest] = _Asked(about=about, since=since, last=now)

    def keep(self, orders: tuple[Order, ...], present: tuple[Present, ...]) -> None:
        """Forget the guests that do not run any more, and those of whom something else is wanted by now."""
        running = {guest.guest for guest in present if guest.state is GuestState.RUNNING}
        wanted = {order.guest: _about(order) for order in orders if order.guest in running}
        self._asked = {guest: asked for guest, asked in self._asked.items() if wanted.get(guest) == asked.about}

    def patience(self, now: float) -> Patience:
        """Who still has time, and who has had it; a guest that is in neither is to be asked, for the first time or again."""
        over = frozenset(guest for guest, asked in self._asked.items() if now >= asked.since + self._seconds)
        waiting = frozenset(guest for guest, asked in self._asked.items() if now < asked.last + AGAIN_SECONDS)
        return Patience(asks=self._seconds > 0, waiting=waiting - over, over=over)

    def wait(self, now: float) -> float:
        """Seconds until a guest is to be asked again, or its time is over; infinite when nobody was asked."""
        times = (min(asked.since + self._seconds, asked.last + AGAIN_SECONDS) for asked in self._asked.values())
        return min((time - now for time in times if time > now), default=float("inf"))


def _about(order: Order) -> tuple[Desired, int, int]:
    return order.desired, order.boot, order.revision
