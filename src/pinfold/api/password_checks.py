"""`PasswordChecks`: check passwords in separate threads, in a fair order and within the bounds of `attempts`.

bcrypt takes a third of a second of CPU by design. In the threads that serve requests, a few clients with wrong passwords would block
everybody else.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from pinfold.api.accounts import Account
from pinfold.api.attempts import Attempts
from pinfold.api.doorkeeper import Doorkeeper
from pinfold.core.settings import DEFAULT_LIMITS, AttemptLimits

_MOST_CONNECTIONS: Final = 4096
LONGEST_RETRY: Final = 60


class Outcome(Enum):
    """The outcome of a request with a name and a password."""

    REMEMBERED = "remembered"
    RIGHT = "right"
    WRONG = "wrong"
    REFUSED = "refused"


class TooManyAttempts(Exception):
    """The password is not checked now. `retry_seconds` is when to ask again, `answer_after_seconds` when to answer that."""

    def __init__(self, retry_seconds: int, answer_after_seconds: float) -> None:
        super().__init__(f"ask again in {retry_seconds} s")
        self.retry_seconds = retry_seconds
        self.answer_after_seconds = answer_after_seconds


@dataclass(order=True, slots=True)
class _Waiting:
    """A check that waits for its turn: the lowest rank first, then the earliest."""

    rank: int
    number: int
    turn: asyncio.Future[None] = field(compare=False)


class PasswordChecks:
    """For one event loop. `outcomes` counts the outcomes of requests, `waiting` the checks that wait now.

    A connection (client's address and port) on which a password was accepted is no longer bounded: it can have only one check running.
    """

    def __init__(self, doorkeeper: Doorkeeper, limits: AttemptLimits = DEFAULT_LIMITS) -> None:
        self.doorkeeper = doorkeeper
        self.outcomes: Counter[Outcome] = Counter()
        self.limits = limits
        self._attempts = Attempts(self.limits)
        self._threads = ThreadPoolExecutor(self.limits.at_once, thread_name_prefix="pinfold-password")
        self._running = 0
        self._number = 0
        self._queue: list[_Waiting] = []
        self._opened: OrderedDict[tuple[str, int], None] = OrderedDict()
        self._seconds = 0.5

    @property
    def waiting(self) -> int:
        """How many checks wait for their turn."""
        return len(self._queue)

    def recalled(self, name: str, password: str, *, connection: tuple[str, int]) -> Account | None:
        """The account, if that password has opened it lately, so that nothing is to be checked."""
        account = self.doorkeeper.remembered(name, password)
        if account is not None:
            self.outcomes[Outcome.REMEMBERED] += 1
            self._remember(connection)
        return account

    async def admit(self, name: str, password: str, *, address: str, connection: tuple[str, int]) -> Account | None:
        """The account that these credentials open, or None. Bounds apply to each `address`. Raises `TooManyAttempts` beyond the bounds."""
        account = self.recalled(name, password, connection=connection)
        return account or await self.check(name, password, address=address, connection=connection)

    async def check(self, name: str, password: str, *, address: str, connection: tuple[str, int]) -> Account | None:
        """The same for credentials that are not `recalled`."""
        now = time.monotonic()
        known = connection in self._opened
        wait = 0.0 if known else self._attempts.wait_seconds(address, now)
        if wait:
            raise self._refusal(wait)
        self._attempts.begin(address, now)
        wrong = False
        try:
            await self._turn(-1 if known else self._attempts.rank(address, now))
            account = await self._check(name, password)
            wrong = account is None
        finally:
            self._attempts.end(address, time.monotonic(), wrong=wrong)
        self.outcomes[Outcome.WRONG if wrong else Outcome.RIGHT] += 1
        if account is None:
            self._opened.pop(connection, None)
        else:
            self._remember(connection)
        return account

    async def _turn(self, rank: int) -> None:
        """Wait until this check may run. In a full queue the last check is refused, which may be this one."""
        if self._running < self.limits.at_once:
            self._running += 1
            return
        self._number += 1
        mine = _Waiting(rank, self._number, asyncio.get_running_loop().create_future())
        self._queue.append(mine)
        if len(self._queue) > self.limits.waiting:
            last = max(self._queue)
            self._queue.remove(last)
            if last is not mine and not last.turn.done():
                last.turn.set_exception(self._refusal(self._queue_seconds()))
            elif last is mine:
                raise self._refusal(self._queue_seconds())
        try:
            await mine.turn
        except asyncio.CancelledError:
            if mine in self._queue:
                self._queue.remove(mine)
            elif mine.turn.done() and not mine.turn.cancelled() and mine.turn.exception() is None:
                self._next()
            raise

    async def _check(self, name: str, password: str) -> Account | None:
        began = time.monotonic()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self.doorkeeper.admit, name, password)
        finally:
            self._seconds = time.monotonic() - began
            self._next()

    def _next(self) -> None:
        """Give the ended turn to the first check in the queue."""
        while self._queue:
            first = min(self._queue)
            self._queue.remove(first)
            if not first.turn.done():
                first.turn.set_result(None)
                return
        self._running -= 1

    def _queue_seconds(self) -> float:
        return len(self._queue) * self._seconds / self.limits.at_once

    def _refusal(self, seconds: float) -> TooManyAttempts:
        self.outcomes[Outcome.REFUSED] += 1
        return TooManyAttempts(min(max(1, math.ceil(seconds)), LONGEST_RETRY), self.limits.refusal_seconds)

    def _remember(self, connection: tuple[str, int]) -> None:
        self._opened[connection] = None
        self._opened.move_to_end(connection)
        while len(self._opened) > _MOST_CONNECTIONS:
            self._opened.popitem(last=False)
