"""Decide when to repeat a task that did not change the guest's state, or a question that the service did not answer. Pure."""

from __future__ import annotations

from typing import Final
from zlib import crc32

from msgspec import Struct

from pinfold.agent.reconcile import Task

FIRST_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 30.0
_SPREAD: Final = 0.5


class Attempt(Struct, frozen=True, kw_only=True):
    """The last task that was performed for a guest, and when the same one is due again: `seconds` later, at `again`.

    The first pause is 1 second, then 2, 4, and so on up to 30. Another task, or the same one for another order, is due at once. Times come
    from any clock that only goes forward.
    """

    task: Task
    seconds: float
    again: float


def due(last: Attempt | None, task: Task, now: float) -> bool:
    """Whether the task may be performed now."""
    return last is None or last.task != task or now >= last.again


def performed(last: Attempt | None, task: Task, now: float) -> Attempt:
    """The attempt after the task was performed, with whatever outcome."""
    repeated = last is not None and last.task == task and now < last.again + LONGEST_SECONDS
    seconds = next_pause(last.seconds if repeated and last is not None else 0.0)
    return Attempt(task=task, seconds=seconds, again=now + seconds)


def next_pause(before: float) -> float:
    """The pause after one of `before` seconds, 0 for none: 1 second, then 2, 4, and so on up to 30."""
    return min(2 * before, LONGEST_SECONDS) if before else FIRST_SECONDS


def spread(seconds: float, name: str) -> float:
    """The pause, longer by up to a half, which depends on the name. Agents that lost the service at the same moment then do not come back
    at one.

    >>> [round(spread(10.0, name), 1) for name in ("c1", "c2", "c3")]
    [11.9, 13.9, 13.5]
    """
    return seconds * (1.0 + _SPREAD * crc32(name.encode()) / 2**32)


def wait(last: Attempt | None, now: float) -> float:
    """Seconds until the task is due again; infinite when it is due, or when there was none."""
    return float("inf") if last is None or now >= last.again else last.again - now
