"""Servers belong to projects: what members, readers and admins of several projects see and change, over HTTP.

Who a token belongs to is given here; `tests/real/identity` asks a real Keystone.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from itertools import product
from typing import Any

import httpx
import pytest
from tests.rig.client import COMPUTE, PROBE, compute, server_body
from tests.rig.in_process import ADMIN, READER, Fleet, InProcess

from pinfold.api.accounts import Role
from pinfold.api.app import create_app
from pinfold.api.caller import Caller
from pinfold.core.errors import Unavailable

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJfkNV4OS33ImTXvorZr72q4v5XhVEQKfvqsxOEJ/XaR me@example"

ROLES = {"m": Role.MEMBER, "r": Role.READER, "a": Role.ADMIN}


class KnownTokens:
    """The token `m-red` is of a member of the project `red`, `r-red` of a reader, `a-red` of an admin.

    With `away`, as if the issuer did not answer.
    """

    challenge = 'Keystone uri="http://keystone.test/v3"'
    away = False

    async def caller(self, token: str, method: str, path: str) -> Caller | None:
        if self.away:
            raise Unavailable("Keystone at http://keystone.test does not answer")
        role, _, project = token.partition("-")
        if role not in ROLES:
            return None
        return Caller(user=f"id-{token}", name=token, project=project, role=ROLES[role], everywhere=role == "a")


class Cloud:
    """The application as callers with tokens ask it."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet, self.tokens = fleet, KnownTokens()
        services = dataclasses.replace(fleet.services, tokens=self.tokens)
        self.http = httpx.Client(transport=InProcess(create_app(services)), base_url="http://pinfold.test", timeout=None)

    def ask(self, token: str, method: str, path: str, body: Any = None, *, status: int, version: str = "2.96", root: str = COMPUTE) -> Any:
        answer = self.http.request(method, f"{root}{path}", json=body, headers={"X-Auth-Token": token} | compute(version))
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def create(self, token: str, name: str, **more: Any) -> str:
        return str(self.ask(token, "POST", "/servers", {"server": server_body(name, "pinned", **more)}, status=202)["server"]["id"])

    def names(self, token: str, query: str = "") -> set[str]:
        found = self.ask(token, "GET", f"/servers/detail{query}", status=200)["servers"]
        return {server["name"] for server in found}


@pytest.fixture(scope="module")
def standing_cloud(standing_fleet: Fleet) -> Iterator[Cloud]:
    standing_fleet.flavor("pinned", vcpus=1, hw_cpu_policy="dedicated")
    made = Cloud(standing_fleet)
    yield made
    made.http.close()


@pytest.fixture
def cloud(standing_cloud: Cloud) -> Iterator[Cloud]:
    """The application with one host and no servers. Every test has its own projects."""
    yield standing_cloud
    for server in standing_cloud.ask("a-", "GET", "/servers?all_tenants=1", status=200)["servers"]:
        standing_cloud.ask("a-", "DELETE", f"/servers/{server['id']}", status=204)
    standing_cloud.fleet.obey()


def test_the_project_of_basic_accounts_is_shown_to_those_who_see_its_servers(cloud: Cloud) -> None:
    for token, seen in (("m-red", False), ("r-red", False), ("a-red", True), ("m-pinfold", True)):
        listed = cloud.ask(token, "GET", "/projects", status=200, root="/identity/v3")["projects"]
        named = cloud.ask(token, "GET", "/projects?name=pinfold", status=200, root="/identity/v3")["projects"]
        assert [project["name"] for project in listed] == [project["id"] for project in named] == ["pinfold"] * seen, token
        assert cloud.ask(token, "GET", "/projects?name=red", status=200, root="/identity/v3")["projects"] == []
        cloud.ask(token, "GET", "/projects/pinfold", status=200 if seen else 404, root="/identity/v3")
        cloud.ask(token, "GET", "/projects/red", status=404, root="/identity/v3")


