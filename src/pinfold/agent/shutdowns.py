"""Which guests were asked to shut down, and how much time they have left. Pure; asking them is the performer's work.

Nothing waits here, so a slow guest does not delay the others. A restarted agent asks again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from pinfold.agent.reconcile import Patience
from pinfold.agent.wire import GuestOrder
from pinfold.core.identity import GuestId
from pinfold.store.records import Desired

AGAIN_SECONDS: Final = 10.0
"""How often a running guest is asked again, as Nova does: a guest that was still booting did not notice the first request."""


class Request(Struct, frozen=True, kw_only=True):
    """A guest was asked to shut down for one order: first at `since`, last at `last`. Times come from any clock that only goes forward."""

    order: tuple[Desired, int, int]
    since: float
    last: float


def ask(before: Request | None, order: GuestOrder, now: float) -> Request:
    """The request after the guest was asked again. Its time counts from the first request for the same order."""
    key = _key(order)
    since = before.since if before is not None and before.order == key else now
    return Request(order=key, since=since, last=now)


def still_wanted(request: Request, order: GuestOrder | None, *, running: bool) -> bool:
    """Whether the guest still runs, and the service still wants what it was asked for."""
    return running and order is not None and _key(order) == request.order


def patience(requests: Mapping[GuestId, Request], seconds: float, now: float) -> Patience:
    """Who still has time, and whose time is over. A guest in neither set must be asked, for the first time or again.

    With `seconds` of 0, no guest is asked.
    """
    over = frozenset(guest for guest, request in requests.items() if now >= request.since + seconds)
    waiting = frozenset(guest for guest, request in requests.items() if now < request.last + AGAIN_SECONDS)
    return Patience(asks=seconds > 0, waiting=waiting - over, over=over)


def wait(requests: Iterable[Request], seconds: float, now: float) -> float:
    """Seconds until a guest must be asked again or its time is over; infinite when no guest was asked."""
    times = (min(request.since + seconds, request.last + AGAIN_SECONDS) for request in requests)
    return min((time - now for time in times if time > now), default=float("inf"))


def _key(order: GuestOrder) -> tuple[Desired, int, int]:
    return order.desired, order.boot, order.claim.revision
