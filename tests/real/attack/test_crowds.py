"""However many strangers connect, and however slow they are: an agent gets in and is answered at once."""

from __future__ import annotations

import base64
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest
from tests.real.attack.rig import PROXY, Target, allow_many_files, crowd, for_a_while, hung_up, serving
from tests.real.fleet.test_tls import signed_by_an_authority
from tests.real.patience import PATIENCE_SECONDS, until

GET = b"GET /compute/v2.1 HTTP/1.1\r\nHost: x\r\n\r\n"
HASTY = "handshake_seconds = 1\nhead_seconds = 1\nbody_seconds = 1\nidle_seconds = 1\nanswer_seconds = 1"
MANY = 1500
MOST_STRANGERS = 512
MOST_PER_ADDRESS = 128
SOONER_THAN_TIMEOUTS = 6.0
"""Seconds, fewer than a client has for its first request."""


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """An API over TLS whose time-outs are a second."""
    allow_many_files()
    folder = tmp_path_factory.mktemp("hasty")
    with serving(folder, options=HASTY, tls=str(signed_by_an_authority(folder)), rounds=4) as made:
        yield made


def source(number: int, *, addresses: int) -> str:
    """One of so many addresses of loopback."""
    return f"127.0.{1 + number % addresses // 200}.{1 + number % addresses % 200}"


def still_open(connections: list[socket.socket]) -> int:
    """How many the other side has not hung up."""
    count = 0
    for connection in connections:
        connection.setblocking(False)
        try:
            count += connection.recv(65536) != b""
        except BlockingIOError:
            count += 1
        except OSError:
            pass
    return count


@contextlib.contextmanager
def connected(target: Target, count: int, *, addresses: int, first: bytes = b"") -> Iterator[list[socket.socket]]:
    """So many connections, each of which has sent something."""
    made: list[socket.socket] = []
    try:
        for number in range(count):
            with contextlib.suppress(OSError):
                made.append(target.connect(source=source(number, addresses=addresses)))
                made[-1].sendall(first)
        yield made
    finally:
        for connection in made:
            connection.close()


@pytest.mark.parametrize(("addresses", "most"), [(1, MOST_PER_ADDRESS), (400, MOST_STRANGERS)], ids=["one address", "many addresses"])
@pytest.mark.parametrize("first", [b"", GET, b"GET / HT"], ids=["say nothing", "ask once", "begin to ask"])
def test_idle_connections(target: Target, addresses: int, most: int, first: bytes) -> None:
    with target.holding(), connected(target, MANY, addresses=addresses, first=first) as connections:
        until(lambda: still_open(connections) <= most + 1, "the others are hung up", seconds=SOONER_THAN_TIMEOUTS)


def test_heads_that_come_byte_by_byte(target: Target) -> None:
    with target.holding(), connected(target, 400, addresses=40, first=b"GET / HTTP/1.1\r\n") as connections:
        for _ in range(10):
            for connection in connections:
                with contextlib.suppress(OSError):
                    connection.send(b"a: b\r\n")
            time.sleep(0.1)


def test_handshakes_that_stall(hasty: Target) -> None:
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 20  # the beginning of a ClientHello, of 512 bytes
    with hasty.holding(), connected(hasty, MANY, addresses=400, first=hello) as connections:
        until(lambda: not still_open(connections), "all are hung up")


def test_requests_that_stall_over_tls(hasty: Target) -> None:
    import ssl

    context = ssl.create_default_context(cafile=hasty.ca_file)

    def attack(number: int) -> bool:
        with hasty.connect() as plain, context.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
            connection.sendall((GET[:10], GET, b"POST /compute/v2.1/servers HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf")[number % 3])
            return hung_up(connection)

    with hasty.holding():
        answers = crowd(48, attack)
    assert all(answer is True or isinstance(answer, OSError) for answer in answers)
    assert answers.count(True) >= 24


def test_clients_that_vanish(target: Target) -> None:
    """Half of them reset the connection while their request is at work, half send no more but stay."""

    def attack(number: int) -> None:
        connection = target.connect()
        connection.sendall(GET)
        if number % 2:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
        else:
            connection.shutdown(socket.SHUT_WR)
            hung_up(connection)
            connection.close()

    with target.holding():
        crowd(32, for_a_while(attack))