def test_accounts_are_users_for_those_who_see_everything(cloud: Cloud) -> None:
    for token, seen in (("m-pinfold", []), ("r-red", []), ("a-red", ["alice", "bob"])):
        listed = cloud.ask(token, "GET", "/users", status=200, root="/identity/v3")["users"]
        named = cloud.ask(token, "GET", "/users?name=bob", status=200, root="/identity/v3")["users"]
        assert [user["id"] for user in listed] == [user["name"] for user in listed] == seen, token
        assert [user["name"] for user in named] == seen[1:]
        cloud.ask(token, "GET", "/users/bob", status=200 if seen else 404, root="/identity/v3")
        cloud.ask(token, "GET", "/users/carol", status=404, root="/identity/v3")


def test_what_only_keystone_has_is_refused_in_a_sentence(cloud: Cloud) -> None:
    for asked in ("GET /roles", "GET /domains/default", "POST /auth/tokens", "PATCH /users/bob", "DELETE /projects/pinfold"):
        method, path = asked.split()
        said = cloud.ask("a-red", method, path, {}, status=501, root="/identity/v3")["error"]["message"]
        assert said.startswith(f"{path.split('/')[1]}: this is no Keystone. Its accounts are those of the accounts file")


def test_a_listing_has_the_servers_of_the_callers_project(cloud: Cloud) -> None:
    cloud.create("m-red", "red"), cloud.create("m-blue", "blue")
    basic = cloud.fleet.create("basic", "tiny")
    assert cloud.names("m-red") == cloud.names("r-red") == cloud.names("a-red") == {"red"}
    assert cloud.names("m-blue") == {"blue"}
    for query in ("?all_tenants=1", "?all_tenants", "?all_tenants=True"):
        assert cloud.names("a-red", query) >= {"red", "blue", "basic"}
    assert cloud.names("a-red", "?all_tenants=1&project_id=blue") == {"blue"}
    assert cloud.names("m-red", "?all_tenants=0") == {"red"}
    for token in ("m-red", "r-red"):
        said = cloud.ask(token, "GET", "/servers/detail?all_tenants=1", status=403)
        assert said["forbidden"]["message"].startswith("Policy doesn't allow os_compute_api:servers:detail:get_all_tenants")
    assert {server["name"] for server in cloud.fleet.ask("GET", "/servers", status=200).json()["servers"]} == {"basic"}
    assert cloud.ask("a-red", "GET", f"/servers/{basic}", status=200)["server"]["tenant_id"] == "pinfold"
    cloud.ask("m-red", "GET", f"/servers?marker={basic}", status=400)


def test_accounts_see_all_projects_when_they_ask_for_them(cloud: Cloud) -> None:
    red = cloud.create("m-pink", "red")
    for account in (ADMIN, READER):
        listed = cloud.fleet.http.get(f"{COMPUTE}/servers?all_tenants=1", auth=account).json()["servers"]
        assert red in [server["id"] for server in listed]
        assert red not in cloud.fleet.http.get(f"{COMPUTE}/servers", auth=account).text


def test_a_server_of_another_project_does_not_exist_for_a_member(cloud: Cloud) -> None:
    red = cloud.create("m-teal", "red", metadata={"a": "b"})
    cloud.fleet.agents["c1"].obey()
    reading = ("", "/metadata", "/metadata/a", "/tags", "/ips", "/os-interface", "/topology", "/os-instance-actions")
    for path in reading:
        cloud.ask("m-gold", "GET", f"/servers/{red}{path}", status=404)
        for token in ("m-teal", "r-teal", "a-teal"):
            cloud.ask(token, "GET", f"/servers/{red}{path}", status=200)
    (event,) = cloud.ask("m-teal", "GET", f"/servers/{red}/os-instance-actions", status=200)["instanceActions"]
    assert (event["user_id"], event["project_id"]) == ("id-m-teal", "teal")
    cloud.ask("m-gold", "GET", f"/servers/{red}/os-instance-actions/{event['request_id']}", status=404)
    changing: tuple[tuple[str, str, Any], ...] = (
        ("PUT", "", {"server": {"name": "stolen"}}),
        ("POST", "/metadata", {"metadata": {"c": "d"}}),
        ("PUT", "/tags/x", None),
        *(("POST", "/action", {action: None}) for action in ("os-stop", "lock", "unlock", "pause", "forceDelete")),
        ("POST", "/action", {"reboot": {"type": "HARD"}}),
        ("POST", "/action", {"os-resetState": {"state": "error"}}),
        ("DELETE", "", None),
    )
    for method, path, body in changing:
        cloud.ask("m-gold", method, f"/servers/{red}{path}", body, status=404)
        cloud.ask("r-teal", method, f"/servers/{red}{path}", body, status=403)
    assert cloud.ask("m-teal", "GET", f"/servers/{red}", status=200)["server"]["status"] == "ACTIVE"
    cloud.ask("m-teal", "POST", f"/servers/{red}/action", {"os-resetState": {"state": "error"}}, status=403)
    cloud.ask("a-teal", "POST", f"/servers/{red}/action", {"lock": None}, status=202)
    cloud.ask("m-teal", "DELETE", f"/servers/{red}", status=409)
    cloud.ask("a-teal", "POST", f"/servers/{red}/action", {"unlock": None}, status=202)
    cloud.ask("m-teal", "DELETE", f"/servers/{red}", status=204)


