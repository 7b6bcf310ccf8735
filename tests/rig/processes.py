"""Real processes of the service on lab hosts: start, end and kill them, and ask their API.

What is expected of them stands in the tests.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
from tests.real.patience import PATIENCE_SECONDS, until
from tests.rig import loaded
from tests.rig.client import COMPUTE, Client, compute
from tests.survive import points

from pinfold.lab.daemon import LabHost

READY_SECONDS = 240.0


@dataclass
class Process:
    """One process of the service: `pinfold COMMAND… --json`, whose first line says that it works."""

    arguments: tuple[str, ...]
    folder: Path
    name: str
    environment: dict[str, str] = field(default_factory=dict)
    sources: str = ""
    """The folder of another version's sources, '' for those under test."""
    told: dict[str, Any] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | loaded.Started | None = None
    _starts: int = 0

    def start(self, *, fault: str = "", wait: bool = True) -> Self:
        """Start it and, unless told otherwise, wait until it says that it works. `fault` is a named place where it is to die."""
        assert self._process is None or self._process.poll() is not None, f"{self.name} runs already"
        self._starts += 1
        for kind in ("out", "err"):
            self._file(kind).touch()
        environment = loaded.importing() | self.environment | {"PINFOLD_FAULT_LOG": str(self.fault_log)}
        environment |= {"PINFOLD_FAULT": fault} if fault else {}
        words = [*self.arguments, "--json"]
        with open(os.devnull, "rb") as nothing, self._file("out").open("ab") as out, self._file("err").open("ab") as err:
            if self.sources or self.environment:  # a fork would have our sources, and the clock of the process that it is forked from
                environment["PYTHONPATH"] = os.pathsep.join(entry for entry in (self.sources, environment["PYTHONPATH"]) if entry)
                command = [sys.executable, "-m", "pinfold.wiring.command", *words]
                self._process = subprocess.Popen(
                    command, stdin=nothing, stdout=out, stderr=err, env=environment, preexec_fn=_die_with_parent
                )
            else:
                self._process = loaded.start("pinfold", words, environment, (nothing.fileno(), out.fileno(), err.fileno()))
        return self.await_ready() if wait else self

    def await_ready(self, *, seconds: float = READY_SECONDS) -> Self:
        """Wait until it says that it works; fails the test with its last words when it ends instead."""

        def ready() -> bool:
            assert self._process is not None
            text = self._file("out").read_text()
            if text.endswith("}\n"):
                self.told = json.loads(text)
                return True
            assert self._process.poll() is None, f"{self.name} ended with {self._process.returncode}: {self.errors()}"
            return False

        until(ready, f"{self.name} is ready", seconds=seconds, pause=0.05)
        return self

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def fault_log(self) -> Path:
        """Where it says, before it dies there, that it reached its fault point."""
        return self.folder / f"{self.name}.faults"

    def hits(self, point: str) -> int:
        """How often a process of this name reached the fault point."""
        if not self.fault_log.exists():
            return 0
        return sum(line.split()[0] == point for line in self.fault_log.read_text().splitlines())

    def await_hit(self, point: str, *, times: int = 1, dead: bool = True) -> None:
        """Wait until it reached the fault point so often and, unless it only halts there, is dead."""
        until(lambda: self.hits(point) >= times, f"{self.name} reaches {point}")
        points.HIT.add(point)
        if dead:
            assert self._process is not None
            assert self._process.wait(PATIENCE_SECONDS) == -signal.SIGKILL

    def end(self) -> int:
        """End it in order; its exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(PATIENCE_SECONDS)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone; one that has ended already is no error."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGKILL)
            self._process.wait(PATIENCE_SECONDS)

    def wait(self) -> int:
        """Wait until it ends by itself; its exit status."""
        assert self._process is not None
        return self._process.wait(PATIENCE_SECONDS)

    def errors(self) -> str:
        """All that it wrote to standard error in its latest life."""
        return self._file("err").read_text()

    def _file(self, kind: str) -> Path:
        return self.folder / f"{self.name}.{self._starts}.{kind}"


@dataclass
class Service(Client):
    """The API as a client sees it."""

    url: str
    account: tuple[str, str]
    trusted: str = ""
    """The certificates of the authority that is trusted, where it speaks HTTPS."""
    http: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        trust = ssl.create_default_context(cafile=self.trusted) if self.trusted else False
        self.http = httpx.Client(base_url=self.url, auth=self.account, headers=compute(), timeout=180.0, verify=trust)

    def ask(self, method: str, path: str, body: Any = None, *, status: int | None = None) -> Any:
        """The JSON of an answer, None where it has none. Fails the test when the answer is not the one that is due."""
        answer = self.http.request(method, path, json=body)
        expected = answer.is_success if status is None else answer.status_code == status
        assert expected, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def flavor(self, name: str, **more: Any) -> str:
        """Make a flavor where there is none of that name."""
        return name if self.call("GET", f"{COMPUTE}/flavors/{name}").is_success else super().flavor(name, **more)

    def servers(self) -> list[dict[str, Any]]:
        """Every server, in full."""
        found: list[dict[str, Any]] = self.ask("GET", f"{COMPUTE}/servers/detail?limit=1000")["servers"]
        return found

    def placement(self, server: str) -> dict[str, Any]:
        """Where a server's threads are recorded, and what its agent saw."""
        found: dict[str, Any] = self.ask("GET", f"/v1/servers/{server}/placement")
        return found

    def await_status(self, server: str, status: str, *, task: str | None = None) -> dict[str, Any]:
        """Wait until a server has that status and nothing is under way; the server."""
        last: dict[str, Any] = {}

        def reached() -> bool:
            last.update(self.show(server))
            done = last["status"] == status and last["OS-EXT-STS:task_state"] == task
            assert done or last["status"] != "ERROR", f"{server}: {last.get('fault')}"
            return done

        try:
            until(reached, f"server {server} becomes {status}")
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {last.get('status')}, task {last.get('OS-EXT-STS:task_state')}") from error
        return last

    def act(self, server: str, action: str, body: Any = None) -> None:
        """One of a server's actions."""
        self.ask("POST", f"{COMPUTE}/servers/{server}/action", {action: body}, status=202)

    def delete(self, server: str, *, wait: bool = True) -> None:
        """Delete a server and wait until it is gone."""
        self.ask("DELETE", f"{COMPUTE}/servers/{server}", status=204)
        if wait:
            self.await_gone(server)

    def delete_others(self, kept: Collection[str] = ()) -> None:
        """Delete every server but these, and wait until they are gone; one that goes meanwhile is no error."""
        for server in self.servers():
            if server["id"] not in kept:
                answer = self.http.delete(f"{COMPUTE}/servers/{server['id']}")
                assert answer.status_code in (204, 404), answer.text
        until(lambda: {server["id"] for server in self.servers()} == set(kept), "no other server is left", seconds=480)

    def await_gone(self, server: str) -> None:
        """Wait until a server is gone."""
        until(lambda: self.http.get(f"{COMPUTE}/servers/{server}").status_code == 404, f"server {server} is gone")

    def host(self, name: str) -> dict[str, Any]:
        """One host."""
        found: dict[str, Any] = self.ask("GET", f"/v1/hosts/{name}")["host"]
        return found

    def await_host(self, name: str, *, up: bool) -> None:
        """Wait until a host is up, or down."""
        until(lambda: self.host(name)["up"] is up, f"host {name} is {'up' if up else 'down'}")

    def allocations(self, host: str) -> dict[str, dict[str, int]]:
        """What each consumer consumes of a host's provider."""
        provider = self.host(host)["id"]
        found = self.ask("GET", f"/placement/resource_providers/{provider}/allocations")["allocations"]
        return {consumer: entry["resources"] for consumer, entry in found.items()}


