"""Wait with a time limit for a condition, or for a call that may never return."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

POLL_SECONDS: Final = 0.005

Answer = TypeVar("Answer")


def until(done: Callable[[], bool], seconds: float, *, pause: float = POLL_SECONDS) -> bool:
    """Wait until `done` is true, at most that long. Returns whether it became true."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() >= end:
            return False
        time.sleep(pause)
    return True


def within(seconds: float, call: Callable[[], Answer]) -> Answer:
    """Run `call` in a thread and return or raise what it does. Raises `TimeoutError` if it takes longer; the call then keeps running."""
    answers: queue.SimpleQueue[tuple[Answer | None, Exception | None]] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put((call(), None))
        except Exception as error:
            answers.put((None, error))

    threading.Thread(target=ask, name="a call with a time limit", daemon=True).start()
    try:
        answer, error = answers.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:.0f} seconds") from None
    if error is not None:
        raise error
    return answer  # type: ignore[return-value]  # the call's own None included
