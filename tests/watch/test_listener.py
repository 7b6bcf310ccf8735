"""`/metrics` over loopback and unix sockets: who is served, for how long, and what an address may be."""

from __future__ import annotations

import os
import socket
import stat
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest

from pinfold.core.errors import InvalidRequest
from pinfold.watch import listener


def ask(to: socket.socket, text: bytes = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n") -> bytes:
    to.settimeout(60)
    to.sendall(text)
    found = b""
    while more := to.recv(65536):
        found += more
    return found


def unix(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(path))
    return connection


def pages(metrics: bytes = b"") -> listener.Pages:
    return {listener.METRICS: listener.Page(content_type=listener.CONTENT_TYPE, render=lambda _: metrics)}


def test_a_loopback_address_serves_the_metrics() -> None:
    with listener.serving(listener.parse("127.0.0.1:0"), pages(b"a 1\n")) as url, urllib.request.urlopen(url, timeout=60) as answer:
        assert answer.read() == b"a 1\n"
        assert answer.headers["Content-Type"] == listener.CONTENT_TYPE


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", ""])
def test_a_page_for_browsers_answers_only_under_a_name_of_loopback(host: str) -> None:
    page = listener.Page(
        content_type="text/html",
        render=lambda fields: fields["Last-Event-ID"].encode(),
        headers={"X-Frame-Options": "DENY"},
        hears="Last-Event-ID",
        own_host=True,
    )
    with listener.serving(("127.0.0.1", 0), {"/ui": page}) as where:
        url = where.removesuffix("/metrics") + "/ui"
        asked = urllib.request.Request(url, headers={"Last-Event-ID": "7"})
        with urllib.request.urlopen(asked, timeout=60) as answer:
            assert (answer.read(), answer.headers["X-Frame-Options"]) == (b"7", "DENY")
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(urllib.request.Request(url, headers={"Host": host}), timeout=60)


def test_a_unix_socket_serves_its_group_and_is_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "watch.sock"
    with listener.serving(listener.parse(f"unix:{path}"), pages(b"a 1\n")) as where:
        assert where == f"unix:{path}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        with unix(path) as connection:
            assert ask(connection).endswith(b"\r\n\r\na 1\n")
        with unix(path) as connection:
            assert ask(connection, b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.0 404")
        with unix(path) as connection:
            assert ask(connection, b"POST /metrics HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.0 501")
    assert not path.exists()


def test_the_socket_of_a_killed_watch_is_replaced_and_that_of_a_living_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "watch.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with (
        listener.serving(str(path), pages()),
        pytest.raises(InvalidRequest, match="another process listens there"),
        listener.serving(str(path), pages()),
    ):
        pass


def test_a_file_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("x")
    with pytest.raises(InvalidRequest, match="is a file and no socket"), listener.serving(str(path), pages()):
        pass
    assert path.read_text() == "x"


def test_idle_clients_lose_their_places_and_everybody_else_is_served_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "_SECONDS", 0.5)
    monkeypatch.setattr(listener._Handler, "timeout", 0.5)
    path = tmp_path / "watch.sock"
    with listener.serving(str(path), pages(b"a 1\n")):
        idle = [unix(path) for _ in range(20)]
        end = time.monotonic() + 60
        served = b""
        while not served.endswith(b"a 1\n") and time.monotonic() < end:
            try:
                with unix(path) as connection:
                    served = ask(connection)
            except OSError:
                time.sleep(0.05)
        assert served.endswith(b"a 1\n")
        for one in idle:
            one.close()


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0:9177",
        "[::]:9177",
        "metrics.example:80",
        "9177",
        "127.0.0.1",
        "127.0.0.1:http",
        "127.0.0.1:70000",
        "unix:watch.sock",
        "unix:",
    ],
)
def test_an_address_that_others_could_reach_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="--listen"):
        listener.parse(text)


def test_an_address_in_use_is_refused_in_one_sentence() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with (
            pytest.raises(InvalidRequest, match=f"--listen 127.0.0.1:{port} cannot be used: Address already in use"),
            listener.serving(("127.0.0.1", port), pages()),
        ):
            pass


def test_a_long_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="at most 107 bytes"):
        listener.parse(f"unix:{os.fspath(tmp_path)}/{'x' * 120}")


def test_a_page_gets_the_fields_of_its_query_and_may_refuse_them(tmp_path: Path) -> None:
    def render(fields: Mapping[str, str]) -> bytes:
        if fields != {"a": "1", "b": "x y"}:
            raise InvalidRequest("only a=1 is allowed")
        return b"yes"

    page = {"/history": listener.Page(content_type="application/json", render=render)}
    with listener.serving(str(tmp_path / "s"), page):

        def answer(line: bytes) -> bytes:
            with unix(tmp_path / "s") as connection:
                return ask(connection, b"GET " + line + b" HTTP/1.1\r\n\r\n")

        good = answer(b"/history?a=1&b=x%20y")
        assert good.endswith(b"\r\n\r\nyes")
        assert b"Content-Type: application/json" in good
        for bad in (b"/history", b"/history?a=%ff&b=2", b"/history?" + b"&".join(b"a=1" for _ in range(9))):
            assert answer(bad).startswith(b"HTTP/1.0 400"), bad
        assert answer(b"/metrics").endswith(b"there is only /history\n")
