"""A domain is adopted and released over HTTP: the server, the agent's orders, and what the operator reads."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs
from tests.build.fits import fits
from tests.build.hosts import as_state, report
from tests.build.requests import pinned
from tests.rig.in_process import READER, Agent, Fleet

from pinfold.agent.wire import PROTOCOL
from pinfold.core.adoption import WantedAdoption
from pinfold.core.encoding import plain
from pinfold.core.host import Foreign
from pinfold.core.identity import GuestId
from pinfold.core.request.model import EmulatorPolicy
from pinfold.store.records import PROTOCOL_FACT, Observed

URL = "/v1/hosts/c1/adoptions"
WEB = "0a0a0a0a-0000-4000-8000-000000000001"
REQUEST = structs.replace(pinned(1, emulator=EmulatorPolicy.SHARE), disk_gib=0)
PLACE = fits(REQUEST, as_state(report()))
BEFORE = structs.replace(report(), facts=((PROTOCOL_FACT, str(PROTOCOL)),), foreign=(Foreign(name="web", cpus=PLACE.taken),))
PLAN: dict[str, Any] = plain(WantedAdoption(guest=GuestId(WEB), name="web", fit=PLACE, request=REQUEST))


@pytest.fixture
def c1(fleet: Fleet) -> Agent:
    """A host with a stranger's guest `web`."""
    return fleet.host("c1", BEFORE)


def adopted(fleet: Fleet, c1: Agent) -> None:
    answer = fleet.http.post(URL, json=PLAN)
    assert answer.status_code == 202, answer.text
    assert answer.json() == {"server": WEB, "name": "web", "host": "c1"}
    assert c1.order(WEB)["takeover"] == "adopt" and fleet.show(WEB)["OS-EXT-STS:task_state"] == "adopting"
    c1.obey()
    c1.hello(structs.replace(BEFORE, foreign=()))


def test_an_operator_adopts_a_domain_uses_it_as_a_server_and_gives_it_back(fleet: Fleet, c1: Agent) -> None:
    adopted(fleet, c1)
    server = fleet.show(WEB)
    assert (server["name"], server["status"], server["flavor"]["original_name"]) == ("web", "ACTIVE", "adopted")
    assert c1.order(WEB)["takeover"] == "adopted" and c1.order(WEB)["desired"] == "running"
    assert fleet.usage("c1") == {"PCPU": 1, "MEMORY_MB": 64, "CUSTOM_OVERHEAD_MILLICPU": PLACE.overhead_millicpu}
    placed = fleet.http.get(f"/v1/servers/{WEB}/placement").json()
    assert placed["claim"]["fit"]["cells"][0]["pins"] == PLAN["fit"]["cells"][0]["pins"]
    assert fleet.http.post(f"/v1/servers/{WEB}/release", json={}).status_code == 202
    order = c1.order(WEB)
    assert (order["takeover"], order["desired"]) == ("release", "absent")
    c1.hello(BEFORE)
    c1.obey()
    assert fleet.usage("c1") == {} and fleet.ask("GET", f"/servers/{WEB}").status_code == 404
    assert c1.orders()["orders"] == [] and c1.orders()["tombstones"] == []


def test_agents_of_earlier_protocols_never_hear_of_it(fleet: Fleet, c1: Agent) -> None:
    """They would start such a guest, or remove it."""
    for facts in ((), ((PROTOCOL_FACT, "2"),)):
        c1.hello(structs.replace(BEFORE, facts=facts))
        answer = fleet.http.post(URL, json=PLAN)
        assert answer.status_code == 409
        assert "the agent of host c1 is of an earlier pinfold, which cannot adopt guests; upgrade it" in answer.text
    c1.hello(BEFORE)
    adopted(fleet, c1)
    assert fleet.http.post(f"/v1/servers/{WEB}/release", json={}).status_code == 202
    for protocol in (1, 2):
        c1.protocol = protocol
        assert c1.orders()["orders"] == [], "an agent that was replaced by an older one"


