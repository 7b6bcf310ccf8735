"""What one connection may send, hold and take time for, over real sockets with short time-outs."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import HTTPConnection

from pinfold.api.asgi import Receive, Scope, Send
from pinfold.api.client_address import Proxies
from pinfold.api.connections import Connections
from pinfold.api.protocol import MAX_CHUNKS, MAX_HEAD, MAX_HEADERS, MAX_QUEUED, MAX_UNREAD, BoundedProtocol, room_of
from pinfold.config.fleet import ApiSettings
from pinfold.core.settings import DEFAULT_CONNECTIONS, ConnectionLimits, TimeLimits
from pinfold.wiring.http_server import server_of

SHORT = TimeLimits(head=0.5, body=0.5, idle=0.5, answer=0.5)
LONG = 60.0
BODY = 4.0  # a busy machine may keep the client waiting for a second or two
ROOM = 3 * MAX_UNREAD
EARLY = 40
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass
class Site:
    """A server whose one application answers with the size of the body, or as the path says."""

    address: tuple[str, int]
    connections: Connections
    seen: list[Any] = field(default_factory=list)

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=LONG)

    def ask(self, *parts: bytes) -> tuple[bytes, bool]:
        """The response to those bytes until the server ends, and whether it hung up before it read all of them."""
        heard, taken = b"", False
        with self.connect() as connection:
            try:
                for part in parts:
                    connection.sendall(part)
                with suppress(OSError):  # the server may have ended the connection already
                    connection.shutdown(socket.SHUT_WR)
                taken = True
                while more := connection.recv(65536):
                    heard += more
            except ConnectionError:
                pass
        return heard, not taken


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    yield from _serve(TimeLimits(head=LONG, body=LONG, idle=LONG, answer=LONG))


@pytest.fixture(scope="module")
def hasty() -> Iterator[Site]:
    """A site with short time-outs."""
    yield from _serve(SHORT)


@pytest.fixture
def hasty_for_bodies() -> Iterator[Site]:
    """A site where only the body of a request has a short time."""
    yield from _serve(TimeLimits(head=LONG, body=BODY, idle=LONG, answer=LONG))


def _serve(
    times: TimeLimits, limits: ConnectionLimits = DEFAULT_CONNECTIONS, *, early: list[socket.socket] | None = None
) -> Iterator[Site]:
    """`early` are connections that are made before the server begins: it accepts many at once."""
    listening = socket.create_server(("127.0.0.1", 0))
    site = Site(listening.getsockname()[:2], Connections(limits))
    if early is not None:
        early.extend(site.connect() for _ in range(EARLY))

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        site.seen.append(scope)
        body = b"big" * 10_000_000 if scope["path"] == "/big" else b""
        if scope["path"].startswith("/slow"):
            await asyncio.sleep(BODY + 1 if scope["path"] == "/slower" else 1.5)
        if scope["path"] == "/roomy":
            room_of(HTTPConnection(scope)).raise_to(ROOM)
        if scope["path"] == "/unread":
            body = b"no"
        elif not body:
            body = str(await _size(receive)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
        await send({"type": "http.response.body", "body": body})

    fleet = SimpleNamespace(presence=SimpleNamespace(end=lambda: None))  # no agent waits here
    services = SimpleNamespace(connections=site.connections, proxies=Proxies(), ended=threading.Event(), consoles=None, fleet=fleet)
    server = server_of(SimpleNamespace(app=answer, services=services), ApiSettings(times=times))  # type: ignore[arg-type]
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    yield site
    server.should_exit = True
    thread.join()
    listening.close()


async def _size(receive: Receive) -> int:
    size = 0
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            return size


def _heard(connection: socket.socket) -> bytes:
    """Everything that the server sends until it hangs up."""
    heard = b""
    try:
        while more := connection.recv(65536):
            heard += more
    except ConnectionError:
        pass
    return heard


def head_of(size: int) -> bytes:
    """A head of that many bytes as `MAX_HEAD` counts them."""
    return b"GET / HTTP/1.1\r\nX-Big: " + b"a" * (size - len("/") - len("X-Big") - 4) + b"\r\n\r\n"


@pytest.mark.parametrize("first", [b"", GET], ids=["say nothing", "ask"])
def test_connections_that_give_way_while_they_are_being_opened_end_and_time_goes_on(first: bytes) -> None:
    connections: list[socket.socket] = []
    with contextmanager(_serve)(SHORT, ConnectionLimits(per_address=4), early=connections) as site:
        for connection in connections:
            with suppress(OSError):
                connection.sendall(first)
        heard = [_heard(connection) for connection in connections]  # the last ones are hung up when their time is over
        answered = sum(answer != b"" for answer in heard)
        assert 0 < answered <= EARLY
        assert answered < EARLY or first  # who asks at once may be answered before the next ones come
        assert site.connections.count == 0
        with site.connect() as connection:
            assert _heard(connection).startswith(b"HTTP/1.1 408 ")
    for connection in connections:
        connection.close()


@pytest.mark.parametrize(
    "place", [b"GET / HTTP/1.1\r\nHost: x\r\nX-Big: ", b"GET /", b"GET / HTTP/1.1\r\nX-"], ids=["header", "path", "name"]
)
def test_a_head_beyond_the_bound_is_refused_and_not_kept(site: Site, place: bytes) -> None:
    heard, hung_up = site.ask(place, *[b"a" * 8192] * 4096)
    assert hung_up
    assert heard == b"" or heard.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))


@pytest.mark.parametrize("split", [1, 5000, MAX_HEAD], ids=["in two parts", "in the middle", "all but at once"])
def test_the_bound_on_heads_is_exact(site: Site, split: int) -> None:
    for size, status in ((MAX_HEAD, b"200"), (MAX_HEAD + 1, b"431")):
        head = head_of(size)
        heard, _ = site.ask(head[:split], head[split:])
        assert heard.startswith(b"HTTP/1.1 " + status + b" "), heard


def test_the_bound_on_headers_is_exact(site: Site) -> None:
    for count, status in ((MAX_HEADERS, b"200"), (MAX_HEADERS + 1, b"431")):
        heard, _ = site.ask(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * count + b"\r\n")
        assert heard.startswith(b"HTTP/1.1 " + status + b" "), heard


def test_a_head_within_the_bound_and_a_large_body_after_it_are_answered(site: Site) -> None:
    body = b"b" * (4 * MAX_HEAD)
    head = (
        b"POST / HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * (MAX_HEAD // 2) + b"\r\nContent-Length: " + str(len(body)).encode() + b"\r\n\r\n"
    )
    heard, _ = site.ask(head, body, head, body)
    assert heard.count(b"HTTP/1.1 200 ") == 2
    assert heard.endswith(str(len(body)).encode())


def test_trailers_are_taken_within_the_bound_and_count_as_no_headers(site: Site) -> None:
    head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"
    heard, _ = site.ask(head + b"Authorization: x\r\n" * MAX_HEADERS + b"\r\n")
    assert heard.startswith(b"HTTP/1.1 200 ")
    assert heard.endswith(b"3")
    assert b"authorization" not in dict(site.seen[-1]["headers"])
    heard, _ = site.ask(head + b"Authorization: x\r\n" * (MAX_HEADERS + 1) + b"\r\n")
    assert heard.startswith(b"HTTP/1.1 431 ")


def test_the_bound_on_chunks_is_exact(site: Site) -> None:
    for count, status in ((MAX_CHUNKS - 1, b"200"), (MAX_CHUNKS, b"413")):  # the last one, of size 0, counts too
        heard, _ = site.ask(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * count + b"0\r\n\r\n")
        assert heard.startswith(b"HTTP/1.1 " + status + b" "), heard


def test_a_route_may_make_room_for_one_larger_body(site: Site) -> None:
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    for head, body in (
        (b"Content-Length: %d" % ROOM, b"x" * ROOM),
        (b"Transfer-Encoding: chunked", chunk * (ROOM // 65536) + b"0\r\n\r\n"),
    ):
        heard, _ = site.ask(b"PUT /roomy HTTP/1.1\r\n" + head + b"\r\n\r\n" + body)
        assert heard.startswith(b"HTTP/1.1 200 ") and heard.endswith(b"%d" % ROOM)
        with site.connect() as connection:
            connection.sendall(b"PUT /roomy HTTP/1.1\r\nContent-Length: 1\r\n\r\nx")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
            with suppress(OSError):  # the server ends the connection while the client sends
                connection.sendall(b"PUT / HTTP/1.1\r\n" + head + b"\r\n\r\n" + body)
            with suppress(ConnectionError):
                assert not connection.recv(65536).startswith(b"HTTP/1.1 200 "), "the next request has the bound of every other"
    _, hung_up = site.ask(b"PUT /roomy HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (2 * ROOM), *(b"x" * 65536 for _ in range(ROOM // 32768)))
    assert hung_up


def test_a_body_with_room_has_its_time_for_each_mib(hasty_for_bodies: Site) -> None:
    with hasty_for_bodies.connect() as connection:
        connection.sendall(b"PUT /roomy HTTP/1.1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (4 << 20))
        for _ in range(4):
            time.sleep(BODY / 3)
            connection.sendall(b"x" * (1 << 20))
        assert _heard(connection).startswith(b"HTTP/1.1 200 ")


def test_requests_that_are_sent_ahead_are_answered_in_order_up_to_the_bound(site: Site) -> None:
    bodies = [b"b" * size for size in range(MAX_QUEUED)]
    requests = [b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body for body in bodies]
    with site.connect() as connection:
        for _ in range(3):
            connection.sendall(b"".join(requests))
            answers = b""
            while answers.count(b"HTTP/1.1 200 ") < MAX_QUEUED or not answers.endswith(b"\r\n\r\n%d" % (MAX_QUEUED - 1)):
                answers += connection.recv(65536)
            assert [int(part.rpartition(b"\r\n")[2] or b"0") for part in answers.split(b"HTTP/1.1 200 OK")[1:]] == list(range(MAX_QUEUED))


def test_the_body_of_a_request_that_was_sent_ahead_may_come_after_the_answer_before_it(hasty_for_bodies: Site) -> None:
    """The client's time for the body begins when the server reads again, not while it answers the request before."""
    with hasty_for_bodies.connect() as connection:
        connection.sendall(b"GET /slower HTTP/1.1\r\n\r\n" + b"POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: 4\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"body")
        heard = _heard(connection)
        assert heard.startswith(b"HTTP/1.1 200 "), heard
        assert heard.endswith(b"4")


def test_more_requests_sent_ahead_than_the_bound_end_the_connection_after_those_that_count(site: Site) -> None:
    heard, _ = site.ask(GET * 500)
    assert heard.count(b"HTTP/1.1 200 ") == MAX_QUEUED + 1
    assert heard.count(b"connection: close") == 1


def test_a_body_that_nobody_reads_is_skipped_within_bounds(site: Site) -> None:
    head = b"POST /unread HTTP/1.1\r\nContent-Length: %d\r\n\r\n"
    heard, hung_up = site.ask(head % 1_000_000, b"x" * 1_000_000, GET)
    assert heard.count(b"HTTP/1.1 200 ") == 2
    assert not hung_up
    heard, hung_up = site.ask(head % 50_000_000, b"x" * 50_000_000, GET)
    assert heard.count(b"HTTP/1.1 200 ") <= 1
    assert hung_up


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        pytest.param(b"", b"HTTP/1.1 408 ", id="nothing"),
        pytest.param(b"GET / HT", b"HTTP/1.1 408 ", id="half a head"),
        pytest.param(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf", b"HTTP/1.1 408 ", id="half a body"),
        pytest.param(b"POST /unread HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf", b"HTTP/1.1 200 ", id="half a body that nobody reads"),
        pytest.param(GET, b"HTTP/1.1 200 ", id="no second request"),
        pytest.param(GET + b"GET / HT", b"HTTP/1.1 200 ", id="half a second request"),
        pytest.param(b"GET /slow HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 ", id="no second request after a slow answer"),
    ],
)
def test_a_connection_that_takes_too_long_ends(hasty: Site, sent: bytes, told: bytes) -> None:
    with hasty.connect() as connection:
        connection.sendall(sent)
        assert _heard(connection).startswith(told)


