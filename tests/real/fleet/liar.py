"""A service of three lines that lies to a real agent: what it orders is the test's, and it keeps what it heard."""

from __future__ import annotations

import json
import threading
import time
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.build.fits import fits
from tests.build.hosts import as_state
from tests.build.orders import order
from tests.rig.processes import Process

from pinfold.agent.wire import PROTOCOL, Hello, Welcome
from pinfold.core.encoding import plain, reader
from pinfold.core.host import Claim
from pinfold.core.request.compile import compile_request
from pinfold.core.request.model import Flavor
from pinfold.lab.daemon import LabHost

_read_hello = reader(Hello)


@dataclass
class Liar:
    """A service of three lines: what it orders and which image it gives is the test's; it keeps what it heard."""

    orders: dict[str, Any] = field(default_factory=lambda: {"count": 0, "protocol": PROTOCOL})
    polled: dict[str, Any] | None = None
    """What polls are answered with in place of the orders: an agent that has not heard of the newest ones yet."""
    image: bytes = b""
    suffix: str = ".rom"
    hello: dict[str, Any] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)
    heard: list[tuple[str, str, Any]] = field(default_factory=list)
    silent: threading.Event = field(default_factory=threading.Event)
    """While it is set, nobody gets an answer."""
    server: ThreadingHTTPServer = field(init=False)

    def __post_init__(self) -> None:
        liar = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                self.send(*liar.answer(self.command, self.path, body))

            def send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                for key, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_PUT = do_POST = do_DELETE = answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Not to the test's output."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        """The status, body and headers of one answer."""
        while self.silent.is_set():
            time.sleep(0.1)
        self.heard.append((method, path, json.loads(body) if body else None))
        if path == "/agent/v1/host" and method == "PUT":
            self.hello = json.loads(body)
        if path.startswith("/agent/v1/orders"):
            given = self.orders if self.polled is None or "after=-1" in path else self.polled
            return 200, json.dumps(given).encode(), {}
        if path.startswith("/agent/v1/images/"):
            return 200, self.image, {"X-Pinfold-Suffix": self.suffix}
        if "/guests/" in path:
            return 204, b"", {}
        welcome = Welcome(host=str(uuid.uuid4()), revision=1, report="", orders=self.orders["count"], lease_seconds=2.0)
        return 200, json.dumps(plain(welcome)).encode(), {}

    def order(self, *orders: dict[str, Any], tombstones: tuple[dict[str, Any], ...] = ()) -> None:
        """Give these orders from now on."""
        self.orders = {"count": self.orders["count"] + 1, "orders": list(orders), "tombstones": list(tombstones), "protocol": PROTOCOL}

    def wanted(self, image: str, **changes: Any) -> dict[str, Any]:
        """An order as a true service gives it, for the host that has said hello; with changes."""
        report = _read_hello(self.hello, "hello").report
        state = as_state(report, claims=tuple(self.claims))
        request = compile_request(Flavor(vcpus=1, memory_mib=16, extra_specs=(("hw:cpu_policy", "dedicated"),)), disks=1)
        found = fits(request, state, report.strategy)
        guest = str(uuid.uuid4())
        self.claims.append(Claim(guest=guest, fit=found))
        made = order(guest, claim=str(uuid.uuid4()), request=request, fit=found, image=image)
        return {**plain(made), **changes}

    def running(self, guest: str) -> bool:
        """Whether the agent has said that the guest runs."""
        return any(path == f"/agent/v1/guests/{guest}" and body["observed"] == "running" for _, path, body in self.heard)

    def failure(self, guest: str) -> str:
        """Why the agent said first that a guest was not started; '' while it has not said it."""
        said = [body for _, path, body in self.heard if path == f"/agent/v1/guests/{guest}/absence"]
        return str(said[0]["failure"]) if said else ""


@dataclass
class Victim:
    """An agent and its liar."""

    liar: Liar
    agent: Process
    lab: LabHost
    state: Path
