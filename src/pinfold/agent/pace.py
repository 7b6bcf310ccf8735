"""Decide when to repeat a task that did not change the guest's state. Pure."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from pinfold.agent.reconcile import Task

FIRST_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 30.0


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
    seconds = min(2 * last.seconds, LONGEST_SECONDS) if repeated and last is not None else FIRST_SECONDS
    return Attempt(task=task, seconds=seconds, again=now + seconds)


def wait(last: Attempt | None, now: float) -> float:
    """Seconds until the task is due again; infinite when it is due, or when there was none."""
    return float("inf") if last is None or now >= last.again else last.again - now
