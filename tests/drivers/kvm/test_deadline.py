"""Waiting with an end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from pinfold.drivers.kvm import deadline


def test_a_call_that_answers_in_time_is_as_if_it_were_made_here() -> None:
    assert deadline.within(60, lambda: None) is None
    with pytest.raises(KeyError, match="x"):
        deadline.within(60, lambda: {}["x"])


def test_a_call_that_does_not_answer_is_given_up() -> None:
    never = threading.Event()
    with pytest.raises(TimeoutError, match="no answer within 0 seconds"):
        deadline.within(0.05, never.wait)
    never.set()


def test_a_condition_is_waited_for_and_given_up() -> None:
    turns = iter([False, False, True])
    assert deadline.until(lambda: next(turns), 60)
    assert not deadline.until(lambda: False, 0.02)


@dataclass
class Gate:
    """A call that does not return while the gate is closed, then gives its number or raises its error. It counts how often it began."""

    began: int = 0
    open: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None
    threads: list[threading.Thread] = field(default_factory=list)

    def __call__(self) -> int:
        self.began += 1
        number = self.began
        self.threads.append(threading.current_thread())
        self.open.wait()
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        return number

    def let_go(self) -> None:
        """Open the gate, and wait until each call has returned."""
        self.open.set()
        for thread in tuple(self.threads):
            thread.join()


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.let_go()


def give_up(calls: deadline.BoundedCalls[int]) -> None:
    with pytest.raises(TimeoutError, match="no answer within 0 seconds"):
        calls.within(0.02)


def test_bounded_calls_that_answer_in_time_are_as_if_they_were_made_here(gate: Gate) -> None:
    calls = deadline.BoundedCalls(gate)
    gate.open.set()
    assert [calls.within(60), calls.within(60)] == [1, 2]
    gate.error = KeyError("x")
    with pytest.raises(KeyError, match="x"):
        calls.within(60)
    assert calls.within(60) == 4


def test_while_a_call_is_overdue_no_other_one_begins(gate: Gate) -> None:
    calls = deadline.BoundedCalls(gate)
    for _ in range(5):
        give_up(calls)
    assert gate.began == 1


def test_an_answer_that_comes_late_goes_to_the_one_who_waits_for_it(gate: Gate) -> None:
    calls = deadline.BoundedCalls(gate)
    give_up(calls)
    found: list[int] = []
    waiting = threading.Thread(target=lambda: found.append(calls.within(60)))
    waiting.start()
    gate.open.set()
    waiting.join()
    assert (found, gate.began) == ([1], 1)
    assert calls.within(60) == 2, "it is given once"


def test_an_answer_that_comes_while_nobody_waits_is_kept_for_the_next_caller(gate: Gate) -> None:
    calls = deadline.BoundedCalls(gate)
    give_up(calls)
    gate.let_go()
    assert (calls.within(60), gate.began) == (1, 1)


def test_an_answer_that_is_of_no_use_any_more_is_dropped(gate: Gate) -> None:
    calls = deadline.BoundedCalls(gate, usable=lambda number: number != 1)
    give_up(calls)
    gate.let_go()
    assert calls.within(60) == 2


def test_a_call_that_fails_late_lets_the_next_one_begin_and_is_not_told(gate: Gate) -> None:
    calls = deadline.BoundedCalls(gate)
    give_up(calls)
    gate.error = KeyError("x")
    gate.let_go()
    assert calls.within(60) == 2


def test_a_call_that_is_overdue_for_long_lets_another_one_begin(gate: Gate) -> None:
    calls = deadline.BoundedCalls(gate, again_seconds=0)
    give_up(calls)
    give_up(calls)
    assert gate.began == 2


def test_forgotten_answers_are_not_kept(gate: Gate) -> None:
    calls = deadline.BoundedCalls(gate)
    give_up(calls)
    calls.forget()
    gate.let_go()
    assert calls.within(60) == 2


def test_calls_beside_each_other_each_get_an_answer(gate: Gate) -> None:
    calls = deadline.BoundedCalls(gate)
    found: list[int] = []
    callers = [threading.Thread(target=lambda: found.append(calls.within(60))) for _ in range(4)]
    for caller in callers:
        caller.start()
    assert deadline.until(lambda: gate.began == 4, 60), "none is overdue, so none waits for another"
    gate.open.set()
    for caller in callers:
        caller.join()
    assert sorted(found) == [1, 2, 3, 4]
