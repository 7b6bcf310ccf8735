"""Nova's earlier routes to hosts, images and networks answer what the later ones do, until Nova ended them. Others are empty, or describe
what is answered.
"""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator
from msgspec.structs import replace
from tests.build.hosts import report
from tests.rig.client import server_body
from tests.rig.in_process import Fleet

from pinfold.core.networks import HostNetwork, NetworkKind, StaticRange, network_id

STATIC = StaticRange(cidr="192.0.2.0/24", first="192.0.2.10", last="192.0.2.12", gateway="192.0.2.1", dns=("192.0.2.2",))
LAN = HostNetwork(name="lan", kind=NetworkKind.BRIDGE, source="br0", static=STATIC)
OUT = HostNetwork(name="out", kind=NetworkKind.USER)


def told(fleet: Fleet, method: str, path: str, body: object = None, *, status: int, minor: int = 35) -> str:
    """The message of a refusal."""
    (error,) = fleet.ask(method, path, body, version=f"2.{minor}", status=status).json().values()
    return str(error["message"])


def read(fleet: Fleet, path: str, minor: int = 35) -> Any:
    return fleet.ask("GET", path, version=f"2.{minor}", status=200).json()


def test_hosts_are_listed_with_their_zone_while_they_are_enabled(fleet: Fleet) -> None:
    fleet.host("c1"), fleet.host("c2")
    group = fleet.ask("POST", "/os-aggregates", {"aggregate": {"name": "q", "availability_zone": "az1"}}).json()["aggregate"]
    fleet.ask("POST", f"/os-aggregates/{group['id']}/action", {"add_host": {"host": "c2"}}, status=200)
    c1, c2 = ({"host_name": name, "service": "compute", "zone": zone} for name, zone in (("c1", "nova"), ("c2", "az1")))
    assert read(fleet, "/os-hosts", 42) == {"hosts": [c1, c2]}
    assert read(fleet, "/os-hosts?zone=") == {"hosts": [c1, c2]}
    assert read(fleet, "/os-hosts?zone=az1") == {"hosts": [c2]}
    assert read(fleet, "/os-hosts?zone=az2") == {"hosts": []}
    fleet.ask("PUT", f"/os-services/{fleet.agents['c1'].id}", {"status": "disabled"}, status=200)
    assert read(fleet, "/os-hosts") == {"hosts": [c2]}


def test_a_host_shows_what_it_has_and_what_each_project_has_of_it(fleet: Fleet) -> None:
    fleet.host("c1")
    fleet.create("vm", fleet.flavor("tiny", vcpus=2, ram=512, hw_cpu_policy="dedicated"))
    (server,) = fleet.ask("GET", "/servers/detail").json()["servers"]
    total, now, most, project = (each["resource"] for each in read(fleet, "/os-hosts/c1")["host"])
    (whole,) = read(fleet, "/os-hypervisors/detail")["hypervisors"]
    assert (total["project"], total["cpu"], total["memory_mb"]) == ("(total)", whole["vcpus"], whole["memory_mb"])
    assert (now["project"], now["cpu"], now["memory_mb"]) == ("(used_now)", whole["vcpus_used"], whole["memory_mb_used"])
    assert (most["project"], most["cpu"], most["memory_mb"]) == ("(used_max)", 2, 512)
    assert project == {**most, "project": server["tenant_id"]}
    assert {each["host"] for each in (total, now, most, project)} == {"c1"}


def test_no_host_is_changed_or_switched_off_there(fleet: Fleet) -> None:
    fleet.host("c1")
    assert "openstack compute service set --disable" in told(fleet, "PUT", "/os-hosts/c1", {"status": "disable"}, status=501)
    for action in ("startup", "shutdown", "reboot"):
        assert "starts, stops and reboots no hosts" in told(fleet, "GET", f"/os-hosts/c1/{action}", status=501)
        assert "c9" in told(fleet, "GET", f"/os-hosts/c9/{action}", status=404)
    assert "c9" in told(fleet, "GET", "/os-hosts/c9", status=404)
    assert "c9" in told(fleet, "PUT", "/os-hosts/c9", {"status": "enable"}, status=404)
    for body in ({}, {"status": "off"}, {"status": None, "maintenance_mode": None}, {"maintenance_mode": "on"}, {"power": "enable"}):
        assert told(fleet, "PUT", "/os-hosts/c1", body, status=400)
    assert "openstack hypervisor list" in told(fleet, "GET", "/os-hosts", status=404, minor=43)


def test_images_are_those_of_the_image_api(fleet: Fleet) -> None:
    (there,) = fleet.http.get("/image/v2/images").json()["images"]
    (brief,) = read(fleet, "/images")["images"]
    (full,) = read(fleet, "/images/detail")["images"]
    assert (brief["id"], brief["name"]) == (there["id"], there["name"])
    assert [link["rel"] for link in brief["links"]] == ["self", "bookmark", "alternate"]
    assert fleet.http.get(brief["links"][2]["href"]).json() == there
    assert (full["minDisk"], full["minRam"], full["status"]) == (there["min_disk"], there["min_ram"], "ACTIVE")
    assert (full["OS-EXT-IMG-SIZE:size"], full["updated"]) == (there["size"], there["updated_at"])
    assert read(fleet, f"/images/{there['id']}") == {"image": full}


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ("name=probe", True),
        ("name=other", False),
        ("status=ACTIVE", True),
        ("status=saving", False),
        ("minRam=0", True),
        ("minDisk=9", False),
        ("type=snapshot", False),
        ("server=7", False),
        ("property-os_distro=none", False),
        ("changes-since=2000-01-01T00:00:00Z", True),
        ("changes-since=2200-01-01T00:00:00Z", False),
        ("limit=0", False),
    ],
)
def test_a_listing_of_images_keeps_what_is_asked_for(fleet: Fleet, asked: str, kept: bool) -> None:
    assert len(read(fleet, f"/images/detail?{asked}")["images"]) == kept