def test_members_see_no_hosts(cloud: Cloud) -> None:
    red = cloud.create("m-lime", "red")
    cloud.fleet.agents["c1"].obey()
    shown = cloud.ask("m-lime", "GET", f"/servers/{red}", status=200)["server"]
    assert not [key for key in shown if key.startswith("OS-EXT-SRV-ATTR:") and not key.endswith(":hostname")]
    assert "host_status" not in shown and not re.search(r"\bc1\b", str(shown)), "the name as a word: an id may have the letters"
    assert cloud.ask("a-lime", "GET", f"/servers/{red}", status=200)["server"]["OS-EXT-SRV-ATTR:host"] == "c1"
    (node,) = cloud.ask("m-lime", "GET", f"/servers/{red}/topology", status=200)["nodes"]
    assert "cpu_pinning" not in node and "cpu_pinning" in cloud.ask("a-lime", "GET", f"/servers/{red}/topology", status=200)["nodes"][0]
    assert cloud.names("m-lime", "?host=elsewhere") == {"red"} and cloud.names("a-lime", "?host=elsewhere") == set()
    body = {"server": server_body("there", "tiny", host="c1")}
    cloud.ask("m-lime", "POST", "/servers", body, status=403)
    cloud.ask("m-lime", "POST", "/servers", {"server": server_body("there", "tiny", availability_zone="nova:c1")}, status=403)
    big = cloud.fleet.flavor("big", vcpus=100, hw_cpu_policy="dedicated")
    failed = cloud.ask("m-lime", "POST", "/servers", {"server": server_body("big", big)}, status=202)["server"]["id"]
    assert cloud.ask("m-lime", "GET", f"/servers/{failed}", status=200)["server"]["fault"]["message"] == "No valid host was found."
    assert "c1" in cloud.ask("a-lime", "GET", f"/servers/{failed}", status=200)["server"]["fault"]["message"]


FOR_ADMINS = """
GET /v1/hosts
GET /v1/hosts/c1/map
POST /v1/hosts
POST /v1/fits
GET /metrics
GET /ui
GET /placement/resource_providers
GET /compute/v2.1/os-hypervisors
GET /compute/v2.1/os-services
GET /compute/v2.1/os-aggregates
GET /compute/v2.1/os-availability-zone/detail
GET /compute/v2.1/os-simple-tenant-usage
GET /compute/v2.1/os-simple-tenant-usage/elsewhere
GET /compute/v2.1/flavors/tiny/os-flavor-access
POST /compute/v2.1/flavors
DELETE /compute/v2.1/flavors/tiny
POST /compute/v2.1/os-aggregates
"""


def test_routes_of_operators_are_for_admins(cloud: Cloud) -> None:
    for token, line in product(("m-grey", "r-grey"), FOR_ADMINS.strip().splitlines()):
        method, path = line.split()
        said = cloud.ask(token, method, path, {} if method == "POST" else None, status=403, root="")
        assert "needs the role admin" in str(said), line


