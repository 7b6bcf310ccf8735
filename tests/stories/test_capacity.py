"""How many more guests of each flavor fit: over HTTP by page, as metrics, and from the command line."""

from __future__ import annotations

import json
from typing import Any

from tests.build.hosts import report
from tests.rig.in_process import Fleet
from tests.stories.test_server_commands import Pinfold, pinfold

from pinfold.core.host import Limits, OverheadRates

__all__ = ["pinfold"]


def capacity(fleet: Fleet, query: str = "", status: int = 200) -> dict[str, Any]:
    answer = fleet.http.get(f"/v1/capacity{query}")
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


def slots(left: dict[str, Any]) -> dict[str, int]:
    return {each["flavor"]: each["slots"] for each in left["flavors"]}


def test_slots_are_counted_per_host_and_in_the_fleet_and_follow_what_is_placed(fleet: Fleet) -> None:
    fleet.host("c1"), fleet.host("c2")
    fleet.flavor("pin", vcpus=3, hw_cpu_policy="dedicated")
    fleet.flavor("wide", vcpus=8, hw_cpu_policy="dedicated", hw_numa_nodes="2")
    left = capacity(fleet)
    assert [(host["host"], host["free_pcpus"], slots(host)) for host in left["hosts"]] == [
        ("c1", 14, {"pin": 4, "wide": 1}),
        ("c2", 14, {"pin": 4, "wide": 1}),
    ]
    assert (left["fleet"]["hosts"], slots(left["fleet"])) == (2, {"pin": 8, "wide": 2})
    assert left["fleet"]["stranded"] == [{"cause": "pcpus", "pcpus": 4}]

    fleet.create("vm", "pin", host="c1")
    left = capacity(fleet)
    assert slots(left["hosts"][0]) == {"pin": 3, "wide": 0}
    assert slots(left["fleet"]) == {"pin": 7, "wide": 1}


def test_as_many_servers_as_there_are_slots_are_created_and_no_more(fleet: Fleet) -> None:
    fleet.host("c1")
    flavor = fleet.flavor("pin", vcpus=3, hw_cpu_policy="dedicated")
    for number in range(capacity(fleet)["fleet"]["flavors"][0]["slots"]):
        assert fleet.show(fleet.create(f"vm{number}", flavor))["status"] == "BUILD"
    assert slots(capacity(fleet)["fleet"]) == {"pin": 0}
    assert fleet.show(fleet.create("late", flavor))["status"] == "ERROR"


def test_a_host_that_takes_no_guests_has_no_slots(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    fleet.flavor("pin", vcpus=2, hw_cpu_policy="dedicated")
    assert c1.ask("DELETE", "/host").status_code == 204
    (host,) = capacity(fleet)["hosts"]
    assert (host["takes_guests"], slots(host), host["stranded"]) == (False, {"pin": 0}, [])


def test_the_overhead_pool_can_strand_pcpus(fleet: Fleet) -> None:
    fleet.host("c1", report(limits=Limits(reserved_memory_mib=0, rates=OverheadRates(guest=400))))
    fleet.flavor("share", vcpus=2, hw_cpu_policy="dedicated", hw_emulator_threads_policy="share")
    (host,) = capacity(fleet)["hosts"]
    assert (slots(host), host["stranded"]) == ({"share": 2}, [{"cause": "overhead", "pcpus": 10}])


def test_a_flavor_that_asks_for_a_trait_counts_only_on_the_hosts_that_have_it(fleet: Fleet) -> None:
    fleet.host("c1"), fleet.host("c2", report(threads=1))
    fleet.flavor("smt", vcpus=2, hw_cpu_policy="dedicated", trait_HW_CPU_HYPERTHREADING="required")
    assert [slots(host) for host in capacity(fleet)["hosts"]] == [{"smt": 7}, {"smt": 0}]


def test_hosts_come_by_page_and_the_fleet_is_whole_on_each(fleet: Fleet) -> None:
    for name in ("c1", "c2", "c3"):
        fleet.host(name)
    fleet.flavor("pin", vcpus=2, hw_cpu_policy="dedicated")
    seen, query = [], "?limit=2"
    while query:
        left = capacity(fleet, query)
        seen += [host["host"] for host in left["hosts"]]
        assert slots(left["fleet"]) == {"pin": 21}
        query = "".join("?" + link["href"].partition("?")[2] for link in left.get("hosts_links", ()))
    assert seen == ["c1", "c2", "c3"]
    assert "marker [c9] not found" in capacity(fleet, "?marker=c9", status=400)["error"]["message"]


def test_only_the_flavors_that_are_named_are_counted(fleet: Fleet) -> None:
    fleet.host("c1")
    for name in ("a", "b", "c"):
        fleet.flavor(name, vcpus=2, hw_cpu_policy="dedicated")
    assert slots(capacity(fleet, "?flavor=c&flavor=a")["fleet"]) == {"a": 7, "c": 7}
    assert capacity(fleet, "?flavor=d", status=400)["error"]["message"] == "there is no flavor 'd'"


def test_metrics_tell_free_slots_and_stranded_pcpus(fleet: Fleet) -> None:
    fleet.host("c1")
    fleet.flavor("pin", vcpus=3, hw_cpu_policy="dedicated")
    told = fleet.http.get("/metrics").text.splitlines()
    assert 'pinfold_free_slots{flavor="pin",host="c1"} 4.0' in told
    assert 'pinfold_stranded_cpus{cause="pcpus",host="c1"} 2.0' in told


def test_the_command_asks_the_service_about_all_its_hosts(fleet: Fleet, pinfold: Pinfold) -> None:
    status, out, _ = pinfold("host capacity --fleet")
    assert (status, out) == (0, "no hosts; `pinfold host add NAME` makes one known\n")
    fleet.host("c1"), fleet.host("c2")
    fleet.flavor("pin", vcpus=3, hw_cpu_policy="dedicated")
    status, out, err = pinfold("host capacity --fleet")
    assert (status, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0] == "2 hosts: 28 of 28 dedicated pCPUs free"
    assert lines[2] == "pin 8"
    assert "no flavor can use 4 free pCPUs: there are too few in one place for any guest" in lines
    assert "c1 yes 14 of 14 2 pcpus pin 4" in lines
    status, out, _ = pinfold("host capacity --fleet --flavor pin --json")
    assert [host["host"] for host in json.loads(out)["hosts"]] == ["c1", "c2"]
    assert pinfold("host capacity --fleet --flavor nobody")[0] == 2
