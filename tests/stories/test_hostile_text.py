"""Text that an agent or a user should not have sent: it is refused or cleaned where it comes in, and no row of it spoils a listing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from msgspec import structs
from tests.build.hosts import report
from tests.rig.client import COMPUTE as C
from tests.rig.client import compute, server_body
from tests.rig.databases import database, embedded, placement_file, postgresql, postgresql_url, sqlite_file
from tests.rig.in_process import Agent, Fleet, fleet_on
from tests.rig.route_table import OPEN, READ

from pinfold.accounting.embedded import Embedded
from pinfold.agent.wire import Absence, GuestReport, Hello, ThreadReport
from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import SeenThread
from pinfold.core.encoding import plain
from pinfold.core.overhead import ThreadClass
from pinfold.store.database import Database
from pinfold.store.records import Observed
from pinfold.store.schema import guest, host

__all__ = ["database", "embedded", "placement_file", "postgresql", "postgresql_url", "sqlite_file"]

SPECS = {"hw_cpu_policy": "dedicated", "hw_emulator_threads_policy": "share"}
CONTROLS = "a\x1b[2J\x9b\x7f\r\n\tb"
CLEANED = "a\ufffd[2J\ufffd\ufffd\ufffd\n\tb"


@pytest.fixture
def fleet(database: Database, embedded: Embedded, tmp_path: Path) -> Iterator[Fleet]:
    """The application on either database, with two hosts, a flavor and a running server on the first."""
    images = tmp_path / "images"
    images.mkdir()
    (images / "probe.rom").write_bytes(b"\x00" * 64)
    with fleet_on(database, embedded, images) as made:
        made.host("c1")
        made.flavor("one", vcpus=1, **SPECS)
        made.create("vm1", "one", metadata={"role": "web"})
        made.obey()
        made.host("c2")
        made.ask("POST", "/os-aggregates", {"aggregate": {"name": "rack"}}, status=200)
        yield made


def server_of(fleet: Fleet) -> str:
    return str(fleet.ask("GET", "/servers", status=200).json()["servers"][0]["id"])


def raw(agent: Agent, method: str, path: str, body: Any) -> httpx.Response:
    """One call with a body in ASCII, where lone surrogates are escapes, as Python's own clients send them."""
    headers = {"Authorization": f"Bearer {agent.token}", "Content-Type": "application/json"}
    return agent.http.request(method, f"/agent/v1{path}", content=json.dumps(body).encode(), headers=headers, auth=lambda request: request)


def hello_of(agent: Agent, fact: str) -> dict[str, Any]:
    body = plain(Hello(name=agent.name, report=agent.reported))
    return body | {"report": body["report"] | {"facts": [["hypervisor_type", fact]]}}


def every_answer(fleet: Fleet) -> dict[str, httpx.Response]:
    """What every route answers that only asks; none of them with 5xx but those that are not offered, and each as text in UTF-8."""
    server = server_of(fleet)
    named = {
        "{flavor_id}": "one",
        "{key}": "role",
        "{aggregate_id}": "1",
        "{hypervisor_id}": fleet.agents["c1"].id,
        "{server_id}": server,
        "{image_id}": "probe",
        "{consumer_uuid}": server,
        "{uuid}": fleet.agents["c1"].id,
        "{resource_class}": "PCPU",
    }
    answers = {}
    for line in (OPEN + READ).split("\n"):
        if not line:
            continue
        path = line.split()[-1]
        if path.endswith(("/live", "/diagnostics")) or path == "/v1/hosts/{name}/history":
            continue  # streams do not end, and no agent here answers the questions
        if path.startswith("/placement"):
            path = path.replace("{name}", "PCPU")
        for word, value in (*named.items(), ("{name}", "c1"), ("{noun}", "image")):
            path = path.replace(word, value)
        answers[path] = fleet.http.get(path, headers=compute() | {"OpenStack-API-Version": "compute 2.96, placement 1.39"})
    for path in (
        "/servers/detail?all_tenants=1",
        "/servers/detail?deleted=true",
        "/servers?name=vm",
        "/os-hypervisors/detail?with_servers=1",
    ):
        answers[path] = fleet.ask("GET", path)
    for path, answer in answers.items():
        assert answer.status_code < 500 or (answer.status_code == 501 and "{rest:path}" in path), f"{path}: {answer.text}"
        if "json" in answer.headers.get("content-type", ""):
            answer.content.decode("utf-8")
            json.loads(answer.content)
    listed = {f"{C}/servers/detail", f"{C}/os-hypervisors/detail", f"{C}/servers", "/v1/hosts", f"{C}/os-services", f"{C}/os-hypervisors"}
    assert {path for path in listed if answers[path].status_code != 200} == set()
    return answers


