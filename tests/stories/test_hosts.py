"""Hosts that come, fall silent, are disabled, fenced and forgotten, and what becomes of the servers on them."""

from __future__ import annotations

import time

import pytest
import sqlalchemy as sa
from msgspec import structs
from tests.build.hosts import report
from tests.rig.in_process import Fleet
from tests.rig.promises import at_rest

from pinfold.core.host import Limits
from pinfold.service.healing import DELETED_SECONDS
from pinfold.store import guests
from pinfold.store.records import Observed
from pinfold.store.schema import guest


def _running(fleet: Fleet, name: str, flavor: str, host: str) -> str:
    server = fleet.create(name, flavor, host=host)
    fleet.agents[host].obey()
    assert fleet.status(server) == "ACTIVE"
    return server


def test_a_silent_host_has_unknown_servers_and_takes_no_others(fleet: Fleet) -> None:
    c1, _ = fleet.host("c1"), fleet.host("c2")
    flavor = fleet.flavor("pin", vcpus=2, hw_cpu_policy="dedicated")
    server = _running(fleet, "vm", flavor, "c1")

    assert c1.ask("DELETE", "/host").status_code == 204
    shown = fleet.show(server)
    assert (shown["status"], shown["OS-EXT-STS:power_state"], shown["host_status"]) == ("UNKNOWN", 0, "UNKNOWN")
    states = {row["host"]: row["state"] for row in fleet.ask("GET", "/os-services").json()["services"]}
    assert states == {"c1": "down", "c2": "up"}
    assert fleet.show(fleet.create("other", flavor))["OS-EXT-SRV-ATTR:host"] == "c2"
    refused = fleet.show(fleet.create("nowhere", flavor, host="c1"))
    assert refused["fault"]["message"] == "No host takes the guest: c1: the host is down"

    fleet.ask("DELETE", f"/servers/{server}", status=204)
    fleet.services.fleet.healer.tend()
    assert fleet.show(server)["OS-EXT-STS:task_state"] == "deleting"
    assert fleet.usage("c1")["PCPU"] == 2

    assert c1.ask("POST", "/heartbeat").status_code == 200
    c1.obey()
    fleet.ask("GET", f"/servers/{server}", status=404)
    assert fleet.usage("c1") == {}


def test_a_report_that_contradicts_itself_is_refused_and_harms_no_other_host(fleet: Fleet) -> None:
    sane, broken = fleet.host("c1"), fleet.host("c2")
    before = broken.reported
    cells = structs.replace(before.topology, cells=(*before.topology.cells, structs.replace(before.topology.cells[0], id=9)))
    for reported, said in (
        (structs.replace(before, topology=cells), "stands in two cores"),
        (structs.replace(before, limits=Limits(cpu_allocation_ratio=1e300)), "cpu_allocation_ratio is 1e+300"),
        (structs.replace(before, pools=structs.replace(before.pools, shared=before.pools.dedicated)), "in the dedicated pool"),
    ):
        answer = broken.hello(reported)
        assert answer.status_code == 400
        assert said in answer.json()["error"]["message"]
    flavor = fleet.flavor("pin", vcpus=2, hw_cpu_policy="dedicated")
    sane.obey()
    assert {fleet.show(fleet.create(f"vm{index}", flavor))["status"] for index in range(4)} == {"BUILD"}


def test_a_lease_that_runs_out_makes_its_host_down(fleet: Fleet) -> None:
    object.__setattr__(fleet.services, "lease_seconds", 0.3)
    fleet.host("c1")
    time.sleep(0.4)
    assert fleet.ask("GET", "/os-services").json()["services"][0]["state"] == "down"
    fleet.flavor("tiny", vcpus=1)
    assert "c1: the host is down" in fleet.show(fleet.create("vm", "tiny"))["fault"]["message"]


