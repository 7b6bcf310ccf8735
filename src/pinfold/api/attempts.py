"""`Attempts`: bound the running password checks and the wrong passwords of one address. Pure; the caller passes the time."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from pinfold.core.settings import AttemptLimits

_MOST_ADDRESSES: Final = 10_000
"""How many addresses are remembered; more than can have a check running. The addresses that were quiet the longest are forgotten first."""


@dataclass(slots=True)
class _Address:
    """The running checks of one address, and its wrong passwords: `wrong` of them at time `at`, fewer with every minute."""

    under_way: int = 0
    wrong: float = 0.0
    at: float = 0.0


class Attempts:
    """Counts by address. For each check, call `wait_seconds`, then `begin`, then `end`. For one thread."""

    def __init__(self, limits: AttemptLimits) -> None:
        self._limits = limits
        self._addresses: OrderedDict[str, _Address] = OrderedDict()

    def wait_seconds(self, address: str, now: float) -> float:
        """0 if a check for that address may begin, else after how many seconds to ask again."""
        found = self._addresses.get(address)
        if found is None:
            return 0.0
        excess = self._wrong(found, now) + 1 - self._limits.wrong_per_minute
        if excess > 0:
            return excess * 60 / self._limits.wrong_per_minute
        return 1.0 if found.under_way >= self._limits.waiting_per_address else 0.0

    def rank(self, address: str, now: float) -> int:
        """The address's rank in the queue; the lowest goes first. It is the number of recent wrong passwords, so that clients without any
        go before those that guess.
        """
        found = self._addresses.get(address)
        return 0 if found is None else math.ceil(self._wrong(found, now))

    def begin(self, address: str, now: float) -> None:
        """A check for that address begins."""
        found = self._addresses.setdefault(address, _Address(at=now))
        self._addresses.move_to_end(address)
        found.under_way += 1
        if len(self._addresses) > _MOST_ADDRESSES:
            del self._addresses[next(key for key, other in self._addresses.items() if not other.under_way)]

    def end(self, address: str, now: float, *, wrong: bool) -> None:
        """A check for that address has ended."""
        found = self._addresses[address]
        found.under_way -= 1
        if wrong:
            found.wrong, found.at = self._wrong(found, now) + 1, now

    def _wrong(self, found: _Address, now: float) -> float:
        return max(0.0, found.wrong - (now - found.at) * self._limits.wrong_per_minute / 60)
