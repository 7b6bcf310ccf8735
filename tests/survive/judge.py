"""The judge of the survival suites: a process of its own that looks at a running service from outside, and imports nothing of it.

It reads libvirt's status files and domain XML, procfs or the lab's records of what was asked for each thread, the service's tables, and
Placement over HTTP. `watch` samples until SIGTERM, and at once on SIGUSR1. `rest` looks once. Both write what they found as JSON and end
with status 1 where a promise was broken.

At every instant: Placement >= ledger >= running domains, and no pCPU belongs to two guests. A sample takes time, so each comparison is a
sandwich: the smaller side is read before and after the larger one, and what was there both times was there in between. So nothing is
called broken that was merely changing, and nothing that stays broken is missed.

At rest: Placement = ledger = defined domains, the owners of pCPUs are the ledger's, no claim is half-way (one that was abandoned holds
nothing; it is kept for a while, so that a late booking of its is found), and no file is left of a guest that is gone.

Usage: python -m tests.survive.judge watch|rest CONFIG.json RESULT.json
CONFIG: {"database": "sqlite path or libpq DSN", "placement": {"url", "user", "password", "token"},
         "hosts": [{"name", "uri", "run", "records", "state"}], "seconds": pause between samples}
"""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import psycopg2

_NAMESPACE = "{urn:pinfold:guest:2}"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class AwayError(Exception):
    """What was to be read is away at the moment: the sample has no word on it."""


@dataclass(frozen=True)
class Running:
    """A QEMU process with the guest that libvirt says it is. Two are equal only where it is the same process."""

    host: str
    guest: str
    pid: int
    began: int
    revision: int
    pins: tuple[tuple[int, int], ...]
    """`(vCPU, pCPU)` for each vCPU that is pinned to one pCPU alone."""
    emulator: int | None
    """The pCPU of an isolated emulator: the only one of its mask, where no vCPU has it."""
    threads: tuple[tuple[int, str], ...]
    """`(vCPU, what was asked for its thread)`."""

    @property
    def alone(self) -> frozenset[int]:
        """The pCPUs that are this guest's alone."""
        return frozenset(pcpu for _, pcpu in self.pins) | (frozenset() if self.emulator is None else frozenset({self.emulator}))


@dataclass(frozen=True)
class Held:
    """A held claim: what it books, and the pCPUs that the ledger gives it."""

    claim: str
    guest: str
    host: str
    amounts: tuple[tuple[str, int], ...]
    pcpus: frozenset[int]


@dataclass
class Findings:
    """What a judge found."""

    samples: int = 0
    compared: dict[str, int] = field(default_factory=dict)
    away: dict[str, int] = field(default_factory=dict)
    most_running: int = 0
    broken: list[str] = field(default_factory=list)

    def count(self, table: dict[str, int], what: str) -> None:
        """Count one more."""
        table[what] = table.get(what, 0) + 1

    def breach(self, sentence: str) -> None:
        """Note a broken promise, once."""
        if sentence not in self.broken:
            self.broken.append(sentence)


class Ledger:
    """The service's tables, read through one connection that is made anew whenever it is lost."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._connection: Any = None

    def held(self) -> dict[str, Held]:
        """Every held claim, by guest, in one statement's snapshot."""
        query = (
            "SELECT c.id, c.guest, h.name, c.amounts, o.pcpu FROM claim c JOIN host h ON h.id = c.host "
            "LEFT JOIN pcpu_owner o ON o.claim = c.id WHERE c.state = 'held'"
        )
        pcpus: dict[tuple[str, str, str, str], set[int]] = {}
        for claim, guest, host, amounts, pcpu in self.rows(query):
            pcpus.setdefault((claim, guest, host, amounts), set()).update(() if pcpu is None else (pcpu,))
        return {
            guest: Held(claim=claim, guest=guest, host=host, amounts=_amounts(amounts), pcpus=frozenset(owned))
            for (claim, guest, host, amounts), owned in pcpus.items()
        }

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query. Raises `AwayError`."""
        try:
            if self._connection is None:
                self._connection = self._open()
            cursor = self._connection.cursor()
            cursor.execute(query)
            return list(cursor.fetchall())
        except (sqlite3.Error, psycopg2.Error) as error:
            self._connection = None
            raise AwayError("database") from error

    def _open(self) -> Any:
        if self._address.startswith("/"):
            return sqlite3.connect(f"file:{self._address}?mode=ro", uri=True, timeout=30.0)
        connection = psycopg2.connect(self._address, connect_timeout=30)
        connection.autocommit = True
        return connection


class Placement:
    """Placement's own HTTP."""

    def __init__(self, address: dict[str, str]) -> None:
        auth = (address["user"], address["password"]) if address.get("user") else None
        headers = {"OpenStack-API-Version": "placement 1.39", "X-Auth-Token": address.get("token", "admin")}
        self._http = httpx.Client(base_url=address["url"], auth=auth, headers=headers, timeout=60.0, verify=False)

    def allocations(self) -> dict[str, dict[str, tuple[tuple[str, int], ...]]]:
        """Consumer -> host name -> amounts, for every provider. Raises `AwayError`."""
        found: dict[str, dict[str, tuple[tuple[str, int], ...]]] = {}
        for provider in self.get("/resource_providers")["resource_providers"]:
            for consumer, entry in self.get(f"/resource_providers/{provider['uuid']}/allocations")["allocations"].items():
                found.setdefault(consumer, {})[provider["name"]] = tuple(sorted(entry["resources"].items()))
        return found

    def get(self, path: str) -> Any:
        """The JSON of an answer. Raises `AwayError`."""
        try:
            answer = self._http.get(path)
        except httpx.HTTPError as error:
            raise AwayError("placement") from error
        if not answer.is_success:
            raise AwayError("placement")
        return answer.json()


