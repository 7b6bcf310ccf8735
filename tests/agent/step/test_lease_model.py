"""The agent never believes in a lease that the service does not hold; and what it sends where nothing goes wrong."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.agent.script import LEASE
from tests.agent.step.lease_model import Model, Weather

from pinfold.agent.actions import Action, PollOrders

WARM = 8 * LEASE
"""After this time, the first poll has ended, which is no sign of life, and so has the first one that is."""

shares = st.sampled_from((0.0, 0.02, 0.2, 0.5))
weathers = st.builds(
    Weather,
    delay=st.sampled_from((0.0, 0.05, LEASE / 10, LEASE)),
    late=shares,
    lost=shares,
    blind=shares,
    restarts=st.sampled_from((0.0, 0.2, 2.0)),
    early=st.booleans(),
    news=st.sampled_from((0.0, 0.3, 3.0)),
)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32), weathers, st.integers(1, 4))
def test_the_agent_never_believes_in_a_lease_that_the_service_does_not_hold(seed: int, weather: Weather, processes: int) -> None:
    model = Model(Random(seed), weather, processes=processes)
    model.run(12 * LEASE)
    assert model.problems == []


@pytest.mark.parametrize(("early", "polls"), [(True, 1.6), (False, 3.1)], ids=["early", "as before"])
def test_where_nothing_goes_wrong_only_polls_are_sent_and_the_host_stays_up(*, early: bool, polls: float) -> None:
    model = Model(Random(1), Weather(early=early))
    model.run(WARM)
    model.asked.clear()
    for _ in range(400):
        model.run(LEASE / 10)
        assert model.up
        assert model.believes
    assert set(model.asked) == {"PollOrders"}
    assert model.asked["PollOrders"] <= polls * 40
    assert model.problems == []


@pytest.mark.parametrize("part", ["request", "early", "answer"])
@pytest.mark.parametrize("nth", [0, 1, 2])
def test_one_lost_part_of_a_poll_costs_no_host_its_lease(part: str, nth: int) -> None:
    model, seen = Model(Random(nth), Weather()), 0
    model.run(WARM)

    def lose(action: Action, lost: str) -> bool:
        nonlocal seen
        seen += isinstance(action, PollOrders) and lost == part
        return isinstance(action, PollOrders) and lost == part and seen == nth + 1

    model.lose = lose
    for _ in range(200):
        model.run(LEASE / 20)
        assert model.up
        assert model.believes
    assert seen > nth
    assert model.problems == []


def test_after_an_outage_the_host_comes_back_and_polls_are_long_again() -> None:
    model = Model(Random(5), Weather())
    model.run(WARM)
    model.lose = lambda _action, _part: True
    model.run(3 * LEASE)
    assert not model.up
    assert not model.believes
    model.lose = lambda _action, _part: False
    model.run(WARM)
    assert model.up
    model.asked.clear()
    model.run(10 * LEASE)
    assert set(model.asked) == {"PollOrders"}
    assert model.asked["PollOrders"] <= 16