@dataclass
class Domain:
    """A running guest as libvirt's own status file tells it, and its QEMU process: what a judge may trust that does not trust us."""

    id: str
    pid: int
    began: int
    vcpus: tuple[int, ...]

    @property
    def alive(self) -> bool:
        """Whether this very process runs."""
        return _began(self.pid) == self.began


def domains(lab: LabHost) -> dict[str, Domain]:
    """Every running guest of a lab, by id. It reads libvirt's status files, so that it works while libvirtd is dead, too."""
    from xml.etree import ElementTree

    found = {}
    for path in (lab.run_dir / "qemu").glob("*.xml"):
        with contextlib.suppress(FileNotFoundError, ElementTree.ParseError):
            status = ElementTree.fromstring(path.read_text())
            pid = int(status.get("pid", "0"))
            began = _began(pid)
            if began:
                vcpus = tuple(int(vcpu.get("pid", "0")) for vcpu in status.findall("vcpus/vcpu"))
                one = Domain(id=status.findtext("domain/uuid", ""), pid=pid, began=began, vcpus=vcpus)
                found[one.id] = one
    return found


def defined(lab: LabHost) -> set[str]:
    """The id of every domain that libvirt knows, running or not."""
    listed = virsh(lab, "list", "--all", "--uuid")
    return set(listed.split())


def virsh(lab: LabHost, *arguments: str) -> str:
    """What virsh says of a lab."""
    done = subprocess.run(["virsh", "-c", lab.uri, *arguments], capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout


def configuration(lab: LabHost, state: Path, *, host: str, shared: str = "0-1,16-17", dedicated: str = "2-15,18-31", **more: str) -> str:
    """The text of a pinfold.conf for one lab; each further keyword is a group's lines."""
    lines = ["[DEFAULT]", f"host = {host}", "reserved_host_memory_mb = 0"]
    lines += ["[compute]", f"cpu_shared_set = {shared}", f"cpu_dedicated_set = {dedicated}"]
    lines += ["[libvirt]", f"connection_uri = {lab.uri}", "[pinfold]", f"state_dir = {state}"]
    for group, text in more.items():
        lines += [f"[{group}]", text]
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def ending(*processes: Process) -> Iterator[None]:
    """Kill what still runs of these when the block ends, halted ones too."""
    try:
        yield
    finally:
        for process in processes:
            process.kill()


def _began(pid: int) -> int:
    """When a process began, in the kernel's ticks; 0 where it does not run."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])


def _die_with_parent() -> None:
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
