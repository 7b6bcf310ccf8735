"""`Turns`: bound how long strangers' work may keep the event loop busy before others have their turn."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

_SECONDS: Final = 0.005


class Turns:
    """Does strangers' work in order: as much as takes 5 ms in each round of the loop, the rest in later rounds.

    So an agent's request waits a few milliseconds in each round instead of seconds, however many strangers connect and however expensive
    their bytes are to parse.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[Callable[[], None]] = deque()
        self._spent = 0.0
        self._due = False

    def take(self, work: Callable[[], None]) -> bool:
        """Do the work now and return True if there is time; else do it in its turn."""
        if not self._due:
            self._due = True
            self._loop.call_soon(self._round)
        if self._waiting or self._spent >= _SECONDS:
            self._waiting.append(work)
            return False
        self._do(work)
        return True

    def _round(self) -> None:
        self._spent = 0.0
        while self._waiting and self._spent < _SECONDS:
            self._do(self._waiting.popleft())
        self._due = bool(self._waiting)
        if self._due:
            self._loop.call_soon(self._round)

    def _do(self, work: Callable[[], None]) -> None:
        began = time.perf_counter()  # uvloop's clock does not advance within a round
        work()
        self._spent += time.perf_counter() - began
