"""A few calls run at the same time, and none is left running."""

from __future__ import annotations

import threading
import time

import pytest

from pinfold.service.claims.side_by_side import SideBySide


def test_calls_run_at_the_same_time() -> None:
    together = threading.Barrier(3)

    def call() -> int:
        return together.wait(timeout=60)

    assert sorted(SideBySide(2, "test").run([call, call, call])) == [0, 1, 2]


def test_the_caller_makes_the_calls_for_which_no_thread_is_free() -> None:
    beside, release = SideBySide(1, "test"), threading.Event()
    busy = threading.Thread(target=beside.run, args=([lambda: None, lambda: release.wait(60)],))
    busy.start()
    try:
        while not beside._threads._threads:
            time.sleep(0.001)
        time.sleep(0.05)
        assert beside.run([threading.get_ident] * 3) == [threading.get_ident()] * 3
    finally:
        release.set()
        busy.join()


@pytest.mark.parametrize("failing", [0, 1])
def test_a_call_that_fails_is_raised_when_the_others_have_ended(failing: int) -> None:
    ended: list[int] = []
    both = threading.Barrier(2)

    def call(number: int) -> None:
        both.wait(timeout=60)
        if number == failing:
            raise ValueError(number)
        time.sleep(0.05)
        ended.append(number)

    with pytest.raises(ValueError, match=str(failing)):
        SideBySide(1, "test").run([lambda: call(0), lambda: call(1)])
    assert ended == [1 - failing]


def test_nothing_is_run_for_no_calls() -> None:
    assert SideBySide(1, "test").run([]) == []
