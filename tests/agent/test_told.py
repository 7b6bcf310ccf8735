"""What counts as told, when answers are lost and reports are heard late."""

from __future__ import annotations

import pytest

from pinfold.agent.client import ServiceAway
from pinfold.agent.told import Told
from pinfold.agent.wire import GuestReport
from pinfold.core.errors import InvalidRequest
from pinfold.store.model import Observed

RUNS = GuestReport(revision=1, observed=Observed.RUNNING)
STOPPED = GuestReport(revision=1, observed=Observed.STOPPED)


class Line:
    """Keeps what was said on it; `error` is what comes back instead of an answer."""

    def __init__(self) -> None:
        self.said: list[GuestReport] = []
        self.error: Exception | None = None

    def __call__(self, _guest: str, report: GuestReport) -> None:
        self.said.append(report)
        if self.error is not None:
            raise self.error


def test_the_same_is_said_once() -> None:
    told, line = Told(), Line()
    for report in (RUNS, RUNS, STOPPED, STOPPED, RUNS):
        told.tell("g", report, line)
    told.tell_again()
    told.tell("g", RUNS, line)
    assert line.said == [RUNS, STOPPED, RUNS]
    assert told.last("g") == RUNS
    told.forget("g")
    assert told.last("g") is None


@pytest.mark.parametrize("error", [ServiceAway("no answer"), InvalidRequest("refused")])
def test_what_went_unanswered_may_have_been_heard(error: Exception) -> None:
    told, line = Told(), Line()
    told.tell("g", RUNS, line)
    line.error = error
    with pytest.raises(type(error)):
        told.tell("g", STOPPED, line)
    line.error = None
    told.tell("g", RUNS, line)
    assert line.said == [RUNS, STOPPED, RUNS]


def test_what_went_unanswered_may_be_heard_after_what_followed() -> None:
    told, line = Told(), Line()
    told.tell("other", RUNS, line)
    line.error = ServiceAway("no answer")
    with pytest.raises(ServiceAway):
        told.tell("g", STOPPED, line)
    line.error = None
    for _ in range(3):
        told.tell("g", RUNS, line)
        told.tell("other", RUNS, line)
        told.tell_again()
    assert line.said == [RUNS, STOPPED, RUNS, RUNS]
