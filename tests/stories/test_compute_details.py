"""Answers of the Compute API that real clients and test suites rely on, each as Nova gives it."""

from __future__ import annotations

import pytest
from tests.rig.client import server_body
from tests.rig.in_process import Fleet


def names(fleet: Fleet, query: str) -> list[str]:
    return sorted(server["name"] for server in fleet.ask("GET", f"/servers/detail?{query}", status=200).json()["servers"])


def test_images_are_found_by_several_ids_at_once(fleet: Fleet) -> None:
    (fleet.images / "other.rom").write_bytes(b"\x00" * 64)
    every = fleet.http.get("/image/v2/images").json()["images"]
    assert len(every) == 2
    ids = [image["id"] for image in every]
    for wanted in (ids, ids[:1]):
        found = fleet.http.get("/image/v2/images", params={"id": f"in:{','.join(wanted)}"}).json()["images"]
        assert sorted(image["id"] for image in found) == sorted(wanted)
    assert len(fleet.http.get("/image/v2/images", params={"name": "in:probe,absent"}).json()["images"]) == 1


@pytest.mark.parametrize(("word", "public"), [("True", True), ("false", False), ("no", False), (True, True)])
def test_a_flavor_is_public_by_any_word_that_nova_takes_for_a_boolean(fleet: Fleet, word: object, public: bool) -> None:
    body = {"flavor": {"name": "f", "vcpus": 1, "ram": 64, "disk": 0, "os-flavor-access:is_public": word}}
    assert fleet.ask("POST", "/flavors", body, status=200).json()["flavor"]["os-flavor-access:is_public"] is public


def test_a_flavor_is_not_public_by_a_word_that_is_none(fleet: Fleet) -> None:
    fleet.ask(
        "POST", "/flavors", {"flavor": {"name": "f", "vcpus": 1, "ram": 64, "disk": 0, "os-flavor-access:is_public": "maybe"}}, status=400
    )


def test_a_flavor_is_given_to_projects_and_taken_back(fleet: Fleet) -> None:
    body = {"flavor": {"name": "f", "id": "f", "vcpus": 1, "ram": 64, "disk": 0, "os-flavor-access:is_public": False}}
    fleet.ask("POST", "/flavors", body, status=200)
    add, remove = {"addTenantAccess": {"tenant": "p1"}}, {"removeTenantAccess": {"tenant": "p1"}}
    given = [{"flavor_id": "f", "tenant_id": "p1"}]
    assert fleet.ask("POST", "/flavors/f/action", add, status=200).json()["flavor_access"] == given
    fleet.ask("POST", "/flavors/f/action", add, status=409)
    assert fleet.ask("GET", "/flavors/f/os-flavor-access", status=200).json()["flavor_access"] == given
    assert fleet.ask("POST", "/flavors/f/action", remove, status=200).json()["flavor_access"] == []
    fleet.ask("POST", "/flavors/f/action", remove, status=404)
    fleet.ask("POST", "/flavors/f/action", {"addTenantAccess": {"tenant": "a,b"}}, status=400)
    for body in ({}, {"addTenantAccess": None}, {"removeTenantAccess": None}, {**add, **remove}, {**add, "removeTenantAccess": None}):
        fleet.ask("POST", "/flavors/f/action", body, status=400)
    fleet.flavor("public")
    fleet.ask("POST", "/flavors/public/action", add, status=409)
    fleet.ask("POST", "/flavors/absent/action", add, status=404)


@pytest.mark.parametrize(
    "query", ["ip=10.0.0.1", "ip6=fe80", "key_name=mine", "locked=True", "config_drive=True", "user_id=nobody", "tags-any=red"]
)
def test_a_filter_that_no_server_meets_shows_none(fleet: Fleet, query: str) -> None:
    fleet.host("c1")
    fleet.create("vm", fleet.flavor("tiny", vcpus=1))
    assert names(fleet, query) == []


def test_filters_by_tags_and_by_what_is_not_set_show_what_meets_them(fleet: Fleet) -> None:
    fleet.host("c1")
    flavor = fleet.flavor("tiny", vcpus=1)
    fleet.create("plain", flavor)
    fleet.create("tagged", flavor, tags=["red", "blue"])
    assert names(fleet, "locked=False") == ["plain", "tagged"]
    assert names(fleet, "tags-any=red,green") == ["tagged"]
    assert names(fleet, "not-tags=red,blue") == ["plain"]
    assert names(fleet, "not-tags=red,green") == ["plain", "tagged"]
    assert names(fleet, "not-tags-any=red,green") == ["plain"]


