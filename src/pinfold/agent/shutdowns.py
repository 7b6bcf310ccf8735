"""`Shutdowns`: which guests were asked to shut down, and how much time they have left. Asking them is the performer's work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pinfold.agent.reconcile import Order, Patience, PresentGuest
from pinfold.drivers.port import GuestState
from pinfold.store.records import Desired

AGAIN_SECONDS: Final = 10.0
"""How often a running guest is asked again, as Nova does: a guest that was still booting did not notice the first request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    about: tuple[Desired, int, int]
    since: float
    last: float


class Shutdowns:
    """Gives every guest `seconds` to shut down, counted from the first time that it is asked for one order. With 0, no guest is asked.

    Nothing blocks here, so a slow guest does not delay the others. Times come from any clock that only goes forward. A restarted agent asks
    again.

    >>> shutdowns = Shutdowns(60.0)
    >>> shutdowns.asked(Order(guest="g", claim="c", revision=3, desired=Desired.STOPPED), 100.0)
    >>> shutdowns.patience(101.0).waiting, shutdowns.patience(110.0).waiting, shutdowns.patience(160.0).over
    (frozenset({'g'}), frozenset(), frozenset({'g'}))
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._asked: dict[str, _Asked] = {}

    def asked(self, order: Order, now: float) -> None:
        """Record that the guest is being asked to shut down for this order."""
        before = self._asked.get(order.guest)
        about = _about(order)
        since = before.since if before is not None and before.about == about else now
        self._asked[order.guest] = _Asked(about=about, since=since, last=now)

    def keep(self, orders: tuple[Order, ...], present: tuple[PresentGuest, ...]) -> None:
        """Forget guests that no longer run, and guests of whom the service now wants something else."""
        running = {guest.guest for guest in present if guest.state is GuestState.RUNNING}
        wanted = {order.guest: _about(order) for order in orders if order.guest in running}
        self._asked = {guest: asked for guest, asked in self._asked.items() if wanted.get(guest) == asked.about}

    def patience(self, now: float) -> Patience:
        """Who still has time, and whose time is over. A guest in neither set must be asked, for the first time or again."""
        over = frozenset(guest for guest, asked in self._asked.items() if now >= asked.since + self._seconds)
        waiting = frozenset(guest for guest, asked in self._asked.items() if now < asked.last + AGAIN_SECONDS)
        return Patience(asks=self._seconds > 0, waiting=waiting - over, over=over)

    def wait(self, now: float) -> float:
        """Seconds until a guest must be asked again or its time is over; infinite when no guest was asked."""
        times = (min(asked.since + self._seconds, asked.last + AGAIN_SECONDS) for asked in self._asked.values())
        return min((time - now for time in times if time > now), default=float("inf"))


def _about(order: Order) -> tuple[Desired, int, int]:
    return order.desired, order.boot, order.revision
