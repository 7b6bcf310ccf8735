"""`GuestKinds`: the kinds of guests that were asked for last, compiled, each with its fits on the last states of hosts.

Hosts that are alike have the same fit. What a fit depends on is the frame of the host, what its cells have left, and what its claims use
together (`Counts.content`). A host whose overhead pool is booked by cell is fitted each time, because that depends on every claim.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from itertools import count
from typing import Final, TypeVar

from pinfold.core.errors import Conflict
from pinfold.core.fit.answer import Fit, Strategy
from pinfold.core.fit.count import Counts
from pinfold.core.fit.demand import Demand, prepare
from pinfold.core.fit.engine import search
from pinfold.core.host import Claim
from pinfold.core.identity import GuestId
from pinfold.core.request.model import GuestRequest
from pinfold.scheduler.filter import need
from pinfold.scheduler.loss import shape_key
from pinfold.scheduler.rank import score

MOST_KINDS: Final = 64
MOST_FITS: Final = 256
"""How many fits of one kind are remembered."""
MOST_STEPS: Final = 64
"""How many steps of one kind are remembered."""

Ranked = tuple[Fit, tuple[int, ...]]
Step = tuple[Fit, Counts]
"""The fit that a guest gets on a host, and what the host has left with it."""


Found = TypeVar("Found")
Key = TypeVar("Key", bound=Hashable)
Made = TypeVar("Made")


class GuestKind:
    """A demand, what it needs as numbers, and its place in the table of losses if it has one."""

    def __init__(self, demand: Demand) -> None:
        self.demand = demand
        self.need = need(demand)
        self.shape = shape_key(demand)
        self._fits: dict[Hashable, Ranked | None] = {}
        self._steps: dict[Hashable, Step | None] = {}
        self._others = count()

    def search(self, counts: Counts, strategy: Strategy, first: int = -1) -> Fit | None:
        """As `core.fit.engine.search`."""

        def make() -> Ranked | None:
            fit = search(self.demand, counts, strategy, first)
            return None if fit is None else (fit, ())

        found = _recall(self._fits, MOST_FITS, counts, (strategy.value, first), make)
        return None if found is None else found[0]

    def scored(self, counts: Counts, strategy: Strategy, prefers: Strategy) -> Ranked | None:
        """The fit, and its score by `rank.score`; None where the guest does not fit."""

        def make() -> Ranked | None:
            fit = search(self.demand, counts, strategy)
            return None if fit is None else (fit, score(self.demand.request, counts, fit, prefers))

        return _recall(self._fits, MOST_FITS, counts, (strategy.value, prefers.value), make)

    def step(self, counts: Counts, strategy: Strategy, first: int) -> Step | None:
        """The fit as `search` finds it, and the counts with it; None where the guest does not fit."""
        make = partial(self._stepped, counts, strategy, first)
        return _recall(self._steps, MOST_STEPS, counts, (strategy.value, first), make)

    def _stepped(self, counts: Counts, strategy: Strategy, first: int) -> Step | None:
        fit = self.search(counts, strategy, first)
        if fit is None:
            return None
        nobody = GuestId(f"like it, {next(self._others)}")
        try:
            return fit, counts.claimed(Claim(guest=nobody, fit=fit))
        except Conflict:
            return None


def _recall(
    known: dict[Hashable, Found | None], most: int, counts: Counts, asked: tuple[Hashable, ...], make: Callable[[], Found | None]
) -> Found | None:
    """What `make` returns, remembered for hosts that have the same left; `asked` is what else it depends on."""
    if counts.frame.pool.prefers_local:
        return make()
    key = (counts.content, *asked)
    try:
        return known[key]
    except KeyError:
        pass
    if len(known) >= most:
        known.clear()
    found = known[key] = make()
    return found


def _kept(known: dict[Key, Made], key: Key, make: Callable[[Key], Made]) -> Made:
    """What `make` returns for the key, remembered for `MOST_KINDS` of them."""
    found = known.get(key)
    if found is None:
        if len(known) >= MOST_KINDS:
            known.clear()
        found = known[key] = make(key)
    return found


class GuestKinds:
    """Safe to share between threads: at worst two of them do the same work."""

    def __init__(self) -> None:
        self._known: dict[Demand, GuestKind] = {}
        self._demands: dict[GuestRequest, Demand] = {}

    def demand(self, request: GuestRequest) -> Demand:
        """The request's demand. Raises `InvalidRequest` as `prepare`."""
        return _kept(self._demands, request, prepare)

    def of(self, demand: Demand) -> GuestKind:
        """The kind of guests with this demand."""
        return _kept(self._known, demand, GuestKind)