def test_the_disk_configuration_comes_back_as_it_was_asked_for(fleet: Fleet) -> None:
    fleet.host("c1")
    flavor = fleet.flavor("tiny", vcpus=1)
    server = fleet.create("auto", flavor, **{"OS-DCF:diskConfig": "AUTO"})
    fleet.create("manual", flavor)
    assert fleet.show(server)["OS-DCF:diskConfig"] == "AUTO"
    assert names(fleet, "disk_config=AUTO") == ["auto"]
    fleet.ask("PUT", f"/servers/{server}", {"server": {"OS-DCF:diskConfig": "MANUAL"}}, status=200)
    assert fleet.show(server)["OS-DCF:diskConfig"] == "MANUAL"


@pytest.mark.parametrize("number", ["-1", "0", "99999999999999999999"])
def test_an_aggregate_that_cannot_be_is_not_found(fleet: Fleet, number: str) -> None:
    fleet.ask("GET", f"/os-aggregates/{number}", status=404)
    fleet.ask("DELETE", f"/os-aggregates/{number}", status=404)
    fleet.ask("POST", f"/os-aggregates/{number}/action", {"set_metadata": {"metadata": {"a": "b"}}}, status=404)


def test_more_metadata_than_a_server_may_have_is_forbidden(fleet: Fleet) -> None:
    fleet.host("c1")
    flavor = fleet.flavor("tiny", vcpus=1)
    most = {f"k{number}": "v" for number in range(128)}
    fleet.ask("POST", "/servers", {"server": server_body("vm", flavor, metadata=most | {"more": "v"})}, status=403)
    server = fleet.create("vm", flavor, metadata=most)
    fleet.ask("POST", f"/servers/{server}/metadata", {"metadata": {"more": "v"}}, status=403)
    fleet.ask("PUT", f"/servers/{server}/metadata", {"metadata": most | {"more": "v"}}, status=403)


def test_a_server_shows_the_addresses_that_its_owner_notes(fleet: Fleet) -> None:
    fleet.host("c1")
    server = fleet.create("vm", fleet.flavor("tiny", vcpus=1), accessIPv4="192.0.2.1", accessIPv6="2001:0db8:0::1")
    assert (fleet.show(server)["accessIPv4"], fleet.show(server)["accessIPv6"]) == ("192.0.2.1", "2001:db8::1")
    changed = fleet.ask("PUT", f"/servers/{server}", {"server": {"accessIPv4": "", "accessIPv6": "::2", "name": "other"}}, status=200)
    shown = changed.json()["server"]
    assert (shown["name"], shown["accessIPv4"], shown["accessIPv6"]) == ("other", "", "::2")
    refused = fleet.ask("PUT", f"/servers/{server}", {"server": {"accessIPv4": "::3"}}, status=400)
    assert "accessIPv4 '::3' is no IPv4 address" in refused.text


def test_hypervisors_are_searched_by_name_with_their_servers(fleet: Fleet) -> None:
    fleet.host("c1")
    fleet.host("d1")
    server = fleet.create("vm", fleet.flavor("tiny", vcpus=1), host="c1")
    found = fleet.ask("GET", "/os-hypervisors/c1/search", version="2.52", status=200).json()["hypervisors"]
    assert [one["hypervisor_hostname"] for one in found] == ["c1"]
    shown = fleet.ask("GET", "/os-hypervisors/1/servers", version="2.52", status=200).json()["hypervisors"]
    assert {one["hypervisor_hostname"]: [each["uuid"] for each in one.get("servers", [])] for one in shown} == {"c1": [server], "d1": []}
    fleet.ask("GET", "/os-hypervisors/absent/search", version="2.52", status=404)
    fleet.ask("GET", "/os-hypervisors/c1/servers", version="2.53", status=404)


def test_a_failed_start_on_the_only_host_does_not_say_that_there_is_none(fleet: Fleet) -> None:
    agent = fleet.host("c1")
    server = fleet.create("vm", fleet.flavor("tiny", vcpus=1))
    order = agent.order(server)
    assert agent.gone(server, order["claim"]["revision"], "no such image").status_code in (200, 204)
    fault = fleet.show(server)["fault"]["message"]
    assert "No host is registered" not in fault
    assert fault == "The one registered host may not take the guest; c1: the start failed: no such image"
