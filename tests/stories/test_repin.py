"""The guests of a host are re-pinned over HTTP: the plan, its gain, the agent's reports, and what became of it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs
from tests.build.hosts import cpus
from tests.rig.client import SHARE
from tests.rig.in_process import READER, Agent, Fleet

from pinfold.agent.wire import GuestReport
from pinfold.core.encoding import plain
from pinfold.core.pools import Pools
from pinfold.store.records import Observed

URL = "/v1/hosts/c1/repin"


@pytest.fixture
def retiring(fleet: Fleet) -> tuple[Agent, str, str]:
    """A host with a running server whose pCPU retires; the server, and that pCPU."""
    c1 = fleet.host("c1")
    server = fleet.create("web", fleet.flavor("small", vcpus=1, **SHARE))
    c1.obey()
    pcpu = c1.order(server)["claim"]["fit"]["cells"][0]["pins"][0][1]
    before = c1.reported
    pools = Pools(shared=before.pools.shared, dedicated=before.pools.dedicated - cpus(str(pcpu)), overhead=before.pools.overhead)
    c1.hello(structs.replace(before, pools=pools))
    return c1, server, str(pcpu)


def shown(fleet: Fleet, **query: Any) -> dict[str, Any]:
    answer = fleet.http.get(URL, params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_an_operator_looks_at_the_plan_applies_it_and_sees_the_server_arrive(fleet: Fleet, retiring: tuple[Agent, str, str]) -> None:
    c1, server, pcpu = retiring
    plan = shown(fleet)
    assert [(step["id"], step["name"]) for step in plan["steps"]] == [(server, "web")]
    (move,) = plan["steps"][0]["moves"]
    assert (move["role"], move["vcpu"], move["from"]) == ("vcpu", 0, pcpu)
    assert plan["freed"] == pcpu and f"retiring pCPU {pcpu} becomes free of guests" in plan["gain"]
    assert (plan["last"], plan["no_move"], plan["stays"]) == (None, "", [])
    assert [slot["flavor"] for slot in shown(fleet, flavor="small")["slots"]] == ["small"]
    before = c1.order(server)["claim"]
    answer = fleet.http.post(URL, json={"flavors": ["small"], "revision": plan["revision"]})
    assert answer.status_code == 202, answer.text
    last = answer.json()["last"]
    assert (last["phase"], last["failure"]) == ("moving", "")
    assert [(one["name"], one["arrived"], one["moves"]) for one in last["guests"]] == [("web", False, [move])]
    after = c1.order(server)["claim"]
    assert after["id"] == before["id"] and after["revision"] > before["revision"]
    assert str(after["fit"]["cells"][0]["pins"][0][1]) == move["to"]
    c1.obey()
    now = shown(fleet)
    assert now["last"]["phase"] == "moved" and now["steps"] == []
    assert now["no_move"].startswith("no move helps: no guest holds a retiring pCPU")
    assert fleet.http.post(URL, json={}).json()["last"] == now["last"], "nothing is left to do"


def test_what_the_agent_cannot_move_goes_back_and_the_operator_reads_why(fleet: Fleet, retiring: tuple[Agent, str, str]) -> None:
    c1, server, _ = retiring
    before = c1.order(server)["claim"]
    assert fleet.http.post(URL, json={}).status_code == 202
    why = "a thread of it cannot leave its cpuset"
    told = GuestReport(revision=before["revision"], observed=Observed.RUNNING, boot=1, claim=before["id"], unmoved=why)
    assert c1.ask("POST", f"/guests/{server}", plain(told)).status_code == 204
    back = c1.order(server)["claim"]
    assert back["fit"] == before["fit"] and back["revision"] > before["revision"]
    assert shown(fleet)["last"]["phase"] == "turning back"
    c1.obey()
    last = shown(fleet)["last"]
    assert (last["phase"], last["failure"]) == ("undone", f"guest web was not moved: {why}")
    assert fleet.show(server)["status"] == "ACTIVE"


def test_conflicts_and_slips_are_told(fleet: Fleet, retiring: tuple[Agent, str, str]) -> None:
    revision = shown(fleet)["revision"]
    for body, status, said in (
        ({"revision": revision - 1}, 409, f"host c1 is at revision {revision} by now, not {revision - 1}"),
        ({"flavors": ["huge"]}, 400, "there is no flavor 'huge'"),
        ({"flavours": []}, 400, "flavours"),
        ({"revision": "x"}, 400, "revision"),
        ({"revision": None}, 202, ""),
        ({}, 409, "guests of host c1 are on their way by an earlier plan"),
    ):
        answer = fleet.http.post(URL, json=body)
        assert answer.status_code == status and said in answer.text, answer.text
    assert fleet.http.post(URL, json={}, auth=READER).status_code == 403
    assert fleet.http.get(URL, auth=READER).status_code == 200
    assert fleet.http.get("/v1/hosts/none/repin").status_code == 404
    assert fleet.http.get(URL, params={"flavor": "huge"}).status_code == 400


def test_a_host_that_is_away_is_not_re_pinned(fleet: Fleet, retiring: tuple[Agent, str, str]) -> None:
    retiring[0].ask("DELETE", "/host")
    answer = fleet.http.post(URL, json={})
    assert answer.status_code == 409 and "host c1 is down: nobody could move its guests" in answer.text
