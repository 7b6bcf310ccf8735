"""The audit log: every change and every refused login is one line of JSON, without secrets and without foreign signs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.rig.client import COMPUTE as C
from tests.rig.client import PROBE, server_body
from tests.rig.in_process import READER, Fleet


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    """What the audit log said since the last call."""
    caplog.set_level("INFO", "pinfold.audit")

    def told() -> list[dict[str, Any]]:
        found = [json.loads(record.getMessage()) for record in caplog.records if record.name == "pinfold.audit"]
        caplog.clear()
        return found

    return told


def test_a_change_is_told_with_who_what_from_where_and_how_it_was_answered(fleet: Fleet, lines: Any) -> None:
    fleet.host("c1")
    fleet.flavor("tiny", vcpus=1)
    server = fleet.create("vm1", "tiny")
    fleet.obey()
    lines()
    answer = fleet.ask("POST", f"/servers/{server}/action", {"os-stop": None}, status=202)
    (stop,) = lines()
    assert stop == {
        "event": "change",
        "account": "alice",
        "client": "127.0.0.1",
        "method": "POST",
        "path": f"{C}/servers/{server}/action",
        "asked": {"keys": ["os-stop"]},
        "answer": 202,
        "request": answer.headers["x-openstack-request-id"],
    }
    fleet.http.post("/v1/hosts/c1/token", json={})
    fleet.http.delete("/v1/hosts/none")
    fleet.http.post("/v1/hosts", json={"name": "c2"}, auth=READER)
    told = [(line["account"], line["method"], line["path"], line["answer"]) for line in lines()]
    assert told == [
        ("alice", "POST", "/v1/hosts/c1/token", 200),
        ("alice", "DELETE", "/v1/hosts/none", 404),
        ("bob", "POST", "/v1/hosts", 403),
    ]
    fleet.ask("POST", f"/servers/{server}/action", {"os-getConsoleOutput": {"length": 9}}, status=503)
    assert lines() == [], "a console log is read, although with POST"
    fleet.http.put("/placement/traits/CUSTOM_X", headers={"OpenStack-API-Version": "placement 1.39"})
    assert [(line["path"], line["answer"]) for line in lines()] == [("/placement/traits/CUSTOM_X", 201)]


def test_what_is_asked_is_told_by_names_and_never_by_secrets(fleet: Fleet, lines: Any) -> None:
    fleet.flavor("tiny", vcpus=1)
    lines()
    body = server_body("vm1", "tiny", metadata={"name": "in the metadata"}, adminPass="hunter2", user_data="aHVudGVyMg==")
    fleet.ask("POST", "/servers", {"server": body})
    (made,) = lines()
    assert made["asked"] == {"keys": ["server"], "name": "vm1", "flavorRef": "tiny", "imageRef": PROBE}
    fleet.http.post("/v1/hosts", json={"name": "c1"})
    assert "token" not in json.dumps(lines())


def test_questions_agents_and_health_are_no_changes(fleet: Fleet, lines: Any) -> None:
    c1 = fleet.host("c1")
    fleet.flavor("tiny", vcpus=1)
    lines()
    c1.ask("POST", "/heartbeat")
    c1.hello()
    fleet.http.get("/v1/hosts")
    fleet.http.post("/v1/fits", json={"flavor": "tiny"})
    fleet.http.get("/healthz", auth=None)
    assert lines() == []


def test_a_refused_login_is_told_with_its_name_and_not_its_password(fleet: Fleet, lines: Any, caplog: pytest.LogCaptureFixture) -> None:
    fleet.http.get("/v1/hosts", auth=httpx.BasicAuth("mallory\x1b[2J\n{}", "hunter2"))
    text = caplog.text
    (refused,) = lines()
    assert (refused["event"], refused["account"], refused["answer"]) == ("login", "mallory\x1b[2J\n{}", 401)
    assert "hunter2" not in text
    assert "\x1b" not in text
    assert len(text.strip().splitlines()) == 1


def test_an_agents_refused_token_is_told_by_its_host_alone(fleet: Fleet, lines: Any) -> None:
    c1 = fleet.host("c1")
    lines()
    wrong = f"{c1.id}.{'A' * 43}"
    c1.ask("POST", "/heartbeat", token=wrong)
    (refused,) = lines()
    assert (refused["event"], refused["account"], refused["path"]) == ("login", c1.id, "/agent/v1/heartbeat")
    assert "AAAA" not in json.dumps(refused)


def test_a_flood_of_refused_logins_is_a_few_lines(fleet: Fleet, lines: Any) -> None:
    for number in range(30):
        fleet.http.get("/v1/hosts", auth=httpx.BasicAuth("alice", f"guess {number}"))
    assert 1 <= len(lines()) <= 5


def test_who_gives_no_name_is_no_login(fleet: Fleet, lines: Any) -> None:
    assert fleet.http.get("/v1/hosts", auth=None).status_code == 401
    assert lines() == []