def test_half_of_a_surrogate_pair_from_an_agent_is_refused_and_every_route_still_answers(fleet: Fleet) -> None:
    agent, server = fleet.agents["c1"], server_of(fleet)
    order = agent.order(server)
    threads = {"witness": "procfs", "threads": [], "drift": ["\ud800"], "reported": 0.0, "hangs": ""}
    told = plain(GuestReport(revision=order["claim"]["revision"], observed=Observed.RUNNING, boot=1))
    refused = [
        raw(agent, "PUT", "/host", hello_of(agent, "\ud800")),
        raw(agent, "POST", f"/guests/{server}", told | {"failure": "\udc00"}),
        raw(agent, "POST", f"/guests/{server}", told | {"threads": threads}),
        raw(agent, "POST", f"/guests/{server}/absence", {"revision": order["claim"]["revision"], "failure": "\ud834"}),
    ]
    for answer in refused:
        assert answer.status_code == 400, answer.text
        assert "half of a surrogate pair" in answer.json()["error"]["message"]
    assert raw(agent, "PUT", "/host", hello_of(agent, "𝄞")).status_code == 200
    every_answer(fleet)
    assert fleet.status(server) == "ACTIVE"


def test_control_characters_from_an_agent_are_replaced(fleet: Fleet) -> None:
    agent, server = fleet.agents["c1"], server_of(fleet)
    order = agent.order(server)
    assert raw(agent, "PUT", "/host", hello_of(agent, CONTROLS)).status_code == 200
    thread = SeenThread(tid=7, name="x", thread_class=ThreadClass.EMULATOR, allowed=CpuSet.of(1), recorded=CpuSet.of(1))
    seen = ThreadReport(witness="procfs", threads=(thread,))
    body = plain(GuestReport(revision=order["claim"]["revision"], observed=Observed.RUNNING, boot=1, threads=seen))
    body["threads"]["threads"][0]["name"] = body["threads"]["drift"] = CONTROLS
    body["threads"]["drift"] = [CONTROLS]
    assert raw(agent, "POST", f"/guests/{server}", body).status_code == 204
    answers = every_answer(fleet)
    observed = answers[f"/v1/servers/{server}/placement"].json()["observed"]
    assert (observed["threads"][0]["name"], observed["drift"]) == (CLEANED, [CLEANED])
    (first, *_) = fleet.ask("GET", "/os-hypervisors/detail", status=200).json()["hypervisors"]
    assert first["hypervisor_type"] == CLEANED


def test_a_failure_with_control_characters_is_shown_with_them_replaced(fleet: Fleet) -> None:
    made = fleet.create("vm2", "one")
    for agent in fleet.agents.values():
        for order in agent.orders()["orders"]:
            if order["guest"] == made:
                body = plain(Absence(revision=order["claim"]["revision"], failure="")) | {"failure": CONTROLS}
                assert raw(agent, "POST", f"/guests/{made}/absence", body).status_code == 204
    every_answer(fleet)
    assert CLEANED in json.dumps(fleet.http.get(f"/v1/servers/{made}/placement").json(), ensure_ascii=False).replace("\\n", "\n").replace(
        "\\t", "\t"
    )


_USERS: dict[str, tuple[str, str, Any]] = {
    "a server's metadata": ("POST", "/servers", lambda text: {"server": server_body("x", "one", metadata={"a": text})}),
    "a server's description": ("POST", "/servers", lambda text: {"server": server_body("x", "one", description=text)}),
    "a server's name": ("POST", "/servers", lambda text: {"server": server_body(text, "one")}),
    "a flavor's extra spec": ("POST", "/flavors/one/os-extra_specs", lambda text: {"extra_specs": {"note": text}}),
    "an aggregate's name": ("POST", "/os-aggregates", lambda text: {"aggregate": {"name": text}}),
    "metadata of an aggregate": ("POST", "/os-aggregates/1/action", lambda text: {"set_metadata": {"metadata": {"a": text}}}),
    "why a host is disabled": ("PUT", "/os-services/{c1}", lambda text: {"status": "disabled", "disabled_reason": text}),
}


