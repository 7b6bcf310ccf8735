"""Servers on networks that hosts offer: where they go, what their agent is told, and what the Network API shows."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from tests.build.hosts import report
from tests.rig.client import server_body
from tests.rig.in_process import Agent, Fleet

from pinfold.core.networks import HostNetwork, NetworkKind, StaticRange, network_id

STATIC = StaticRange(cidr="192.0.2.0/24", first="192.0.2.10", last="192.0.2.12", gateway="192.0.2.1", dns=("192.0.2.1",))
LAN = HostNetwork(name="lan", kind=NetworkKind.BRIDGE, source="br0", mtu=1400, static=STATIC)
OUT = HostNetwork(name="out", kind=NetworkKind.USER)


def host(fleet: Fleet, name: str, *networks: HostNetwork) -> Agent:
    return fleet.host(name, replace(report(), networks=networks))


def on(name: str, **more: str) -> dict[str, str]:
    return {"uuid": network_id(name), **more}


def shown(fleet: Fleet, path: str, status: int = 200) -> Any:
    return fleet.call("GET", f"/network/v2.0{path}", status=status).json()


def refused(fleet: Fleet, status: int, **more: Any) -> str:
    """The message of a create that is refused."""
    answer = fleet.ask("POST", "/servers", {"server": server_body("vm", "tiny", **more)}, status=status).json()
    (error,) = answer.values()
    return str(error["message"])


def test_a_server_goes_to_a_host_that_offers_its_network_and_its_agent_knows_its_port(fleet: Fleet) -> None:
    host(fleet, "c1")
    c2 = host(fleet, "c2", LAN, OUT)
    server = fleet.create("vm", fleet.flavor("tiny", vcpus=1), networks=[on("lan"), on("out")])
    assert fleet.show(server)["OS-EXT-SRV-ATTR:host"] == "c2"
    order = c2.order(server)
    lan, out = order["ports"]
    assert (lan["network"], lan["address"], lan["mtu"], out["network"], out["address"]) == ("lan", "192.0.2.10", 1400, "out", "")
    assert order["config_drive"], "the address reaches the guest on its config drive"
    c2.obey()
    (port, other) = shown(fleet, f"/ports?device_id={server}")["ports"]
    assert (port["status"], port["binding:host_id"], port["mac_address"]) == ("ACTIVE", "c2", lan["mac"])
    assert port["fixed_ips"] == [{"subnet_id": shown(fleet, "/subnets")["subnets"][0]["id"], "ip_address": "192.0.2.10"}]
    assert other["fixed_ips"] == []
    addresses = fleet.show(server)["addresses"]
    assert addresses == {
        "lan": [{"addr": "192.0.2.10", "version": 4, "OS-EXT-IPS:type": "fixed", "OS-EXT-IPS-MAC:mac_addr": lan["mac"]}],
        "out": [],
    }
    listed = fleet.ask("GET", "/servers/detail").json()["servers"]
    assert [one["addresses"] for one in listed] == [addresses]


def test_ports_are_found_by_their_fixed_addresses(fleet: Fleet) -> None:
    host(fleet, "c1", LAN, OUT)
    tiny = fleet.flavor("tiny", vcpus=1)
    for name in ("a", "b"):
        fleet.create(name, tiny, networks=[on("lan"), on("out")])
    (subnet,) = shown(fleet, "/subnets")["subnets"]
    for query, due in (
        ("fixed_ips=ip_address=192.0.2.10", ["192.0.2.10"]),
        ("fixed_ips=ip_address=192.0.2.10&fixed_ips=ip_address=192.0.2.11", ["192.0.2.10", "192.0.2.11"]),
        (f"fixed_ips=ip_address=192.0.2.11&fixed_ips=subnet_id={subnet['id']}", ["192.0.2.11"]),
        ("fixed_ips=ip_address=192.0.2.11&fixed_ips=subnet_id=another", []),
        (f"fixed_ips=subnet_id={subnet['id']}", ["192.0.2.10", "192.0.2.11"]),
        ("fixed_ips=ip_address_substr=2.11", ["192.0.2.11"]),
        ("fixed_ips=ip_address=192.0.2.99", []),
    ):
        found = shown(fleet, f"/ports?{query}")["ports"]
        assert sorted(port["fixed_ips"][0]["ip_address"] for port in found) == due, query
    message = shown(fleet, "/ports?fixed_ips=192.0.2.10", status=400)["error"]["message"]
    assert "'192.0.2.10'" in message and "KEY=VALUE" in message


def test_ports_stay_the_same_over_reboots_and_are_gone_with_their_server(fleet: Fleet) -> None:
    c1 = host(fleet, "c1", LAN)
    server = fleet.create("vm", fleet.flavor("tiny", vcpus=1), networks=[on("lan")])
    before = c1.order(server)["ports"]
    c1.obey()
    fleet.ask("POST", f"/servers/{server}/action", {"reboot": {"type": "HARD"}}, status=202)
    assert c1.order(server)["ports"] == before
    c1.obey()
    fleet.ask("DELETE", f"/servers/{server}", status=204)
    assert len(shown(fleet, "/ports")["ports"]) == 1, "the guest may still run"
    c1.obey()
    assert shown(fleet, "/ports")["ports"] == []


def test_hosts_without_the_network_say_so(fleet: Fleet) -> None:
    host(fleet, "c1")
    c2 = host(fleet, "c2", LAN)
    fleet.ask("PUT", "/os-services/disable", {"host": "c2", "binary": "nova-compute"}, version="2.11", status=200)
    server = fleet.create("vm", fleet.flavor("tiny", vcpus=1), networks=[on("lan")])
    assert "c1: the host does not offer the network lan" in fleet.show(server)["fault"]["message"]
    assert c2.orders()["orders"] == []


def test_a_host_that_loses_its_network_takes_no_more_servers_of_it(fleet: Fleet) -> None:
    c1 = host(fleet, "c1", LAN)
    host(fleet, "c2", LAN)
    c1.hello(replace(report(), networks=()))
    server = fleet.create("vm", fleet.flavor("tiny", vcpus=1), networks=[on("lan")])
    assert fleet.show(server)["OS-EXT-SRV-ATTR:host"] == "c2"


def test_an_address_is_given_once_and_only_from_the_range(fleet: Fleet) -> None:
    host(fleet, "c1", LAN, OUT)
    flavor = fleet.flavor("tiny", vcpus=1)
    server = fleet.create("vm", flavor, networks=[on("lan", fixed_ip="192.0.2.12")])
    assert fleet.show(server)["addresses"]["lan"][0]["addr"] == "192.0.2.12"
    for query, found in (("ip=192.0.2.12", [server]), ("ip=.0.2.1", [server]), ("ip=192.0.2.13", []), ("ip=%", []), ("ip6=192", [])):
        assert [one["id"] for one in fleet.ask("GET", f"/servers?{query}").json()["servers"]] == found, query
    assert "192.0.2.12 is already in use" in refused(fleet, 409, networks=[on("lan", fixed_ip="192.0.2.12")])
    assert "addresses of network lan are 192.0.2.10-192.0.2.12" in refused(fleet, 400, networks=[on("lan", fixed_ip="192.0.2.99")])
    assert "addresses of network lan are" in refused(fleet, 400, networks=[on("lan", fixed_ip="x")])
    assert "has no static range, guests use DHCP" in refused(fleet, 400, networks=[on("out", fixed_ip="192.0.2.12")])
    assert "multiple instances with a single" in refused(fleet, 400, networks=[on("lan", fixed_ip="192.0.2.11")], min_count=2)
    assert "config_drive is false" in refused(fleet, 400, networks=[on("lan")], config_drive="false")


def test_what_cannot_be_a_network_is_refused_in_a_sentence(fleet: Fleet) -> None:
    host(fleet, "c1", LAN)
    fleet.flavor("tiny", vcpus=1)
    assert refused(fleet, 400, networks=[{"uuid": "x"}]) == "Network x could not be found."
    assert "names no uuid" in refused(fleet, 400, networks=[{}])
    assert "Ports are made with their server" in refused(fleet, 501, networks=[{"port": "x"}])
    assert "at most 16 are allowed" in refused(fleet, 400, networks=[on("lan")] * 17)
    refused(fleet, 400, networks=[{"uuid": network_id("lan"), "colour": "red"}])


@pytest.mark.parametrize("networks", ["auto", None])
def test_auto_takes_the_only_network_and_asks_which_of_several(fleet: Fleet, networks: str | None) -> None:
    flavor, version = fleet.flavor("tiny", vcpus=1), "2.96" if networks else "2.36"

    def create() -> Any:
        body = server_body("vm", flavor, networks=networks)
        return fleet.ask("POST", "/servers", {"server": {key: value for key, value in body.items() if value}}, version=version)

    c1 = host(fleet, "c1")
    assert c1.order(create().json()["server"]["id"])["ports"] == []
    c1.hello(replace(report(), networks=(OUT,)))
    assert [port["network"] for port in c1.order(create().json()["server"]["id"])["ports"]] == ["out"]
    c1.hello(replace(report(), networks=(OUT, LAN)))
    answer = create()
    assert answer.status_code == 409 and "Multiple possible networks found (lan, out)" in answer.text


def test_hosts_that_describe_the_addresses_differently_are_named(fleet: Fleet) -> None:
    host(fleet, "c1", LAN)
    host(fleet, "c2", replace(LAN, static=replace(STATIC, last="192.0.2.99")))
    fleet.flavor("tiny", vcpus=1)
    sentence = "hosts c1 and c2 describe the addresses of network lan differently"
    assert sentence in refused(fleet, 409, networks=[on("lan")])
    assert shown(fleet, "/networks")["networks"][0]["description"] == sentence


def test_the_network_api_shows_networks_subnets_and_filters(fleet: Fleet) -> None:
    host(fleet, "c1", LAN, OUT)
    host(fleet, "c2", LAN)
    lan, out = shown(fleet, "/networks")["networks"]
    assert (lan["name"], lan["mtu"], lan["description"]) == ("lan", 1400, "bridge, offered by 2 hosts")
    assert (out["name"], out["mtu"], out["subnets"]) == ("out", 1500, [])
    assert shown(fleet, "/networks?name=lan&shared=True&fields=id")["networks"] == [lan]
    assert shown(fleet, "/networks?name=wan")["networks"] == []
    assert shown(fleet, "/networks?limit=1")["networks"] == [lan]
    assert shown(fleet, f"/networks?limit=1&marker={lan['id']}")["networks"] == [out]
    assert "limit is 'x'; a whole number is allowed" in fleet.call("GET", "/network/v2.0/networks?limit=x", status=400).text
    assert "marker [x] not found" in fleet.call("GET", "/network/v2.0/networks?marker=x", status=400).text
    listed = {one["name"]: one["networks"] for one in fleet.http.get("/v1/hosts").json()["hosts"]}
    assert [network["source"] for network in listed["c1"]] == ["br0", ""]
    assert shown(fleet, f"/networks/{lan['id']}")["network"] == lan
    shown(fleet, "/networks/lan", status=404)
    (subnet,) = shown(fleet, f"/subnets?network_id={lan['id']}")["subnets"]
    assert (subnet["cidr"], subnet["gateway_ip"], subnet["allocation_pools"]) == (
        "192.0.2.0/24",
        "192.0.2.1",
        [{"start": "192.0.2.10", "end": "192.0.2.12"}],
    )
    assert shown(fleet, f"/subnets/{subnet['id']}")["subnet"] == subnet
    assert shown(fleet, "/security-groups") == {"security_groups": []}
    assert shown(fleet, "/quotas/pinfold")["quota"]["network"] == 0
    assert shown(fleet, "/extensions/net-mtu")["extension"]["alias"] == "net-mtu"


def test_changes_and_unknown_kinds_are_refused_in_a_sentence(fleet: Fleet) -> None:
    host(fleet, "c1", LAN)
    (lan,) = shown(fleet, "/networks")["networks"]
    (subnet,) = shown(fleet, "/subnets")["subnets"]
    there = (("DELETE", f"/networks/{lan['id']}"), ("PUT", f"/subnets/{subnet['id']}"))
    for method, path in (("POST", "/networks"), ("POST", "/ports"), *there):
        answer = fleet.call(method, f"/network/v2.0{path}", {}, status=501)
        assert "Networks are read-only here" in answer.text
    for method in ("GET", "POST"):
        assert "floatingips are not part of this network service" in fleet.call(method, "/network/v2.0/floatingips", {}, status=501).text
    assert "pinfold has no security groups" in fleet.call("POST", "/network/v2.0/security-groups", {}, status=501).text


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_what_is_not_there_is_not_found_whatever_is_asked_of_it(fleet: Fleet, method: str) -> None:
    for kind, called in (("networks", "Network"), ("subnets", "Subnet"), ("ports", "Port"), ("security-groups", "Security group")):
        answer = fleet.call(method, f"/network/v2.0/{kind}/far", {}, status=404)
        assert f"{called} far could not be found." in answer.text


def test_the_interfaces_of_a_server_are_shown(fleet: Fleet) -> None:
    c1 = host(fleet, "c1", LAN, OUT)
    server = fleet.create("vm", fleet.flavor("tiny", vcpus=1), networks=[on("lan"), on("out")])
    lan, out = fleet.ask("GET", f"/servers/{server}/os-interface", status=200).json()["interfaceAttachments"]
    assert (lan["net_id"], lan["port_state"], lan["fixed_ips"][0]["ip_address"]) == (network_id("lan"), "DOWN", "192.0.2.10")
    assert (out["net_id"], out["fixed_ips"]) == (network_id("out"), [])
    c1.obey()
    one = fleet.ask("GET", f"/servers/{server}/os-interface/{lan['port_id']}", status=200).json()["interfaceAttachment"]
    assert one == lan | {"port_state": "ACTIVE"}
    fleet.ask("GET", f"/servers/{server}/os-interface/x", status=404)
    addresses = {"lan": [{"addr": "192.0.2.10", "version": 4}], "out": []}
    assert fleet.ask("GET", f"/servers/{server}/ips", status=200).json() == {"addresses": addresses}
    assert fleet.ask("GET", f"/servers/{server}/ips/lan", status=200).json() == {"lan": addresses["lan"]}
    fleet.ask("GET", f"/servers/{server}/ips/wan", status=404)