def test_a_fenced_host_gives_back_what_it_held_and_says_so_to_its_agent(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    flavor = fleet.flavor("pin", vcpus=2, hw_cpu_policy="dedicated")
    wanted, unwanted = _running(fleet, "wanted", flavor, "c1"), _running(fleet, "unwanted", flavor, "c1")
    revision = c1.order(wanted)["claim"]["revision"]
    fleet.ask("DELETE", f"/servers/{unwanted}", status=204)

    answer = fleet.http.post("/v1/hosts/c1/fence", json={"powered_off": True})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
    assert fleet.http.post("/v1/hosts/c1/fence", json={"powered_off": False}).status_code == 400
    assert fleet.usage("c1")["PCPU"] == 4

    c1.ask("DELETE", "/host")
    answer = fleet.http.post("/v1/hosts/c1/fence", json={"powered_off": True})
    assert answer.status_code == 200, answer.text
    assert answer.json()["lost"] == [wanted]
    assert fleet.usage("c1") == {}
    fleet.ask("GET", f"/servers/{unwanted}", status=404)
    shown = fleet.show(wanted)
    assert (shown["status"], shown["OS-EXT-SRV-ATTR:host"]) == ("ERROR", None)
    assert "c1 was fenced" in shown["fault"]["message"]
    at_rest(fleet.database, fleet.services.placement)

    c1.hello()
    orders = c1.orders()
    assert orders["orders"] == []
    assert {stone["guest"]: stone["revision"] >= revision for stone in orders["tombstones"]} == {wanted: True, unwanted: True}
    assert c1.says(wanted, Observed.RUNNING, boot=1, revision=revision).status_code == 204
    assert fleet.status(wanted) == "ERROR"
    fleet.ask("DELETE", f"/servers/{wanted}", status=204)
    fleet.ask("GET", f"/servers/{wanted}", status=404)


def test_a_server_that_is_long_gone_is_forgotten(fleet: Fleet) -> None:
    flavor = fleet.flavor("pin", vcpus=2, hw_cpu_policy="dedicated")
    old, new = fleet.create("old", flavor), fleet.create("new", flavor)
    for server in (old, new):
        fleet.ask("DELETE", f"/servers/{server}", status=204)
    with fleet.database.write() as connection:
        connection.execute(sa.update(guest).where(guest.c.id == old).values(deleted=guest.c.deleted - DELETED_SECONDS - 1))
    fleet.services.fleet.healer.tend()
    with fleet.database.read() as connection:
        assert guests.find(connection, old) is None
        assert guests.find(connection, new) is not None


def test_a_disabled_service_takes_no_new_servers_and_keeps_its_own(fleet: Fleet) -> None:
    fleet.host("c1")
    flavor = fleet.flavor("pin", vcpus=2, hw_cpu_policy="dedicated")
    server = _running(fleet, "vm", flavor, "c1")
    service = fleet.ask("GET", "/os-services").json()["services"][0]["id"]
    body = {"status": "disabled", "disabled_reason": "new kernel"}
    shown = fleet.ask("PUT", f"/os-services/{service}", body, status=200).json()["service"]
    assert (shown["status"], shown["disabled_reason"]) == ("disabled", "new kernel")
    assert fleet.status(server) == "ACTIVE"
    refused = fleet.show(fleet.create("nowhere", flavor))
    assert refused["fault"]["message"] == "No host takes the guest: c1: the host is disabled: new kernel"
    fleet.ask("PUT", f"/os-services/{service}", {"status": "enabled"}, status=200)
    assert fleet.show(fleet.create("there", flavor))["OS-EXT-SRV-ATTR:host"] == "c1"


def test_a_host_that_is_used_is_not_forgotten_and_one_that_is_not_leaves_nothing(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    flavor = fleet.flavor("pin", vcpus=2, hw_cpu_policy="dedicated")
    server = _running(fleet, "vm", flavor, "c1")
    refused = fleet.http.delete(f"/v1/hosts/{c1.id}")
    assert (refused.status_code, refused.json()["error"]["message"]) == (409, "host c1 still has claims")
    fleet.ask("DELETE", f"/servers/{server}", status=204)
    c1.obey()
    group = fleet.ask("POST", "/os-aggregates", {"aggregate": {"name": "rack"}}, status=200).json()["aggregate"]["id"]
    fleet.ask("POST", f"/os-aggregates/{group}/action", {"add_host": {"host": "c1"}}, status=200)
    refused = fleet.http.delete("/v1/hosts/c1")
    assert (refused.status_code, refused.json()["error"]["message"]) == (409, "host c1 is still named by guests or aggregates")
    fleet.ask("POST", f"/os-aggregates/{group}/action", {"remove_host": {"host": "c1"}}, status=200)
    assert fleet.http.delete("/v1/hosts/c1").status_code == 204
    assert fleet.placement("/resource_providers")["resource_providers"] == []
    assert fleet.ask("GET", "/os-hypervisors").json()["hypervisors"] == []
    assert c1.ask("POST", "/heartbeat").status_code == 401


def test_a_report_with_other_pools_bumps_the_revision_and_reaches_placement(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    before = c1.hello().json()["revision"]
    assert c1.hello().json()["revision"] == before
    assert c1.hello(report(shared="0-3")).json()["revision"] == before + 1
    totals = fleet.placement(f"/resource_providers/{c1.id}/inventories")["inventories"]
    assert totals["PCPU"]["total"] == 12
    answer = c1.hello(name="c2")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")


def test_what_a_dead_process_left_half_way_is_not_placed_while_every_host_is_down(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    server = fleet.create("vm", fleet.flavor("pin", vcpus=2, hw_cpu_policy="dedicated"))
    fleet.services.fleet.releaser.release(server, bury=False)
    with fleet.database.write() as connection:
        connection.execute(sa.update(guest).values(task="scheduling", host=None, updated=0.0))
    c1.ask("DELETE", "/host")
    fleet.services.fleet.healer.tend()
    assert fleet.status(server) == "BUILD"
    c1.hello()
    fleet.services.fleet.healer.tend()
    assert fleet.show(server)["OS-EXT-SRV-ATTR:host"] == "c1"
    at_rest(fleet.database, fleet.services.placement)


def test_a_hypervisor_shows_its_version_and_for_how_long_it_is_up(fleet: Fleet) -> None:
    booted = str(int(time.time()) - 2 * 86400 - 3 * 3600 - 60)
    facts = (("booted", booted), ("hypervisor_version", "7002011"))
    fleet.host("c1", structs.replace(report(), facts=facts))
    fleet.host("lies", structs.replace(report(), facts=(("booted", "soon"), ("hypervisor_version", "٣"))))
    shown = {one["hypervisor_hostname"]: one for one in fleet.ask("GET", "/os-hypervisors/detail").json()["hypervisors"]}
    assert (shown["c1"]["hypervisor_version"], shown["c1"]["uptime"]) == (7002011, "up 2 days, 3:01")
    assert (shown["lies"]["hypervisor_version"], shown["lies"]["uptime"]) == (0, None)
    c1 = shown["c1"]["id"]
    assert fleet.ask("GET", f"/os-hypervisors/{c1}/uptime", version="2.53").json()["hypervisor"]["uptime"] == "up 2 days, 3:01"


def test_pools_are_ordered_by_the_api_and_reach_the_agent(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    used = fleet.http.get("/v1/hosts/c1/pools").json()
    assert (used["ordered"], used["refused"]) == (None, "")
    assert c1.orders()["pools"] is None
    before = c1.orders()["count"]
    wanted = {"shared": "0", "dedicated": "1-3", "overhead": None}
    answer = fleet.http.put("/v1/hosts/c1/pools", json=wanted)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["ordered"], answer.json()["used"]) == (wanted, used["used"])
    assert c1.orders()["pools"] == wanted
    assert c1.orders()["count"] > before
    assert fleet.http.delete("/v1/hosts/c1/pools").json()["ordered"] is None
    assert c1.orders()["pools"] is None


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"shared": "0-1", "dedicated": "1-3"}, "overlap in pCPU 1"),
        ({"shared": "0", "dedicated": "900"}, "cpu_dedicated_set names pCPU 900, which this host does not have"),
        ({"shared": "", "dedicated": "1"}, "cpu_shared_set is empty"),
        ({"shared": "x"}, "shared"),
        ({"shared": "0", "either": "1"}, "either"),
        ({"shared": 3}, "shared"),
    ],
)
def test_pools_that_a_host_cannot_have_are_refused(fleet: Fleet, body: dict[str, object], said: str) -> None:
    c1 = fleet.host("c1")
    answer = fleet.http.put("/v1/hosts/c1/pools", json=body)
    assert answer.status_code == 400, answer.text
    assert said in answer.json()["error"]["message"]
    assert c1.orders()["pools"] is None


@pytest.mark.parametrize("specs", [{"hw_cpu_policy": "dedicated"}, {"hw_cpu_policy": "dedicated", "hw_numa_nodes": "2"}, {}])
def test_a_server_is_refused_while_no_host_has_reported(fleet: Fleet, specs: dict[str, str]) -> None:
    flavor = fleet.flavor("early", vcpus=2, **specs)
    fleet.http.post("/v1/hosts", json={"name": "new"})
    assert fleet.show(fleet.create("vm", flavor))["fault"]["message"] == "No host takes the guest: new: the host is down"
    fleet.host("c1")
    assert fleet.show(fleet.create("vm", flavor))["OS-EXT-SRV-ATTR:host"] == "c1"


def test_no_pools_are_ordered_for_a_host_that_is_not_known_yet(fleet: Fleet) -> None:
    fleet.http.post("/v1/hosts", json={"name": "new"})
    answer = fleet.http.put("/v1/hosts/new/pools", json={"shared": "0"})
    assert answer.status_code == 409, answer.text
    assert "its agent has not reported its pCPUs" in answer.json()["error"]["message"]
    assert fleet.http.get("/v1/hosts/none/pools").status_code == 404
