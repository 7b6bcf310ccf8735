"""When a task that did not help is tried again."""

from hypothesis import given
from hypothesis import strategies as st
from tests.build.orders import order

from pinfold.agent.pace import FIRST_SECONDS, LONGEST_SECONDS, Attempt, due, performed, wait
from pinfold.agent.reconcile import Act, Task


def task(act: Act = Act.START, *, boot: int = 1) -> Task:
    return Task(act=act, order=order(boot=boot))


def test_the_same_task_waits_longer_each_time() -> None:
    last, now, waits = None, 0.0, []
    for _ in range(8):
        assert due(last, task(), now)
        last = performed(last, task(), now)
        waits.append(wait(last, now))
        assert not due(last, task(), now)
        now += waits[-1]
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]


def test_another_task_and_another_order_are_due_at_once() -> None:
    last = performed(None, task(), 0.0)
    assert due(last, task(Act.STOP), 0.0)
    assert due(last, task(boot=2), 0.0)
    assert due(None, task(), 0.0)


def test_what_was_long_ago_is_forgotten() -> None:
    last: Attempt | None = None
    for now in (0.0, 1.0, 3.0):
        last = performed(last, task(), now)
    assert wait(last, 100.0) == float("inf")
    assert wait(performed(last, task(), 100.0), 100.0) == FIRST_SECONDS


@given(st.lists(st.tuples(st.sampled_from(Act), st.floats(0, 60)), max_size=20))
def test_nothing_ever_waits_longer_than_the_longest(history: list[tuple[Act, float]]) -> None:
    last, now = None, 0.0
    for act, passed in history:
        now += passed
        last = performed(last, task(act), now)
        assert due(last, task(act), now + LONGEST_SECONDS)
