"""How long guests may take to shut down."""

from hypothesis import given
from hypothesis import strategies as st

from pinfold.agent.reconcile import Order, PresentGuest
from pinfold.agent.shutdowns import AGAIN_SECONDS, Shutdowns
from pinfold.drivers.port import GuestState
from pinfold.store.records import Desired

STOP = Order(guest="g", claim="c", revision=1, desired=Desired.STOPPED)
RUNS = PresentGuest(guest="g", state=GuestState.RUNNING, revision=1)
OFF = PresentGuest(guest="g", state=GuestState.STOPPED, revision=1)
G = frozenset({"g"})


def asked(seconds: float = 60.0, order: Order = STOP) -> Shutdowns:
    made = Shutdowns(seconds)
    made.asked(order, 0.0)
    return made


def test_with_no_seconds_nobody_is_asked() -> None:
    assert not Shutdowns(0.0).patience(0.0).asks
    assert Shutdowns(1.0).patience(0.0).asks


def test_a_guest_is_asked_again_every_ten_seconds_until_its_time_is_over() -> None:
    shutdowns, now, times = asked(25.0), 0.0, [0.0]
    while not shutdowns.patience(now).over:
        now += shutdowns.wait(now)
        patience = shutdowns.patience(now)
        if not patience.waiting | patience.over:
            shutdowns.asked(STOP, now)
            times.append(now)
    assert (times, now) == ([0.0, 10.0, 20.0], 25.0)
    assert shutdowns.wait(now) == float("inf")


def test_a_guest_that_ended_is_forgotten() -> None:
    shutdowns = asked()
    shutdowns.keep((STOP,), (RUNS,))
    assert shutdowns.patience(1.0).waiting == G
    shutdowns.keep((STOP,), (OFF,))
    shutdowns.keep((STOP,), (RUNS,))
    assert not shutdowns.patience(1.0).waiting


def test_the_time_for_one_order_does_not_count_for_the_next() -> None:
    reboot = Order(guest="g", claim="c", revision=1, desired=Desired.RUNNING, boot=2)
    shutdowns = asked(order=reboot)
    shutdowns.keep((STOP,), (RUNS,))
    shutdowns.asked(STOP, 59.0)
    assert not shutdowns.patience(61.0).over
    shutdowns.asked(reboot, 61.0)
    assert not shutdowns.patience(110.0).over


@given(st.floats(0.1, 100), st.lists(st.floats(0, 30), max_size=20))
def test_nobody_waits_longer_than_the_time_that_there_is(seconds: float, passed: list[float]) -> None:
    shutdowns, now = asked(seconds), 0.0
    for step in passed:
        now += min(step, shutdowns.wait(now))
        patience = shutdowns.patience(now)
        assert (now >= seconds) == bool(patience.over)
        assert not patience.waiting & patience.over
        if not patience.waiting | patience.over:
            shutdowns.asked(STOP, now)
        assert shutdowns.wait(now) <= AGAIN_SECONDS or patience.over
