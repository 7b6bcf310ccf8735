"""Servers on networks, as a user makes them with the real `openstack` client, and as real guests on a bridge of a network namespace."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
from tests.ports import free_port
from tests.real.fleet.conftest import QUICK, TOPOLOGY, UpRig, service_of, sweep
from tests.real.fleet.test_config_drives import drive_of, read
from tests.real.fleet.test_first_server import PAGES, commands_of, pinfold
from tests.real.patience import until
from tests.rig.client import COMPUTE, SHARE
from tests.rig.network_namespace import NetworkNamespace, network_namespace
from tests.rig.openstack import of_cloud
from tests.rig.processes import Process, configuration, defined, ending, virsh
from tests.stories.test_key_pairs import KEY

from pinfold.core.hosttext import host
from pinfold.core.networks import NetworkKind, network_id
from pinfold.drivers.libvirt import metadata
from pinfold.drivers.libvirt.interfaces import DefinedInterface
from pinfold.drivers.libvirt.interfaces import defined as interfaces
from pinfold.drivers.port import Record
from pinfold.lab.daemon import LabHost

pytestmark = pytest.mark.real_clients

NETWORKS = """
[networks.lan]
kind = "bridge"
source = "br0"
mtu = 1400
subnet = "192.0.2.0/24"
range = "192.0.2.10-192.0.2.19"
gateway = "192.0.2.1"
dns = ["192.0.2.1"]
[networks.managed]
kind = "libvirt"
source = "isolated"
[networks.out]
kind = "user"
[networks.gone]
kind = "bridge"
source = "br9"
"""
_ISOLATED = "<network><name>isolated</name><bridge name='virbr7'/></network>"


@dataclass
class Connected:
    """`pinfold up` on a lab in a network namespace of its own, and the real client."""

    up: UpRig
    namespace: NetworkNamespace
    home: Path

    def openstack(self, line: str) -> Any:
        """One command of the client, which must succeed."""
        return of_cloud(self.up.clouds, self.home)(line)

    def interfaces(self, server: str) -> tuple[DefinedInterface, ...]:
        """The interfaces of the guest's running domain."""
        return interfaces(ElementTree.fromstring(virsh(self.up.lab, "dumpxml", server)))

    def kept(self, server: str) -> tuple[DefinedInterface, ...]:
        """The interfaces with which the guest's domain starts the next time."""
        return interfaces(ElementTree.fromstring(virsh(self.up.lab, "dumpxml", "--inactive", server)))


@pytest.fixture(scope="module")
def connected(lab_name: str, lab_possible: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connected]:
    folder, name = tmp_path_factory.mktemp("net"), f"{lab_name}-n"
    for each in (folder, folder.parent):
        each.chmod(0o711)
    with network_namespace("br0") as namespace:
        with namespace.inside():
            lab = LabHost(f"{lab_name}-net", topology=host(TOPOLOGY)).up()
        try:
            (folder / "isolated.xml").write_text(_ISOLATED)
            virsh(lab, "net-define", str(folder / "isolated.xml"))
            virsh(lab, "net-start", "isolated")
            state, config = folder / "state", folder / "pinfold.conf"
            config.write_text(configuration(lab, state, host=name, pinfold_api=QUICK, pinfold_agent="sweep_seconds = 1"))
            (folder / "networks.toml").write_text(NETWORKS)
            process = Process(("up", "--port", str(free_port()), "--config", str(config)), folder, "up")
            with ending(process):
                process.start()
                up = UpRig(lab=lab, process=process, host=name, state=state, api=service_of(process, state))
                up.api.await_host(name, up=True)
                yield Connected(up=up, namespace=namespace, home=folder)
            sweep(lab)
        finally:
            lab.down()


