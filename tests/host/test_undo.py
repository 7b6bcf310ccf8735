"""What a failed start takes back, and what it says when it cannot."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pinfold.core.errors import Conflict, InvalidRequest, Unavailable
from pinfold.host.undo import Undo


def fail(undo: Undo, *steps: tuple[str, Callable[[], None]]) -> None:
    """A deed of these steps that fails at its end."""
    with undo:
        for what, step in steps:
            undo.add(what, step)
        raise Conflict("lost")


def test_the_last_deed_is_taken_back_first() -> None:
    done: list[str] = []
    with pytest.raises(Conflict):
        fail(Undo(), ("a", lambda: done.append("a")), ("b", lambda: done.append("b")))
    assert done == ["b", "a"]


def test_nothing_is_taken_back_from_a_success() -> None:
    done: list[str] = []
    with Undo() as undo:
        undo.add("a", lambda: done.append("a"))
        undo.forget()
    assert done == []


def test_a_step_waits_for_a_hypervisor_that_comes_back() -> None:
    tries: list[int] = []

    def remove() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise Unavailable("libvirt is away")

    with pytest.raises(Conflict):
        fail(Undo(wait_seconds=120), ("guest a", remove))
    assert len(tries) == 3


def test_what_stands_on_a_step_that_failed_is_left_and_said() -> None:
    done: list[str] = []

    def fails() -> None:
        raise InvalidRequest("no permission")

    steps = [("the disk", lambda: done.append("disk")), ("the log", lambda: done.append("log")), ("guest a", fails)]
    with pytest.raises(Unavailable, match=r"^lost; guest a could not be removed: no permission; left with it: the log, the disk$"):
        fail(Undo(wait_seconds=0), *steps, ("the port", lambda: done.append("port")))
    assert done == ["port"]
