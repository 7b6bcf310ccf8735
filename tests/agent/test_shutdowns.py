"""How long guests may take to shut down."""

from hypothesis import given
from hypothesis import strategies as st
from tests.build.orders import order

from pinfold.agent.reconcile import Patience
from pinfold.agent.shutdowns import AGAIN_SECONDS, Request, ask, patience, still_wanted, wait
from pinfold.store.records import Desired

STOP = order("g", Desired.STOPPED)
REBOOT = order("g", boot=2)


def _patience(request: Request, now: float, seconds: float = 60.0) -> Patience:
    return patience({"g": request}, seconds, now)


def test_with_no_seconds_nobody_is_asked() -> None:
    assert not patience({}, 0.0, 0.0).asks
    assert patience({}, 1.0, 0.0).asks


def test_a_guest_is_asked_again_every_ten_seconds_until_its_time_is_over() -> None:
    request, now, times = ask(None, STOP, 0.0), 0.0, [0.0]
    while not _patience(request, now, 25.0).over:
        now += wait((request,), 25.0, now)
        found = _patience(request, now, 25.0)
        if not found.waiting | found.over:
            request = ask(request, STOP, now)
            times.append(now)
    assert (times, now) == ([0.0, 10.0, 20.0], 25.0)
    assert wait((request,), 25.0, now) == float("inf")


def test_a_request_ends_with_its_guest_and_with_its_order() -> None:
    request = ask(None, STOP, 0.0)
    assert still_wanted(request, STOP, running=True)
    assert not still_wanted(request, STOP, running=False)
    assert not still_wanted(request, REBOOT, running=True)
    assert not still_wanted(request, None, running=True)


def test_the_time_for_one_order_does_not_count_for_the_next() -> None:
    request = ask(ask(None, REBOOT, 0.0), STOP, 59.0)
    assert not _patience(request, 61.0).over
    assert not _patience(ask(request, REBOOT, 61.0), 110.0).over
    assert _patience(ask(request, STOP, 69.0), 119.0).over


@given(st.floats(0.1, 100), st.lists(st.floats(0, 30), max_size=20))
def test_nobody_waits_longer_than_the_time_that_there_is(seconds: float, passed: list[float]) -> None:
    request, now = ask(None, STOP, 0.0), 0.0
    for step in passed:
        now += min(step, wait((request,), seconds, now))
        found = _patience(request, now, seconds)
        assert (now >= seconds) == bool(found.over)
        assert not found.waiting & found.over
        if not found.waiting | found.over:
            request = ask(request, STOP, now)
        assert wait((request,), seconds, now) <= AGAIN_SECONDS or found.over
