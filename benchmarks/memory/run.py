"""A real API process that serves a filled fleet, and its memory after each kind of use."""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.rig.client import COMPUTE
from tests.rig.fleet import ACCOUNT, write_accounts
from tests.rig.processes import Process, Service

from benchmarks.memory.fill import Filled, fill
from benchmarks.process import Memory, memory, started
from pinfold.api.image.catalog import image_id


@contextmanager
def filled_api(hosts: int, *, guests_each: Sequence[int] = (), seed: int = 1) -> Iterator[tuple[Filled, Process, str]]:
    """What a fleet was filled with, the API process that serves it, and the address of its database."""
    with tempfile.TemporaryDirectory(prefix="pf-filled-") as name, ExitStack() as stack:
        folder = Path(name)
        databases = [f"sqlite:///{folder}/{which}.sqlite" for which in ("pinfold", "placement")]
        made = fill(databases[0], databases[1], hosts, seed, guests_each=guests_each)
        process = _api_on(folder, *databases)
        stack.callback(process.kill)
        started(process)
        yield made, process, databases[0]


def _api_on(folder: Path, database: str, placement: str) -> Process:
    """A real API process on these databases."""
    state = folder / "state"
    state.mkdir(mode=0o711)
    write_accounts(folder)
    text = f"[pinfold]\nstate_dir = {state}\nimages_dir = {folder}/images\n[pinfold_database]\nconnection = {database}\n"
    text += f"[pinfold_placement]\nembedded_connection = {placement}\n[pinfold_api]\nport = 0\naccounts_file = {folder}/accounts\n"
    (folder / "images").mkdir()
    (folder / "images/probe.rom").touch()
    (folder / "api.conf").write_text(text)
    return Process(("api", "--config", str(folder / "api.conf")), folder, "api")


def used(process: Process, agents: Sequence[tuple[str, int]], creates: int) -> Iterator[tuple[str, Memory]]:
    """The memory after the start and after each kind of use."""
    api = Service(process.told["url"], ACCOUNT)
    yield "the start", memory(process.pid)
    with _polling(api.url, agents):
        time.sleep(2)
        yield f"{len(agents)} agents waiting for orders", memory(process.pid)
        for number in range(creates):
            body = {"name": f"new-{number}", "flavorRef": "bench", "imageRef": image_id("probe"), "networks": "none"}
            api.ask("POST", f"{COMPUTE}/servers", {"server": body}, status=202)
        yield f"{creates} creates", memory(process.pid)
        for path in (f"{COMPUTE}/servers/detail?limit=1000", f"{COMPUTE}/os-hypervisors/detail", "/v1/hosts", "/metrics"):
            answer = api.http.get(path)
            assert answer.is_success, answer.text
        yield "servers and hypervisors listed in full, metrics read", memory(process.pid)
        asked = "/placement/allocation_candidates?resources=PCPU:4,MEMORY_MB:2048&limit=1000"
        answer = api.http.get(asked, headers={"OpenStack-API-Version": "placement 1.39"}, timeout=300.0)
        assert answer.is_success, answer.text
        yield "Placement asked for 1,000 candidates", memory(process.pid)


@contextmanager
def _polling(url: str, agents: Sequence[tuple[str, int]]) -> Iterator[None]:
    """Every agent waits for orders, each on a connection of its own."""
    address = urlsplit(url)
    with ExitStack() as stack:
        for token, heard in agents:
            connection = stack.enter_context(closing(socket.create_connection((address.hostname, address.port), timeout=60)))
            asked = (
                f"GET /agent/v1/orders?after={heard}&wait=60 HTTP/1.1\r\nHost: {address.netloc}\r\nAuthorization: Bearer {token}\r\n\r\n"
            )
            connection.sendall(asked.encode())
        yield
