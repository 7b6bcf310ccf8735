"""Bounds on password checks by address, with a clock that the test sets."""

from __future__ import annotations

from pinfold.api.attempts import Attempts
from pinfold.core.settings import AttemptLimits

LIMITS = AttemptLimits(waiting_per_address=2, wrong_per_minute=3)


def _wrong(attempts: Attempts, address: str, now: float) -> None:
    attempts.begin(address, now)
    attempts.end(address, now, wrong=True)


def test_one_address_has_so_many_checks_under_way_and_no_more() -> None:
    attempts = Attempts(LIMITS)
    for _ in range(2):
        assert attempts.wait_seconds("a", 0.0) == 0.0
        attempts.begin("a", 0.0)
    assert attempts.wait_seconds("a", 0.0) > 0.0
    assert attempts.wait_seconds("b", 0.0) == 0.0
    attempts.end("a", 1.0, wrong=False)
    assert attempts.wait_seconds("a", 1.0) == 0.0


def test_wrong_passwords_are_bounded_by_the_minute() -> None:
    attempts = Attempts(LIMITS)
    for _ in range(3):
        assert attempts.wait_seconds("a", 0.0) == 0.0
        _wrong(attempts, "a", 0.0)
    assert attempts.wait_seconds("a", 0.0) == 20.0
    assert attempts.wait_seconds("b", 0.0) == 0.0
    assert attempts.wait_seconds("a", 20.0) == 0.0
    _wrong(attempts, "a", 20.0)
    assert attempts.wait_seconds("a", 20.0) == 20.0


def test_right_passwords_are_not_bounded_by_the_minute() -> None:
    attempts = Attempts(LIMITS)
    for _ in range(100):
        assert attempts.wait_seconds("a", 0.0) == 0.0
        attempts.begin("a", 0.0)
        attempts.end("a", 0.0, wrong=False)


def test_who_guesses_comes_after_who_does_not() -> None:
    attempts = Attempts(LIMITS)
    _wrong(attempts, "guesser", 0.0)
    _wrong(attempts, "guesser", 0.0)
    _wrong(attempts, "typo", 0.0)
    ranks = [attempts.rank(address, 1.0) for address in ("new", "typo", "guesser")]
    assert ranks == sorted(set(ranks))
    assert attempts.rank("guesser", 3600.0) == 0


def test_a_million_addresses_are_not_remembered() -> None:
    attempts = Attempts(LIMITS)
    attempts.begin("at work", 0.0)
    for number in range(20_000):
        _wrong(attempts, str(number), 0.0)
    assert len(attempts._addresses) <= 10_000
    attempts.end("at work", 0.0, wrong=False)
