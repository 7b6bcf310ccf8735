"""The service with a real Keystone: whose tokens open what, and what happens when Keystone is away. What members of a project may do is in
`tests/stories/test_projects.py`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.real.clients import shell
from tests.real.identity.conftest import Cloud
from tests.rig.client import COMPUTE, compute, server_body
from tests.rig.in_process import ADMIN

from pinfold.api.ui.token_cookies import TokenCookies

pytestmark = [pytest.mark.slow, pytest.mark.installs, pytest.mark.real_clients, pytest.mark.timeout(900)]


def refused(cloud: Cloud, token: str) -> httpx.Response:
    answer = httpx.get(f"{cloud.url}{COMPUTE}/servers", headers={"X-Auth-Token": token} | compute(), timeout=120)
    assert answer.status_code == 401, answer.text
    assert answer.headers["www-authenticate"] == f'Keystone uri="{cloud.keystone.url}"'
    return answer


def test_a_token_opens_the_servers_of_its_project_by_role(cloud: Cloud) -> None:
    mia, ben, rob, ada = (cloud.keystone.token(*who) for who in (("mia", "red"), ("ben", "blue"), ("rob", "red"), ("ada", "red")))
    red, blue = cloud.keystone.id_of("projects", "red"), cloud.keystone.id_of("projects", "blue")
    made = cloud.ask(mia, "POST", f"{COMPUTE}/servers", {"server": server_body("mias", "tiny")}, status=202)["server"]["id"]
    cloud.ask(ben, "POST", f"{COMPUTE}/servers", {"server": server_body("bens", "tiny")}, status=202)
    assert cloud.servers(mia) == cloud.servers(rob) == {"mias"} and cloud.servers(ben) == {"bens"}
    assert cloud.servers(ada, "?all_tenants=1") == {"mias", "bens"} and cloud.servers(ada) == {"mias"}
    assert cloud.servers(ada, f"?all_tenants=1&project_id={blue}") == {"bens"}
    shown = cloud.ask(rob, "GET", f"{COMPUTE}/servers/{made}", status=200)["server"]
    assert (shown["tenant_id"], shown["user_id"]) == (red, cloud.keystone.id_of("users", "mia"))
    cloud.ask(ben, "GET", f"{COMPUTE}/servers/{made}", status=404)
    cloud.ask(rob, "DELETE", f"{COMPUTE}/servers/{made}", status=403)
    for path in ("/v1/hosts", f"{COMPUTE}/os-hypervisors", "/placement/resource_providers"):
        cloud.ask(mia, "GET", path, status=403)
        cloud.ask(ada, "GET", path, status=200)
    for path in ("/image/v2/images", "/network/v2.0/ports"):
        cloud.ask(rob, "GET", path, status=200)
    cloud.ask(ada, "DELETE", f"{COMPUTE}/servers/{made}", status=204)


def test_tokens_that_are_wrong_expired_or_revoked_are_401(cloud: Cloud) -> None:
    for wrong in ("x", "gAAAAABnothing", "a" * 9000, "not a token"):
        refused(cloud, wrong)
    token = cloud.keystone.token("mia", "red")
    cloud.keystone.revoke(token)
    refused(cloud, token)
    refused(cloud, cloud.keystone.short_token("mia", "red"))


def test_a_token_without_a_project_or_a_role_is_403_and_says_which(cloud: Cloud) -> None:
    said = cloud.ask(cloud.keystone.token("mia", None), "GET", f"{COMPUTE}/servers", status=403)
    assert "The token is for no project" in str(said)
    said = cloud.ask(cloud.keystone.token("lou", "red"), "GET", f"{COMPUTE}/servers", status=403)
    assert "The user lou has none of the roles admin, member, reader in the project red." in str(said)


def openstack(cloud: Cloud, user: str, project: str, *lines: str) -> list[Any]:
    """Commands of the real client as a user types them, with nothing but Keystone's address, name and password."""
    given = cloud.keystone.variables(user, project) | {"OS_COMPUTE_API_VERSION": "2.96"}
    kept = {key: value for key, value in os.environ.items() if not key.startswith("OS_")} | {"HOME": str(cloud.folder), "COLUMNS": "200"}
    command = [sys.executable, str(Path(shell.__file__))]
    done = subprocess.run(command, input=json.dumps(lines), env=kept | given, capture_output=True, text=True, timeout=600, check=True)
    answers = json.loads(done.stdout)
    for line, (code, _, err) in zip(lines, answers, strict=True):
        assert code == 0, f"openstack {line}: {err}"
    return [json.loads(out) if out.startswith(("{", "[")) else out for _, out, _ in answers]