@pytest.mark.parametrize(
    "request_text",
    [
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", id="health"),
        pytest.param(b"GET /compute/v2.1/servers HTTP/1.1\r\nHost: x\r\n\r\n", id="without a password"),
        pytest.param(
            b"POST /agent/v1/heartbeat HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer 8c2b1d06-6a2f-5f0a-9c55-6c8ad1b5ef1e."
            + b"a" * 43
            + b"\r\nContent-Length: 0\r\n\r\n",
            id="with a wrong token",
        ),
    ],
)
def test_requests_without_pause(target: Target, request_text: bytes) -> None:
    def attack(_: int) -> None:
        with target.connect() as connection:
            for _ in range(20):
                connection.sendall(request_text)
                if not connection.recv(65536):  # it gave way to another stranger
                    return

    with target.holding():
        crowd(100, for_a_while(attack))


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """An API that lets few strangers of one address in."""
    allow_many_files()
    with serving(tmp_path_factory.mktemp("narrow"), options=f"connections_per_address = 8\ntrusted_proxies = {PROXY}") as made:
        yield made


def test_a_crowd_behind_a_proxy_is_told_to_wait_and_others_behind_it_are_not(narrow: Target) -> None:
    def ask(forwarded: str, password: str) -> bytes:
        secret = base64.b64encode(f"{narrow.account[0]}:{password}".encode()).decode()
        with narrow.connect(source=PROXY) as connection:
            head = f"GET /v1/hosts HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {forwarded}\r\nAuthorization: Basic {secret}\r\n\r\n"
            connection.sendall(head.encode())
            return connection.recv(65536)

    def asked(number: int) -> bytes:
        return ask("192.0.2.1", "wrong") if number % 10 else ask(f"198.51.100.{number // 10}", narrow.account[1])

    with narrow.client() as client:
        client.get("/v1/hosts").raise_for_status()
    with narrow.holding():
        answers = crowd(300, asked)
    assert {answer[:13] for answer in answers[::10]} == {b"HTTP/1.1 200 "}
    refused = [answer for number, answer in enumerate(answers) if number % 10]
    assert {answer[:13] for answer in refused} <= {b"HTTP/1.1 401 ", b"HTTP/1.1 429 "}
    assert any(b"Too many connections" in answer and b"retry-after: 1\r\n" in answer for answer in refused)


def test_agents_that_nobody_knows_yet_get_in_beside_a_crowd_with_wrong_tokens_at_their_address(narrow: Target) -> None:
    """As after a restart of the API. The crowd goes on until all of them are in."""
    with narrow.client() as client:
        tokens = [client.post("/v1/hosts", json={"name": f"new{number}"}).raise_for_status().json()["token"] for number in range(5)]
    wrong = f"{tokens[0].partition('.')[0]}.{'a' * 43}"
    over, until_seconds = threading.Event(), time.monotonic() + PATIENCE_SECONDS

    def beats(token: str) -> bytes:
        with narrow.connect() as connection:
            connection.sendall(
                f"POST /agent/v1/heartbeat HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\n\r\n".encode()
            )
            return connection.recv(65536)[:13]

    def attack() -> set[bytes]:
        heard = set()
        while not over.is_set():
            with contextlib.suppress(OSError):
                heard.add(beats(wrong))
        return heard

    def get_in() -> int:
        refused = 0
        for token in tokens:
            while time.monotonic() < until_seconds:
                with contextlib.suppress(OSError):
                    if beats(token) == b"HTTP/1.1 200 ":
                        break
                refused += 1
                time.sleep(0.05)
            else:
                pytest.fail("an agent did not get in")
        return refused

    def work(number: int) -> object:
        if number:
            return attack()
        try:
            return get_in()
        finally:
            over.set()

    with narrow.holding():
        refused, *heard = crowd(60, work)
    assert isinstance(refused, int)
    assert set().union(*heard) <= {b"HTTP/1.1 401 ", b"HTTP/1.1 429 ", b""}
