"""Interfaces that are attached to servers and detached: what is booked, what agents are told and say, and what users see."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from tests.build.hosts import report
from tests.rig.client import SHARE
from tests.rig.in_process import Agent, Fleet
from tests.stories.test_networks import LAN, OUT, STATIC, on, shown

from pinfold.accounting.client import Placement
from pinfold.accounting.placement_responses import Allocation
from pinfold.agent.wire import GuestReport, InterfaceFailure, InterfacesReport
from pinfold.core.encoding import plain
from pinfold.core.host_features import INTERFACES
from pinfold.core.networks import HostNetwork, NetworkKind, network_id
from pinfold.store.records import Observed

NIC_MILLICPU = 10
WAN = HostNetwork(name="wan", kind=NetworkKind.BRIDGE, source="br1")


def host(fleet: Fleet, name: str, *networks: HostNetwork, **more: Any) -> Agent:
    return fleet.host(name, replace(report(**more), networks=networks, features=(INTERFACES,)))


def says(agent: Agent, server: str, *macs: str, failures: dict[str, str] | None = None, revision: int | None = None) -> None:
    """The agent reports a running guest that has these interfaces of its order, and why others could not be changed."""
    order = agent.order(server)
    failed = tuple(InterfaceFailure(mac=mac, why=why) for mac, why in (failures or {}).items())
    told = GuestReport(
        revision=order["claim"]["revision"] if revision is None else revision,
        observed=Observed.RUNNING,
        boot=order["boot"],
        claim=order["claim"]["id"],
        interfaces=InterfacesReport(macs=macs, failures=failed),
    )
    assert agent.ask("POST", f"/guests/{server}", plain(told)).status_code == 204


def attach(fleet: Fleet, server: str, network: str = "lan", status: int = 200, **more: Any) -> dict[str, Any]:
    body = {"interfaceAttachment": {"net_id": network_id(network), **more}}
    answer = fleet.ask("POST", f"/servers/{server}/os-interface", body, status=status).json()
    found: dict[str, Any] = answer.get("interfaceAttachment") or next(iter(answer.values()))
    return found


def detach(fleet: Fleet, server: str, port: str, status: int = 202) -> str:
    return fleet.ask("DELETE", f"/servers/{server}/os-interface/{port}", status=status).text


def interfaces(fleet: Fleet, server: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = fleet.ask("GET", f"/servers/{server}/os-interface", status=200).json()["interfaceAttachments"]
    return found


def events(fleet: Fleet, server: str) -> list[tuple[str, str | None, str | None]]:
    """Action, result and details of each event, newest first."""
    listed = fleet.ask("GET", f"/servers/{server}/os-instance-actions", status=200).json()["instanceActions"]
    found = []
    for one in listed:
        path = f"/servers/{server}/os-instance-actions/{one['request_id']}"
        (event,) = fleet.ask("GET", path, status=200).json()["instanceAction"]["events"]
        found.append((one["action"], event["result"], event["details"]))
    return found


def running(fleet: Fleet, agent: Agent, networks: Any = "none") -> str:
    server = fleet.create("vm", fleet.flavor("tiny", vcpus=1, **SHARE), networks=networks)
    agent.obey()
    assert fleet.status(server) == "ACTIVE"
    return server


def test_an_attached_interface_is_booked_ordered_and_shown(fleet: Fleet) -> None:
    c1 = host(fleet, "c1", LAN, OUT)
    server = running(fleet, c1)
    before, first = fleet.usage("c1"), c1.order(server)
    made = attach(fleet, server)
    assert (made["net_id"], made["port_state"], made["fixed_ips"][0]["ip_address"]) == (network_id("lan"), "DOWN", "192.0.2.10")
    assert fleet.usage("c1")["CUSTOM_OVERHEAD_MILLICPU"] == before["CUSTOM_OVERHEAD_MILLICPU"] + NIC_MILLICPU
    order = c1.order(server)
    assert [(port["network"], port["mac"]) for port in order["ports"]] == [("lan", made["mac_addr"])]
    assert order["claim"]["id"] == first["claim"]["id"] and order["claim"]["revision"] > first["claim"]["revision"]
    assert (first["request"]["nics"], order["request"]["nics"]) == (0, 1)
    assert events(fleet, server)[0] == ("attach_interface", None, None)

    says(c1, server, made["mac_addr"])
    assert interfaces(fleet, server) == [made | {"port_state": "ACTIVE"}]
    assert events(fleet, server)[0] == ("attach_interface", "Success", None)
    assert [one["addr"] for one in fleet.show(server)["addresses"]["lan"]] == ["192.0.2.10"]
    (port,) = shown(fleet, f"/ports?device_id={server}")["ports"]
    assert (port["id"], port["status"]) == (made["port_id"], "ACTIVE")


def test_a_detached_interface_gives_its_address_and_its_booking_back_once_it_is_gone(fleet: Fleet) -> None:
    c1 = host(fleet, "c1", LAN, OUT)
    server = running(fleet, c1, [on("lan"), on("out")])
    before = fleet.usage("c1")["CUSTOM_OVERHEAD_MILLICPU"]
    lan, out = interfaces(fleet, server)
    detach(fleet, server, lan["port_id"])
    order = c1.order(server)
    assert ([port["mac"] for port in order["ports"]], order["detach"]) == ([out["mac_addr"]], [lan["mac_addr"]])
    assert "is being detached already" in detach(fleet, server, lan["port_id"], status=409)
    says(c1, server, lan["mac_addr"], out["mac_addr"])
    assert len(interfaces(fleet, server)) == 2 and fleet.usage("c1")["CUSTOM_OVERHEAD_MILLICPU"] == before, "it may still have it"
    says(c1, server, out["mac_addr"])
    assert [one["port_id"] for one in interfaces(fleet, server)] == [out["port_id"]]
    assert fleet.usage("c1")["CUSTOM_OVERHEAD_MILLICPU"] == before - NIC_MILLICPU
    after = c1.order(server)
    assert (after["detach"], after["request"]["nics"]) == ([], 1)
    assert events(fleet, server)[0] == ("detach_interface", "Success", None)
    detach(fleet, server, lan["port_id"], status=404)
    assert attach(fleet, server)["fixed_ips"][0]["ip_address"] == "192.0.2.10", "the address is free again"


def test_an_attachment_beside_another_one_books_anew(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Terraform attaches the interfaces of a server at the same time."""
    c1 = host(fleet, "c1", LAN, OUT)
    server = running(fleet, c1)
    before, read = fleet.usage("c1")["CUSTOM_OVERHEAD_MILLICPU"], Placement.allocation
    others = ["out", "out"]

    def outrun(placement: Placement, consumer: str) -> Allocation | None:
        found = read(placement, consumer)
        if others:
            attach(fleet, server, others.pop())
        return found

    monkeypatch.setattr(Placement, "allocation", outrun)
    made = attach(fleet, server)
    assert [one["net_id"] for one in interfaces(fleet, server)] == [network_id(name) for name in ("out", "out", "lan")]
    assert made["fixed_ips"][0]["ip_address"] == "192.0.2.10"
    assert fleet.usage("c1")["CUSTOM_OVERHEAD_MILLICPU"] == before + 3 * NIC_MILLICPU
    assert c1.order(server)["request"]["nics"] == 3


