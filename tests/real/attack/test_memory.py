"""What strangers send without end, or in pieces that cost time, takes no memory and keeps no agent waiting."""

from __future__ import annotations

import base64
import time

import pytest
from tests.real.attack.rig import Target, crowd, for_a_while, hung_up, pour
from tests.real.patience import PATIENCE_SECONDS

MIB = 1 << 20
CHUNKED = b"POST /compute/v2.1/servers HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
OPEN = b"GET /compute/v2.1 HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("before", "again", "clients"),
    [
        pytest.param(CHUNKED + b"0\r\n", b"a: b\r\n" * 20_000, 4, id="trailers"),
        pytest.param(CHUNKED + b"0\r\na: ", b"a" * 100_000, 4, id="one trailer"),
        pytest.param(CHUNKED, b"1\r\nx\r\n" * 10_000, 32, id="chunks of one byte"),
        pytest.param(CHUNKED + b"1;", b"a" * 100_000, 4, id="one chunk's extension"),
        pytest.param(b"GET / HTTP/1.1\r\n", b"a: b\r\n" * 20_000, 32, id="headers"),
        pytest.param(b"GET / HTTP/1.1\r\na: ", b"a" * 100_000, 32, id="one header"),
        pytest.param(b"GET /", b"a" * 100_000, 4, id="an address"),
        pytest.param(b"", b"\r\n" * 100_000, 4, id="empty lines"),
        pytest.param(b"", b"\x16\x03\x01" * 50_000, 4, id="what is no HTTP"),
    ],
)
def test_without_end(target: Target, before: bytes, again: bytes, clients: int) -> None:
    def attack(_: int) -> int:
        with target.connect() as connection:
            connection.sendall(before)
            taken = pour(connection, again, most=160 * MIB)
            assert hung_up(connection)
            return taken

    with target.holding() as seen:
        taken = crowd(clients, for_a_while(attack))
    assert max(one for several in taken for one in several if isinstance(one, int)) < 16 * MIB
    assert seen.beats > 1


def test_pipelined_requests_whose_answers_nobody_reads(target: Target) -> None:
    def attack(_: int) -> int:
        with target.connect(buffer=4096) as connection:
            return pour(connection, OPEN * 1000, most=60 * MIB)

    with target.holding():
        taken = crowd(16, for_a_while(attack))
    assert max(one for several in taken for one in several if isinstance(one, int)) < 16 * MIB


def test_bodies_that_never_end(target: Target) -> None:
    head = b"POST /compute/v2.1/servers HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % MIB
    connections = []
    with target.holding():
        for number in range(300):
            connection = target.connect(source=f"127.0.{number % 7}.{1 + number % 100}")
            connections.append(connection)
            connection.sendall(head)
            pour(connection, b"x" * 65536, most=MIB - 65536, patience=0.2)
        time.sleep(1)
    for connection in connections:
        connection.close()


def test_json_that_nests_deep(target: Target) -> None:
    basic = base64.b64encode(":".join(target.account).encode())
    body = b"[" * MIB
    head = b"POST /compute/v2.1/flavors HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" % len(body)

    def attack(number: int) -> bytes:
        """Every fourth client has a password: of all others, nothing is parsed."""
        credentials = b"Authorization: Basic %s\r\n" % basic if number % 4 == 0 else b""
        with target.connect() as connection:
            connection.sendall(head + credentials + b"\r\n")
            pour(connection, body, most=len(body))
            connection.settimeout(PATIENCE_SECONDS)
            return connection.recv(65536)

    with target.client() as client:
        client.get("/compute/v2.1/flavors").raise_for_status()  # its password is known from here on: checking it is another test's matter
    with target.holding():
        heard = crowd(16, for_a_while(attack))
    for number, answers in enumerate(heard):
        status = b"HTTP/1.1 400 " if number % 4 == 0 else b"HTTP/1.1 401 "
        assert {answer.startswith(status) for answer in answers} == {True}, answers
