"""`Backlog`: bound how many requests of agents wait for a thread. Others are told at once when to come again.

When thousands of agents come back together, more arrives than is answered before they give up waiting. What is answered too late is asked
again, so that the service is kept busy and no host comes up. What keeps a lease (polls and heartbeats)
is never refused, so hosts that are up stay up. Nor is an agent refused whose last request was taken a moment ago: one that has read its
orders reports its host next, and would read them again if that were refused.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Final

from pinfold.api.asgi import Scope
from pinfold.core.identity import HostId

_log = logging.getLogger(__name__)

MOST: Final = 200
"""How many requests wait or are answered at a time. Even if each took a tenth of a second of a processor, the last would wait less than an
agent waits for an answer.
"""
_SOONEST: Final = 2.0
_LATEST: Final = 120.0
"""Seconds after which a refused agent is told to come again."""
_SHARE: Final = 0.7
"""The share of the pace that is given to those who were refused: others come for the first time."""
_SLOWEST: Final = 5.0
_FASTEST: Final = 1000.0
"""The bounds of the pace, in requests a second."""
_BEGUN: Final = 30.0
"""For so many seconds after its first request was taken, more of an agent are."""
_MEASURED: Final = 10.0
"""The pace is that of the last so many seconds."""
_TELL_SECONDS: Final = 60.0
_NEVER: Final = float("-inf")
_HOST: Final = "/agent/v1/host"
_ORDERS: Final = "/agent/v1/orders"


def is_bounded(scope: Scope) -> bool:
    """Whether a request counts: a report of a host or of its findings, or one that reads all orders without waiting for them."""
    if scope["type"] != "http":
        return False
    method, path = scope["method"], scope["path"]
    if method == "GET":
        return bool(path == _ORDERS and scope["query_string"].startswith(b"after=-1&wait=0"))
    return bool(method == "PUT" and path in (_HOST, f"{_HOST}/findings"))


def is_deferrable(scope: Scope) -> bool:
    """Whether a request that does not count is refused while too many others wait: a poll that is no sign of life. Its agent has to report
    first. Those of earlier protocols end by reading all orders.
    """
    return scope["type"] == "http" and scope["path"] == _ORDERS and b"alive=true" not in scope["query_string"]


class Backlog:
    """The requests of agents that wait for a thread or are answered. For one thread."""

    def __init__(self, *, most: int | None = None, clock: Callable[[], float] = time.monotonic, rng: Random | None = None) -> None:
        self._most = MOST if most is None else most
        self._clock = clock
        self._rng = Random() if rng is None else rng
        self._count = 0
        self._answered: deque[float] = deque(maxlen=max(1, self._most))
        self._next = 0.0
        self._refused, self._tell_at = 0, 0.0
        self._taken: dict[HostId, float] = {}
        """When the first request of an agent was taken lately, the earliest first."""

    def takes(self, host: HostId) -> bool:
        """Whether a request of the host's agent is taken now: there is room, or the agent has begun."""
        return self._count < self._most or self._clock() - self._taken.get(host, _NEVER) <= _BEGUN

    @contextmanager
    def entered(self, host: HostId) -> Iterator[None]:
        """Count a request of the host's agent until it was answered, or ended in another way."""
        self._note_taken(host)
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1
            self._answered.append(self._clock())

    def seconds(self) -> int:
        """After how many seconds the agent that was refused is to come again: each at a moment of its own, as fast as others were answered
        lately. Where that would be too late, it is some moment in the second half of the longest time.
        """
        now = self._clock()
        self._note(now)
        self._next = max(self._next, now + _SOONEST) + 1.0 / (_SHARE * self._pace(now))
        if self._next > now + _LATEST:
            self._next = now + _LATEST
            return math.ceil(self._rng.uniform(_LATEST / 2, _LATEST))
        return math.ceil(self._next - now)

    def _note_taken(self, host: HostId) -> None:
        now = self._clock()
        while self._taken and now - next(iter(self._taken.values())) > _BEGUN:
            del self._taken[next(iter(self._taken))]
        self._taken.setdefault(host, now)

    def _pace(self, now: float) -> float:
        while self._answered and now - self._answered[0] > _MEASURED:
            self._answered.popleft()
        if not self._answered:
            return _SLOWEST
        return min(_FASTEST, max(_SLOWEST, len(self._answered) / max(now - self._answered[0], 1.0 / _FASTEST)))

    def _note(self, now: float) -> None:
        self._refused += 1
        if now >= self._tell_at:
            _log.warning("%d requests of agents came while %d were waiting, and are to come again later", self._refused, self._most)
            self._refused, self._tell_at = 0, now + _TELL_SECONDS
