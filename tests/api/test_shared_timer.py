"""`SharedTimer` on a loop whose clock goes on by itself, so that nothing waits."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pinfold.api.shared_timer import SharedTimer, interval_of


class _Jumping(selectors.DefaultSelector):
    """A selector that does not wait: instead, its clock goes on."""

    now = 1000.0

    def select(self, timeout: float | None = None) -> Any:
        self.now += timeout or 0.0
        return super().select(0)


def _run(main: Coroutine[Any, Any, None]) -> None:
    selector = _Jumping()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.now  # type: ignore[method-assign]
    try:
        loop.run_until_complete(main)
    finally:
        loop.close()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 30), st.floats(0, 60)), min_size=1, max_size=40))
def test_a_call_comes_in_time_and_not_much_too_early(asked: list[tuple[float, float]]) -> None:
    made: dict[int, float] = {}
    expected: dict[int, tuple[float, float]] = {}

    async def main() -> None:
        loop, timer = asyncio.get_running_loop(), SharedTimer()

        def ask(number: int, seconds: float) -> None:
            due = loop.time() + seconds
            expected[number] = (due - interval_of(seconds), due)
            timer.within(seconds, lambda: made.update({number: loop.time()}))

        for number, (after, seconds) in enumerate(asked):
            loop.call_later(after, ask, number, seconds)
        await asyncio.sleep(100)

    _run(main())
    assert made.keys() == expected.keys()
    for number, (earliest, latest) in expected.items():
        assert earliest - 0.01 <= made[number] <= latest + 0.01, (number, made[number], earliest, latest)


def test_calls_that_are_due_within_four_seconds_of_twenty_come_together() -> None:
    made: list[float] = []

    async def main() -> None:
        loop, timer = asyncio.get_running_loop(), SharedTimer()
        for number in range(200):
            loop.call_later(number / 50, lambda: timer.within(20.0, lambda: made.append(loop.time())))
        await asyncio.sleep(60)

    _run(main())
    assert len(made) == 200
    assert len({round(at, 1) for at in made}) <= 2


def test_a_call_that_was_taken_back_is_not_made_and_one_that_was_made_can_be() -> None:
    made: list[str] = []

    async def main() -> None:
        timer = SharedTimer()
        first, second = timer.within(5.0, lambda: made.append("first")), timer.within(5.0, lambda: made.append("second"))
        first.cancel()
        first.cancel()
        await asyncio.sleep(10)
        second.cancel()

    _run(main())
    assert made == ["second"]


def test_an_error_stops_no_other_call() -> None:
    made: list[int] = []
    errors: list[object] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context["exception"]))
        timer = SharedTimer()

        def call(number: int) -> None:
            if number == 60:
                raise ValueError(number)
            made.append(number)

        for number in range(200):
            timer.within(5.0, lambda number=number: call(number))
        await asyncio.sleep(10)

    _run(main())
    assert made == [number for number in range(200) if number != 60]
    assert [str(error) for error in errors] == ["60"]
