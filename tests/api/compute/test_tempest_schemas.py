"""Every Compute response, at every microversion with a different form, is valid by tempest's schemas, headers included."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import httpx
import pytest
from msgspec.structs import replace
from tempest.lib.common import api_version_request, rest_client
from tests.rig.client import server_body
from tests.rig.databases import placement_file, sqlite_file
from tests.rig.in_process import Fleet, open_fleet
from tests.stories.test_key_pairs import KEY
from tests.stories.test_networks import LAN, on
from tests.stories.test_pauses_and_locks import KNOWS_PAUSES

from pinfold.accounting.embedded import EmbeddedPlacement, load, unload

__all__ = ["placement_file", "sqlite_file"]

_VERSIONS = (
    *("2.1", "2.3", "2.9", "2.11", "2.16", "2.19", "2.26", "2.28", "2.33", "2.41", "2.47", "2.53", "2.55", "2.61", "2.63", "2.71"),
    *("2.73", "2.74", "2.75", "2.88", "2.89", "2.90", "2.96"),
)
_NOUNS = {
    "servers": ("servers_client", "ServersClient"),
    "flavors": ("flavors_client", "FlavorsClient"),
    "hypervisors": ("hypervisor_client", "HypervisorClient"),
    "services": ("services_client", "ServicesClient"),
    "aggregates": ("aggregates_client", "AggregatesClient"),
    "availability_zone": ("", ""),
    "flavors_extra_specs": ("", ""),
    "flavors_access": ("", ""),
    "limits": ("limits_client", "LimitsClient"),
    "keypairs": ("keypairs_client", "KeyPairsClient"),
    "versions": ("", ""),
    "hosts": ("", ""),
    "images": ("", ""),
    "tenant_networks": ("", ""),
}
_REQUEST_ID = re.compile(r"req-[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")


@cache
def _schema(noun: str, version: str, name: str) -> Any:
    """The schema that tempest's client of the noun takes at that microversion."""
    module, client = _NOUNS[noun]
    oldest = found = import_module(f"tempest.lib.api_schema.response.compute.v2_1.{noun}")
    if module:
        infos = getattr(import_module(f"tempest.lib.services.compute.{module}"), client).schema_versions_info
        asked = api_version_request.APIVersionRequest(version)
        for info in infos:
            least, most = (api_version_request.APIVersionRequest(info[key]) for key in ("min", "max"))
            if asked.matches(least, most):
                found = info["schema"]
    return getattr(found, name) if hasattr(found, name) else getattr(oldest, name)


@dataclass
class Standing:
    """A fleet with a server of each kind, shared by the module's tests."""

    fleet: Fleet
    servers: dict[str, str]

    def check(self, version: str, noun: str, schema: str, method: str, path: str, body: Any = None) -> Any:
        """The parsed response to one call, after checking tempest's schema and the headers."""
        answer = self.fleet.ask(method, path, body, version=version)
        parsed = answer.json() if answer.content else None
        assert answer.is_success, f"{method} {path} at {version}: {answer.text}"
        rest_client.RestClient.validate_response(_schema(noun, version, schema), _Seen(answer), parsed)
        check_headers(answer, version)
        return parsed


