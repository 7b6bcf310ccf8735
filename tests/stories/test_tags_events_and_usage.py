"""Servers' tags, what was asked of servers and what came of it, and what they used over time."""

from __future__ import annotations

from typing import Any

import pytest
from tests.rig.client import compute
from tests.rig.in_process import Fleet
from tests.stories.test_stops_and_reboots import START, STOP, act, fails

from pinfold.store import guest_events
from pinfold.store.records import Observed


@pytest.fixture
def server(fleet: Fleet) -> str:
    """A server that runs on `c1`."""
    fleet.host("c1")
    made = fleet.create("vm", fleet.flavor("pin", vcpus=2, hw_cpu_policy="dedicated"))
    fleet.obey()
    return made


def asked(fleet: Fleet, server: str) -> list[dict[str, Any]]:
    """What was asked of the server, each with its event, oldest first."""
    path = f"/servers/{server}/os-instance-actions"
    listed = fleet.ask("GET", path, status=200).json()["instanceActions"]
    every = [fleet.ask("GET", f"{path}/{one['request_id']}", status=200).json()["instanceAction"] for one in listed]
    return list(reversed(every))


def test_tags_are_replaced_added_found_and_removed(fleet: Fleet, server: str) -> None:
    path = f"/servers/{server}/tags"
    assert fleet.ask("PUT", path, {"tags": ["b", "a", "b"]}, status=200).json() == {"tags": ["a", "b"]}
    added = fleet.ask("PUT", f"{path}/c", status=201)
    assert added.headers["location"].endswith(f"{path}/c")
    fleet.ask("PUT", f"{path}/c", status=204)
    fleet.ask("GET", f"{path}/c", status=204)
    assert fleet.show(server)["tags"] == ["a", "b", "c"]
    for _ in ("added", "there already"):
        location = fleet.ask("PUT", f"{path}/日 %3F").headers["location"]
        assert location.endswith(f"{path}/%E6%97%A5%20%3F") and fleet.http.get(location, headers=compute()).status_code == 204
    fleet.ask("DELETE", f"{path}/日 %3F", status=204)
    assert [one["id"] for one in fleet.ask("GET", "/servers?tags=a,c").json()["servers"]] == [server]
    fleet.ask("DELETE", f"{path}/a", status=204)
    for method in ("GET", "DELETE"):
        fleet.ask(method, f"{path}/a", status=404)
    fleet.ask("DELETE", path, status=204)
    assert fleet.ask("GET", path).json() == {"tags": []}
    fleet.ask("GET", path, version="2.25", status=404)


def test_tags_that_nova_refuses_are_refused(fleet: Fleet, server: str) -> None:
    path = f"/servers/{server}/tags"
    for body in ({"tags": ["a,b"]}, {"tags": [""]}, {"tags": ["x" * 61]}, {"tags": [str(n) for n in range(51)]}, {"tags": "a"}, {}):
        fleet.ask("PUT", path, body, status=400)
    for tag in ("a,b", "x" * 61):
        fleet.ask("PUT", f"{path}/{tag}", status=400)
    fleet.ask("PUT", path, {"tags": [str(n) for n in range(50)]}, status=200)
    assert "limit 50" in fleet.ask("PUT", f"{path}/more", status=400).text


def test_what_is_asked_of_a_server_is_told_with_its_outcome(fleet: Fleet, server: str) -> None:
    act(fleet, server, STOP)
    assert [(one["action"], one["events"][0]["result"]) for one in asked(fleet, server)] == [("create", "Success"), ("stop", None)]
    fleet.obey()
    act(fleet, server, STOP, 409)
    act(fleet, server, START)
    fails(fleet.agents["c1"], server, "no such image")
    told = asked(fleet, server)
    assert [(one["action"], one["events"][0]["result"], one["message"]) for one in told] == [
        ("create", "Success", None),
        ("stop", "Success", None),
        ("start", "Error", "Error"),
    ]
    event = told[-1]["events"][0]
    assert (event["event"], event["host"], event["traceback"]) == ("compute_start_instance", "c1", None)
    assert "no such image" in event["details"]
    assert told[-1]["user_id"] == "alice"
    fleet.ask("DELETE", f"/servers/{server}", status=204)
    fleet.obey()
    assert asked(fleet, server)[-1]["events"][0]["result"] == "Success"
    fleet.ask("GET", f"/servers/{server}/os-instance-actions", version="2.20", status=404)