def test_the_real_client_finds_the_service_in_the_catalogue(cloud: Cloud) -> None:
    openstack(
        cloud,
        "admin",
        "admin",
        "service create --name pinfold compute",
        f"endpoint create --region RegionOne compute public {cloud.url}/compute/v2.1",
        "service create --name pinfold-image image",
        f"endpoint create --region RegionOne image public {cloud.url}/image",
        "service create --name pinfold-network network",
        f"endpoint create --region RegionOne network public {cloud.url}/network",
    )
    _, listed, shown, _, keys = openstack(
        cloud,
        "mia",
        "red",
        "server create --flavor tiny --image probe --no-network --wait web",
        "server list -f json",
        "server show web -f json",
        "server delete --wait web",
        "keypair list -f json",
    )
    assert ([row["Name"] for row in listed], shown["status"], keys) == (["web"], "ACTIVE", [])
    assert shown["project_id"] == cloud.keystone.id_of("projects", "red")
    _, quota, _ = openstack(
        cloud,
        "admin",
        "admin",
        "quota set --instances 5 blue",
        "quota show --compute blue -f json",
        "quota set --instances -1 blue",
    )
    assert {row["Resource"]: row["Limit"] for row in quota}["instances"] == 5
    (everything,) = openstack(cloud, "ada", "red", "server list --all-projects -f json")
    assert [row["Name"] for row in everything] == ["bens"]


def signed_in(cloud: Cloud, name: str, password: str, **more: str) -> httpx.Response:
    """What a browser gets that sends the form of the sign-in to Keystone."""
    typed = {"name": name, "password": password, "domain": "Default", "by": "keystone"} | more
    return httpx.post(f"{cloud.url}/ui/sign-in", data=typed, headers={"Origin": cloud.url}, timeout=120)


def test_the_web_page_signs_in_at_keystone(cloud: Cloud) -> None:
    done = signed_in(cloud, "ada", "ada")
    assert done.status_code == 303, done.text
    cookie = {"Cookie": done.headers["set-cookie"].partition(";")[0]}
    page = httpx.get(f"{cloud.url}/ui", headers=cookie, timeout=120)
    assert (page.status_code, "Signed in as ada" in page.text) == (200, True)
    token = TokenCookies(bytes(32)).opened(cookie["Cookie"].partition("=")[2])
    out = httpx.post(f"{cloud.url}/ui/sign-out", headers=cookie | {"Origin": cloud.url}, timeout=120)
    assert out.status_code == 303
    check = {"X-Auth-Token": cloud.keystone.token("admin", "admin"), "X-Subject-Token": token}
    assert cloud.keystone.http.get("/auth/tokens", headers=check).status_code == 404, "the token is revoked"
    assert signed_in(cloud, "sam", "sam", project="blue").status_code == 303
    for name, password, more, status, sentence in (
        ("ada", "wrong", {}, 401, "Keystone does not accept this name, password, project and domain."),
        ("ada", "ada", {"project": "blue"}, 401, "Keystone does not accept this name, password, project and domain."),
        ("ada", "ada", {"domain": "nowhere"}, 401, "Keystone does not accept this name, password, project and domain."),
        ("sam", "sam", {}, 401, "The user sam has several projects: name one of blue, red."),
        ("mia", "mia", {}, 403, "This page shows hosts, for which mia needs the role admin in the project, and has only member."),
        ("lou", "lou", {}, 403, "The user lou has none of the roles admin, member, reader in the project red."),
    ):
        refused = signed_in(cloud, name, password, **more)
        assert (refused.status_code, sentence in refused.text) == (status, True), refused.text
        assert "set-cookie" not in refused.headers


def test_with_keystone_away_tokens_are_503_and_accounts_stay_valid(cloud: Cloud) -> None:
    token = cloud.keystone.token("mia", "red")
    cloud.keystone.process.kill()
    cloud.keystone.process.wait()
    said = cloud.ask(token, "GET", f"{COMPUTE}/servers", status=503)
    sentence = f"Keystone at {cloud.keystone.url} cannot check tokens now; try again in a few seconds"
    assert said == {"serviceUnavailable": {"code": 503, "message": sentence}}
    away = signed_in(cloud, "ada", "ada")
    assert (away.status_code, f"Keystone at {cloud.keystone.url} does not answer; try again in a few seconds." in away.text) == (503, True)
    assert httpx.get(f"{cloud.url}/v1/hosts", auth=ADMIN, timeout=120).status_code == 200
