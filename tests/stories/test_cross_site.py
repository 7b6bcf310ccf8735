"""Web pages of other sites, in the browser of an administrator whose credentials it adds by itself, change nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from tests.rig.client import COMPUTE as C
from tests.rig.client import server_body
from tests.rig.in_process import Fleet, InProcess

from pinfold.api.app import create_app

FORMS = ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", "text/plain; application/json", "")


@pytest.mark.parametrize("kind", FORMS)
def test_what_a_form_can_send_changes_nothing(standing_fleet: Fleet, kind: str) -> None:
    fleet = standing_fleet
    token = fleet.agents["c1"].token
    headers = {"Content-Type": kind} if kind else {}
    for path, body in (
        ("/v1/hosts/c1/token", b""),
        ("/v1/hosts", b'{"name": "evil"}'),
        (f"{C}/servers", b'{"server": {}}'),
        ("/v1/fits", b'{"flavor": "tiny"}'),
        ("/placement/resource_providers", b'{"name": "evil"}'),
    ):
        answer = fleet.http.post(path, content=body, headers=headers)
        assert answer.status_code == 415, f"{path}: {answer.text}"
    assert fleet.agents["c1"].ask("POST", "/heartbeat", token=token).status_code == 200
    assert [host["name"] for host in fleet.http.get("/v1/hosts").json()["hosts"]] == ["c1"]


@pytest.mark.parametrize("method", ["OPTIONS", "GET"])
def test_no_answer_invites_another_site(standing_fleet: Fleet, method: str) -> None:
    headers = {
        "Origin": "https://evil.example",
        "Access-Control-Request-Method": "DELETE",
        "Access-Control-Request-Headers": "content-type",
    }
    for path in (f"{C}/servers", "/v1/hosts", "/healthz", "/placement/resource_providers"):
        answer = standing_fleet.http.request(method, path, headers=headers)
        assert not [name for name in answer.headers if name.startswith("access-control-")], path


def test_clients_that_send_json_go_on_working(standing_fleet: Fleet) -> None:
    fleet = standing_fleet
    assert fleet.http.post("/v1/hosts/c1/token", headers={"Content-Type": "application/json"}).status_code == 200
    answer = fleet.http.post("/v1/hosts/c1/token", json={})
    assert answer.status_code == 200
    fleet.agents["c1"].token = answer.json()["token"]
    headers = {"Content-Type": "application/json; charset=utf-8"}
    content = httpx.Request("POST", "http://x", json={"server": server_body("vm", "tiny")}).content
    made = fleet.http.post(f"{C}/servers", content=content, headers=headers | {"OpenStack-API-Version": "compute 2.96"})
    assert made.status_code == 202, made.text
    assert fleet.ask("DELETE", f"/servers/{made.json()['server']['id']}").status_code == 204


@pytest.fixture
def open_to_all(standing_fleet: Fleet) -> Iterator[httpx.Client]:
    """The same service under `--no-auth`."""
    app = create_app(replace(standing_fleet.services, checks=None))
    with httpx.Client(transport=InProcess(app), base_url="http://localhost", timeout=None) as http:
        yield http


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost", True),
        ("LOCALHOST:8774", True),
        ("127.0.0.1:8774", True),
        ("[::1]:8774", True),
        ("evil.example", False),
        ("evil.example:8774", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("192.0.2.1", False),
        ("", False),
    ],
)
def test_without_authentication_only_names_of_loopback_are_served(open_to_all: httpx.Client, host: str, allowed: bool) -> None:
    for method, path in (("GET", "/v1/hosts"), ("GET", f"{C}/servers"), ("GET", "/healthz"), ("POST", "/v1/fits")):
        answer = open_to_all.request(method, path, headers={"Host": host}, json={} if method == "POST" else None)
        assert (answer.status_code != 403) is allowed, f"{method} {path}: {answer.text}"
        if not allowed:
            assert "is not allowed without authentication; localhost, 127.0.0.1 and [::1] are" in answer.text


def test_without_authentication_a_form_changes_nothing_either(open_to_all: httpx.Client) -> None:
    assert open_to_all.post("/v1/hosts/c1/token").status_code == 415


def test_with_authentication_any_name_is_served(standing_fleet: Fleet, tmp_path: Path) -> None:
    assert standing_fleet.http.get("/v1/hosts", headers={"Host": "api.example"}).status_code == 200
