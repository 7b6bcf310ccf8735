"""When an action that did not help is tried again."""

from hypothesis import given
from hypothesis import strategies as st

from pinfold.agent.pace import FIRST_SECONDS, LONGEST_SECONDS, Pace
from pinfold.agent.reconcile import Act, Action, Order
from pinfold.store.records import Desired


def action(act: Act = Act.START, *, boot: int = 1, guest: str = "g") -> Action:
    return Action(act=act, guest=guest, order=Order(guest=guest, claim="c", revision=1, desired=Desired.RUNNING, boot=boot))


def test_the_same_action_waits_longer_each_time() -> None:
    pace, now, waits = Pace(), 0.0, []
    for _ in range(8):
        assert pace.due(action(), now)
        pace.done(action(), now)
        waits.append(pace.wait(now))
        assert not pace.due(action(), now)
        now += waits[-1]
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]


def test_another_action_another_order_and_another_guest_are_due_at_once() -> None:
    pace = Pace()
    pace.done(action(), 0.0)
    assert pace.due(action(Act.STOP), 0.0)
    assert pace.due(action(boot=2), 0.0)
    assert pace.due(action(guest="h"), 0.0)


def test_what_was_long_ago_is_forgotten() -> None:
    pace = Pace()
    for now in (0.0, 1.0, 3.0):
        pace.done(action(), now)
    assert pace.wait(100.0) == float("inf")
    pace.done(action(), 100.0)
    assert pace.wait(100.0) == FIRST_SECONDS


@given(st.lists(st.tuples(st.sampled_from(Act), st.floats(0, 60)), max_size=20))
def test_nothing_ever_waits_longer_than_the_longest(history: list[tuple[Act, float]]) -> None:
    pace, now = Pace(), 0.0
    for act, passed in history:
        now += passed
        pace.done(action(act), now)
        assert pace.due(action(act), now + LONGEST_SECONDS)
