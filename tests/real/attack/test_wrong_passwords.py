"""Two hundred clients send wrong passwords: an agent and a reader go on working, a newcomer gets in, and the guessers are told to wait."""

from __future__ import annotations

import base64
import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from tests.real.attack.rig import Target, crowd

from pinfold.api.accounts import hash_password

ATTACKERS = 200
SECONDS = 6.0
NEWCOMER = "127.9.9.9"
PATIENCE_SECONDS = 60.0


def _guess(target: Target, source: str, number: int, until: float) -> list[int]:
    """Guess names and passwords on one connection after the other; what was answered."""
    answers = []
    while time.monotonic() < until:
        with target.connect(source=source, timeout=max(0.1, until - time.monotonic())) as connection:
            try:
                for turn in range(20):
                    name = ("admin", "nobody")[turn % 2]
                    guess = base64.b64encode(f"{name}:{number} {turn} {'x' * (80 * (turn % 3))}".encode()).decode()
                    connection.sendall(f"GET /v1/hosts HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {guess}\r\n\r\n".encode())
                    head = b""
                    while b"\r\n\r\n" not in head and (more := connection.recv(65536)):
                        head += more
                    found = re.match(rb"HTTP/1.1 (\d+) ", head)
                    if found is None:
                        break
                    answers.append(int(found[1]))
                    if time.monotonic() > until:
                        break
            except OSError:
                continue
    return answers


def _work(target: Target, ended: threading.Event, seen: Counter[Any]) -> None:
    """A reader that asks on and on, on one connection and on new ones."""
    with target.client() as steady:
        while not ended.is_set():
            with target.client() as fresh:
                for client in (steady, fresh):
                    try:
                        seen[client.get("/v1/hosts").status_code] += 1
                    except httpx.HTTPError as error:
                        seen[type(error).__name__] += 1
            ended.wait(0.2)


def _make_newcomer(target: Target) -> tuple[str, str]:
    """An account whose password nobody has shown yet."""
    name, password = f"newcomer{secrets.token_hex(4)}", "a fresh start"
    with (target.token_file.parent / "accounts").open("a") as file:
        file.write(f"{name}:reader:{hash_password(password)}\n")
    return name, password


def _arrive(target: Target, newcomer: tuple[str, str]) -> None:
    """Be let in from an address that nobody knows, waiting as the service says."""
    transport, until = httpx.HTTPTransport(local_address=NEWCOMER), time.monotonic() + PATIENCE_SECONDS
    with httpx.Client(base_url=target.url, auth=newcomer, transport=transport, timeout=PATIENCE_SECONDS) as client:
        while (answer := client.get("/v1/hosts")).status_code != 200:
            assert time.monotonic() < until, f"the newcomer is not let in: {answer.text}"
            time.sleep(float(answer.headers.get("retry-after", 1)))


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(lambda _: "127.0.0.1", id="from the reader's own address"),
        pytest.param(lambda number: f"127.0.1.{number + 1}", id="from an address each"),
    ],
)
def test_two_hundred_guessers_stop_nobody(target: Target, source: Callable[[int], str]) -> None:
    with target.client() as client:
        assert client.get("/v1/hosts").status_code == 200
    newcomer = _make_newcomer(target)
    ended, reader_saw = threading.Event(), Counter[Any]()
    reader = threading.Thread(target=_work, args=(target, ended, reader_saw))
    with target.holding() as seen:
        reader.start()
        until = time.monotonic() + SECONDS
        guesses = threading.Thread(target=lambda: answers.extend(crowd(ATTACKERS, lambda n: _guess(target, source(n), n, until))))
        answers: list[Any] = []
        guesses.start()
        time.sleep(SECONDS / 4)
        _arrive(target, newcomer)
        guesses.join()
        ended.set()
        reader.join()
    assert seen.beats > 10
    # From the attackers' own address a new connection may give way to theirs before it has shown its password; a client asks again.
    assert {status for status in reader_saw if isinstance(status, int)} == {200}
    assert reader_saw[200] > 4 * (reader_saw.total() - reader_saw[200]), reader_saw
    told = Counter(status for one in answers if isinstance(one, list) for status in one)
    assert set(told) <= {401, 429}
    with target.client() as client:
        counted = client.get("/metrics").text
    # Of one address, most connections give way to newer ones before the refusal is said.
    assert float(re.findall(r'pinfold_password_checks_total\{outcome="refused"\} (\S+)', counted)[0]) >= max(1, told[429])
