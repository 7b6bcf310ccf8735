"""Waiting for what real processes do in their own time. A test says what must come true, never how soon: a busy machine takes its time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

PATIENCE_SECONDS = 120.0
"""Generous, since the machine may be busy with other suites; waiting ends as soon as there is what it waits for."""


def until(found: Callable[[], Any], what: str = "it happens", *, seconds: float = PATIENCE_SECONDS, pause: float = 0.1) -> Any:
    """What `found` returns once that is true; fails the test when it takes too long."""
    deadline = time.monotonic() + seconds
    while True:
        answer = found()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(pause)