def test_an_interface_that_could_not_be_attached_leaves_no_port_and_the_event_says_why(fleet: Fleet) -> None:
    c1 = host(fleet, "c1", LAN)
    server = running(fleet, c1)
    before = fleet.usage("c1")
    made = attach(fleet, server)
    says(c1, server, failures={made["mac_addr"]: "there is no bridge br0"})
    assert interfaces(fleet, server) == [] and fleet.usage("c1") == before
    assert c1.order(server)["ports"] == [] and c1.order(server)["request"]["nics"] == 0
    assert events(fleet, server)[0] == ("attach_interface", "Error", "there is no bridge br0")
    assert fleet.status(server) == "ACTIVE"


def test_a_guest_that_does_not_let_go_keeps_its_interface(fleet: Fleet) -> None:
    c1 = host(fleet, "c1", LAN)
    server = running(fleet, c1, [on("lan")])
    (lan,) = interfaces(fleet, server)
    detach(fleet, server, lan["port_id"])
    says(c1, server, lan["mac_addr"], failures={lan["mac_addr"]: "the guest has not let go"})
    assert interfaces(fleet, server) == [lan]
    assert (c1.order(server)["detach"], len(c1.order(server)["ports"])) == ([], 1)
    assert events(fleet, server)[0] == ("detach_interface", "Error", "the guest has not let go")
    detach(fleet, server, lan["port_id"])


def test_what_an_agent_says_of_an_earlier_order_is_of_no_effect(fleet: Fleet) -> None:
    c1 = host(fleet, "c1", LAN, OUT)
    server = running(fleet, c1)
    made = attach(fleet, server)
    earlier = c1.order(server)["claim"]["revision"]
    says(c1, server, made["mac_addr"])
    detach(fleet, server, made["port_id"])
    says(c1, server, failures={made["mac_addr"]: "an earlier attempt"}, revision=earlier)
    assert len(interfaces(fleet, server)) == 1 and c1.order(server)["detach"] == [made["mac_addr"]]


