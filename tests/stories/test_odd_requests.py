"""Headers, encodings and texts that no ordinary client sends: each is answered, in its API's form, and never with 5xx."""

from __future__ import annotations

import json

import pytest
from tests.rig.client import COMPUTE as C
from tests.rig.client import compute, server_body
from tests.rig.in_process import Fleet

_BODIES = {
    "a NUL as it is": b'{"flavor": {"name": "a\x00b", "vcpus": 1, "ram": 1, "disk": 0}}',
    "a NUL escaped": b'{"flavor": {"name": "a\\u0000b", "vcpus": 1, "ram": 1, "disk": 0}}',
    "UTF-16 with a NUL escaped": '{"flavor": {"name": "a\\u0000b", "vcpus": 1, "ram": 1, "disk": 0}}'.encode("utf-16"),
    "UTF-32": '{"flavor": {"name": "n", "vcpus": 1, "ram": 1, "disk": 0}}'.encode("utf-32"),
    "half of a surrogate pair": b'{"flavor": {"name": "\\ud834", "vcpus": 1, "ram": 1, "disk": 0}}',
    "bytes that are no UTF-8": b'{"flavor": {"name": "\xff", "vcpus": 1, "ram": 1, "disk": 0}}',
    "a control character": b'{"flavor": {"name": "a\\u001b[2Jb", "vcpus": 1, "ram": 1, "disk": 0}}',
    "a line feed at the end": b'{"flavor": {"name": "a\\n", "vcpus": 1, "ram": 1, "disk": 0}}',
    "NaN": b'{"flavor": {"name": "n", "vcpus": 1, "ram": 1, "disk": 0, "rxtx_factor": NaN}}',
    "infinity": b'{"flavor": {"name": "n", "vcpus": 1, "ram": 1e400, "disk": 0}}',
    "a key that stands twice, wrong the second time": b'{"flavor": {"name": "n", "vcpus": 1, "ram": 1, "disk": 0}, "flavor": 1}',
    "no JSON": b'{"flavor": ',
}


@pytest.mark.parametrize("body", _BODIES.values(), ids=_BODIES)
def test_what_no_text_may_hold_is_refused(standing_fleet: Fleet, body: bytes) -> None:
    before = standing_fleet.ask("GET", "/flavors").json()["flavors"]
    answer = standing_fleet.http.post(f"{C}/flavors", content=body, headers=compute() | {"Content-Type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert answer.json()["badRequest"]["message"]
    assert standing_fleet.ask("GET", "/flavors").json()["flavors"] == before


def test_of_a_key_that_stands_twice_the_last_one_counts(standing_fleet: Fleet) -> None:
    body = b'{"flavor": 1, "flavor": {"name": "one", "name": "two", "vcpus": 1, "ram": 1, "disk": 0}}'
    answer = standing_fleet.http.post(f"{C}/flavors", content=body, headers=compute() | {"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["flavor"]["name"]) == (200, "two")


@pytest.mark.parametrize("kind", ["", "text/plain", "application/xml", "x", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_body_that_is_not_said_to_be_json_is_refused_as_such(standing_fleet: Fleet, kind: str) -> None:
    body = json.dumps({"server": server_body("x", "tiny")}).encode()
    headers = compute() | ({"Content-Type": kind} if kind else {})
    answer = standing_fleet.http.post(f"{C}/servers", content=body, headers=headers)
    assert (answer.status_code, set(answer.json())) == (415, {"badMediaType"})
    assert standing_fleet.http.post("/v1/fits", content=b"{}", headers=headers).json()["error"]["code"] == "media-type"


_VERSIONS = {
    b"compute " + b"9" * 100_000: 400,
    b"compute": 400,
    b"compute latest or so": 400,
    b"compute 2.-1": 400,
    "compute ٢.٩٦".encode(): 400,
    b"compute 2.97": 406,
    b"compute 99999.1": 400,
    b"compute 9999.9999": 406,
    b"\xff\xfe": 200,
    b",,,,": 200,
    b"placement 1.39,compute 2.96": 200,
}


def test_odd_versions_in_headers(standing_fleet: Fleet) -> None:
    for asked, status in _VERSIONS.items():
        answer = standing_fleet.http.get(f"{C}/flavors", headers={b"OpenStack-API-Version": asked})
        assert answer.status_code == status, f"{asked[:40]!r}: {answer.text[:200]}"
        assert len(answer.text) < 2000
        assert answer.headers["x-openstack-request-id"]
    for token in (b"Basic " + b"A" * 1_000_000, b"Basic \xff\xff", b"Bearer", b"Basic"):
        answer = standing_fleet.http.get(f"{C}/flavors", headers={b"Authorization": token}, auth=lambda request: request)
        assert (answer.status_code, set(answer.json())) == (401, {"unauthorized"})


@pytest.mark.parametrize(
    "query",
    [
        "changes-since=0001-01-01T00:00:00%2B14:00",
        "changes-since=9999-12-31T23:59:59-14:00",
        "changes-since=99999999999999",
        "limit=99999999999999999999",
        "marker=%F0%9D%84%9E",
        "marker=" + "x" * 9000,
        "name=%F0",
        "uuid=%FF",
        "host=%C0%80",
        "description=%00",
        "status=" + "&status=".join(map(str, range(500))),
        "flavor=" + "y" * 10_000,
    ],
)
def test_odd_filters(standing_fleet: Fleet, query: str) -> None:
    answer = standing_fleet.ask("GET", f"/servers/detail?{query}")
    assert answer.status_code in (200, 400)
    assert len(answer.text) < 1000
