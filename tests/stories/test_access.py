"""Who may do what: accounts and roles, agents' tokens, and what is told to whom when something is refused."""

from __future__ import annotations

import httpx
from tests.rig.client import COMPUTE as C
from tests.rig.client import server_body
from tests.rig.in_process import READER, Fleet

from pinfold.store.records import Observed

_EVERYWHERE = (
    ("POST", f"{C}/"),
    ("PUT", "/placement/"),
    ("GET", f"{C}/servers"),
    ("GET", f"{C}/nothing"),
    ("GET", "/image/v2/images"),
    ("GET", "/placement/resource_providers"),
    ("GET", "/v1/hosts"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/nothing"),
    ("GET", "/"),
    ("POST", f"{C}/servers"),
    ("GET", "//healthz"),
    ("GET", "/agent/../v1/hosts"),
)


def test_nothing_is_told_without_a_password(fleet: Fleet) -> None:
    for auth in (httpx.BasicAuth("", ""), httpx.BasicAuth("alice", "wrong"), httpx.BasicAuth("nobody", "correct horse")):
        for method, path in _EVERYWHERE:
            answer = fleet.http.request(method, path, auth=auth)
            assert answer.status_code == 401, f"{method} {path}: {answer.text}"
            assert answer.headers["www-authenticate"] == 'Basic realm="pinfold", charset="UTF-8"'
            assert "correct horse" not in answer.text
            if path.startswith("/compute"):
                assert set(answer.json()) == {"unauthorized"}
                assert answer.headers["x-openstack-request-id"].startswith("req-")


def test_health_and_versions_alone_are_told_to_everybody(fleet: Fleet) -> None:
    answer = fleet.http.get("/healthz", auth=httpx.BasicAuth("", ""))
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    for path in ("/compute", "/compute/", f"{C}", f"{C}/", "/image/", "/identity/v3", "/placement", "/placement/"):
        answer = fleet.http.get(path, auth=httpx.BasicAuth("", ""))
        assert answer.status_code == (300 if path == "/image/" else 200), path
        assert set(answer.json()) <= {"versions", "version"}


def test_a_reader_asks_everything_and_changes_nothing(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    fleet.flavor("tiny", vcpus=1)
    server = fleet.create("vm", "tiny")
    reader = httpx.BasicAuth(*READER)
    for path in (
        f"{C}/servers/detail",
        f"{C}/servers/{server}",
        f"{C}/flavors",
        "/v1/hosts",
        "/v1/hosts/c1/map",
        "/metrics",
        "/openapi.json",
    ):
        assert fleet.http.get(path, auth=reader).status_code == 200, path
    headers = {"OpenStack-API-Version": "placement 1.39"}
    assert fleet.http.get("/placement/resource_providers", auth=reader, headers=headers).status_code == 200
    changes = (
        ("POST", f"{C}/servers", {"server": server_body("vm", "tiny")}),
        ("DELETE", f"{C}/servers/{server}", None),
        ("POST", f"{C}/servers/{server}/action", {"os-stop": None}),
        ("POST", f"{C}/flavors", {"flavor": {"name": "x", "vcpus": 1, "ram": 1, "disk": 1}}),
        ("POST", "/v1/hosts", {"name": "c2"}),
        ("POST", "/v1/hosts/c1/fence", {"powered_off": True}),
        ("DELETE", f"/placement/resource_providers/{c1.id}", None),
        ("PUT", f"/placement/resource_providers/{c1.id}/traits", {"traits": [], "resource_provider_generation": 0}),
    )
    for method, path, body in changes:
        answer = fleet.http.request(method, path, json=body, auth=reader)
        assert answer.status_code == 403, f"{method} {path}: {answer.text}"
    assert set(fleet.http.post(f"{C}/servers", json={}, auth=reader).json()) == {"forbidden"}
    assert len(fleet.ask("GET", "/servers").json()["servers"]) == 1
    asks = fleet.http.post("/v1/fits", json={"flavor": "tiny"}, auth=reader)
    assert asks.status_code == 200, "asking what would happen changes nothing"


def test_an_agents_token_opens_its_own_host_and_nothing_else(fleet: Fleet) -> None:
    c1, c2 = fleet.host("c1"), fleet.host("c2")
    fleet.flavor("tiny", vcpus=1)
    server = fleet.create("vm", "tiny", host="c1")
    revision = c1.order(server)["claim"]["revision"]

    assert [order["guest"] for order in c1.orders()["orders"]] == [server]
    assert c2.orders()["orders"] == []
    c2.says(server, Observed.RUNNING, boot=1, revision=revision)
    c2.gone(server, revision, failure="let go")
    assert fleet.status(server) == "BUILD"

    swapped = c1.id + c2.token[36:]
    for token in ("", "x", swapped, c1.token[:-1] + ("A" if c1.token[-1] != "A" else "B"), c1.token[36:], c1.token + "x"):
        for method, path in (
            ("PUT", "/host"),
            ("GET", "/orders"),
            ("POST", "/heartbeat"),
            ("POST", f"/guests/{server}"),
            ("GET", "/images/probe"),
        ):
            answer = c1.ask(method, path, None if method == "GET" else {}, token=token)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized"), f"{method} {path} {token}"
            assert answer.headers["www-authenticate"].startswith("Bearer")
    bearer = {"Authorization": f"Bearer {c1.token}"}
    for path in (f"{C}/servers", "/v1/hosts", "/placement/resource_providers", "/metrics"):
        assert httpx.Client(transport=fleet.http._transport, base_url=fleet.http.base_url).get(path, headers=bearer).status_code == 401
    assert c1.ask("GET", "/orders", token=None).status_code == 200
    assert fleet.http.get("/agent/v1/orders").status_code == 401, "an admin is no agent"

    answer = fleet.http.post("/v1/hosts/c1/token", json={})
    assert answer.status_code == 200
    assert c1.ask("POST", "/heartbeat").status_code == 401
    c1.token = answer.json()["token"]
    assert c1.ask("POST", "/heartbeat").status_code == 200


def test_a_token_is_shown_once(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    for path in ("/v1/hosts", "/v1/hosts/c1", "/v1/hosts/c1/map", f"{C}/os-hypervisors/detail", f"{C}/os-services", "/metrics"):
        assert c1.token.partition(".")[2] not in fleet.http.get(path).text


def test_an_unknown_agent_route_tells_nothing(fleet: Fleet) -> None:
    for path in ("/agent/v1/nothing", "/agent/"):
        assert fleet.http.get(path, auth=httpx.BasicAuth("", "")).status_code in (401, 404)
