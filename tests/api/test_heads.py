"""Heads of requests that are too large are cut off before they are held, whoever sends them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn

from pinfold.api.asgi import Receive, Scope, Send
from pinfold.api.heads import MAX_HEAD, BoundedHead


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    size = 0
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    body = str(size).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(answer, http=BoundedHead, log_config=None, lifespan="off"))  # type: ignore[arg-type]
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield listening.getsockname()[:2]
    server.should_exit = True
    thread.join()
    listening.close()


def _ask(address: tuple[str, int], *parts: bytes) -> tuple[bytes, bool]:
    """What is answered to those bytes until the server has nothing more to say, and whether it hung up before it had taken them all."""
    heard, taken = b"", False
    with socket.create_connection(address, timeout=120) as connection:
        try:
            for part in parts:
                connection.sendall(part)
            connection.shutdown(socket.SHUT_WR)
            taken = True
            while more := connection.recv(65536):
                heard += more
        except ConnectionError:
            pass
    return heard, not taken


@pytest.mark.parametrize(
    "place", [b"GET / HTTP/1.1\r\nHost: x\r\nX-Big: ", b"GET /", b"GET / HTTP/1.1\r\nX-"], ids=["header", "path", "name"]
)
def test_a_head_beyond_the_bound_is_refused_and_not_kept(address: tuple[str, int], place: bytes) -> None:
    heard, hung_up = _ask(address, place, *[b"a" * 8192] * 4096)
    assert hung_up
    assert heard == b"" or heard.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))


def test_a_head_within_the_bound_and_a_large_body_after_it_are_answered(address: tuple[str, int]) -> None:
    body = b"b" * (4 * MAX_HEAD)
    head = (
        b"POST / HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * (MAX_HEAD // 2) + b"\r\nContent-Length: " + str(len(body)).encode() + b"\r\n\r\n"
    )
    heard, _ = _ask(address, head, body, head, body)
    assert heard.count(b"HTTP/1.1 200 ") == 2
    assert heard.endswith(str(len(body)).encode())