def test_what_its_agent_could_not_take_over_is_in_error_and_says_why(fleet: Fleet, c1: Agent) -> None:
    assert fleet.http.post(URL, json=PLAN).status_code == 202
    claim = c1.order(WEB)["claim"]
    assert c1.gone(WEB, claim["revision"], "guest web has ended since the plan was made", claim["id"]).status_code == 204
    server = fleet.show(WEB)
    assert server["status"] == "ERROR"
    assert server["fault"]["message"] == "The guest was not adopted: guest web has ended since the plan was made"
    assert fleet.usage("c1") == {} and c1.orders()["orders"] == []
    adopted(fleet, c1)
    assert fleet.show(WEB)["status"] == "ACTIVE"


def test_an_adopted_domain_that_disappears_is_an_error_of_its_server(fleet: Fleet, c1: Agent) -> None:
    adopted(fleet, c1)
    revision, claim = c1.claim_of(c1.order(WEB))
    c1.says(WEB, Observed.ABSENT, boot=1, revision=revision, claim=claim, failure="its domain is gone")
    assert fleet.show(WEB)["status"] == "ERROR" and c1.order(WEB)["takeover"] == "adopted"
    assert fleet.usage("c1")["PCPU"] == 1, "a claim is released by nothing but a word that the domain is gone and unwanted"


def test_an_administrators_reset_does_not_turn_a_release_into_the_end_of_the_domain(fleet: Fleet, c1: Agent) -> None:
    adopted(fleet, c1)
    assert fleet.http.post(f"/v1/servers/{WEB}/release", json={}).status_code == 202
    before = c1.order(WEB)
    answer = fleet.ask("POST", f"/servers/{WEB}/action", {"os-resetState": {"state": "active"}}, status=409)
    assert answer.json()["conflictingRequest"]["message"] == f"Cannot 'resetState' instance {WEB} while it is in task_state releasing"
    assert c1.order(WEB) == before and before["takeover"] == "release"


def _with(**changes: Any) -> dict[str, Any]:
    return {**PLAN, **changes}


CELL = PLAN["fit"]["cells"][0]
SLIPS = {
    "no body": ({}, 400, "guest"),
    "no id": (_with(guest="web"), 400, "guest"),
    "a fit of another size": (_with(request={**PLAN["request"], "vcpus": 2}), 409, "the fit is not the size of the request"),
    "a cell that is not there": (_with(fit={**PLAN["fit"], "cells": [{**CELL, "host_cell": 99}]}), 409, "there is no host cell 99"),
    "a pCPU that is not there": (_with(fit={**PLAN["fit"], "cells": [{**CELL, "pins": [[0, 4000]]}]}), 409, "4000"),
    "a pCPU of the shared pool": (_with(fit={**PLAN["fit"], "cells": [{**CELL, "pins": [[0, 0]]}]}), 409, "0"),
}


@pytest.mark.parametrize(("body", "status", "said"), SLIPS.values(), ids=SLIPS.keys())
def test_a_slip_is_told_and_leaves_nothing(fleet: Fleet, c1: Agent, body: dict[str, Any], status: int, said: str) -> None:
    answer = fleet.http.post(URL, json=body)
    assert answer.status_code == status and said in answer.text, answer.text
    assert c1.orders()["orders"] == [] and fleet.usage("c1") == {}


def test_only_an_admin_adopts_and_a_server_of_pinfolds_is_not_released(fleet: Fleet, c1: Agent) -> None:
    assert fleet.http.post(URL, json=PLAN, auth=READER).status_code == 403
    adopted(fleet, c1)
    assert fleet.http.post(f"/v1/servers/{WEB}/release", json={}, auth=READER).status_code == 403
    again = fleet.http.post(URL, json=PLAN)
    assert again.status_code == 409 and f"guest {WEB} is server web already" in again.text
    made = fleet.create("own", fleet.flavor("small", vcpus=1, hw_cpu_policy="dedicated"))
    c1.obey()
    answer = fleet.http.post(f"/v1/servers/{made}/release", json={})
    assert answer.status_code == 409 and "only an adopted guest can be released" in answer.text
    assert fleet.http.post(f"/v1/servers/{GuestId('0' * 8)}/release", json={}).status_code == 404
