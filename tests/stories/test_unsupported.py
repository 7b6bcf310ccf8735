"""What of Nova's API pinfold does not have answers with a sentence, over HTTP, at every microversion."""

from __future__ import annotations

import re

import pytest
from tests.api.compute.test_unsupported import nova_actions
from tests.rig.in_process import Fleet

from pinfold.api.compute.servers.unsupported_actions import UNSUPPORTED_ACTIONS
from pinfold.api.compute.unsupported import UNSUPPORTED, Unsupported


def said(fleet: Fleet, entry: Unsupported, method: str, path: str, body: object, minor: int) -> int:
    answer = fleet.http.request(
        method, f"/compute/v2.1{path}", json=body, headers={"OpenStack-API-Version": f"compute 2.{minor}"} | _json(method)
    )
    (error,) = answer.json().values()
    assert error["code"] == answer.status_code
    assert entry.sentence in error["message"], f"{method} {path} at 2.{minor}: {error}"
    return answer.status_code


def _json(method: str) -> dict[str, str]:
    return {} if method in ("GET", "DELETE") else {"Content-Type": "application/json"}


def due(entry: Unsupported, minor: int) -> int:
    if entry.gone:
        return 410
    since, until = entry.since.minor if entry.since else 1, entry.until.minor if entry.until else 999
    return 501 if since <= minor <= until else 404


@pytest.mark.parametrize("minor", [1, 35, 43, 96])
def test_every_missing_route_says_why_and_what_to_do(standing_fleet: Fleet, minor: int) -> None:
    wrong = []
    for method, path, entry in UNSUPPORTED:
        status = said(standing_fleet, entry, method, re.sub(r"\{\w+\}", "7", path), None if method in ("GET", "DELETE") else {}, minor)
        if status != due(entry, minor):
            wrong.append(f"{method} {path}: {status}")
    assert wrong == []


@pytest.mark.parametrize("minor", [1, 35, 43, 96])
def test_every_missing_action_says_why_and_what_to_do(standing_fleet: Fleet, minor: int) -> None:
    fleet = standing_fleet
    server = fleet.create("vm", fleet.flavor(f"tiny{minor}", vcpus=1))
    for action, entry in UNSUPPORTED_ACTIONS.items():
        assert said(fleet, entry, "POST", f"/servers/{server}/action", {action: None}, minor) == due(entry, minor), action
    assert fleet.ask("POST", f"/servers/{server}/action", {"dance": None}, status=400)


def test_every_action_of_nova_is_performed_or_says_why_not(standing_fleet: Fleet) -> None:
    fleet = standing_fleet
    flavor = fleet.flavor("smallest", vcpus=1)
    unknown = []
    for action in nova_actions().keys() - UNSUPPORTED_ACTIONS.keys():
        server = fleet.create(action, flavor)
        answer = fleet.http.post(f"/compute/v2.1/servers/{server}/action", json={action: None})
        if "There is no such action" in answer.text:
            unknown.append(action)
    assert unknown == []


def test_a_method_that_neither_pinfold_nor_nova_has_is_still_405(standing_fleet: Fleet) -> None:
    answer = standing_fleet.http.request("PATCH", "/compute/v2.1/os-keypairs", json={})
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")
