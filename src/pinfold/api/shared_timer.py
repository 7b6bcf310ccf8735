"""`SharedTimer`: calls that are due at about the same time are made together.

A small call that wakes the process by itself takes several times as long as one that follows another like it (design 0059). So calls that
may come a little early are made at moments that many share.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import islice
from math import floor, frexp
from typing import Final

_EARLY: Final = 0.2
"""The share of its time by which a call may come too early."""
_LONGEST: Final = 4.0
"""Seconds between the moments at which calls are made, at most."""
_SHORTEST: Final = 2.0**-10
_LATE: Final = 0.004
"""Seconds after such a moment. uvloop's timers may come a little early; what is asked for again then would come an interval too early."""
_AT_ONCE: Final = 50
"""How many calls are made before the loop does other things that have become due."""


class Due:
    """A call that is due; `cancel` takes it back."""

    def __init__(self, call: Callable[[], None], others: dict[Due, None]) -> None:
        self.call = call
        self._others = others
        others[self] = None

    def cancel(self) -> None:
        """Do not make the call. Nothing happens if it was made."""
        self._others.pop(self, None)


class SharedTimer:
    """For the thread of the running loop, which makes the calls. An error in one of them is the loop's to handle, and stops no other."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due: dict[float, dict[Due, None]] = {}

    def within(self, seconds: float, call: Callable[[], None]) -> Due:
        """Make a call not later than so many seconds from now, and earlier by a fifth of them at most, or by 4 s."""
        interval = interval_of(seconds)
        at = floor((self._loop.time() + seconds) / interval) * interval
        due = self._due.get(at)
        if due is None:
            due = self._due[at] = {}
            self._loop.call_at(at + _LATE, self._make, at)
        return Due(call, due)

    def _make(self, at: float) -> None:
        due = self._due[at]
        for one in tuple(islice(due, _AT_ONCE)):
            if one in due:  # one before it has not taken it back
                del due[one]
                try:
                    one.call()
                except Exception as error:
                    self._loop.call_exception_handler({"message": "a call that was due failed", "exception": error})
        if due:
            self._loop.call_soon(self._make, at)
        else:
            del self._due[at]


def interval_of(seconds: float) -> float:
    """The seconds between the moments at which calls are made that are due in so many seconds: a power of two, so that many share them.

    >>> interval_of(20.0), interval_of(10.0), interval_of(3600.0), interval_of(0.0)
    (4.0, 2.0, 4.0, 0.0009765625)
    """
    _, exponent = frexp(min(_LONGEST, max(_SHORTEST, seconds * _EARLY)))
    return 2.0 ** (exponent - 1)
