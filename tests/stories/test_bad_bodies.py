"""Bodies and addresses that nobody should send: each answers 4xx in the form of its API, at once, and leaves nothing behind."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from tests.rig.client import COMPUTE as C
from tests.rig.client import PROBE, compute, server_body
from tests.rig.in_process import Fleet

from pinfold.agent.wire import Hello
from pinfold.api.bounds import MAX_BODY
from pinfold.core.drift.written import findings_report
from pinfold.core.encoding import plain


def _post(fleet: Fleet, path: str, content: bytes, method: str = "POST") -> httpx.Response:
    return fleet.http.request(method, path, content=content, headers=compute() | {"Content-Type": "application/json"})


def _deep(levels: int) -> bytes:
    return b'{"server": ' + b"[" * levels + b"]" * levels + b"}"


def test_bodies_too_large_too_deep_or_no_json_are_refused_everywhere(standing_fleet: Fleet) -> None:
    fleet, c1 = standing_fleet, standing_fleet.agents["c1"]
    paths = (f"{C}/servers", f"{C}/flavors", f"{C}/os-aggregates", "/v1/hosts", "/v1/fits", "/v1/hosts/c1/fence")
    bodies = {
        b'{"server": "' + b"x" * MAX_BODY + b'"}': 413,
        _deep(40): 400,
        b"": 400,
        b"{": 400,
        b"[]": 400,
        b"null": 400,
        b'"text"': 400,
        b"\xff\xfe": 400,
        b'{"server": NaN}': 400,
        b'{"server": ' + b"9" * 5000 + b"}": 400,
        b'{"a": "\\u0000"}': 400,
        b'{"flavor": {"name": "\\ud800", "ram": 1, "vcpus": 1, "disk": 1}}': 400,
    }
    for path in paths:
        for body, status in bodies.items():
            answer = _post(fleet, path, body)
            assert answer.status_code == status, f"{path} {body[:60]!r}: {answer.status_code} {answer.text[:200]}"
            (word,) = answer.json()
            assert word in ("badRequest", "overLimit") if path.startswith(C) else word == "error"
            assert answer.json()[word]["message"]
            assert len(answer.text) < 1000
    for body, status in bodies.items():
        headers = {"Authorization": f"Bearer {c1.token}", "Content-Type": "application/json"}
        answer = fleet.http.put("/agent/v1/host", content=body, headers=headers, auth=None)
        assert answer.status_code == status, f"{body[:60]!r}: {answer.text[:200]}"
    assert len(fleet.http.get("/v1/hosts").json()["hosts"]) == 1


def test_agents_may_send_keys_that_the_service_does_not_know_and_users_may_not(standing_fleet: Fleet) -> None:
    fleet, c1 = standing_fleet, standing_fleet.agents["c1"]
    server = fleet.create("vm", "tiny")
    order, hello, later = c1.order(server), plain(Hello(name="c1", report=c1.reported)), {"colour": {"red": 1}}
    topology = hello["report"]["topology"] | later
    report = {"revision": order["claim"]["revision"], "claim": order["claim"]["id"], "observed": "running", "boot": order["boot"]}
    threads = {"witness": "procfs", "threads": [{"tid": 1, "name": "CPU 0/KVM", "thread_class": "vcpu", "allowed": "2"} | later]}
    bodies: tuple[tuple[str, str, dict[str, Any], int], ...] = (
        ("PUT", "/host", hello | later, 200),
        ("PUT", "/host", hello | {"report": hello["report"] | {"topology": topology}}, 200),
        ("PUT", "/host/findings", plain(findings_report([])) | later, 204),
        ("POST", f"/guests/{server}", report | {"threads": threads | later} | later, 204),
        ("POST", f"/guests/{server}", report | {"revision": "red"} | later, 400),
        ("POST", f"/guests/{server}", later, 400),
    )
    for method, path, body, status in bodies:
        answer = c1.ask(method, path, body)
        assert answer.status_code == status, f"{path}: {answer.text[:200]}"
    assert fleet.status(server) == "ACTIVE"
    observed = fleet.http.get(f"/v1/servers/{server}/placement").json()["observed"]
    assert observed["witness"] == "procfs"
    assert "colour" not in json.dumps(observed)
    assert fleet.http.post("/v1/fits", json={"flavor": "tiny"} | later).status_code == 400
    fleet.ask("DELETE", f"/servers/{server}", status=204)
    named = {"revision": order["claim"]["revision"], "claim": order["claim"]["id"]}
    assert c1.ask("POST", f"/guests/{server}/absence", named | later).status_code == 204
    assert fleet.ask("GET", "/servers").json()["servers"] == []


_SERVERS: dict[str, tuple[dict[str, Any], int, str]] = {
    "no name": ({"name": ""}, 400, "name"),
    "a name of blanks": ({"name": "   "}, 400, "name"),
    "a name too long": ({"name": "x" * 256}, 400, "name"),
    "a key nobody knows": ({"colour": "red"}, 400, "colour"),
    "an unknown flavor": ({"flavorRef": "none"}, 400, "Flavor none could not be found"),
    "a flavor that is a list": ({"flavorRef": ["tiny"]}, 400, "flavor"),
    "nothing to boot": ({"imageRef": ""}, 400, "there is nothing to boot: imageRef"),
    "an unknown image": ({"imageRef": "none"}, 400, "Image none could not be found"),
    "no servers at all": ({"min_count": 0}, 400, "min_count"),
    "too many servers": ({"max_count": 10**9}, 400, "max_count"),
    "a number as metadata": ({"metadata": {"a": 1}}, 400, "metadata"),
    "networks": ({"networks": [{"uuid": "x"}]}, 400, "Network x could not be found"),
    "a key pair that the account has not": ({"key_name": "k"}, 400, "Invalid key_name provided: the account alice has no key pair 'k'."),
    "user data that is not base64": ({"user_data": "#!/bin/sh"}, 400, "user_data is not base64"),
    "too much user data": ({"user_data": "A" * 65_536}, 400, "at most 65535 characters"),
    "user data without a drive": (
        {"user_data": "Zm9v", "config_drive": False},
        400,
        "config_drive is false, but only a config drive brings user_data to a server",
    ),
    "a config drive that is a volume": ({"config_drive": "vol"}, 400, "config_drive"),
    "a password that is a number": ({"adminPass": 1}, 400, "Value: '***'"),
    "files": ({"personality": [{"path": "/x", "contents": "Zm9v"}]}, 501, "personality is not supported"),
    "a boot disk on another bus": (
        {"block_device_mapping_v2": [{"uuid": PROBE, "disk_bus": "ide", "device_type": "disk"}]},
        501,
        "has disk_bus 'ide'; a server's boot disk has 'virtio' and no other",
    ),
    "a boot disk that is a CD": (
        {"block_device_mapping_v2": [{"uuid": PROBE, "disk_bus": "virtio", "device_type": "cdrom"}]},
        501,
        "has device_type 'cdrom'; a server's boot disk has 'disk' and no other",
    ),
    "a volume": ({"block_device_mapping_v2": [{"source_type": "volume", "uuid": "x"}]}, 501, "volumes are not supported"),
    "a zone nobody made": ({"availability_zone": "mars"}, 400, "The requested availability zone is not available"),
}


@pytest.mark.parametrize(("more", "status", "sentence"), _SERVERS.values(), ids=_SERVERS)
def test_servers_that_cannot_be(standing_fleet: Fleet, more: dict[str, Any], status: int, sentence: str) -> None:
    body = server_body("vm", "tiny") | more
    answer = standing_fleet.ask("POST", "/servers", {"server": body}, status=status)
    (fault,) = answer.json().values()
    assert sentence in fault["message"]
    assert standing_fleet.ask("GET", "/servers").json()["servers"] == []


_FLAVORS: dict[str, dict[str, Any]] = {
    "no vCPUs": {"vcpus": 0},
    "vCPUs as text that is no number": {"vcpus": "many"},
    "more memory than a number holds": {"ram": 2**31},
    "a negative disk": {"disk": -1},
    "an id with a slash": {"id": "a/b"},
    "a boolean for a count": {"ram": None},
    "a public flag that is no boolean": {"os-flavor-access:is_public": "maybe"},
}


@pytest.mark.parametrize("more", _FLAVORS.values(), ids=_FLAVORS)
def test_flavors_that_cannot_be(standing_fleet: Fleet, more: dict[str, Any]) -> None:
    body = {"flavor": {"name": "odd", "vcpus": 1, "ram": 1, "disk": 1} | more}
    standing_fleet.ask("POST", "/flavors", body, status=400)


def test_the_largest_flavor_that_the_api_takes_is_refused_by_every_host_at_once(standing_fleet: Fleet) -> None:
    fleet = standing_fleet
    for name, specs in (("floats", {}), ("pinned", {"hw_cpu_policy": "dedicated"})):
        fleet.flavor(name, vcpus=2**31 - 1, ram=2**31 - 1, disk=2**31 - 1, **specs)
        answer = fleet.ask("POST", "/servers", {"server": server_body("vm", name)})
        if answer.status_code == 202:
            server = answer.json()["server"]["id"]
            assert fleet.status(server) == "ERROR"
            fleet.ask("DELETE", f"/servers/{server}", status=204)
        else:
            assert answer.status_code == 400


def test_names_taken_twice_conflict(standing_fleet: Fleet) -> None:
    fleet = standing_fleet
    same = {"flavor": {"name": "tiny", "vcpus": 1, "ram": 1, "disk": 1}}
    assert "conflictingRequest" in fleet.ask("POST", "/flavors", same, status=409).json()
    fleet.ask("POST", "/os-aggregates", {"aggregate": {"name": "a"}}, status=200)
    fleet.ask("POST", "/os-aggregates", {"aggregate": {"name": "a"}}, status=409)
    assert fleet.http.post("/v1/hosts", json={"name": "c1"}).status_code == 409


@pytest.mark.parametrize(
    "path",
    [
        "/flavors/%00",
        "/servers/%00",
        "/servers?name=%00",
        "/servers/" + "x" * 5000,
        "/flavors/" + "x" * 5000,
        "/flavors/%FF",
        "/os-aggregates/-1",
    ],
)
def test_odd_addresses_answer_4xx(standing_fleet: Fleet, path: str) -> None:
    answer = standing_fleet.ask("GET", path)
    assert answer.status_code in (400, 404)
    assert json.loads(answer.text)


def test_the_image_api_never_leaves_its_directory(standing_fleet: Fleet) -> None:
    fleet = standing_fleet
    (image,) = fleet.http.get("/image/v2/images?name=probe").json()["images"]
    assert fleet.http.get(f"/image/v2/images/{image['id']}").json() == image
    assert fleet.http.get(f"/image/v2/images/{image['id']}/file").content == b"\x00" * 64
    assert fleet.http.get("/image/v2/images/probe").status_code == 404
    assert fleet.http.get("/image/v2/images?name=none").json()["images"] == []
    refused = fleet.http.get("/image/v2/images?name=in:a%0Ab")
    assert (refused.status_code, "Unable to filter by 'in:a\\nb'" in refused.json()["error"]["message"]) == (400, True)
    for method, path in (("DELETE", "far"), ("PUT", "far/tags/new"), ("POST", "far/members"), ("GET", "far")):
        answer = fleet.http.request(method, f"/image/v2/images/{path}", json={})
        assert (answer.status_code, "Image far could not be found." in answer.text) == (404, True)
    for method in ("GET", "DELETE"):
        assert "Image without an id could not be found." in fleet.http.request(method, "/image/v2/images/").text
    (fleet.images / "away.rom").symlink_to("/etc/hostname")
    (fleet.images / "two.raw").write_bytes(b"x")
    names = [row["name"] for row in fleet.http.get("/image/v2/images").json()["images"]]
    assert names == ["probe", "two"]
    (fleet.images / "two.toml").write_text('min_disk = "x"\n')
    assert [row["name"] for row in fleet.http.get("/image/v2/images").json()["images"]] == ["probe"]
    for name in ("away.rom", "two.raw", "two.toml"):  # the other tests of this module have the same images
        (fleet.images / name).unlink()
