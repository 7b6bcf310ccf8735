"""Wait with a time limit for a condition, or for a call that may never return."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

POLL_SECONDS: Final = 0.005
_AGAIN_SECONDS: Final = 15.0
_MOST_AGAIN_SECONDS: Final = 600.0

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
    return BoundedCalls(call).within(seconds)


@dataclass(slots=True, eq=False)
class _Running(Generic[Answer]):
    """A call in its thread. `late` means that its caller has given it up."""

    began: float
    ended: bool = False
    late: bool = False
    answer: Answer | None = None
    error: Exception | None = None


class BoundedCalls(Generic[Answer]):
    """Calls of `call` with a time limit, which do not pile up where it never returns. Any thread may use it.

    1. While a call is overdue, no other one begins. Callers wait for the overdue one, and the first of them gets its answer.
    2. An answer for which nobody waits is kept for the next caller, who gets it if it is `usable` by then.
    3. An overdue call that fails lets the next one begin. Its error is too old to be told.
    4. A call that began `again_seconds` ago no longer holds up another one, because whatever it waits for may have been replaced. With each
       call that is overdue that time doubles, up to ten minutes.
    """

    def __init__(
        self, call: Callable[[], Answer], *, usable: Callable[[Answer], bool] = lambda _: True, again_seconds: float = _AGAIN_SECONDS
    ) -> None:
        self._call = call
        self._usable = usable
        self._again_seconds = again_seconds
        self._changed = threading.Condition()
        self._overdue: list[_Running[Answer]] = []
        self._kept: list[Answer] = []
        self._forgotten = False

    def within(self, seconds: float) -> Answer:
        """Return or raise what a call does. Raises `TimeoutError` if that takes longer; the call then keeps running."""
        end = time.monotonic() + seconds
        with self._changed:
            while True:
                while self._kept:
                    kept = self._kept.pop()
                    if self._usable(kept):
                        return kept
                held_up, left = self._held_up_seconds(), end - time.monotonic()
                if held_up <= 0:
                    break
                if left <= 0:
                    raise _no_answer(seconds)
                self._changed.wait(min(held_up, left))
        running: _Running[Answer] = _Running(began=time.monotonic())
        threading.Thread(target=self._run, args=(running,), name="a call with a time limit", daemon=True).start()
        with self._changed:
            if not self._changed.wait_for(lambda: running.ended, end - time.monotonic()):
                running.late = True
                self._overdue.append(running)
                raise _no_answer(seconds)
        if running.error is not None:
            raise running.error
        return running.answer  # type: ignore[return-value]  # the call's own None included

    def forget(self) -> None:
        """Drop the answers that are kept, and those that are still to come."""
        with self._changed:
            self._forgotten = True
            self._kept.clear()

    def _held_up_seconds(self) -> float:
        """For how long no other call may begin, unless one ends; 0 or less for not at all."""
        if not self._overdue:
            return 0.0
        return self._overdue[-1].began + again_after(len(self._overdue), self._again_seconds) - time.monotonic()

    def _run(self, running: _Running[Answer]) -> None:
        try:
            running.answer = self._call()
        except Exception as error:
            running.error = error
        with self._changed:
            running.ended = True
            if running.late:
                self._overdue.remove(running)
                if running.error is None and not self._forgotten:
                    self._kept.append(running.answer)  # type: ignore[arg-type]  # as in `within`
            self._changed.notify_all()


def again_after(overdue: int, first_seconds: float) -> float:
    """How many seconds after the last of so many overdue calls began another one may begin.

    >>> [again_after(overdue, 15.0) for overdue in (1, 2, 3, 6, 7, 10_000)]
    [15.0, 30.0, 60.0, 480.0, 600.0, 600.0]
    """
    return min(_MOST_AGAIN_SECONDS, first_seconds * 2.0 ** min(overdue - 1, 10))


def _no_answer(seconds: float) -> TimeoutError:
    return TimeoutError(f"no answer within {seconds:.0f} seconds")