def test_private_flavors_exist_for_the_projects_that_have_them(cloud: Cloud) -> None:
    private = {"flavor": {"name": "own", "id": "own", "vcpus": 1, "ram": 64, "disk": 0, "os-flavor-access:is_public": False}}
    cloud.ask("a-cyan", "POST", "/flavors", private, status=200)
    cloud.ask("a-cyan", "POST", "/flavors/own/action", {"addTenantAccess": {"tenant": "cyan"}}, status=200)
    for token, status in (("m-cyan", 200), ("m-navy", 404), ("a-cyan", 200)):
        cloud.ask(token, "GET", "/flavors/own", status=status)
        cloud.ask(token, "GET", "/flavors/own/os-extra_specs", status=status)
    ids = {token: {row["id"] for row in cloud.ask(token, "GET", "/flavors", status=200)["flavors"]} for token in ("m-cyan", "m-navy")}
    assert ids["m-cyan"] - ids["m-navy"] == {"own"}
    cloud.ask("m-navy", "POST", "/servers", {"server": server_body("x", "own")}, status=400)
    cloud.ask("m-cyan", "POST", "/servers", {"server": server_body("x", "own")}, status=202)


def test_key_pairs_belong_to_the_user(cloud: Cloud) -> None:
    cloud.ask("m-plum", "POST", "/os-keypairs", {"keypair": {"name": "mine", "public_key": KEY}}, status=201)
    assert cloud.ask("m-rose", "GET", "/os-keypairs", status=200)["keypairs"] == []
    cloud.ask("m-rose", "GET", "/os-keypairs?user_id=id-m-plum", status=403)
    assert len(cloud.ask("a-plum", "GET", "/os-keypairs?user_id=id-m-plum", status=200)["keypairs"]) == 1
    cloud.ask("m-rose", "POST", "/servers", {"server": server_body("x", "tiny", key_name="mine")}, status=400)
    made = cloud.create("m-plum", "red", key_name="mine")
    assert cloud.ask("m-plum", "GET", f"/servers/{made}", status=200)["server"]["key_name"] == "mine"


def test_usage_and_limits_are_of_the_own_project(cloud: Cloud) -> None:
    cloud.create("m-ruby", "red"), cloud.create("m-jade", "blue")
    cloud.fleet.agents["c1"].obey()
    assert cloud.ask("m-ruby", "GET", "/limits", status=200)["limits"]["absolute"]["totalInstancesUsed"] == 1
    cloud.ask("m-ruby", "GET", "/os-simple-tenant-usage/ruby", status=200)
    assert cloud.ask("m-ruby", "GET", "/os-availability-zone", status=200)["availabilityZoneInfo"]
    assert cloud.ask("m-ruby", "GET", "/v2/images", status=200, root="/image")["images"][0]["id"] == PROBE


def test_wrong_tokens_are_401_and_an_issuer_that_is_away_is_503_with_one_sentence(cloud: Cloud) -> None:
    for headers in ({}, {"X-Auth-Token": "wrong"}):
        answer = cloud.http.get(f"{COMPUTE}/servers", headers=headers)
        assert answer.status_code == 401 and answer.headers["www-authenticate"] == KnownTokens.challenge
    assert cloud.http.get(f"{COMPUTE}/servers", auth=ADMIN).status_code == 200, "accounts stay valid beside Keystone"
    cloud.tokens.away = True
    answer = cloud.http.get(f"{COMPUTE}/servers", headers={"X-Auth-Token": "m-sand"})
    assert (answer.status_code, answer.json()) == (
        503,
        {"serviceUnavailable": {"code": 503, "message": "Keystone at http://keystone.test does not answer"}},
    )
    assert cloud.http.get(f"{COMPUTE}/servers", auth=ADMIN).status_code == 200
    assert cloud.http.get(f"{COMPUTE}/").status_code == 200, "version documents need no token"
    cloud.tokens.away = False


_ODD_PATHS = ("/v1//hosts", "/compute/v2.1//os-hypervisors", "/compute/v2.1/os-hypervisors/", "/%76%31/hosts", "//v1/hosts", "/V1/hosts")


def test_no_spelling_of_a_path_opens_a_route_of_operators(cloud: Cloud) -> None:
    for path in _ODD_PATHS:
        answer = cloud.http.get(path, headers={"X-Auth-Token": "m-onyx"})
        assert answer.status_code in (403, 404), f"{path}: {answer.text}"
