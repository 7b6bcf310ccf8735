"""Processes that create servers at the same moment, played by threads in a fixed order, so that counts are the same each time.

One runs at a time. It passes its turn on where a guest's claim is intended and its allocation is not yet written, so between a decision and
the arrival of its guest every other process has a guest arrive and stores the next one.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

from pinfold.accounting.client import Placement
from pinfold.accounting.embedded import InProcessClient, Wsgi
from pinfold.accounting.resources import Shares


class Turns:
    """Whose turn it is. `calls` counts the Python functions that are called in a turn, by module, without Placement."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._left: list[int] = []
        self._whose = 0
        self._own = threading.local()

    def run(self, works: Sequence[Callable[[], object]]) -> None:
        """Do all of them, each in turns. Raises what one of them raises."""
        errors: list[BaseException] = []
        self._left, self._whose = list(range(len(works))), 0

        def work(number: int) -> None:
            self._own.number = number
            self._wait()
            try:
                with self._counted():
                    works[number]()
            except BaseException as error:
                errors.append(error)
            finally:
                self._pass_on(ends=True)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(len(works))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    def others(self) -> None:
        """Let each of the others have a turn. Does nothing outside of `run`."""
        if hasattr(self._own, "number"):
            with self.uncounted():
                self._pass_on()
                self._wait()

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """What the block calls is not counted."""
        counting = sys.getprofile()
        sys.setprofile(None)
        try:
            yield
        finally:
            sys.setprofile(counting)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        calls = self.calls

        def note(frame: FrameType, event: str, _: object) -> None:
            if event == "call":
                calls[frame.f_globals.get("__name__", "")] += 1

        sys.setprofile(note)
        try:
            yield
        finally:
            sys.setprofile(None)

    def _wait(self) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self._whose == self._own.number, timeout=120)

    def _pass_on(self, *, ends: bool = False) -> None:
        with self._changed:
            at = self._left.index(self._own.number)
            following = self._left[at + 1 :] + self._left[:at]
            if ends:
                self._left.pop(at)
            self._whose = following[0] if following else self._own.number
            self._changed.notify_all()


class PlacementInTurns(Placement):
    """A client of Placement's application. Before each allocation that is written the others have their turns, and what the application
    does is not counted.
    """

    def __init__(self, app: Wsgi, turns: Turns) -> None:
        def called(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            with turns.uncounted():
                return list(app(environ, start_response))

        super().__init__(InProcessClient(called))
        self._turns = turns

    def allocate(self, consumer: str, shares: Shares, *, generation: int | None) -> None:
        self._turns.others()
        super().allocate(consumer, shares, generation=generation)