def test_a_client_that_sends_a_byte_now_and_then_takes_too_long_all_the_same(hasty: Site) -> None:
    with hasty.connect() as connection, pytest.raises(ConnectionError):  # noqa: PT012
        connection.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
        for _ in range(600):
            time.sleep(0.1)
            connection.sendall(b"a")


def test_a_client_that_takes_nothing_of_its_answer_loses_the_connection(hasty: Site) -> None:
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(LONG)
        connection.connect(hasty.address)
        connection.sendall(b"GET /big HTTP/1.1\r\n\r\n")
        until = time.monotonic() + LONG
        while hasty.connections.count and time.monotonic() < until:
            time.sleep(0.05)
        assert hasty.connections.count == 0
        assert len(_heard(connection)) < 30_000_000


def test_a_connection_for_which_no_time_runs_is_looked_at_seldom(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    looks, look = list[float](), BoundedProtocol.look
    with site.connect() as connection:
        connection.sendall(GET)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        time.sleep(1.5)
        monkeypatch.setattr(BoundedProtocol, "look", lambda self, now: (looks.append(now), look(self, now)))
        time.sleep(3.0)
    assert len(looks) <= 1  # there are six looks in this time at connections for which a time runs


def test_a_connection_counts_for_as_long_as_its_request_is_at_work(site: Site) -> None:
    with site.connect() as connection:
        connection.sendall(b"GET /slow HTTP/1.1\r\n\r\n")
        while not site.seen or site.seen[-1]["path"] != "/slow":
            time.sleep(0.01)
    time.sleep(0.3)
    assert site.connections.count == 1
    until = time.monotonic() + LONG
    while site.connections.count and time.monotonic() < until:
        time.sleep(0.05)
    assert site.connections.count == 0


def test_the_connection_that_came_first_gives_way_to_a_newcomer_with_what_is_done_for_it(site: Site) -> None:
    most = ConnectionLimits().per_address
    held = [site.connect() for _ in range(most)]
    held[0].sendall(b"GET /slow HTTP/1.1\r\n\r\n")
    held[1].sendall(GET)
    held[1].recv(65536)
    newcomer = site.connect()
    newcomer.sendall(GET)
    assert newcomer.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert _heard(held[0]) == b""
    held[1].sendall(GET)
    assert held[1].recv(65536).startswith(b"HTTP/1.1 200 ")
    assert site.connections.count == most
    for connection in (*held, newcomer):
        connection.close()
