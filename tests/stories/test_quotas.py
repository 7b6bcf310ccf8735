"""Quotas of projects, over HTTP: what is refused and what is shown. Creates at the same time are in `test_at_once`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.rig.client import server_body
from tests.rig.in_process import Fleet
from tests.stories.test_projects import Cloud


@pytest.fixture(scope="module")
def cloud(standing_fleet: Fleet) -> Iterator[Cloud]:
    standing_fleet.flavor("pinned", vcpus=1, hw_cpu_policy="dedicated")
    standing_fleet.flavor("isolated", vcpus=1, hw_cpu_policy="dedicated", hw_emulator_threads_policy="isolate")
    made = Cloud(standing_fleet)
    yield made
    made.http.close()


def limit(cloud: Cloud, project: str, *, status: int = 200, **limits: Any) -> Any:
    return cloud.ask("a-ops", "PUT", f"/os-quota-sets/{project}", {"quota_set": limits}, status=status)


def refused(cloud: Cloud, project: str, flavor: str = "pinned", **more: Any) -> str:
    said = cloud.ask(f"m-{project}", "POST", "/servers", {"server": server_body("vm", flavor, **more)}, status=403)
    return str(said["forbidden"]["message"])


def test_a_create_beyond_the_quota_is_403_in_novas_words_and_leaves_nothing(cloud: Cloud) -> None:
    limit(cloud, "red", instances=2, cores=5, ram=150)
    cloud.create("m-red", "one")
    assert refused(cloud, "red", min_count=2) == (
        "Quota exceeded for instances, ram: Requested 2, 128, but already used 1, 64 of 2, 150 instances, ram"
    )
    assert cloud.names("m-red") == {"one"}
    two = cloud.create("m-red", "two")
    assert refused(cloud, "red").startswith("Quota exceeded for instances, ram: Requested 1, 64, but already used 2, 128 of 2, 150")
    cloud.create("m-blue", "another project has no limit")
    limit(cloud, "red", ram=-1)
    cloud.ask("m-red", "DELETE", f"/servers/{two}", status=204)
    cloud.fleet.obey()
    cloud.create("m-red", "three")


def test_dedicated_pcpus_have_their_own_limit(cloud: Cloud) -> None:
    quota = "/v1/projects/teal/quota"
    changed = cloud.ask("a-ops", "PUT", quota, {"pcpus": 2}, status=200, root="")
    assert changed["limits"] == {"instances": -1, "cores": -1, "pcpus": 2, "memory_mib": -1}
    isolated = cloud.ask("m-teal", "POST", "/servers", {"server": server_body("a", "isolated")}, status=202)["server"]["id"]
    assert refused(cloud, "teal") == "Quota exceeded for pcpus: Requested 1, but already used 2 of 2 pcpus"
    cloud.ask("m-teal", "POST", "/servers", {"server": server_body("b", "tiny")}, status=202)
    used = cloud.ask("a-ops", "GET", quota, status=200, root="")["used"]
    assert used == {"instances": 2, "cores": 2, "pcpus": 2, "memory_mib": 128}
    cloud.ask("m-teal", "GET", quota, status=403, root="")
    cloud.ask("a-ops", "PUT", quota, {"pcpu": 2}, status=400, root="")
    cloud.ask("m-teal", "DELETE", f"/servers/{isolated}", status=204)


def test_a_quota_is_shown_to_its_project_and_changed_by_admins(cloud: Cloud) -> None:
    limit(cloud, "gold", instances=3, cores=4)
    cloud.create("m-gold", "one")
    shown = cloud.ask("r-gold", "GET", "/os-quota-sets/gold", status=200)["quota_set"]
    assert (shown["id"], shown["instances"], shown["cores"], shown["ram"]) == ("gold", 3, 4, -1)
    assert "fixed_ips" not in shown
    assert "fixed_ips" in cloud.ask("r-gold", "GET", "/os-quota-sets/gold", status=200, version="2.1")["quota_set"]
    detail = cloud.ask("m-gold", "GET", "/os-quota-sets/gold/detail", status=200)["quota_set"]
    assert detail["cores"] == {"limit": 4, "in_use": 1, "reserved": 0}
    limits = cloud.ask("m-gold", "GET", "/limits", status=200)["limits"]["absolute"]
    assert (limits["maxTotalInstances"], limits["maxTotalCores"], limits["maxTotalRAMSize"]) == (3, 4, -1)
    assert (limits["totalInstancesUsed"], limits["totalCoresUsed"], limits["totalRAMUsed"]) == (1, 1, 64)
    for path in ("/os-quota-sets/gold", "/os-quota-sets/gold/detail", "/limits?tenant_id=gold"):
        cloud.ask("m-lime", "GET", path, status=403)
        cloud.ask("a-ops", "GET", path, status=200)
    cloud.ask("m-gold", "PUT", "/os-quota-sets/gold", {"quota_set": {"cores": 100}}, status=403)
    cloud.ask("m-gold", "DELETE", "/os-quota-sets/gold", status=403)
    assert cloud.ask("m-gold", "GET", "/os-quota-sets/gold/defaults", status=200)["quota_set"]["cores"] == -1
    cloud.ask("a-ops", "DELETE", "/os-quota-sets/gold", status=202)
    assert cloud.ask("m-gold", "GET", "/os-quota-sets/gold", status=200)["quota_set"]["cores"] == -1


def test_what_a_quota_cannot_be_is_refused(cloud: Cloud) -> None:
    cloud.create("m-navy", "one")
    said = limit(cloud, "navy", instances=0, status=400)
    assert "Quota limit 0 for instances must be greater than or equal to already used and reserved 1." in str(said)
    limit(cloud, "navy", instances=0, force=True)
    assert refused(cloud, "navy").startswith("Quota exceeded for instances: Requested 1, but already used 1 of 0 instances")
    for wrong in ({"cores": -2}, {"cores": "many"}, {"cores": 1 << 31}, {"volumes": 1}):
        limit(cloud, "navy", status=400, **wrong)
    limit(cloud, "navy", status=501, key_pairs=7)
    limit(cloud, "navy", key_pairs=100)
    cloud.ask("a-ops", "GET", "/os-quota-sets/navy/detail?user_id=ben", status=501)
    cloud.ask("a-ops", "PUT", "/os-quota-sets/navy?user_id=ben", {"quota_set": {}}, status=501)


def test_a_user_has_the_quota_of_the_project(cloud: Cloud) -> None:
    limit(cloud, "olive", cores=6)
    of_project, of_user = (cloud.ask("m-olive", "GET", f"/os-quota-sets/olive{user}", status=200) for user in ("", "?user_id=ben"))
    assert of_user == of_project
    assert of_user["quota_set"]["cores"] == 6
    cloud.ask("m-lime", "GET", "/os-quota-sets/olive?user_id=ben", status=403)


def test_the_network_quota_counts_ports_and_is_reset_by_admins_without_effect(cloud: Cloud) -> None:
    shown = cloud.ask("m-red", "GET", "/quotas/red/details", status=200, root="/network/v2.0")["quota"]
    assert (shown["port"], shown["network"]) == ({"limit": -1, "used": 0, "reserved": 0}, {"limit": 0, "used": 0, "reserved": 0})
    for method, path in (("GET", "/quotas/red/details"), ("DELETE", "/quotas/blue")):
        assert "it needs the role admin" in str(cloud.ask("m-blue", method, path, status=403, root="/network/v2.0"))
    cloud.ask("a-ops", "DELETE", "/quotas/red", status=204, root="/network/v2.0")