class Judge:
    """One judge with what it looks at."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._hosts: list[dict[str, str]] = config["hosts"]
        self._ledger = Ledger(config["database"])
        self._placement = Placement(config["placement"])
        self.found = Findings()

    def sample(self) -> None:
        """One look: every promise that holds at each instant."""
        found = self.found
        found.samples += 1
        before = self._running()
        held = self._try(self._ledger.held)
        allocated = None if held is None else self._try(self._placement.allocations)
        later = None if allocated is None else self._try(self._ledger.held)
        after = self._running()
        still = [one for one in before.values() if after.get((one.host, one.guest)) == one]
        found.most_running = max(found.most_running, len(still))
        self._no_pcpu_twice(still)
        if held is not None:
            found.count(found.compared, "ledger >= running domains")
            self._ledger_covers(held, still)
        if held is not None and allocated is not None and later is not None:
            found.count(found.compared, "Placement >= ledger")
            for guest, claim in held.items():
                if later.get(guest) == claim:
                    booked = dict(allocated.get(guest, {}).get(claim.host, ()))
                    lacking = [name for name, amount in claim.amounts if booked.get(name, 0) < amount]
                    if lacking:
                        found.breach(f"guest {guest} holds {claim.amounts} of {claim.host}, Placement has {booked or 'nothing'}")

    def rest(self) -> None:
        """One look at a service at rest: everything is equal, and nothing is left over."""
        found = self.found
        self.sample()
        try:
            held = self._ledger.held()
            half_way = self._ledger.rows("SELECT guest, state FROM claim WHERE state NOT IN ('held', 'abandoned')")
            owners = self._ledger.rows("SELECT h.name, o.pcpu, o.guest FROM pcpu_owner o JOIN host h ON h.id = o.host")
            guests = self._ledger.rows("SELECT id, task, desired FROM guest WHERE deleted IS NULL")
            allocated = self._placement.allocations()
        except AwayError as error:
            found.breach(f"{error} is away")
            return
        for guest, state in half_way:
            found.breach(f"the claim of guest {guest} is still {state}")
        for guest, task, desired in guests:
            if task or desired == "absent":
                found.breach(f"guest {guest} is not at rest: task {task!r}, wanted {desired}")
        booked = {(guest, host, amounts) for guest, hosts in allocated.items() for host, amounts in hosts.items()}
        ledger = {(claim.guest, claim.host, claim.amounts) for claim in held.values()}
        for guest, host, amounts in booked ^ ledger:
            side = "Placement" if (guest, host, amounts) in booked else "the ledger"
            found.breach(f"{side} alone has guest {guest} on {host} with {amounts}")
        if {(host, pcpu, guest) for host, pcpu, guest in owners} != {(c.host, p, c.guest) for c in held.values() for p in c.pcpus}:
            found.breach("the owners of pCPUs are not those of the held claims")
        for host in self._hosts:
            here = {claim.guest for claim in held.values() if claim.host == host["name"]}
            try:
                self._host_at_rest(host, here)
            except AwayError as error:
                found.breach(f"{error} is away")

    def _host_at_rest(self, host: dict[str, str], here: set[str]) -> None:
        defined = set(_virsh(host["uri"], "list", "--all", "--uuid").split())
        for guest in defined ^ here:
            self.found.breach(
                f"guest {guest} on {host['name']}: {'defined without a claim' if guest in defined else 'claimed, not defined'}"
            )
        for guest in defined & here:
            definition = ElementTree.fromstring(_virsh(host["uri"], "dumpxml", guest))
            if definition.find(f"metadata/{_NAMESPACE}guest") is None:
                self.found.breach(f"guest {guest} on {host['name']} is defined without a record")
        for path in Path(host["state"]).rglob("*"):
            told = _UUID.search(path.name)
            if path.is_file() and ((told and told[0] not in here) or path.name.endswith(".part")):
                self.found.breach(f"{path} is left over")

    def _ledger_covers(self, held: dict[str, Held], still: list[Running]) -> None:
        for one in still:
            claim = held.get(one.guest)
            if claim is None or claim.host != one.host:
                self.found.breach(f"guest {one.guest} runs on {one.host}, the ledger has {claim.host if claim else 'no claim'}")
            elif not one.alone <= claim.pcpus:
                self.found.breach(f"guest {one.guest} on {one.host} has pCPUs {sorted(one.alone)}, the ledger gives {sorted(claim.pcpus)}")

    def _no_pcpu_twice(self, still: list[Running]) -> None:
        self.found.count(self.found.compared, "no pCPU of two guests")
        owner: dict[tuple[str, int], str] = {}
        for one in still:
            for pcpu in one.alone:
                other = owner.setdefault((one.host, pcpu), one.guest)
                if other != one.guest:
                    self.found.breach(f"pCPU {pcpu} of {one.host} belongs to {other} and {one.guest}")
            asked = dict(one.threads)
            for vcpu, pcpu in one.pins:
                if vcpu in asked and asked[vcpu] != str(pcpu):
                    self.found.breach(
                        f"guest {one.guest} on {one.host}: vCPU {vcpu} is pinned to {pcpu}, its thread may run on {asked[vcpu]}"
                    )

    def _running(self) -> dict[tuple[str, str], Running]:
        found = {}
        for host in self._hosts:
            for path in Path(host["run"], "qemu").glob("*.xml"):
                one = _running(host, path)
                if one is not None:
                    found[one.host, one.guest] = one
        return found

    def _try(self, read: Any) -> Any:
        try:
            return read()
        except AwayError as error:
            self.found.count(self.found.away, str(error))
            return None


def _running(host: dict[str, str], path: Path) -> Running | None:
    try:
        status = ElementTree.fromstring(path.read_text())
    except (OSError, ElementTree.ParseError):
        return None  # it is being written, or the guest has just ended
    pid, domain = int(status.get("pid", "0")), status.find("domain")
    notes = status.find(f"domain/metadata/{_NAMESPACE}guest")
    began = _began(pid)
    if not began or domain is None or notes is None:
        return None
    record = json.loads(notes.text or "")["value"]
    pins = tuple((int(pin.get("vcpu", "0")), int(cpus)) for pin in domain.iter("vcpupin") if (cpus := pin.get("cpuset", "")).isdigit())
    emulator = next((pin.get("cpuset", "") for pin in domain.iter("emulatorpin")), "")
    alone = int(emulator) if record["policy"] == "isolate" and emulator.isdigit() else None
    threads = []
    for vcpu in status.findall("vcpus/vcpu"):
        asked = _asked(host, int(vcpu.get("pid", "0")))
        if asked:
            threads.append((int(vcpu.get("id", "0")), asked))
    if status.get("state") == "paused":
        threads = []  # its threads are still being placed
    return Running(
        host=host["name"],
        guest=domain.findtext("uuid", ""),
        pid=pid,
        began=began,
        revision=record["revision"],
        pins=pins,
        emulator=alone,
        threads=tuple(threads),
    )


def _asked(host: dict[str, str], tid: int) -> str:
    """Where a thread may run: by the lab's records where the topology is made up, else by procfs. '' for one that has just ended."""
    try:
        if host.get("records"):
            return Path(host["records"], str(tid)).read_text().strip()
        lines = Path(f"/proc/{tid}/status").read_text().splitlines()
        return next(line.split()[1] for line in lines if line.startswith("Cpus_allowed_list"))
    except OSError:
        return ""


