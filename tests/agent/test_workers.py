"""Actions in separate threads."""

from __future__ import annotations

import threading
import time

from tests.real.patience import until

from pinfold.agent.workers import Workers


def test_work_that_hangs_keeps_no_other_from_its_turn_nor_the_agent_from_ending() -> None:
    workers, done, hang = Workers(), threading.Event(), threading.Event()
    for number in range(20):
        workers.begin(f"stop {number}", hang.wait, starts=False)
    workers.begin("start", done.set, starts=True)
    assert done.wait(60)
    assert set(workers.finish(time.monotonic())) == {f"stop {number}" for number in range(20)}
    hang.set()
    assert workers.finish(time.monotonic() + 60) == ()


def test_starts_take_turns_and_those_that_wait_are_never_begun_after_the_end() -> None:
    workers, gone_on, begun = Workers(), threading.Event(), []

    def start() -> None:
        begun.append(1)
        gone_on.wait(60)

    for number in range(9):
        workers.begin(f"start {number}", start, starts=True)
    until(lambda: len(begun) == 4)
    assert len(workers.finish(time.monotonic())) == 4
    gone_on.set()
    assert workers.finish(time.monotonic() + 60) == ()
    assert len(begun) == 4