def test_a_server_on_a_bridge_a_libvirt_network_and_user_mode(connected: Connected) -> None:
    openstack, up, namespace = connected.openstack, connected.up, connected.namespace
    listed = {row["Name"]: row for row in openstack("network list -f json")}
    assert set(listed) == {"gone", "lan", "managed", "out"}
    assert openstack("network show lan -f json")["id"] == listed["lan"]["ID"]
    (subnet,) = openstack("subnet list -f json")
    assert subnet["Subnet"] == "192.0.2.0/24"
    up.api.flavor("net", vcpus=1, **SHARE)
    create = "server create --flavor net --image probe --wait -f json"
    made = openstack(f"{create} --network lan --network managed --network out vm1")
    assert made["status"] == "ACTIVE", made
    server = made["id"]
    assert made["addresses"] == {"lan": ["192.0.2.10"], "managed": [], "out": []}

    ports = {row["ID"]: row for row in openstack("port list --server vm1 -f json")}
    assert sorted(row["Status"] for row in ports.values()) == ["ACTIVE"] * 3
    lan, managed, out = connected.interfaces(server)
    assert {row["MAC Address"] for row in ports.values()} == {lan.mac, managed.mac, out.mac}
    assert [one.kind for one in (lan, managed, out)] == [NetworkKind.BRIDGE, NetworkKind.LIBVIRT, NetworkKind.USER]
    (tap,) = namespace.members("br0")
    assert (tap["mtu"], tap["address"][2:]) == (1400, lan.mac[2:]), "libvirt gives the host's side the guest's address with fe in front"
    assert len([one for one in namespace.members("virbr7") if one["address"][2:] == managed.mac[2:]]) == 1
    data = json.loads(read(drive_of(up, server), "openstack/latest/network_data.json"))
    assert [one["type"] for one in data["networks"]] == ["ipv4", "ipv4_dhcp", "ipv4_dhcp"]
    assert data["networks"][0]["ip_address"] == "192.0.2.10"

    up.api.ask("POST", f"{COMPUTE}/servers/{server}/action", {"reboot": {"type": "HARD"}}, status=202)
    until(lambda: up.api.show(server)["OS-EXT-STS:task_state"] is None, "the server is rebooted")
    assert {one.mac for one in connected.interfaces(server)} == {lan.mac, managed.mac, out.mac}
    chosen = openstack(f"{create} --nic net-id={listed['lan']['ID']},v4-fixed-ip=192.0.2.15 vm2")
    assert chosen["addresses"] == {"lan": ["192.0.2.15"]}
    openstack("server delete --wait vm1 vm2")
    assert namespace.members("br0") == [] and not defined(up.lab)
    assert up.api.ask("GET", "/network/v2.0/ports", status=200)["ports"] == []


def test_the_commands_of_the_page_as_they_stand(connected: Connected, tmp_path: Path) -> None:
    up = connected.up
    shutil.copy(up.state / "images/probe.rom", up.state / "images/debian.rom")
    up.api.flavor("rt.share", vcpus=1, **SHARE)
    up.api.ask("POST", f"{COMPUTE}/os-keypairs", {"keypair": {"name": "mine", "public_key": KEY, "type": "ssh"}}, status=201)
    for line in commands_of("how-to/networks.md", "openstack network list"):
        told = connected.openstack(line)
    (server,) = up.api.ask("GET", f"{COMPUTE}/servers/detail?name=vm1", status=200)["servers"]
    assert (server["status"], server["key_name"]) == ("ACTIVE", "mine")
    assert connected.interfaces(server["id"])[0].mac in told, "the last command lists the server's port"
    page = (PAGES / "how-to/networks.md").read_text(encoding="utf-8")
    _, addresses, others = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "networks.toml").write_text(addresses + others)
    shutil.copy(up.process.folder / "pinfold.conf", tmp_path)
    pinfold(["config", "check", "--config", str(tmp_path / "pinfold.conf")], {})
    connected.openstack("server delete --wait vm1")
    (up.state / "images/debian.rom").unlink()


def test_interfaces_are_attached_and_detached_by_the_real_client(connected: Connected) -> None:
    openstack, up, namespace = connected.openstack, connected.up, connected.namespace
    server = up.api.create("vm3", up.api.flavor("plug", vcpus=1, **SHARE), networks="none")
    up.api.await_status(server, "ACTIVE")
    booked = up.api.ask("GET", f"/v1/servers/{server}/placement", status=200)["claim"]["fit"]["overhead_millicpu"]

    openstack("server add network vm3 lan")
    (lan,) = until(lambda: connected.interfaces(server), "the guest has the interface")
    assert connected.kept(server) == (lan,), "it is in the definition too, so a cold start keeps it"
    assert [tap["address"][2:] for tap in namespace.members("br0")] == [lan.mac[2:]]
    openstack(f"server add fixed ip --fixed-ip-address 192.0.2.17 vm3 {network_id('lan')}")
    assert openstack("server show vm3 -f json")["addresses"] == {"lan": ["192.0.2.10", "192.0.2.17"]}
    until(lambda: [port["status"] for port in ports_of(up, server)] == ["ACTIVE", "ACTIVE"], "both are attached")
    until(lambda: (asked := record_of(up, server).request) is not None and asked.nics == 2, "the record in the domain follows")
    placed = up.api.ask("GET", f"/v1/servers/{server}/placement", status=200)
    assert placed["claim"]["fit"]["overhead_millicpu"] == booked + 20
    with contextlib.suppress(AssertionError):  # the client fails too, unless the agent of a busy machine takes longer than the API waits
        openstack("server add network vm3 gone")
    until(lambda: events_of(up, server)[0][:2] == ("attach_interface", "Error"), "there is no such bridge")
    assert "br9" in events_of(up, server)[0][2]
    until(lambda: len(ports_of(up, server)) == 2, "its port is gone")
    assert len(connected.interfaces(server)) == len(connected.kept(server)) == 2, "nothing of it is left"

    openstack(f"server remove port vm3 {ports_of(up, server)[1]['id']}")
    until(lambda: events_of(up, server)[0][:2] == ("detach_interface", "Error"), "the probe has no driver for hotplug")
    assert "has not let go of the interface" in events_of(up, server)[0][2]
    assert len(connected.interfaces(server)) == len(connected.kept(server)) == 2
    up.api.act(server, "os-stop")
    up.api.await_status(server, "SHUTOFF")
    openstack("server remove network vm3 lan")
    until(lambda: up.api.show(server)["addresses"] == {}, "a stopped guest loses its interfaces at once")
    openstack("server add network vm3 out")
    until(lambda: events_of(up, server)[0][:2] == ("attach_interface", "Success"), "and gets another one")
    up.api.act(server, "os-start")
    up.api.await_status(server, "ACTIVE")
    assert [one.kind for one in connected.interfaces(server)] == [NetworkKind.USER]
    up.api.delete(server)
    until(lambda: not defined(up.lab), "the server is gone")
    assert namespace.members("br0") == []


