"""Calls with deadlines, on connections that are nobody's."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from tests.real.patience import until

from pinfold.core.errors import InvalidRequest
from pinfold.drivers.libvirt.calls import Calls, OverdueError
from pinfold.drivers.port import GuestHangs

SOON, LONG = 0.05, 60.0


@dataclass(eq=False)
class Line:
    """A connection that remembers whether it was closed."""

    closed: bool = False

    def isAlive(self) -> int:  # noqa: N802
        return 0 if self.closed else 1

    def close(self) -> None:
        self.closed = True


@dataclass
class Exchange:
    """Opens connections."""

    lines: list[Line] = field(default_factory=list)

    def open(self) -> Line:
        self.lines.append(Line())
        return self.lines[-1]


def test_calls_one_after_the_other_share_a_connection() -> None:
    exchange = Exchange()
    calls = Calls(exchange.open, patient=False)
    assert [calls.call("g", "look", LONG, lambda line: line) for _ in range(3)] == [exchange.lines[0]] * 3
    exchange.lines[0].close()
    assert calls.call("g", "look", LONG, lambda line: line) is exchange.lines[1]
    calls.close()
    assert all(line.closed for line in exchange.lines)


def test_a_guest_that_hangs_is_refused_until_it_answers_and_its_connection_is_nobody_elses() -> None:
    exchange, go_on = Exchange(), threading.Event()
    calls = Calls(exchange.open, patient=False)
    with pytest.raises(GuestHangs, match="guest g hangs: libvirt has not answered its stop since") as caught:
        calls.call("g", "stop", SOON, lambda _: go_on.wait(LONG))
    assert caught.value.guest == "g"
    with pytest.raises(GuestHangs):
        calls.call("g", "look", LONG, lambda line: line)
    assert calls.call("g", "end", LONG, lambda line: line, even_hanging=True) is exchange.lines[1]
    assert calls.call("other", "look", LONG, lambda line: line) is exchange.lines[1]
    assert (calls.hang("g") is None, calls.hang("other")) == (False, None)
    go_on.set()
    until(lambda: calls.hang("g") is None)
    assert calls.call("g", "look", LONG, lambda _: "well") == "well"


def test_what_fails_is_raised_and_its_connection_is_not_used_again() -> None:
    exchange = Exchange()
    calls = Calls(exchange.open, patient=False)

    def fail(_: Line) -> None:
        raise InvalidRequest("no")

    with pytest.raises(InvalidRequest, match="no"):
        calls.call("g", "look", LONG, fail)
    assert calls.call("g", "look", LONG, lambda line: line) is exchange.lines[1]
    assert exchange.lines[0].closed


def test_a_call_that_takes_long_is_hurried() -> None:
    go_on = threading.Event()
    calls = Calls(Exchange().open, patient=False)
    assert calls.call("g", "end", LONG, lambda _: go_on.wait(LONG), hurry=(SOON, go_on.set))
    assert calls.call("g", "end", LONG, lambda _: "soon", hurry=(LONG, lambda: pytest.fail("it was soon"))) == "soon"


def test_a_reading_that_is_stuck_is_no_act_and_ends_when_it_goes_on() -> None:
    go_on, read = threading.Event(), []
    calls = Calls(Exchange().open, patient=False)

    def each(_: Line) -> Iterator[int]:
        for number in range(3):
            read.append(number)
            if number == 1:
                go_on.wait(LONG)
            yield number

    reading = calls.read(each)
    assert reading.next(LONG) == 0
    with pytest.raises(OverdueError):
        reading.next(SOON)
    calls.blame(reading, "g")
    assert calls.hang("g") is None and calls.hang("g", reads=True) is not None
    go_on.set()
    until(lambda: calls.hang("g", reads=True) is None)
    assert read == [0, 1]


def test_a_patient_one_waits_and_has_one_connection() -> None:
    line = Line()
    calls = Calls(lambda: line, patient=True)
    assert calls.call("g", "look", 0.0, lambda line: (time.sleep(SOON), line)[1]) is line
    assert calls.seconds(1.0) is None
    calls.close()
    assert not line.closed
