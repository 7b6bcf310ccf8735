"""An agent's connection, and the settings that it refuses before it sends a byte."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from pinfold.agent.client import ServiceAway, ServiceClient, read_token
from pinfold.core.errors import InvalidRequest


@pytest.mark.parametrize("url", ["http://api.example:8774", "http://10.0.0.1", "http://127.0.0.1.example", "http://[2001:db8::1]:1"])
def test_plain_http_to_another_machine_is_refused_unless_an_option_says_so(url: str) -> None:
    with pytest.raises(InvalidRequest, match=r"api_url is .* use https://, or set allow_plain_http = true"):
        ServiceClient(url, "token")
    ServiceClient(url, "token", allow_plain_http=True).close()


@pytest.mark.parametrize("url", ["http://127.0.0.1:8774", "http://localhost", "http://[::1]:8774", "https://api.example"])
def test_loopback_and_https_are_allowed(url: str) -> None:
    ServiceClient(url, "token").close()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("", "is empty; write the token into it"), (" \n", "is empty"), ("two words", "holds no agent's token"), ("x" * 2000, "holds no")],
    ids=["empty", "blank", "two words", "long"],
)
def test_a_token_file_without_a_token_is_its_own_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "agent.token"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(InvalidRequest, match=sentence):
        read_token(path)


def test_a_service_of_an_earlier_pinfold_is_refused_in_one_sentence() -> None:
    sent: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            sent.append(self.path)
            body = b'{"count": 3, "orders": [], "tombstones": []}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request).start()
        url = f"http://127.0.0.1:{server.server_port}"
        client = ServiceClient(url, "token")
        with pytest.raises(InvalidRequest) as refused:
            client.orders(after=-1, wait=0.0)
        client.close()
    assert sent == ["/agent/v1/orders?after=-1&wait=0.0&protocol=4"]
    assert str(refused.value) == (
        f"the service at {url} is of an earlier pinfold: it speaks version 1 of the agents' protocol, this agent speaks version 4; "
        "upgrade the service before its agents"
    )


def test_a_token_is_read_without_its_line_end(tmp_path: Path) -> None:
    path = tmp_path / "agent.token"
    path.write_text("abc.def\n")
    path.chmod(0o600)
    assert read_token(path) == "abc.def"
    path.chmod(0o640)
    with pytest.raises(InvalidRequest, match="its mode must be 0600"):
        read_token(path)


def test_a_console_is_not_opened_over_plain_http_to_another_machine() -> None:
    client = ServiceClient("https://api.example", "token")
    said = r"the service wants a console at http://api2\.example: .* could read the agent's token"
    with pytest.raises(InvalidRequest, match=said), client.console(7, "http://api2.example"):
        pass
    client.close()


@pytest.mark.parametrize(
    ("status", "header", "low", "high"),
    [(503, "7", 7.0, 7.7), (503, "", 0.0, 0.0), (500, "7", 0.0, 0.0), (429, "1", 1.0, 1.1), (429, "", 0.0, 0.0)],
)
def test_a_busy_service_says_when_to_come_again(status: int, header: str, low: float, high: float) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(status)
            if header:
                self.send_header("Retry-After", header)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request).start()
        client = ServiceClient(f"http://127.0.0.1:{server.server_port}", "token")
        with pytest.raises(ServiceAway) as refused:
            client.heartbeat()
        client.close()
    assert low <= refused.value.again <= high


def test_the_address_of_this_machine_is_that_of_the_latest_connection_and_outlives_a_failed_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_DELETE(self) -> None:
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    def down(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_AGAIN, "no name server answers")

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        client = ServiceClient(f"http://localhost:{server.server_port}", "token")
        assert client.local_address == ""
        threading.Thread(target=server.handle_request).start()
        client.goodbye()
        assert client.local_address == "127.0.0.1"
        client.local_address = "192.0.2.7"  # as if the connection had left by another interface
        monkeypatch.setattr(socket, "getaddrinfo", down)
        with pytest.raises(ServiceAway, match="is away"):
            client.goodbye()
        client.close()
    assert client.local_address == "192.0.2.7"
