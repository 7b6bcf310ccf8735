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


def test_what_is_left_is_said_and_the_other_steps_still_run() -> None:
    done: list[str] = []

    def fails() -> None:
        raise InvalidRequest("no permission")

    with pytest.raises(Unavailable, match=r"^lost; guest a could not be removed: no permission$"):
        fail(Undo(wait_seconds=0), ("the disk", lambda: done.append("disk")), ("guest a", fails))
    assert done == ["disk"]
