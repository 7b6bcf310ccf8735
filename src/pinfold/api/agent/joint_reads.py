"""`JointReads`: read what is stored of many hosts in one statement, for all requests that wait for it.

After a restart, no agent's token is known. The tokens of thousands of agents that come back together are then compared after a few reads.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from pinfold.core.identity import HostId
from pinfold.store.presence import Standing

MOST: Final = 500
"""How many hosts are read in one statement."""


class JointReads:
    """One read at a time, in a thread of its own. It begins after all that it answers were asked for, so what it finds is not older.

    `read` returns the standing of each of the hosts that exists. What it raises is raised for all that the read was for.
    """

    def __init__(self, read: Callable[[tuple[HostId, ...]], Mapping[HostId, Standing]], name: str) -> None:
        self._read = read
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._lock = threading.Lock()
        self._waiting: deque[tuple[HostId, Future[Standing | None]]] = deque()
        self._reading = False

    async def of(self, host: HostId) -> Standing | None:
        """The standing of the host, None if there is no such host. If the task is cancelled before the read begins, it is left out."""
        found: Future[Standing | None] = Future()
        with self._lock:
            self._waiting.append((host, found))
            begin, self._reading = not self._reading, True
        if begin:
            self._thread.submit(self._go)
        return await asyncio.wrap_future(found)

    def _go(self) -> None:
        while wanted := self._next():
            asked = [(host, found) for host, found in wanted if found.set_running_or_notify_cancel()]
            if not asked:
                continue
            try:
                standings = self._read(tuple(dict.fromkeys(host for host, _ in asked)))
            except BaseException as error:
                for _, found in asked:
                    found.set_exception(error)
            else:
                for host, found in asked:
                    found.set_result(standings.get(host))

    def _next(self) -> list[tuple[HostId, Future[Standing | None]]]:
        with self._lock:
            wanted = [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]
            self._reading = bool(wanted)
            return wanted
