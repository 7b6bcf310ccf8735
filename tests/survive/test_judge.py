"""That the judge sees what is broken: a made-up host of real processes, tables and answers of Placement, broken one way at a time."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.survive.judge import Judge

ONE, TWO = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
STATUS = """<domstatus state="running" pid="{pid}"><vcpus><vcpu id="0" pid="{tid}"/></vcpus><domain><uuid>{guest}</uuid>
<metadata>
<pinfold:guest xmlns:pinfold="urn:pinfold:guest:2">{{"v":1,"value":{{"policy":"share","revision":2}}}}</pinfold:guest></metadata>
<cputune><vcpupin vcpu="0" cpuset="{pcpu}"/><emulatorpin cpuset="0-1"/></cputune></domain></domstatus>"""


@dataclass
class Stage:
    """What the judge looks at; two guests that run where they should, to begin with."""

    folder: Path
    url: str
    booked: dict[str, dict[str, int]] = field(default_factory=lambda: {ONE: {"PCPU": 1}, TWO: {"PCPU": 1}})

    def write_guest(self, guest: str, *, pcpu: int, asked: int | None = None) -> None:
        """A guest that runs: this process plays QEMU."""
        tid = int(guest[0])
        text = STATUS.format(pid=os.getpid(), tid=tid, guest=guest, pcpu=pcpu)
        (self.folder / "qemu").mkdir(exist_ok=True)
        (self.folder / "qemu" / f"{guest}.xml").write_text(text)
        (self.folder / str(tid)).write_text(f"{pcpu if asked is None else asked}\n")

    def execute(self, statement: str) -> None:
        """Change the tables."""
        with sqlite3.connect(self.folder / "db") as connection:
            connection.executescript(statement)

    def broken(self) -> list[str]:
        """What a judge finds broken in one sample."""
        host = {"name": "c1", "uri": "", "run": str(self.folder), "records": str(self.folder), "state": str(self.folder)}
        judge = Judge({"database": str(self.folder / "db"), "placement": {"url": self.url}, "hosts": [host]})
        judge.sample()
        assert judge.found.compared == {"no pCPU of two guests": 1, "ledger >= running domains": 1, "Placement >= ledger": 1}
        return judge.found.broken


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """The stage, with its Placement."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            allocations = {consumer: {"resources": resources} for consumer, resources in made.booked.items()}
            body = {"allocations": allocations} if "allocations" in self.path else {"resource_providers": [{"uuid": "p1", "name": "c1"}]}
            content = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        made = Stage(folder=tmp_path, url=f"http://127.0.0.1:{server.server_address[1]}")
        made.execute(
            f"""CREATE TABLE host (id, name); CREATE TABLE claim (id, guest, host, amounts, state);
            CREATE TABLE pcpu_owner (host, pcpu, claim);
            INSERT INTO host VALUES ('h1', 'c1');
            INSERT INTO claim VALUES ('a', '{ONE}', 'h1', '{{"v":1,"value":[["PCPU",1]]}}', 'held');
            INSERT INTO claim VALUES ('b', '{TWO}', 'h1', '{{"v":1,"value":[["PCPU",1]]}}', 'held');
            INSERT INTO pcpu_owner VALUES ('h1', 4, 'a'), ('h1', 5, 'b');"""
        )
        made.write_guest(ONE, pcpu=4)
        made.write_guest(TWO, pcpu=5)
        yield made
        server.shutdown()


def test_nothing_is_found_where_nothing_is_broken(stage: Stage) -> None:
    assert stage.broken() == []


def test_a_guest_that_runs_without_a_claim(stage: Stage) -> None:
    stage.execute("DELETE FROM claim WHERE id = 'a'")
    assert stage.broken() == [f"guest {ONE} runs on c1, the ledger has no claim"]


def test_a_guest_that_has_another_pcpu_than_the_ledger_gives(stage: Stage) -> None:
    stage.write_guest(ONE, pcpu=6)
    assert stage.broken() == [f"guest {ONE} on c1 has pCPUs [6], the ledger gives [4]"]


def test_a_pcpu_of_two_guests(stage: Stage) -> None:
    stage.write_guest(TWO, pcpu=4)
    assert any(sentence.startswith("pCPU 4 of c1 belongs to") for sentence in stage.broken())


def test_a_thread_that_may_run_elsewhere_than_it_is_pinned(stage: Stage) -> None:
    stage.write_guest(ONE, pcpu=4, asked=9)
    assert stage.broken() == [f"guest {ONE} on c1: vCPU 0 is pinned to 4, its thread may run on 9"]


def test_a_claim_that_placement_has_not_booked_in_full(stage: Stage) -> None:
    stage.booked[TWO] = {"PCPU": 0}
    assert stage.broken() == [f"guest {TWO} holds (('PCPU', 1),) of c1, Placement has {{'PCPU': 0}}"]
    del stage.booked[TWO]
    assert stage.broken() == [f"guest {TWO} holds (('PCPU', 1),) of c1, Placement has nothing"]


def test_what_is_booked_without_a_claim_is_no_breach_while_something_happens(stage: Stage) -> None:
    stage.booked["3"] = {"PCPU": 1}
    assert stage.broken() == []