class _Seen(dict[str, str]):
    """A response in the form that tempest expects."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__(answer.headers)
        self.status = answer.status_code


def check_headers(answer: httpx.Response, version: str) -> None:
    """Check the headers that every Compute response must have."""
    assert answer.headers["x-openstack-nova-api-version"] == version
    assert answer.headers["openstack-api-version"] == f"compute {version}"
    assert {"openstack-api-version", "x-openstack-nova-api-version"} <= set(re.split(r", *", answer.headers["vary"].lower()))
    assert _REQUEST_ID.fullmatch(answer.headers["x-openstack-request-id"])


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory, sqlite_file: Any, placement_file: Any) -> Iterator[Standing]:
    """Two hosts, one of them down, and servers that are building, active, stopped, in error, unknown and with an image."""
    folder = tmp_path_factory.mktemp("standing")
    shutil.copy(placement_file, folder / "placement.db")
    with open_fleet(folder, sqlite_file, load(EmbeddedPlacement(url=f"sqlite:///{folder}/placement.db"))) as fleet:
        fleet.host("c1", replace(KNOWS_PAUSES, networks=(LAN,))), fleet.host("c2")
        zone = fleet.ask("POST", "/os-aggregates", {"aggregate": {"name": "q", "availability_zone": "az1"}}).json()["aggregate"]
        fleet.ask("POST", f"/os-aggregates/{zone['id']}/action", {"add_host": {"host": "c1"}}, status=200)
        fleet.flavor("pin", vcpus=1, hw_cpu_policy="dedicated", hw_emulator_threads_policy="share")
        fleet.flavor("huge", vcpus=64, hw_cpu_policy="dedicated")
        image = fleet.http.get("/image/v2/images").json()["images"][0]["id"]
        details = {"metadata": {"a": "b"}, "tags": ["x"], "description": "d", "networks": [on("lan")]}
        servers = {
            "active": fleet.create("active", "pin", host="c1", imageRef=image, **details),
            "stopped": fleet.create("stopped", "pin", host="c1"),
            "unknown": fleet.create("unknown", "pin", host="c2"),
            "error": fleet.create("error", "huge"),
        }
        fleet.obey()
        fleet.ask("POST", f"/servers/{servers['stopped']}/action", {"os-stop": None}, status=202)
        fleet.obey()
        servers["building"] = fleet.create("building", "pin", availability_zone="az1")
        fleet.agents["c2"].ask("DELETE", "/host")
        statuses = {name: fleet.status(server) for name, server in servers.items()}
        assert statuses == {"active": "ACTIVE", "stopped": "SHUTOFF", "unknown": "UNKNOWN", "error": "ERROR", "building": "BUILD"}
        yield Standing(fleet=fleet, servers=servers)
    unload()


@pytest.mark.parametrize("version", _VERSIONS)
def test_servers(standing: Standing, version: str) -> None:
    standing.check(version, "servers", "list_servers", "GET", "/servers?limit=2")
    listed = standing.check(version, "servers", "list_servers_detail", "GET", "/servers/detail")["servers"]
    assert len(listed) == len(standing.servers)
    for server in standing.servers.values():
        standing.check(version, "servers", "get_server", "GET", f"/servers/{server}")
    active = standing.servers["active"]
    change = {"server": {"name": f"n{version}"}}
    changed = standing.check(version, "servers", "update_server", "PUT", f"/servers/{active}", change)["server"]
    assert changed["name"] == f"n{version}"
    again = {"rebuild": {"imageRef": changed["image"]["id"], "adminPass": "Secret-1"}}
    rebuilt = standing.check(version, "servers", "rebuild_server_with_admin_pass", "POST", f"/servers/{active}/action", again)["server"]
    assert [len(one["addresses"]["lan"]) for one in (changed, rebuilt)] == [1, 1]
    standing.fleet.agents["c1"].obey()
    metadata = f"/servers/{active}/metadata"
    standing.check(version, "servers", "list_server_metadata", "GET", metadata)
    standing.check(version, "servers", "set_server_metadata", "PUT", metadata, {"metadata": {"a": "1"}})
    standing.check(version, "servers", "update_server_metadata", "POST", metadata, {"metadata": {"c": "2"}})
    standing.check(version, "servers", "set_show_server_metadata_item", "PUT", f"{metadata}/d", {"meta": {"d": "3"}})
    standing.check(version, "servers", "set_show_server_metadata_item", "GET", f"{metadata}/d")
    standing.check(version, "servers", "delete_server_metadata_item", "DELETE", f"{metadata}/d")


@pytest.mark.parametrize("version", ["2.1", "2.37", "2.74", "2.96"])
def test_creating_and_deleting_servers(standing: Standing, version: str) -> None:
    body = server_body(f"made-{version}", "huge", **({} if version != "2.1" else {"networks": None}))
    made = standing.check(version, "servers", "create_server", "POST", "/servers", {"server": body})["server"]
    standing.check(version, "servers", "delete_server", "DELETE", f"/servers/{made['id']}")
    start = standing.fleet.ask("POST", f"/servers/{standing.servers['stopped']}/action", {"os-start": None}, version=version)
    rest_client.RestClient.validate_response(_schema("servers", version, "server_actions_common_schema"), _Seen(start), None)
    standing.fleet.agents["c1"].obey()
    stop = standing.fleet.ask("POST", f"/servers/{standing.servers['stopped']}/action", {"os-stop": None}, version=version)
    assert stop.status_code == 202
    standing.fleet.agents["c1"].obey()


@pytest.mark.parametrize("version", _VERSIONS)
def test_flavors(standing: Standing, version: str) -> None:
    new = {"flavor": {"name": f"f{version}", "id": f"f{version}", "ram": 64, "vcpus": 1, "disk": 1, "swap": 0}}
    standing.check(version, "flavors", "create_update_get_flavor_details", "POST", "/flavors", new)
    standing.check(version, "flavors", "create_update_get_flavor_details", "GET", "/flavors/pin")
    standing.check(version, "flavors", "list_flavors", "GET", "/flavors?limit=1")
    standing.check(version, "flavors", "list_flavors_details", "GET", "/flavors/detail?is_public=None")
    if float(version[2:]) >= 55:
        change = {"flavor": {"description": "quiet"}}
        standing.check(version, "flavors", "create_update_get_flavor_details", "PUT", f"/flavors/f{version}", change)
    specs = f"/flavors/f{version}/os-extra_specs"
    key, body = "set_get_flavor_extra_specs_key", {"hw:cpu_policy": "shared"}
    standing.check(version, "flavors_extra_specs", "set_get_flavor_extra_specs", "POST", specs, {"extra_specs": body})
    standing.check(version, "flavors_extra_specs", "set_get_flavor_extra_specs", "GET", specs)
    standing.check(version, "flavors_extra_specs", key, "PUT", f"{specs}/hw:cpu_policy", body)
    standing.check(version, "flavors_extra_specs", key, "GET", f"{specs}/hw:cpu_policy")
    standing.check(version, "flavors_extra_specs", "unset_flavor_extra_specs", "DELETE", f"{specs}/hw:cpu_policy")
    standing.check(version, "flavors", "delete_flavor", "DELETE", f"/flavors/f{version}")


@pytest.mark.parametrize("version", _VERSIONS)
def test_hypervisors_services_and_zones(standing: Standing, version: str) -> None:
    standing.check(version, "hypervisors", "list_search_hypervisors", "GET", "/os-hypervisors")
    if float(version[2:]) >= 53:
        standing.check(version, "hypervisors", "list_search_hypervisors", "GET", "/os-hypervisors?with_servers=true&limit=1")
    if float(version[2:]) < 88:
        c1 = standing.fleet.agents["c1"].id
        standing.check(version, "hypervisors", "list_hypervisors_detail", "GET", "/os-hypervisors/detail")
        standing.check(version, "hypervisors", "get_hypervisor", "GET", f"/os-hypervisors/{c1}")
        standing.check(version, "hypervisors", "get_hypervisor_uptime", "GET", f"/os-hypervisors/{c1}/uptime")
        standing.check(version, "hypervisors", "get_hypervisor_statistics", "GET", "/os-hypervisors/statistics")
    found = standing.check(version, "services", "list_services", "GET", "/os-services")["services"]
    assert {row["host"]: row["state"] for row in found} == {"c1": "up", "c2": "down"}
    assert {row["host"]: row["zone"] for row in found} == {"c1": "az1", "c2": "nova"}
    if float(version[2:]) >= 53:
        service = found[0]["id"]
        off = {"status": "disabled", "disabled_reason": "r"}
        standing.check(version, "services", "update_service", "PUT", f"/os-services/{service}", off)
        standing.check(version, "services", "update_service", "PUT", f"/os-services/{service}", {"status": "enabled"})
    else:
        named = {"host": "c1", "binary": "nova-compute"}
        standing.check(version, "services", "enable_disable_service", "PUT", "/os-services/disable", named)
        reason = {**named, "disabled_reason": "r"}
        standing.check(version, "services", "disable_log_reason", "PUT", "/os-services/disable-log-reason", reason)
        standing.check(version, "services", "enable_disable_service", "PUT", "/os-services/enable", named)
    standing.check(version, "availability_zone", "list_availability_zone_list", "GET", "/os-availability-zone")
    standing.check(version, "availability_zone", "list_availability_zone_list_detail", "GET", "/os-availability-zone/detail")


@pytest.mark.parametrize("version", ["2.1", "2.41", "2.96"])
def test_aggregates(standing: Standing, version: str) -> None:
    new = {"aggregate": {"name": f"a{version}"}}
    made = standing.check(version, "aggregates", "create_aggregate", "POST", "/os-aggregates", new)["aggregate"]
    path = f"/os-aggregates/{made['id']}"
    standing.check(version, "aggregates", "aggregate_add_remove_host", "POST", f"{path}/action", {"add_host": {"host": "c1"}})
    standing.check(version, "aggregates", "get_aggregate", "GET", path)
    standing.check(version, "aggregates", "list_aggregates", "GET", "/os-aggregates")
    metadata = {"set_metadata": {"metadata": {"k": "v"}}}
    standing.check(version, "aggregates", "aggregate_set_metadata", "POST", f"{path}/action", metadata)
    standing.check(version, "aggregates", "update_aggregate", "PUT", path, {"aggregate": {"name": f"b{version}"}})
    standing.check(version, "aggregates", "aggregate_add_remove_host", "POST", f"{path}/action", {"remove_host": {"host": "c1"}})
    standing.check(version, "aggregates", "delete_aggregate", "DELETE", path)


@pytest.mark.parametrize("version", ["2.1", "2.36", "2.39", "2.57", "2.96"])
def test_limits(standing: Standing, version: str) -> None:
    absolute = standing.check(version, "limits", "get_limit", "GET", "/limits?reserved=False")["limits"]["absolute"]
    servers = standing.fleet.ask("GET", "/servers/detail").json()["servers"]
    assert (absolute["maxTotalInstances"], absolute["maxTotalCores"], absolute["maxTotalRAMSize"]) == (-1, -1, -1)
    assert absolute["totalInstancesUsed"] == len(servers)
    assert absolute["totalCoresUsed"] == sum(server["flavor"]["vcpus"] for server in servers)
    assert absolute["totalRAMUsed"] == sum(server["flavor"]["ram"] for server in servers)


@pytest.mark.parametrize("version", ["2.1", "2.2", "2.10", "2.35", "2.92", "2.96"])
def test_key_pairs(standing: Standing, version: str) -> None:
    new = {"keypair": {"name": "k", "public_key": KEY}}
    standing.check(version, "keypairs", "create_keypair", "POST", "/os-keypairs", new)
    standing.check(version, "keypairs", "get_keypair", "GET", "/os-keypairs/k")
    standing.check(version, "keypairs", "list_keypairs", "GET", "/os-keypairs")
    standing.check(version, "keypairs", "delete_keypair", "DELETE", "/os-keypairs/k")
    if float(version[2:]) < 92:
        standing.check(version, "keypairs", "create_keypair", "POST", "/os-keypairs", {"keypair": {"name": "k"}})
        standing.check(version, "keypairs", "delete_keypair", "DELETE", "/os-keypairs/k")


@pytest.mark.parametrize("version", ["2.1", "2.35", "2.42"])
def test_earlier_routes_to_hosts(standing: Standing, version: str) -> None:
    hosts = standing.check(version, "hosts", "list_hosts", "GET", "/os-hosts")["hosts"]
    assert [(host["host_name"], host["zone"]) for host in hosts] == [("c1", "az1"), ("c2", "nova")]
    standing.check(version, "hosts", "get_host_detail", "GET", "/os-hosts/c1")


@pytest.mark.parametrize("version", ["2.1", "2.35"])
def test_earlier_routes_to_images_and_networks(standing: Standing, version: str) -> None:
    (image,) = standing.check(version, "images", "list_images", "GET", "/images")["images"]
    listed = standing.check(version, "images", "list_images_details", "GET", "/images/detail")["images"]
    assert [standing.check(version, "images", "get_image", "GET", f"/images/{image['id']}")["image"]] == listed
    standing.check(version, "images", "image_metadata", "GET", f"/images/{image['id']}/metadata")
    standing.check(version, "tenant_networks", "list_tenant_networks", "GET", "/os-tenant-networks")


def test_versions(standing: Standing) -> None:
    listed = standing.fleet.http.get("/compute/")
    rest_client.RestClient.validate_response(_schema("versions", "2.1", "list_versions"), _Seen(listed), listed.json())
    shown = standing.fleet.http.get("/compute/v2.1/")
    assert shown.json()["version"]["min_version"] == "2.1"
    assert shown.json()["version"]["version"] == "2.96"


def test_topology_is_there_from_2_78_on(standing: Standing) -> None:
    path = f"/servers/{standing.servers['active']}/topology"
    standing.fleet.ask("GET", path, version="2.77", status=404)
    answer = standing.fleet.ask("GET", path, version="2.78", status=200)
    node = answer.json()["nodes"][0]
    assert set(node) == {"memory_mb", "siblings", "vcpu_set", "host_node", "cpu_pinning"}
    check_headers(answer, "2.78")


_REFUSED = (
    ("GET", "/nothing", 404, "itemNotFound"),
    ("GET", "/servers/none", 404, "itemNotFound"),
    ("GET", "/servers/", 404, "itemNotFound"),
    ("GET", "/os-keypairs/none", 404, "itemNotFound"),
    ("POST", "/os-keypairs", 400, "badRequest"),
    ("GET", "/flavors/none", 404, "itemNotFound"),
    ("GET", "/flavors/pin/os-flavor-access", 404, "itemNotFound"),
    ("GET", "/os-hypervisors/none", 404, "itemNotFound"),
    ("GET", "/os-hypervisors/statistics", 404, "itemNotFound"),
    ("PUT", "/os-services/none", 404, "itemNotFound"),
    ("DELETE", "/os-services/none", 404, "itemNotFound"),
    ("GET", "/os-aggregates/999", 404, "itemNotFound"),
    ("GET", "/os-aggregates/x", 400, "badRequest"),
    ("PATCH", "/servers", 405, "badMethod"),
    ("DELETE", "/flavors", 405, "badMethod"),
    ("POST", "/servers", 400, "badRequest"),
)


def test_refusals_have_computes_form(standing: Standing) -> None:
    for method, path, status, word in _REFUSED:
        answer = standing.fleet.ask(method, path, {} if method in ("POST", "PUT") else None)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        assert set(answer.json()) == {word}
        assert answer.json()[word]["code"] == status
        assert answer.json()[word]["message"]
        check_headers(answer, "2.96")
    assert standing.fleet.ask("PATCH", "/servers").headers["allow"] == "GET, POST"


def test_microversions_that_cannot_be_served(standing: Standing) -> None:
    for asked, status, word in (
        ("2.97", 406, "computeFault"),
        ("3.0", 406, "computeFault"),
        ("x", 400, "badRequest"),
        ("2", 400, "badRequest"),
    ):
        answer = standing.fleet.ask("GET", "/servers", version=asked)
        assert answer.status_code == status
        assert set(answer.json()) == {word}
        assert "x-openstack-request-id" in answer.headers
    assert standing.fleet.ask("GET", "/servers", version="2.97").json()["computeFault"]["max_version"] == "2.96"
    legacy = standing.fleet.http.get("/compute/v2.1/flavors/pin", headers={"X-OpenStack-Nova-API-Version": "2.61"})
    assert legacy.json()["flavor"]["extra_specs"]["hw:cpu_policy"] == "dedicated"