def test_an_attachment_can_be_taken_back_before_the_agent_has_answered(fleet: Fleet) -> None:
    c1 = host(fleet, "c1", LAN)
    server = running(fleet, c1)
    made = attach(fleet, server)
    detach(fleet, server, made["port_id"])
    assert events(fleet, server)[1] == ("attach_interface", "Error", "the interface was detached before it was attached")
    says(c1, server)
    assert interfaces(fleet, server) == []


def test_a_pool_without_room_refuses_with_a_sentence(fleet: Fleet) -> None:
    limits = replace(report().limits, rates=replace(report().limits.rates, nic=900))
    c1 = host(fleet, "c1", LAN, limits=limits)
    server = running(fleet, c1)
    attach(fleet, server)
    before = fleet.usage("c1")
    message = attach(fleet, server, status=409)["message"]
    assert "Cannot 'attach_interface' instance" in message and "overhead pool" in message, message
    assert len(interfaces(fleet, server)) == 1 and fleet.usage("c1") == before
    assert [action for action, _, _ in events(fleet, server)] == ["attach_interface", "create"], "what is refused at once leaves no event"


def test_what_cannot_be_attached_is_refused_in_a_sentence(fleet: Fleet) -> None:
    c1 = host(fleet, "c1", LAN, OUT)
    host(fleet, "c2", WAN)
    server = running(fleet, c1, [on("lan")])
    (lan,) = interfaces(fleet, server)

    def refused(status: int, **body: Any) -> str:
        answer = fleet.ask("POST", f"/servers/{server}/os-interface", {"interfaceAttachment": body}, status=status).json()
        return str(next(iter(answer.values()))["message"])

    assert "host c1 does not offer the network wan" in refused(409, net_id=network_id("wan"))
    assert refused(400, net_id="x") == "Network x could not be found."
    assert "name the one to attach" in refused(400)
    assert "cannot be made before: name the network" in refused(501, port_id="x")
    assert refused(409, port_id=lan["port_id"]) == f"Port {lan['port_id']} is still in use."
    assert "both net_id and port_id" in refused(400, port_id="x", net_id="y")
    assert "without net_id" in refused(400, fixed_ips=[{"ip_address": "192.0.2.11"}])
    assert "has no static range" in refused(400, net_id=network_id("out"), fixed_ips=[{"ip_address": "192.0.2.11"}])
    assert "already in use" in refused(409, net_id=network_id("lan"), fixed_ips=[{"ip_address": "192.0.2.10"}])
    chosen = attach(fleet, server, fixed_ips=[{"ip_address": STATIC.last}])
    assert chosen["fixed_ips"][0]["ip_address"] == STATIC.last
    detach(fleet, server, "x", status=404)
    fleet.ask("POST", f"/servers/{server}/action", {"os-stop": None}, status=202)
    assert "task_state powering-off" in refused(409, net_id=network_id("out"))


def test_an_agent_of_an_earlier_pinfold_gets_no_order_that_it_cannot_read(fleet: Fleet) -> None:
    c1 = fleet.host("c1", replace(report(), networks=(LAN,)))
    server = running(fleet, c1, [on("lan")])
    assert "of an earlier pinfold; upgrade it" in attach(fleet, server, status=409)["message"]
    (lan,) = interfaces(fleet, server)
    assert "of an earlier pinfold; upgrade it" in detach(fleet, server, lan["port_id"], status=409)


def test_a_process_that_died_before_it_gave_an_interface_back_is_healed(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    c1 = host(fleet, "c1", LAN)
    server = running(fleet, c1, [on("lan")])
    before = fleet.usage("c1")["CUSTOM_OVERHEAD_MILLICPU"]
    (lan,) = interfaces(fleet, server)
    detach(fleet, server, lan["port_id"])
    with monkeypatch.context() as patch:
        patch.setattr(type(fleet.services.fleet.interfaces), "finish_or_later", lambda *_: None)
        says(c1, server)
    assert interfaces(fleet, server) == [] and fleet.usage("c1")["CUSTOM_OVERHEAD_MILLICPU"] == before
    fleet.services.fleet.healer.heal(all_hosts=True)
    assert fleet.usage("c1")["CUSTOM_OVERHEAD_MILLICPU"] == before - NIC_MILLICPU
    assert c1.order(server)["request"]["nics"] == 0


def test_a_server_that_is_deleted_takes_its_changing_ports_along(fleet: Fleet) -> None:
    c1 = host(fleet, "c1", LAN)
    server = running(fleet, c1)
    attach(fleet, server)
    fleet.ask("DELETE", f"/servers/{server}", status=204)
    c1.obey()
    assert shown(fleet, "/ports")["ports"] == [] and fleet.usage("c1") == {}
    assert [action for action, result, _ in events(fleet, server) if result is None] == []
