"""openstacksdk as programs use it, with the clouds.yaml that `pinfold config clouds` prints, and by hand."""

from __future__ import annotations

from collections.abc import Iterator

import openstack
import pytest
from openstack.connection import Connection
from openstack.exceptions import HttpException
from tests.real.clients.conftest import Rig
from tests.rig.in_process import ADMIN, READER

from pinfold.api.compute import links
from pinfold.store import ports
from pinfold.store.records import WantedPort


@pytest.fixture
def cloud(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    """A connection by the clouds.yaml."""
    for key, value in rig.environment().items():
        if key.startswith("OS_"):
            monkeypatch.setenv(key, value)
    with openstack.connect(cloud="pinfold", load_yaml_config=True) as connection:
        yield connection


def test_a_servers_life(cloud: Connection) -> None:
    flavor = cloud.compute.create_flavor(name="sdk", vcpus=2, ram=64, disk=0)
    cloud.compute.create_flavor_extra_specs(flavor, {"hw:cpu_policy": "dedicated"})
    image = cloud.image.find_image("probe", ignore_missing=False)
    server = cloud.compute.create_server(name="sdk1", flavor_id=flavor.id, image_id=image.id, networks="none", metadata={"a": "b"})
    server = cloud.compute.wait_for_server(server, wait=240, interval=0.1)
    assert (server.status, server.compute_host, server.flavor.original_name) == ("ACTIVE", "c1", "sdk")
    assert [found.name for found in cloud.compute.servers(name="sdk1")] == ["sdk1"]
    cloud.compute.stop_server(server)
    cloud.compute.wait_for_server(server, status="SHUTOFF", wait=240, interval=0.1)
    cloud.compute.start_server(server)
    cloud.compute.wait_for_server(server, wait=240, interval=0.1)
    cloud.compute.reboot_server(server, "HARD")
    cloud.compute.wait_for_server(server, wait=240, interval=0.1)
    assert [(hypervisor.name, hypervisor.state) for hypervisor in cloud.compute.hypervisors(details=True)] == [("c1", "up")]
    assert [(service.host, service.state) for service in cloud.compute.services()] == [("c1", "up")]
    used = cloud.compute.get_limits().absolute
    assert (used.total_cores, used.total_cores_used, used.instances_used) == (-1, 2, 1)
    cloud.compute.delete_server(server)
    cloud.compute.wait_for_delete(server, wait=240, interval=0.1)
    cloud.compute.delete_flavor(flavor)
    assert cloud.compute.find_server("sdk1") is None


def test_listings_of_many_pages(cloud: Connection) -> None:
    flavor = cloud.compute.create_flavor(name="pages", vcpus=1, ram=1, disk=0)
    image = cloud.image.find_image("probe")
    assert image is not None
    made = [cloud.compute.create_server(name=f"p{n}", flavor_id=flavor.id, image_id=image.id, networks="none").id for n in range(5)]
    assert [server.id for server in cloud.compute.servers(limit=2, name="p")] == made[::-1]
    for server in made:
        cloud.compute.delete_server(server)
    assert len(list(cloud.compute.flavors(limit=1, get_extra_specs=True))) >= 1


def test_listings_of_ports_of_many_pages(cloud: Connection, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    flavor = cloud.compute.create_flavor(name="ports", vcpus=1, ram=1, disk=0)
    image = cloud.image.find_image("probe", ignore_missing=False)
    server = cloud.compute.create_server(name="ports", flavor_id=flavor.id, image_id=image.id, networks="none").id
    with rig.fleet.database.write() as connection:
        made = {found.id for found in ports.create(connection, server, [WantedPort(network="lan")] * 5)}
    assert {port.id for port in cloud.network.ports(limit=2)} == made
    monkeypatch.setattr(links, "MOST", 2)
    assert {port.id for port in cloud.network.ports()} == made
    assert {port.id for port in cloud.network.ports(device_id=server)} == made
    cloud.compute.delete_server(server)
    cloud.compute.wait_for_delete(cloud.compute.get_server(server), wait=240, interval=0.1)


def test_a_connection_made_by_hand_and_a_reader(rig: Rig) -> None:
    def connect(name: str, password: str) -> Connection:
        return Connection(
            auth_type="http_basic",
            auth={"endpoint": f"{rig.url}/placement", "username": name, "password": password},
            compute_endpoint_override=f"{rig.url}/compute/v2.1",
            image_endpoint_override=f"{rig.url}/image",
            placement_endpoint_override=f"{rig.url}/placement",
            compute_default_microversion="2.96",
            placement_default_microversion="1.39",
        )

    with connect(*ADMIN) as admin, connect(*READER) as reader:
        (provider,) = admin.placement.resource_providers()
        assert provider.name == "c1"
        assert len(list(reader.compute.flavors())) == len(list(admin.compute.flavors()))
        with pytest.raises(HttpException, match="may read only"):
            reader.compute.create_flavor(name="no", vcpus=1, ram=1, disk=0)
