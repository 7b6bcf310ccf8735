"""Concurrent password checks: who is served first, who is refused, and that a client that has gone holds no turn."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

import pytest

from pinfold.api.accounts import Account, hash_password, parse_accounts
from pinfold.api.doorkeeper import Doorkeeper
from pinfold.api.password_checks import Outcome, PasswordChecks, TooManyAttempts
from pinfold.core.settings import AttemptLimits

SECRET = "correct horse"
ACCOUNTS = parse_accounts(f"alice:admin:{hash_password(SECRET, rounds=4)}", "accounts")


class Slow(Doorkeeper):
    """A doorkeeper whose checks take as long as the test says: each waits until the gate is open."""

    def __init__(self) -> None:
        super().__init__(ACCOUNTS)
        self.gate = threading.Event()
        self.order: list[str] = []

    def admit(self, name: str, password: str) -> Account | None:
        self.gate.wait(60)
        self.order.append(password)
        return super().admit(name, password)


class Rig:
    """Checks behind a gate; `ask` starts one and lets it get as far as it can."""

    def __init__(self, **limits: int) -> None:
        self.door = Slow()
        self.checks = PasswordChecks(self.door, AttemptLimits(**limits))
        self._port = 0

    async def ask(self, password: str, address: str, *, port: int = 0) -> asyncio.Task[Account | None]:
        self._port += 1
        asked = asyncio.create_task(self.checks.admit("alice", password, address=address, connection=(address, port or self._port)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return asked


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 120))


def test_beyond_the_bound_of_an_address_the_answer_is_when_to_ask_again() -> None:
    async def story() -> None:
        rig = Rig(waiting_per_address=2)
        begun = [await rig.ask("wrong", "a") for _ in range(2)]
        with pytest.raises(TooManyAttempts) as refusal:
            await (await rig.ask(SECRET, "a"))
        assert refusal.value.retry_seconds >= 1
        other = await rig.ask(SECRET, "b")
        rig.door.gate.set()
        assert await asyncio.gather(*begun) == [None, None]
        assert await other is not None
        assert rig.checks.outcomes == {Outcome.WRONG: 2, Outcome.RIGHT: 1, Outcome.REFUSED: 1}

    run(story())


def test_who_sent_no_wrong_password_is_served_before_those_who_did() -> None:
    async def story() -> None:
        rig = Rig(waiting_per_address=10)
        rig.door.gate.set()
        await (await rig.ask("guess 0", "guesser"))
        rig.door.gate.clear()
        guesses = [await rig.ask(f"guess {number}", "guesser") for number in (1, 2, 3)]
        honest = await rig.ask(SECRET, "honest")
        rig.door.gate.set()
        await asyncio.gather(*guesses, honest)
        assert rig.door.order == ["guess 0", "guess 1", SECRET, "guess 2", "guess 3"]

    run(story())


def test_a_full_queue_refuses_the_guessers_first() -> None:
    async def story() -> None:
        rig = Rig(waiting=2, waiting_per_address=10)
        rig.door.gate.set()
        await (await rig.ask("guess 0", "guesser"))
        rig.door.gate.clear()
        guesses = [await rig.ask(f"guess {number}", "guesser") for number in (1, 2, 3)]
        honest = await rig.ask(SECRET, "honest")
        with pytest.raises(TooManyAttempts):
            await guesses[2]
        with pytest.raises(TooManyAttempts):
            await (await rig.ask("guess 4", "guesser"))
        rig.door.gate.set()
        assert await honest is not None
        await asyncio.gather(*guesses[:2])

    run(story())


def test_a_remembered_password_waits_for_nobody() -> None:
    async def story() -> None:
        rig = Rig(waiting_per_address=1)
        rig.door.gate.set()
        await (await rig.ask(SECRET, "a"))
        rig.door.gate.clear()
        attack = await rig.ask("wrong", "a")
        assert await (await rig.ask(SECRET, "a")) is not None
        rig.door.gate.set()
        await attack

    run(story())


def test_a_connection_that_a_password_opened_is_bounded_no_more_until_a_wrong_one() -> None:
    async def story() -> None:
        rig = Rig(waiting_per_address=1, wrong_per_minute=1000)
        rig.door.gate.set()
        await (await rig.ask(SECRET, "a", port=7))
        rig.door.gate.clear()
        attack = await rig.ask("wrong", "a")
        changed = await rig.ask("another", "a", port=7)
        assert not changed.done()
        rig.door.gate.set()
        assert await changed is None
        await attack
        rig.door.gate.clear()
        attack = await rig.ask("wrong", "a")
        with pytest.raises(TooManyAttempts):
            await (await rig.ask("another", "a", port=7))
        rig.door.gate.set()
        await attack

    run(story())


def test_a_request_that_is_cancelled_gives_its_turn_back() -> None:
    async def story() -> None:
        rig = Rig(waiting_per_address=10)
        first = await rig.ask("wrong", "a")
        gone, last = await rig.ask("gone", "a"), await rig.ask(SECRET, "a")
        gone.cancel()
        rig.door.gate.set()
        assert await first is None
        assert await last is not None
        assert rig.checks.waiting == 0
        assert "gone" not in rig.door.order
        assert await (await rig.ask(SECRET, "a")) is not None

    run(story())