def test_events_have_the_keys_of_their_microversion_and_pages(fleet: Fleet, server: str) -> None:
    path = f"/servers/{server}/os-instance-actions"
    act(fleet, server, {"lock": None})
    old = fleet.ask("GET", path, version="2.57").json()["instanceActions"][0]
    assert "updated_at" not in old and old["action"] == "lock"
    shown = fleet.ask("GET", f"{path}/{old['request_id']}", version="2.57").json()["instanceAction"]["events"][0]
    assert set(shown) == {"event", "start_time", "finish_time", "result", "traceback"}
    page = fleet.ask("GET", f"{path}?limit=1").json()
    assert [one["action"] for one in page["instanceActions"]] == ["lock"]
    following = fleet.ask("GET", f"{path}?limit=1&marker={old['request_id']}").json()
    assert [one["action"] for one in following["instanceActions"]] == ["create"]
    assert fleet.ask("GET", f"{path}?changes-since=2000-01-01T00:00:00Z").json()["instanceActions"] != []
    assert fleet.ask("GET", f"{path}?changes-before=2000-01-01T00:00:00Z").json()["instanceActions"] == []
    fleet.ask("GET", f"{path}?changes-since=2001-01-01T00:00:00Z&changes-before=2000-01-01T00:00:00Z", status=400)
    fleet.ask("GET", f"{path}/req-none", status=404)


def test_only_the_newest_events_of_a_server_are_kept(fleet: Fleet, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest_events, "MOST_KEPT", 3)
    for action in ("lock", "unlock", "lock", "unlock"):
        act(fleet, server, {action: None})
    assert [one["action"] for one in asked(fleet, server)] == ["unlock", "lock", "unlock"]


def test_usage_counts_what_ran_in_the_period(fleet: Fleet, server: str) -> None:
    c1 = fleet.agents["c1"]
    c1.says(server, Observed.RUNNING, boot=1, revision=c1.order(server)["claim"]["revision"])
    (used,) = fleet.ask("GET", "/os-simple-tenant-usage?start=2000-01-01T00:00:00&detailed=1").json()["tenant_usages"]
    (one,) = used["server_usages"]
    assert (used["tenant_id"], one["instance_id"], one["vcpus"], one["state"]) == ("pinfold", server, 2, "active")
    assert used["total_vcpus_usage"] == pytest.approx(2 * used["total_hours"])
    assert used["total_memory_mb_usage"] == pytest.approx(64 * used["total_hours"])
    (brief,) = fleet.ask("GET", "/os-simple-tenant-usage?start=2000-01-01T00:00:00").json()["tenant_usages"]
    assert "server_usages" not in brief
    shown = fleet.ask("GET", "/os-simple-tenant-usage/pinfold?start=2000-01-01T00:00:00").json()["tenant_usage"]
    assert [each["name"] for each in shown["server_usages"]] == ["vm"]
    assert fleet.ask("GET", "/os-simple-tenant-usage/other?start=2000-01-01T00:00:00").json() == {"tenant_usage": {}}
    old = "start=2000-01-01T00:00:00&end=2000-01-02T00:00:00"
    assert fleet.ask("GET", f"/os-simple-tenant-usage?{old}").json() == {"tenant_usages": []}
    for query in ("start=x", "start=2001-01-01T00:00:00&end=2000-01-01T00:00:00"):
        fleet.ask("GET", f"/os-simple-tenant-usage?{query}", status=400)
    fleet.ask("DELETE", f"/servers/{server}", status=204)
    fleet.obey()
    (gone,) = fleet.ask("GET", "/os-simple-tenant-usage/pinfold?start=2000-01-01T00:00:00").json()["tenant_usage"]["server_usages"]
    assert gone["state"] == "terminated"