def test_images_are_paged_and_show_their_properties(fleet: Fleet) -> None:
    folder = fleet.services.images
    (folder / "a.raw").write_bytes(bytes(64))
    (folder / "a.toml").write_text('os_distro = "debian"\nmin_ram = "64"\n')
    page = read(fleet, "/images?limit=1")
    (first,) = page["images"]
    assert first["name"] == "a"
    rest = fleet.http.get(page["images_links"][0]["href"], headers={"OpenStack-API-Version": "compute 2.35"}).json()["images"]
    assert [image["name"] for image in rest] == ["probe"]
    assert [image["id"] for image in read(fleet, "/images?property-os_distro=debian")["images"]] == [first["id"]]
    assert read(fleet, f"/images/{first['id']}/metadata", 38) == {"metadata": {"os_distro": "debian"}}
    assert read(fleet, f"/images/{first['id']}/metadata/os_distro") == {"meta": {"os_distro": "debian"}}
    assert "os_version" in told(fleet, "GET", f"/images/{first['id']}/metadata/os_version", status=404)


def test_images_of_the_operator_are_changed_nowhere_but_in_their_folder(fleet: Fleet) -> None:
    (image,) = read(fleet, "/images")["images"]
    change, item = {"metadata": {"a": "b"}}, {"meta": {"a": "b"}}
    for method, path, body, status, words in (
        ("DELETE", "", None, 403, "Image probe is the operator's"),
        ("POST", "/metadata", change, 501, "openstack image set"),
        ("PUT", "/metadata", change, 501, "openstack image set"),
        ("PUT", "/metadata/a", item, 501, "openstack image set"),
        ("DELETE", "/metadata/a", None, 501, "openstack image set"),
    ):
        assert words in told(fleet, method, f"/images/{image['id']}{path}", body, status=status)
        assert told(fleet, method, f"/images/none{path}", body, status=404) == "Image none could not be found."
    assert "openstack image list" in told(fleet, "GET", "/images", status=404, minor=36)
    assert "openstack image list" in told(fleet, "GET", f"/images/{image['id']}/metadata", status=404, minor=39)


def test_networks_are_those_of_the_network_api(fleet: Fleet) -> None:
    fleet.host("c1", replace(report(), networks=(LAN, OUT)))
    lan, out = read(fleet, "/os-networks")["networks"]
    assert (lan["id"], lan["label"], lan["cidr"], lan["netmask"]) == (network_id("lan"), "lan", "192.0.2.0/24", "255.255.255.0")
    assert (lan["broadcast"], lan["gateway"], lan["dns1"], lan["dns2"]) == ("192.0.2.255", "192.0.2.1", "192.0.2.2", None)
    assert {key: value for key, value in out.items() if value is not None} == {"id": network_id("out"), "label": "out"}
    assert read(fleet, f"/os-networks/{lan['id']}") == {"network": lan}
    named = [{key: each[key] for key in ("id", "label", "cidr")} for each in (lan, out)]
    assert read(fleet, "/os-tenant-networks") == {"networks": named}
    assert read(fleet, f"/os-tenant-networks/{out['id']}") == {"network": named[1]}
    for noun in ("os-networks", "os-tenant-networks"):
        assert told(fleet, "GET", f"/{noun}/lan", status=404) == "Network lan could not be found."
        assert "openstack network list" in told(fleet, "GET", f"/{noun}", status=404, minor=36)


def test_what_pinfold_never_has_is_empty(fleet: Fleet) -> None:
    fleet.host("c1")
    server = fleet.create("vm", fleet.flavor("tiny", vcpus=1))
    assert read(fleet, "/os-migrations?status=done", 96) == {"migrations": []}
    assert read(fleet, f"/servers/{server}/os-server-password", 96) == {"password": ""}
    fleet.ask("DELETE", f"/servers/{server}/os-server-password", status=204)
    assert told(fleet, "GET", "/servers/none/os-server-password", status=404)
    assert told(fleet, "DELETE", "/servers/none/os-server-password", status=404)


def test_a_security_group_is_one_that_does_not_exist(fleet: Fleet) -> None:
    fleet.host("c1"), fleet.flavor("tiny", vcpus=1)
    body = server_body("vm", "tiny", security_groups=[{"name": "web"}])
    assert "pinfold has none" in told(fleet, "POST", "/servers", {"server": body}, status=400, minor=96)


@pytest.mark.parametrize("noun", ["image", "images", "member", "members"])
def test_the_image_api_describes_its_answers(fleet: Fleet, noun: str) -> None:
    schema = fleet.http.get(f"/image/v2/schemas/{noun}").json()
    assert schema["name"] == noun
    Draft202012Validator.check_schema(schema)
    if not noun.startswith("member"):
        listed = fleet.http.get("/image/v2/images").json()
        assert listed["schema"] == "/v2/schemas/images"
        Draft202012Validator(schema).validate(listed if noun == "images" else listed["images"][0])
    answer = fleet.http.get("/image/v2/schemas/task")
    assert (answer.status_code, answer.json()["error"]["message"]) == (
        501,
        "There is no schema of task here; there are those of image, images, member and members.",
    )