@pytest.mark.slow
def test_an_agent_killed_at_a_change_of_interfaces_goes_on_with_it_and_does_it_once(connected: Connected) -> None:
    """The API dies with it, since `pinfold up` is one process, so the client hears nothing: the service's rows alone say what is wanted."""
    up = connected.up
    server = up.api.create("mortal", up.api.flavor("mortal", vcpus=1, **SHARE), networks="none")
    up.api.await_status(server, "ACTIVE")
    up.restart(fault="agent.attach")
    with pytest.raises(httpx.HTTPError):
        up.api.ask("POST", f"{COMPUTE}/servers/{server}/os-interface", {"interfaceAttachment": {"net_id": network_id("out")}})
    up.process.await_hit("agent.attach")
    assert connected.interfaces(server) == () and connected.kept(server) == ()
    up.process.start(fault="agent.attached", wait=False)
    up.process.await_hit("agent.attached")
    (out,) = connected.interfaces(server)
    up.start()
    until(lambda: [port["status"] for port in ports_of(up, server)] == ["ACTIVE"], "it is attached")
    assert connected.interfaces(server) == connected.kept(server) == (out,)
    assert events_of(up, server)[0][:2] == ("attach_interface", "Success")

    up.api.act(server, "os-stop")
    up.api.await_status(server, "SHUTOFF")
    up.restart(fault="agent.detach")
    (port,) = ports_of(up, server)
    with contextlib.suppress(httpx.HTTPError):  # the answer may be faster than the agent
        up.api.ask("DELETE", f"{COMPUTE}/servers/{server}/os-interface/{port['id']}", status=202)
    up.process.await_hit("agent.detach")
    assert connected.kept(server) == (out,)
    up.process.start(fault="agent.detached", wait=False)
    up.process.await_hit("agent.detached")
    assert connected.kept(server) == ()
    up.start()
    until(lambda: ports_of(up, server) == [], "its port is gone")
    assert events_of(up, server)[0][:2] == ("detach_interface", "Success")
    up.api.delete(server)
    until(lambda: not defined(up.lab), "the server is gone")


def ports_of(up: UpRig, server: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = up.api.ask("GET", f"/network/v2.0/ports?device_id={server}", status=200)["ports"]
    return found


def record_of(up: UpRig, server: str) -> Record:
    """The record in the guest's running domain."""
    notes = ElementTree.fromstring(virsh(up.lab, "dumpxml", server)).find("metadata")
    assert notes is not None
    found = metadata.find(notes)
    assert found is not None
    return metadata.record_of(found)


def events_of(up: UpRig, server: str) -> list[tuple[str, str, str]]:
    """Actions of a server, how they went and what is known of that, newest first."""
    path = f"{COMPUTE}/servers/{server}/os-instance-actions"
    found = []
    for one in up.api.ask("GET", path, status=200)["instanceActions"]:
        (event,) = up.api.ask("GET", f"{path}/{one['request_id']}", status=200)["instanceAction"]["events"]
        found.append((one["action"], event["result"], event["details"]))
    return found


def test_a_bridge_that_is_not_there_is_named_in_the_servers_fault(connected: Connected) -> None:
    server = connected.up.api.create("lost", connected.up.api.flavor("lost", vcpus=1), networks=[{"uuid": network_id("gone")}])
    until(lambda: connected.up.api.show(server)["status"] == "ERROR", "the server is in error")
    assert "br9" in connected.up.api.show(server)["fault"]["message"]
    connected.up.api.delete(server)


def test_without_a_networks_file_up_offers_a_trial_network(up: UpRig) -> None:
    flavor = up.api.flavor("trial", vcpus=1)
    server = up.api.create("vm1", flavor, networks=[{"uuid": network_id("trial")}])
    up.api.await_status(server, "ACTIVE")
    (found,) = interfaces(ElementTree.fromstring(virsh(up.lab, "dumpxml", server)))
    assert found.kind is NetworkKind.USER
    up.api.delete(server)
