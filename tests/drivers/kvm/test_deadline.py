"""Waiting with an end."""

from __future__ import annotations

import threading

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
