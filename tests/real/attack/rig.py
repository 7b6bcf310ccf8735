"""A real API process with its embedded Placement, which is attacked while an agent and a memory gauge watch.

How to write an attack:

    def test_an_attack(target: Target) -> None:
        with target.holding() as seen:          # an agent's heartbeats and the API's memory are watched from here ...
            attack(target, ...)                 # ... while plain sockets to `target.address`, or threads by `crowd`, do what they do ...
        assert seen.beats > 1                   # ... to here: then `holding` itself fails the test when the API used 400 MiB or more,
                                                # or when a heartbeat failed, or took 1.5 s longer than the machine itself needed

`serving(folder, options=…, tls=…)` starts another API with other options of `[pinfold_api]`. `target.account` may call it, with an
ordinary bcrypt cost. Everything is on loopback. `seen` has its numbers once the block has ended.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import bcrypt
import httpx
from tests.real.patience import PATIENCE_SECONDS
from tests.rig import loaded
from tests.rig.processes import Process

PROXY = "127.8.8.8"
"""The address that is trusted as a proxy's."""
MOST_MIB = 400
SLOWEST_SECONDS = 1.5
"""A twentieth of a lease, in which an agent speaks several times."""
_ATTACKERS_NICE = 10


@dataclass
class Seen:
    """What was seen during an attack; `beats` is how many heartbeats there were. Times are seconds."""

    beats: int = 0
    slowest: float = 0.0
    slowest_fresh: float = 0.0
    """The slowest heartbeat that made a new connection."""
    slowest_control: float = 0.0
    """The slowest answer of `control` meanwhile: what the machine's disk needed, with other suites on it."""
    longest_starved: float = 0.0
    """For how long the API and the agent had no processor during one heartbeat, since other suites had them all.

    It is not in the times; but one thread waits for another that waits, so a time may hold as much again.
    """
    peak_mib: float = 0.0
    failures: list[str] = field(default_factory=list)

    def judge(self) -> None:
        """Fail the test where the API did not hold."""
        assert not self.failures, self
        assert self.peak_mib < MOST_MIB, self
        assert max(self.slowest, self.slowest_fresh) < SLOWEST_SECONDS + self.slowest_control + self.longest_starved, self


@dataclass
class Target:
    """One API process, the account that may call it, and the token of its one host."""

    url: str
    process: Process
    account: tuple[str, str]
    token_file: Path
    ca_file: str = ""

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or 0

    def connect(self, *, source: str = "127.0.0.1", timeout: float = 30.0, buffer: int = 0) -> socket.socket:
        """A plain connection from any address of loopback; `buffer` makes its receive buffer small."""
        made = socket.socket()
        made.settimeout(timeout)
        if buffer:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        made.bind((source, 0))
        made.connect(self.address)
        return made

    def client(self) -> httpx.Client:
        """A client of the account."""
        verify = ssl.create_default_context(cafile=self.ca_file) if self.ca_file else True
        return httpx.Client(base_url=self.url, auth=self.account, timeout=60.0, verify=verify)

    @contextmanager
    def holding(self) -> Iterator[Seen]:
        """Watch it during the block, and judge it after."""
        seen = Seen()
        arguments = [self.url, str(self.token_file), str(self.process.pid), self.ca_file]
        (its_input, over), (told, its_output) = os.pipe(), os.pipe()
        observer = loaded.start("observer", [*filter(None, arguments)], loaded.importing(), (its_input, its_output, 2))
        os.close(its_input)
        os.close(its_output)
        try:
            with open(told) as answers:
                with open(over, "w"):  # it watches until this end is closed
                    ready, control = answers.readline().split()
                    assert ready == "ready"
                    for pid in (observer.pid, self.process.pid, int(control)):
                        _prefer(pid)
                    yield seen
                for name, value in json.loads(answers.read()).items():
                    setattr(seen, name, value)
        finally:
            observer.send_signal(signal.SIGKILL)
            observer.wait(PATIENCE_SECONDS)
        print(seen)
        assert self.process.running, self.process.errors()[-2000:]
        seen.judge()


@contextmanager
def serving(folder: Path, *, options: str = "", tls: str = "", rounds: int = 12) -> Iterator[Target]:
    """An API process on SQLite with a host that it knows. `tls` is the certificate of the authority that signed api.crt in the folder."""
    account = ("admin", "correct horse battery staple")
    with os.fdopen(os.open(folder / "accounts", os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.write(f"{account[0]}:admin:{bcrypt.hashpw(account[1].encode(), bcrypt.gensalt(rounds=rounds)).decode()}\n")
    config = folder / "api.conf"
    secure = f"tls_certificate = {folder}/api.crt\ntls_key = {folder}/api.key\n" if tls else ""
    config.write_text(
        f"[pinfold]\nstate_dir = {folder}/state\n[pinfold_api]\nport = 0\naccounts_file = {folder}/accounts\n{secure}{options}\n"
    )
    process = Process(("api", "--config", str(config)), folder, "api")
    try:
        url = process.start().told["url"]
        target = Target(url=url, process=process, account=account, token_file=folder / "agent.token", ca_file=tls)
        with target.client() as client:
            token = client.post("/v1/hosts", json={"name": "c1"}).raise_for_status().json()["token"]
        target.token_file.write_text(token)
        yield target
    finally:
        process.kill()


def _prefer(pid: int) -> None:
    """Let a process have a processor before others, where this user may say so.

    Attackers come from another machine. Here they and other suites share the processors with what they attack: that is not measured.
    """
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(PermissionError, ProcessLookupError):
            os.sched_setscheduler(int(thread.name), os.SCHED_RR, os.sched_param(1))


def crowd(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Let so many threads work at once; what each returns, or the connection error that ended it."""
    answers: list[Any] = [None] * count

    def run(number: int) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _ATTACKERS_NICE)
        try:
            answers[number] = work(number)
        except OSError as error:
            answers[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def for_a_while(work: Callable[[int], Any], *, seconds: float = 1.5) -> Callable[[int], list[Any]]:
    """Work that is done again and again for so long, for `crowd`; what each turn returns, or the connection error that ended it."""

    def again(number: int) -> list[Any]:
        answers, until = [], time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                answers.append(work(number))
            except OSError as error:
                answers.append(error)
        return answers

    return again


def pour(connection: socket.socket, data: bytes, *, most: int, patience: float = 1.0) -> int:
    """Send the same bytes again and again, until so many are sent, the other side hangs up or takes nothing; how many were taken."""
    connection.settimeout(patience)
    taken = 0
    with suppress(OSError):
        while taken < most:
            taken += connection.send(data)
    return taken


def hung_up(connection: socket.socket, *, patience: float = PATIENCE_SECONDS) -> bool:
    """Whether the other side hangs up within that time; what it says before is skipped."""
    connection.settimeout(patience)
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def allow_many_files() -> None:
    """Let this process open as many files as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
