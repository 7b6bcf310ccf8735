"""How many requests of agents wait for a thread, and when those that are refused come again."""

from __future__ import annotations

from contextlib import suppress
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinfold.agent.client import orders_query
from pinfold.api.agent.backlog import Backlog, is_bounded, is_deferrable
from pinfold.core.identity import HostId

C1, C2, C3 = (HostId(f"c{number}") for number in (1, 2, 3))


def backlog(most: int) -> tuple[Backlog, list[float]]:
    """A backlog, and its clock."""
    clock = [1000.0]
    return Backlog(most=most, clock=lambda: clock[0], rng=Random(1)), clock


def test_it_is_full_until_one_was_answered_even_by_an_error() -> None:
    made, _ = backlog(2)
    with made.entered(C1):
        assert made.takes(C3)
        with suppress(ValueError), made.entered(C2):
            assert not made.takes(C3)
            raise ValueError
        assert made.takes(C3)


def test_an_agent_that_has_begun_is_taken_for_a_while() -> None:
    made, clock = backlog(1)
    with made.entered(C1):
        clock[0] += 1.0
    with made.entered(C2):
        assert made.takes(C1) and made.takes(C2) and not made.takes(C3)
        clock[0] += 20.0
        with made.entered(C1):
            assert made.takes(C1)
        clock[0] += 10.0
        assert not made.takes(C1), "what it asks meanwhile does not make that longer"
        assert made.takes(C2)
    assert made.takes(C3)


def answer(made: Backlog, clock: list[float], count: int, seconds: float) -> None:
    """Let so many requests be answered, each in so many seconds."""
    for _ in range(count):
        with made.entered(C1):
            clock[0] += seconds


def test_those_that_are_refused_come_again_at_the_pace_of_those_that_were_answered() -> None:
    made, clock = backlog(100)
    answer(made, clock, 100, 0.02)  # fifty a second
    told = [made.seconds() for _ in range(700)]
    assert told == sorted(told)
    assert told[0] == 3
    assert 20 <= told[-1] <= 24  # at 0.7 of the pace
    assert max(told.count(second) for second in set(told)) <= 36


@given(st.integers(0, 300), st.floats(0, 10), st.integers(1, 3000))
def test_whatever_the_pace_was_the_time_is_bounded_and_not_the_same_for_all(answered: int, pause: float, refused: int) -> None:
    made, clock = backlog(200)
    answer(made, clock, answered, pause)
    told = [made.seconds() for _ in range(refused)]
    assert all(2 <= seconds <= 121 for seconds in told)
    assert refused < 2000 or len(set(told)) >= 3


@pytest.mark.parametrize(
    ("method", "target", "bounded", "deferrable"),
    [
        ("PUT", "/agent/v1/host", True, False),
        ("PUT", "/agent/v1/host/findings", True, False),
        ("GET", f"/agent/v1/orders?{orders_query(after=-1, wait=0.0, alive=False)}", True, True),
        ("GET", f"/agent/v1/orders?{orders_query(after=7, wait=20.0, alive=True)}", False, False),
        ("GET", f"/agent/v1/orders?{orders_query(after=7, wait=25.0, alive=False)}", False, True),
        ("POST", "/agent/v1/heartbeat", False, False),
        ("DELETE", "/agent/v1/host", False, False),
        ("GET", "/agent/v1/images/debian", False, False),
    ],
)
def test_what_keeps_a_lease_is_never_refused(method: str, target: str, bounded: bool, deferrable: bool) -> None:
    path, _, query = target.partition("?")
    scope = {"type": "http", "method": method, "path": path, "query_string": query.encode()}
    assert (is_bounded(scope), is_deferrable(scope)) == (bounded, deferrable)