def test_what_users_send_may_hold_no_control_character_and_no_half_of_a_pair(fleet: Fleet) -> None:
    headers = compute() | {"Content-Type": "application/json"}
    for what, (method, path, body) in _USERS.items():
        target = C + path.replace("{c1}", fleet.agents["c1"].id)
        for text in ("\ud800", "\udc00x", "\x1b[2J", "\x9b", "\x7f", "\r", "\b", "\x00", "\\\ud800"):
            for ascii_only in (True, False):
                content = json.dumps(body(text), ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
                answer = fleet.http.request(method, target, content=content, headers=headers)
                assert answer.status_code == 400, f"{what}, {text!r}: {answer.status_code} {answer.text}"
                assert answer.json()["badRequest"]["message"], what
    for what, (method, path, body) in _USERS.items():
        answer = fleet.http.request(method, C + path.replace("{c1}", fleet.agents["c1"].id), json=body("𝄞 \\ud800"), headers=headers)
        assert answer.status_code in (200, 202), f"{what}: {answer.status_code} {answer.text}"
    every_answer(fleet)


def test_the_address_of_a_change_holds_no_control_character(fleet: Fleet) -> None:
    answer = fleet.ask("PUT", f"/servers/{server_of(fleet)}/metadata/a%1b", {"meta": {"a": "b"}})
    assert (answer.status_code, "control character" in answer.text) == (400, True)


_PAIRS = '{"v":1,"value":[["hypervisor_type","\\ud800"],["b","\\u001b[2J"]]}'
_ROWS: dict[str, tuple[Any, str, str]] = {
    "facts with half of a pair": (host, "facts", _PAIRS),
    "facts of another form": (host, "facts", '{"v":1,"value":{"a":1}}'),
    "foreign domains with half of a pair": (
        host,
        "foreigners",
        '{"v":1,"value":[{"name":"\\udc00","cpus":"3","pages":[],"memory_mib":0}]}',
    ),
    "a topology of more CPUs than there are": (
        host,
        "topology",
        '{"v":1,"value":{"cells":[{"id":0,"cores":["0-99999"],"memory_mib":1,"pages":[],"distances":[]}],"offline":""}}',
    ),
    "a topology that is no JSON": (host, "topology", "{"),
    "a fault with half of a pair": (
        guest,
        "fault",
        '{"v":1,"value":{"code":500,"message":"\\ud800","created":1.0,"reasons":[["c1","\\udfff"]],"revisions":[]}}',
    ),
    "metadata with half of a pair": (guest, "properties", '{"v":1,"value":[["role","\\ud800"]]}'),
    "a report with half of a pair": (
        guest,
        "report",
        '{"v":1,"value":{"witness":"\\ud800","threads":[],"drift":["\\ud800\\u001b"],"reported":1.0}}',
    ),
    "a report that is no JSON": (guest, "report", "{"),
}


def _on_databases() -> Iterator[Any]:
    """Every row on SQLite. The columns are plain text in PostgreSQL, too, so there one of them is enough but in the long form."""
    for number, (what, row) in enumerate(_ROWS.items()):
        yield pytest.param("sqlite", *row, id=f"sqlite-{what}")
        yield pytest.param(
            "postgresql", *row, id=f"postgresql-{what}", marks=(pytest.mark.real_postgresql, *((pytest.mark.slow,) if number else ()))
        )


@pytest.mark.parametrize(("database", "table", "column", "text"), _on_databases(), indirect=["database"])
def test_a_row_that_an_earlier_version_left_spoils_no_listing(fleet: Fleet, table: Any, column: str, text: str) -> None:
    wanted = table.c.name == ("c1" if table is host else "vm1")
    with fleet.database.write() as connection:
        assert connection.execute(sa.update(table).where(wanted).values({column: text})).rowcount == 1
    answers = every_answer(fleet)
    hypervisors = answers[f"{C}/os-hypervisors/detail"].json()["hypervisors"]
    assert [one["hypervisor_hostname"] for one in hypervisors] == ["c1", "c2"]
    assert [one["name"] for one in answers[f"{C}/servers/detail"].json()["servers"]] == ["vm1"]
    made = fleet.create("vm3", "one")
    assert fleet.show(made)["OS-EXT-SRV-ATTR:host"] in ("c1", "c2"), "the other host still takes guests"
    agent = fleet.agents["c1"]
    assert agent.hello(structs.replace(report(), facts=(("hypervisor_type", "QEMU"),))).status_code == 200
    kinds = [one["hypervisor_type"] for one in fleet.ask("GET", "/os-hypervisors/detail", status=200).json()["hypervisors"]]
    assert kinds[0] == "QEMU", "the agent's next report mends the row"
