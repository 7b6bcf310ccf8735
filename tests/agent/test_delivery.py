"""Which reports count as received when responses are lost and reports arrive late."""

from __future__ import annotations

import pytest

from pinfold.agent.client import ServiceAway
from pinfold.agent.delivery import Delivery
from pinfold.agent.wire import GuestReport
from pinfold.core.errors import InvalidRequest
from pinfold.store.records import Observed

RUNS = GuestReport(revision=1, observed=Observed.RUNNING)
STOPPED = GuestReport(revision=1, observed=Observed.STOPPED)


class Line:
    """Records the sent reports; raises `error` instead of returning a response, if it is set."""

    def __init__(self) -> None:
        self.said: list[GuestReport] = []
        self.error: Exception | None = None

    def __call__(self, _guest: str, report: GuestReport) -> None:
        self.said.append(report)
        if self.error is not None:
            raise self.error


def test_the_same_is_said_once() -> None:
    delivery, line = Delivery(), Line()
    for report in (RUNS, RUNS, STOPPED, STOPPED, RUNS):
        delivery.send("g", report, line)
    delivery.retry_unanswered()
    delivery.send("g", RUNS, line)
    assert line.said == [RUNS, STOPPED, RUNS]
    assert delivery.answered("g") == RUNS
    delivery.forget("g")
    assert delivery.answered("g") is None


@pytest.mark.parametrize("error", [ServiceAway("no answer"), InvalidRequest("refused")])
def test_what_went_unanswered_may_have_been_heard(error: Exception) -> None:
    delivery, line = Delivery(), Line()
    delivery.send("g", RUNS, line)
    line.error = error
    with pytest.raises(type(error)):
        delivery.send("g", STOPPED, line)
    line.error = None
    delivery.send("g", RUNS, line)
    assert line.said == [RUNS, STOPPED, RUNS]


def test_what_went_unanswered_may_be_heard_after_what_followed() -> None:
    delivery, line = Delivery(), Line()
    delivery.send("other", RUNS, line)
    line.error = ServiceAway("no answer")
    with pytest.raises(ServiceAway):
        delivery.send("g", STOPPED, line)
    line.error = None
    for _ in range(3):
        delivery.send("g", RUNS, line)
        delivery.send("other", RUNS, line)
        delivery.retry_unanswered()
    assert line.said == [RUNS, STOPPED, RUNS, RUNS]
