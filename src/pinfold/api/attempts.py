"""How many password checks one address may have under way, and how many wrong passwords it may send: pure, the clock is the caller's.

Running the checks does not belong here.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from pinfold.core.settings import AttemptLimits

_MOST_ADDRESSES: Final = 10_000
"""How many addresses are remembered, more than can have a check under way; the ones that were quiet the longest are forgotten first."""


@dataclass(slots=True)
class _Address:
    """What one address has under way, and its wrong passwords: `wrong` of them at the time `at`, fewer by the minute."""

    under_way: int = 0
    wrong: float = 0.0
    at: float = 0.0


class Attempts:
    """Counts by address. A check is asked for (`wait_seconds`), then begins, then ends. For one thread."""

    def __init__(self, limits: AttemptLimits) -> None:
        self._limits = limits
        self._addresses: OrderedDict[str, _Address] = OrderedDict()

    def wait_seconds(self, address: str, now: float) -> float:
        """0 where a check for that address may begin, else after how many seconds asking again may help."""
        found = self._addresses.get(address)
        if found is None:
            return 0.0
        excess = self._wrong(found, now) + 1 - self._limits.wrong_per_minute
        if excess > 0:
            return excess * 60 / self._limits.wrong_per_minute
        return 1.0 if found.under_way >= self._limits.waiting_per_address else 0.0

    def rank(self, address: str, now: float) -> int:
        """Whose turn is first: the lower rank's. It is how many wrong passwords came from there lately, so that who sends none goes before
        those that guess.
        """
        found = self._addresses.get(address)
        return 0 if found is None else math.ceil(self._wrong(found, now))

    def begin(self, address: str, now: float) -> None:
        """A check for that address is under way."""
        found = self._addresses.setdefault(address, _Address(at=now))
        self._addresses.move_to_end(address)
        found.under_way += 1
        if len(self._addresses) > _MOST_ADDRESSES:
            del self._addresses[next(key for key, other in self._addresses.items() if not other.under_way)]

    def end(self, address: str, now: float, *, wrong: bool) -> None:
        """That check is over."""
        found = self._addresses[address]
        found.under_way -= 1
        if wrong:
            found.wrong, found.at = self._wrong(found, now) + 1, now

    def _wrong(self, found: _Address, now: float) -> float:
        return max(0.0, found.wrong - (now - found.at) * self._limits.wrong_per_minute / 60)