def _began(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])


def _amounts(text: str) -> tuple[tuple[str, int], ...]:
    return tuple(sorted((name, int(amount)) for name, amount in json.loads(text)["value"]))


def _virsh(uri: str, *arguments: str) -> str:
    """What virsh says. Raises `AwayError`, also for a guest that ends while it is asked about."""
    done = subprocess.run(["virsh", "-r", "-c", uri, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise AwayError(f"libvirt at {uri} ({done.stderr.strip()})")
    return done.stdout


def main(mode: str, config: str, result: str) -> int:
    """Judge, write what was found, and return the exit status."""
    settings = json.loads(Path(config).read_text())
    judge = Judge(settings)
    if mode == "rest":
        judge.rest()
    else:
        awaited = {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1}
        signal.pthread_sigmask(signal.SIG_BLOCK, awaited)  # one that comes during a sample is heard after it
        heard = None
        while heard is None or heard.si_signo == signal.SIGUSR1:
            judge.sample()
            _write(result, judge.found)
            heard = signal.sigtimedwait(awaited, settings["seconds"])
    assert not any(name.split(".")[0] == "pinfold" for name in sys.modules), "the judge must not know what it judges"
    _write(result, judge.found)
    return int(bool(judge.found.broken))


def _write(result: str, found: Findings) -> None:
    part = Path(f"{result}.part")
    part.write_text(json.dumps(found.__dict__, indent=1) + "\n")
    part.replace(result)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
