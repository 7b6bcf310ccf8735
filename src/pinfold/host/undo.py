"""`Undo`: runs the steps that undo a failed start. `host.start` adds the steps."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final

from pinfold.core.errors import PinfoldError, Unavailable

WAIT_SECONDS: Final = 10.0
"""How long a step waits for a hypervisor that is away. A service manager restarts libvirtd within seconds."""

_POLL_SECONDS: Final = 0.25
_log = logging.getLogger(__name__)


class Undo:
    """Runs its steps, the last first, if its block ends before `forget` is called.

    If a step fails too, the steps before it do not run: what they would remove, such as a disk, may still be in use by what is left, such
    as a paused guest that somebody resumes later. The error says what is left and why.
    """

    def __init__(self, *, wait_seconds: float = WAIT_SECONDS) -> None:
        self._steps: list[tuple[str, Callable[[], None]]] = []
        self._wait_seconds = wait_seconds

    def add(self, what: str, step: Callable[[], None]) -> None:
        """Adds the step that undoes `what`. Add it before an act that may fail halfway."""
        self._steps.append((what, step))

    def forget(self) -> None:
        """Drops all steps, because the start succeeded."""
        self._steps.clear()

    def __enter__(self) -> Undo:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        while self._steps:
            what, step = self._steps.pop()
            _log.info("taking back %s", what)
            problem = self._take_back(step)
            if problem is None:
                continue
            said = [] if error is None else [str(error)]
            said.append(f"{what} could not be removed: {problem}")
            if self._steps:
                said.append(f"left with it: {', '.join(other for other, _ in reversed(self._steps))}")
            raise Unavailable("; ".join(said)) from error

    def _take_back(self, step: Callable[[], None]) -> PinfoldError | OSError | None:
        deadline = time.monotonic() + self._wait_seconds
        while True:
            try:
                step()
            except Unavailable as error:
                if time.monotonic() >= deadline:
                    return error
                time.sleep(_POLL_SECONDS)
            except (PinfoldError, OSError) as error:
                return error
            else:
                return None
