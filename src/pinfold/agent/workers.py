"""`Workers`: run each action in a thread of its own, so that none waits for another."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

_STARTS_AT_ONCE = 4


class Workers:
    """Runs each piece of work in its own thread. Only a few guest starts run at a time, because starts take turns anyway.

    A thread that hangs does not keep the process from ending.
    """

    def __init__(self) -> None:
        self._starts = threading.BoundedSemaphore(_STARTS_AT_ONCE)
        self._changed = threading.Condition()
        self._under_way: list[str] = []
        self._ended = False

    def begin(self, name: str, work: Callable[[], None], *, starts: bool) -> None:
        """Start the work soon. `starts` says that it starts a guest; `name` describes the work in sentences."""
        target = (lambda: self._start(name, work)) if starts else (lambda: self._do(name, work))
        threading.Thread(target=target, name=f"pinfold {name}", daemon=True).start()

    def finish(self, until: float) -> tuple[str, ...]:
        """Start no more work, and wait for the running work until `until` of `time.monotonic`. Returns the names of the work that still
        runs.
        """
        with self._changed:
            self._ended = True
            self._changed.wait_for(lambda: not self._under_way, max(0.0, until - time.monotonic()))
            return tuple(self._under_way)

    def _start(self, name: str, work: Callable[[], None]) -> None:
        with self._starts:
            self._do(name, work)

    def _do(self, name: str, work: Callable[[], None]) -> None:
        with self._changed:
            if self._ended:
                return
            self._under_way.append(name)
        try:
            work()
        finally:
            with self._changed:
                self._under_way.remove(name)
                self._changed.notify_all()
