"""The scheduler hint same_host, as members and admins send it, and the refusal of others."""

from __future__ import annotations

from typing import Any

import pytest
from tests.rig.client import server_body
from tests.rig.in_process import Fleet

NOBODY = "00000000-0000-0000-0000-000000000000"


def asked(fleet: Fleet, hints: dict[str, Any], *, status: int = 202, key: str = "os:scheduler_hints", **more: Any) -> dict[str, Any]:
    body = {"server": server_body("near", "tiny", **more), key: hints}
    found: dict[str, Any] = fleet.ask("POST", "/servers", body, status=status).json()
    return found


def refused(fleet: Fleet, hints: dict[str, Any], status: int, **more: Any) -> str:
    (error,) = asked(fleet, hints, status=status, **more).values()
    return str(error["message"])


@pytest.mark.parametrize("key", ["os:scheduler_hints", "OS-SCH-HNT:scheduler_hints"])
@pytest.mark.parametrize("there", ["c1", "c2"])
def test_a_server_goes_to_the_host_of_another(fleet: Fleet, key: str, there: str) -> None:
    fleet.host("c1"), fleet.host("c2")
    first = fleet.create("first", fleet.flavor("tiny", vcpus=1), host=there)
    for hint in (first, [first]):
        near = asked(fleet, {"same_host": hint}, key=key)["server"]["id"]
        assert fleet.show(near)["OS-EXT-SRV-ATTR:host"] == there


def test_a_server_goes_to_no_other_host_when_that_one_is_full(fleet: Fleet) -> None:
    fleet.host("c1"), fleet.host("c2")
    first = fleet.create("first", fleet.flavor("tiny", vcpus=1), host="c1")
    fleet.ask("PUT", f"/os-services/{fleet.agents['c1'].id}", {"status": "disabled"}, status=200)
    near = asked(fleet, {"same_host": first})["server"]["id"]
    assert fleet.show(near)["status"] == "ERROR"


def test_what_is_not_kept_is_refused_with_a_sentence(fleet: Fleet) -> None:
    fleet.host("c1"), fleet.host("c2")
    fleet.flavor("huge", vcpus=64, hw_cpu_policy="dedicated")
    first = fleet.create("first", fleet.flavor("tiny", vcpus=1), host="c1")
    second, nowhere = fleet.create("second", "tiny", host="c2"), fleet.create("nowhere", "huge")
    assert "different_host is not supported" in refused(fleet, {"different_host": [first]}, 501)
    assert "on 2 hosts" in refused(fleet, {"same_host": [first, second]}, 501)
    assert NOBODY in refused(fleet, {"same_host": NOBODY}, 400)
    assert "is on no host" in refused(fleet, {"same_host": nowhere}, 400)
    assert "another host" in refused(fleet, {"same_host": first}, 400, host="c2")
    for wrong in (None, 7, [], [7], [first] * 65, {"a": first}):
        assert "list of 1 to 64 ids" in refused(fleet, {"same_host": wrong}, 400)
    assert asked(fleet, {"same_host": first}, host="c1")["server"]
