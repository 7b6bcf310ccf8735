"""Run a few calls at the same time, of which the caller's own thread makes one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

Found = TypeVar("Found")


class SideBySide:
    """Threads for calls that wait for something else. Safe to share between threads."""

    def __init__(self, threads: int, name: str) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)

    def run(self, calls: Sequence[Callable[[], Found]]) -> list[Found]:
        """What each call returns, in their order. All have ended when this returns, or raises what the first of those that failed raised.

        The caller makes the first one, and after it those for which no thread was free.

        >>> SideBySide(1, "example").run([lambda: 1, lambda: 2, lambda: 3])
        [1, 2, 3]
        """
        others = [self._threads.submit(call) for call in calls[1:]]
        try:
            found = [call() for call in calls[:1]]
            return found + [call() if one.cancel() else one.result() for call, one in zip(calls[1:], others, strict=True)]
        finally:
            wait([one for one in others if not one.cancel()])
