"""Where operators send servers: a host by name, availability zones made of aggregates, traits set on providers in Placement."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from tests.build.hosts import report
from tests.rig.client import compute, server_body
from tests.rig.in_process import Fleet

from pinfold.api.compute.links import ROOT
from pinfold.api.image.catalog import image_id
from pinfold.core import host_features
from pinfold.store.records import PROCESSOR_REFUSED


def _trait(fleet: Fleet, host: str, *traits: str) -> None:
    """Set traits on a provider in Placement as `openstack resource provider trait set` does."""
    headers = {"OpenStack-API-Version": "placement 1.39"}
    provider = fleet.agents[host].id
    for trait in traits:
        assert fleet.http.put(f"/placement/traits/{trait}", headers=headers).status_code in (201, 204)
    before = fleet.placement(f"/resource_providers/{provider}/traits")
    body = {"traits": sorted({*before["traits"], *traits}), "resource_provider_generation": before["resource_provider_generation"]}
    assert fleet.http.put(f"/placement/resource_providers/{provider}/traits", json=body, headers=headers).status_code == 200


def _host(fleet: Fleet, server: str) -> Any:
    return fleet.show(server)["OS-EXT-SRV-ATTR:host"]


@pytest.fixture
def three(fleet: Fleet) -> Fleet:
    """Three hosts and a flavor."""
    for name in ("c1", "c2", "c3"):
        fleet.host(name)
    fleet.flavor("pin", vcpus=2, hw_cpu_policy="dedicated")
    return fleet


@pytest.mark.parametrize("more", [{"host": "c2"}, {"hypervisor_hostname": "c2"}, {"availability_zone": "nova:c2"}])
def test_a_server_goes_to_the_host_that_it_names(three: Fleet, more: dict[str, str]) -> None:
    assert [_host(three, three.create(f"vm{index}", "pin", **more)) for index in range(3)] == ["c2"] * 3


def test_a_host_that_is_not_there_is_a_bad_request(three: Fleet) -> None:
    answer = three.ask("POST", "/servers", {"server": server_body("vm", "pin", host="c9")}, status=400)
    assert answer.json()["badRequest"]["message"] == "Compute host c9 could not be found."


def test_a_host_is_named_from_2_74_on(three: Fleet) -> None:
    answer = three.ask("POST", "/servers", {"server": server_body("vm", "pin", host="c2")}, version="2.73", status=400)
    assert "2.74" in answer.json()["badRequest"]["message"]


def test_an_aggregate_makes_an_availability_zone_and_is_one_in_placement(three: Fleet) -> None:
    body = {"aggregate": {"name": "quiet", "availability_zone": "az1"}}
    made = three.ask("POST", "/os-aggregates", body, status=200).json()["aggregate"]
    for host in ("c1", "c3"):
        three.ask("POST", f"/os-aggregates/{made['id']}/action", {"add_host": {"host": host}}, status=200)
    listed = three.placement(f"/resource_providers?member_of={made['uuid']}")["resource_providers"]
    assert sorted(row["name"] for row in listed) == ["c1", "c3"]

    servers = [three.create(f"vm{index}", "pin", availability_zone="az1") for index in range(4)]
    assert {_host(three, server) for server in servers} <= {"c1", "c3"}
    shown = three.show(servers[0])
    assert (shown["OS-EXT-AZ:availability_zone"], shown["pinned_availability_zone"]) == ("az1", "az1")
    three.ask("POST", "/servers", {"server": server_body("vm", "pin", availability_zone="az9")}, status=400)
    refused = three.show(three.create("vm", "pin", availability_zone="az1:c2"))
    assert (refused["status"], refused["OS-EXT-SRV-ATTR:host"]) == ("ERROR", None)

    services = {row["host"]: row["zone"] for row in three.ask("GET", "/os-services").json()["services"]}
    assert services == {"c1": "az1", "c2": "nova", "c3": "az1"}
    zones = three.ask("GET", "/os-availability-zone", status=200).json()["availabilityZoneInfo"]
    assert [(zone["zoneName"], zone["zoneState"]) for zone in zones] == [("az1", {"available": True}), ("nova", {"available": True})]

    three.ask("DELETE", f"/os-aggregates/{made['id']}", status=409)
    for host in ("c1", "c3"):
        three.ask("POST", f"/os-aggregates/{made['id']}/action", {"remove_host": {"host": host}}, status=200)
    three.ask("DELETE", f"/os-aggregates/{made['id']}", status=200)
    assert three.placement(f"/resource_providers?member_of={made['uuid']}")["resource_providers"] == []


def test_a_server_without_a_zone_tells_the_zone_of_its_host(three: Fleet) -> None:
    made = three.ask("POST", "/os-aggregates", {"aggregate": {"name": "q", "availability_zone": "az1"}}).json()["aggregate"]
    three.ask("POST", f"/os-aggregates/{made['id']}/action", {"add_host": {"host": "c1"}}, status=200)
    shown = three.show(three.create("vm", "pin", host="c1"))
    assert (shown["OS-EXT-AZ:availability_zone"], shown["pinned_availability_zone"]) == ("az1", None)


def test_traits_that_operators_set_in_placement_are_respected(three: Fleet) -> None:
    _trait(three, "c2", "CUSTOM_QUIET")
    three.flavor("quiet", vcpus=2, hw_cpu_policy="dedicated")
    three.ask("POST", "/flavors/quiet/os-extra_specs", {"extra_specs": {"trait:CUSTOM_QUIET": "required"}}, status=200)
    three.flavor("loud", vcpus=2, hw_cpu_policy="dedicated")
    three.ask("POST", "/flavors/loud/os-extra_specs", {"extra_specs": {"trait:CUSTOM_QUIET": "forbidden"}}, status=200)
    assert {_host(three, three.create(f"q{index}", "quiet")) for index in range(3)} == {"c2"}
    assert "c2" not in {_host(three, three.create(f"l{index}", "loud")) for index in range(4)}
    refused = three.show(three.create("vm", "quiet", host="c1"))
    assert refused["fault"]["message"] == "No host takes the guest: c1: the host lacks the trait CUSTOM_QUIET"
    assert three.agents["c2"].hello().status_code == 200
    assert "CUSTOM_QUIET" in three.placement(f"/resource_providers/{three.agents['c2'].id}/traits")["traits"]


def test_the_processor_of_a_hosts_guests_is_a_condition_of_flavors_and_images(fleet: Fleet) -> None:
    sse2, avx2 = "HW_CPU_X86_SSE2", "HW_CPU_X86_AVX2"
    for name, traits in (("c1", (sse2,)), ("c2", (avx2, sse2))):
        fleet.host(name, replace(report(), processor_traits=traits))
    fleet.flavor("plain", vcpus=1)
    for how in ("required", "forbidden"):
        fleet.flavor(how, vcpus=1)
        fleet.ask("POST", f"/flavors/{how}/os-extra_specs", {"extra_specs": {f"trait:{avx2}": how}}, status=200)
    slots = fleet.call("GET", "/v1/capacity?flavor=required").json()
    assert [host["flavors"][0]["slots"] > 0 for host in slots["hosts"]] == [False, True]
    (fleet.images / "fast.rom").write_bytes(b"\0" * 64)
    (fleet.images / "fast.toml").write_text(f'"trait:{avx2}" = "required"\n', encoding="ascii")
    assert {_host(fleet, fleet.create(f"r{index}", "required")) for index in range(2)} == {"c2"}
    assert {_host(fleet, fleet.create(f"f{index}", "forbidden")) for index in range(2)} == {"c1"}
    assert {_host(fleet, fleet.create(f"i{index}", "plain", imageRef=image_id("fast"))) for index in range(2)} == {"c2"}
    assert fleet.agents["c2"].hello(replace(report(), processor_traits=(sse2,))).status_code == 200, "with another cpu_mode"
    refused = fleet.show(fleet.create("vm", "required"))
    lacks = f"the host lacks the trait {avx2}"
    assert refused["fault"]["message"] == f"No host takes the guest: c1: {lacks}; c2: {lacks}"


def test_many_servers_at_once_have_numbers_and_one_reservation(three: Fleet) -> None:
    body = {"server": server_body("web", "pin", min_count=2, max_count=3, return_reservation_id=True)}
    reservation = three.ask("POST", "/servers", body, status=202).json()["reservation_id"]
    found = three.ask("GET", f"/servers/detail?reservation_id={reservation}", status=200).json()["servers"]
    assert sorted(server["name"] for server in found) == ["web-1", "web-2", "web-3"]
    assert {server["OS-EXT-SRV-ATTR:reservation_id"] for server in found} == {reservation}
    assert sorted(server["OS-EXT-SRV-ATTR:launch_index"] for server in found) == [0, 1, 2]
    three.obey()
    assert {three.status(server["id"]) for server in found} == {"ACTIVE"}
    answer = three.ask("POST", "/servers", {"server": server_body("web", "pin", min_count=3, max_count=2)}, status=400)
    assert answer.json()["badRequest"]["message"] == "min_count must be <= max_count"


def test_links_and_pages_lead_through_the_listing(three: Fleet) -> None:
    made = [three.create(f"vm{index}", "pin") for index in range(5)]
    path: str | None = f"{ROOT}/servers/detail?limit=2&name=vm"
    seen: list[str] = []
    while path:
        answer = three.http.get(path, headers=compute())
        assert answer.status_code == 200, answer.text
        seen += [server["id"] for server in answer.json()["servers"]]
        links = answer.json().get("servers_links", [])
        path = links[0]["href"] if links else None
    assert seen == made[::-1]
    assert three.http.get(three.show(made[0])["links"][0]["href"], headers=compute()).status_code == 200
    by_name = three.ask("GET", "/servers?sort_key=display_name&sort_dir=asc&limit=3").json()["servers"]
    assert [server["name"] for server in by_name] == ["vm0", "vm1", "vm2"]
    three.ask("GET", "/servers?marker=none", status=400)
    three.ask("GET", "/servers?limit=-1", status=400)


_QUERIES = {
    "name=a": 1,
    "status=BUILD": 2,
    "status=active": 0,
    "status=BUILD&status=ACTIVE": 2,
    "flavor=pin": 2,
    "flavor=other": 0,
    "image=x": 0,
    "host=c1": 1,
    "host=c9": 0,
    "changes-since=2020-01-01T00:00:00Z": 2,
    "changes-since=2100-01-01T00:00:00Z": 0,
    "changes-before=2020-01-01T00:00:00": 0,
    "deleted=true": 0,
    "all_tenants=1": 2,
    "ip=10.0.0.1": 0,
    "uuid=x": 0,
    "vm_state=building": 2,
    "task_state=spawning": 2,
    "power_state=1": 0,
    "limit=0": 0,
    "availability_zone=nova": 2,
}


def test_listings_are_narrowed(fleet: Fleet) -> None:
    fleet.host("c1"), fleet.host("c2")
    fleet.flavor("pin", vcpus=2, hw_cpu_policy="dedicated")
    for name, host in (("a", "c1"), ("b", "c2")):
        fleet.create(name, "pin", host=host)
    for query, count in _QUERIES.items():
        for noun in ("servers", "servers/detail"):
            found = fleet.ask("GET", f"/{noun}?{query}", status=200).json()["servers"]
            assert len(found) == count, query
    fleet.ask("GET", "/servers?colour=red", version="2.74", status=200)
    answer = fleet.ask("GET", "/servers?colour=red", version="2.75", status=400)
    assert "'colour'" in answer.json()["badRequest"]["message"]
    for query in ("sort_key=colour", "sort_dir=up", "limit=x", "changes-since=yesterday"):
        fleet.ask("GET", f"/servers?{query}", status=400)


@pytest.mark.parametrize("noun", ["servers", "servers/detail"])
def test_a_listing_of_changes_shows_deleted_servers_unless_it_says_otherwise(three: Fleet, noun: str) -> None:
    """As in Nova, so that who follows the changes sees what has gone."""
    three.create("kept", "pin")
    gone = three.create("gone", "pin")
    three.obey()
    three.ask("DELETE", f"/servers/{gone}", status=204)
    three.obey()
    since, before = "changes-since=2020-01-01T00:00:00Z", "changes-before=2200-01-01T00:00:00Z"
    for query, names in {
        "": ["kept"],
        since: ["gone", "kept"],
        before: ["gone", "kept"],
        f"{since}&{before}&limit=1": ["gone"],
        f"{since}&deleted=false": ["kept"],
        f"{since}&deleted=true": ["gone"],
        f"{before}&deleted=": ["kept"],
        f"{since}&sort_key=display_name&sort_dir=desc": ["kept", "gone"],
        f"{since}&status=DELETED": ["gone"],
        "changes-since=2200-01-01T00:00:00Z": [],
    }.items():
        assert [server["name"] for server in three.ask("GET", f"/{noun}?{query}", status=200).json()["servers"]] == names, query


def test_a_flavor_chooses_hosts_by_the_metadata_of_their_aggregates(three: Fleet) -> None:
    for name, host, disk in (("fast", "c1", "ssd,nvme"), ("slow", "c2", "hdd")):
        made = three.ask("POST", "/os-aggregates", {"aggregate": {"name": name}}, status=200).json()["aggregate"]
        three.ask("POST", f"/os-aggregates/{made['id']}/action", {"add_host": {"host": host}}, status=200)
        three.ask("POST", f"/os-aggregates/{made['id']}/action", {"set_metadata": {"metadata": {"disk": disk}}}, status=200)
    for flavor, key, asked in (
        ("quick", "aggregate_instance_extra_specs:disk", "<or> ssd <or> optane"),
        ("cheap", "disk", "hdd"),
        ("gold", "disk", "gold"),
    ):
        three.flavor(flavor, vcpus=1)
        three.ask("POST", f"/flavors/{flavor}/os-extra_specs", {"extra_specs": {key: asked}}, status=200)
    assert [_host(three, three.create(f"quick{index}", "quick")) for index in range(3)] == ["c1"] * 3
    assert _host(three, three.create("cheap", "cheap")) == "c2"
    fits = three.call("POST", "/v1/fits", {"flavor": "quick"}, status=200).json()
    assert [one["host"] for one in fits["candidates"]] == ["c1"]
    assert {one["host"]: one["reasons"][0]["sentence"] for one in fits["refusals"]} == dict.fromkeys(
        ("c2", "c3"), "the host is in no aggregate whose disk matches '<or> ssd <or> optane'"
    )
    assert fits["not_acted_upon"] == []
    refused = three.show(three.create("gold", "gold"))
    assert "c1: the host is in no aggregate whose disk is 'gold'" in refused["fault"]["message"]
    slots = three.call("GET", "/v1/capacity?flavor=quick").json()
    assert [host["flavors"][0]["slots"] > 0 for host in slots["hosts"]] == [True, False, False]


def test_hardware_goes_to_hosts_that_report_it_and_to_no_older_agent(fleet: Fleet) -> None:
    limited = (host_features.HARDWARE, host_features.CPU_CONTROLLER)
    for name, features in (("c1", ()), ("c2", (host_features.HARDWARE,)), ("c3", limited)):
        fleet.host(name, replace(report(), features=features))
    fleet.flavor("slow", vcpus=1)
    specs = {"quota:cpu_quota": "5000", "quota:cpu_period": "10000"}
    fleet.ask("POST", "/flavors/slow/os-extra_specs", {"extra_specs": specs}, status=200)
    made = fleet.create("vm", "slow")
    assert _host(fleet, made) == "c3", fleet.show(made).get("fault")
    assert fleet.agents["c3"].order(made)["request"]["hardware"]["cpu_quota_us"] == 5000
    refusals = fleet.call("POST", "/v1/fits", {"flavor": "slow"}, status=200).json()["refusals"]
    said = {one["host"]: [reason["sentence"] for reason in one["reasons"]] for one in refusals}
    old = "the host lacks an agent that gives guests the hardware that they ask for"
    assert said == {"c1": [old, "the host lacks the cpu controller of cgroups"], "c2": ["the host lacks the cpu controller of cgroups"]}


def test_secure_boot_and_tpm_go_to_hosts_that_report_them_and_a_rom_has_no_uefi(fleet: Fleet) -> None:
    tpm = host_features.tpm("2.0", "tpm-tis")
    plain = (host_features.HARDWARE, "the machine q35", host_features.UEFI_Q35)
    for name, features in (("c1", plain), ("c2", (*plain, tpm)), ("c3", (*plain, host_features.SECURE_BOOT, tpm))):
        fleet.host(name, replace(report(), features=features))
    fleet.flavor("secure", vcpus=1)
    specs = {"os:secure_boot": "required", "hw:tpm_version": "2.0"}
    fleet.ask("POST", "/flavors/secure/os-extra_specs", {"extra_specs": specs}, status=200)
    (fleet.images / "disk.raw").write_bytes(b"\0" * 512)
    for image in ("disk", "probe"):
        (fleet.images / f"{image}.toml").write_text('hw_firmware_type = "uefi"\nhw_machine_type = "q35"\n', encoding="ascii")
    made = fleet.create("vm", "secure", imageRef=image_id("disk"))
    assert _host(fleet, made) == "c3", fleet.show(made).get("fault")
    hardware = fleet.agents["c3"].order(made)["request"]["hardware"]
    assert (hardware["uefi"], hardware["secure_boot"], hardware["tpm"], hardware["tpm_model"]) == (True, "required", "2.0", "tpm-tis")
    refusals = fleet.call("POST", "/v1/fits", {"flavor": "secure", "image": "disk"}, status=200).json()["refusals"]
    said = {one["host"]: [reason["sentence"] for reason in one["reasons"]] for one in refusals}
    unsafe = "the host lacks UEFI firmware with secure boot"
    assert said == {"c1": [unsafe, "the host lacks an emulated TPM 2.0 with the model tpm-tis"], "c2": [unsafe]}
    refused = fleet.ask("POST", "/servers", {"server": server_body("vm", "secure")}, status=400)
    assert "probe is a ROM, which takes the place of the firmware" in refused.text


def test_a_template_goes_to_hosts_that_have_it_and_excludes_what_it_brings(fleet: Fleet) -> None:
    has = (host_features.HARDWARE, host_features.template("web"))
    for name, features in (("c1", (host_features.HARDWARE,)), ("c2", has)):
        fleet.host(name, replace(report(), features=features))
    fleet.flavor("webs", vcpus=1, **{"pinfold:template": "web"})
    made = fleet.create("vm", "webs", imageRef="", networks="auto")
    assert _host(fleet, made) == "c2", fleet.show(made).get("fault")
    order = fleet.agents["c2"].order(made)
    assert (order["image"], order["request"]["hardware"]["template"], order["ports"]) == ("", "web", [])
    refusals = fleet.call("POST", "/v1/fits", {"flavor": "webs"}, status=200).json()["refusals"]
    assert [reason["sentence"] for one in refusals for reason in one["reasons"]] == ["the host lacks the template web"]
    for more, said in (
        ({"imageRef": image_id("probe")}, "so the image probe would not be used"),
        ({"imageRef": "", "networks": [{"uuid": "x"}]}, "a template brings its interfaces, so networks must be none"),
        ({"imageRef": "", "user_data": "aGk="}, "a template brings its disks, so the server gets no config drive"),
    ):
        answer = fleet.ask("POST", "/servers", {"server": server_body("vm", "webs", **more)}, status=400)
        assert said in answer.text
    (fleet.images / "probe.toml").write_text('"pinfold:template" = "web"\n', encoding="ascii")
    assert _host(fleet, fleet.create("again", "webs")) == "c2"


def test_memory_is_shared_on_hosts_whose_agent_says_that_it_can_be(fleet: Fleet) -> None:
    for name, features in (("c1", (host_features.HARDWARE,)), ("c2", (host_features.HARDWARE, host_features.SHARED_MEMORY))):
        fleet.host(name, replace(report(), features=features))
    fleet.flavor("switch", vcpus=1)
    fleet.ask("POST", "/flavors/switch/os-extra_specs", {"extra_specs": {"pinfold:memory_access": "shared"}}, status=200)
    made = fleet.create("vm", "switch")
    assert _host(fleet, made) == "c2", fleet.show(made).get("fault")
    assert fleet.agents["c2"].order(made)["request"]["hardware"]["shared_memory"] is True
    (refused,) = fleet.call("POST", "/v1/fits", {"flavor": "switch"}, status=200).json()["refusals"]
    assert [reason["sentence"] for reason in refused["reasons"]] == ["the host lacks guest memory that other processes can share"]


def test_a_host_that_cannot_give_the_configured_processor_takes_no_server_until_it_can(fleet: Fleet) -> None:
    said = "this host cannot give new guests the processor EPYC: Host CPU does not provide required features: svm"
    agent = fleet.host("c1", replace(report(), facts=((PROCESSOR_REFUSED, said),)))
    fleet.flavor("tiny", vcpus=1)
    (refused,) = fleet.call("POST", "/v1/fits", {"flavor": "tiny"}, status=200).json()["refusals"]
    (reason,) = refused["reasons"]
    assert (reason["code"], reason["sentence"]) == ("processor", f"the configured processor cannot be had on the host: {said}")
    assert said in fleet.show(fleet.create("no", "tiny"))["fault"]["message"]
    (host,) = fleet.call("GET", "/v1/capacity?flavor=tiny", status=200).json()["hosts"]
    assert host["flavors"][0]["slots"] == 0
    agent.hello(report())
    assert _host(fleet, fleet.create("vm", "tiny")) == "c1"
