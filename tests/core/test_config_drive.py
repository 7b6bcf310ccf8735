"""What a config drive holds, in the layout that cloud-init reads."""

from __future__ import annotations

import base64
import json

import pytest

from pinfold.core.config_drive import GuestConfig, decoded_user_data, drive_files
from pinfold.core.errors import InvalidRequest
from pinfold.core.networks import Port, StaticRange, network_id

GUEST = "00000000-0000-4000-8000-000000000001"
CONFIG = GuestConfig(
    name="My VM",
    hostname="my-vm",
    project="pinfold",
    zone="az1",
    launch_index=1,
    metadata=(("role", "db"),),
    key_name="mine",
    public_key="ssh-ed25519 AAAA me",
    user_data=base64.b64encode(b"#cloud-config\n").decode(),
    admin_pass="hunter2",
)


def test_the_files_are_those_that_openstack_documents() -> None:
    files = dict(drive_files(GUEST, CONFIG, dedicated=(0, 2), seed=b"seed"))
    latest = {path.rpartition("/")[2]: content for path, content in files.items() if "/latest/" in path}
    assert set(latest) == {"meta_data.json", "network_data.json", "user_data", "vendor_data.json"}
    assert latest["user_data"] == b"#cloud-config\n"
    assert json.loads(latest["meta_data.json"]) == {
        "uuid": GUEST,
        "name": "My VM",
        "hostname": "my-vm",
        "launch_index": 1,
        "availability_zone": "az1",
        "project_id": "pinfold",
        "random_seed": "c2VlZA==",
        "devices": [],
        "dedicated_cpus": [0, 2],
        "meta": {"role": "db"},
        "public_keys": {"mine": "ssh-ed25519 AAAA me"},
        "keys": [{"name": "mine", "type": "ssh", "data": "ssh-ed25519 AAAA me"}],
        "admin_pass": "hunter2",
    }
    assert {path.split("/")[1] for path in files} == {"latest", "2018-08-27"}


def test_interfaces_have_a_static_address_or_ask_by_dhcp() -> None:
    static = StaticRange(cidr="192.0.2.0/24", first="192.0.2.10", last="192.0.2.20", gateway="192.0.2.1", dns=("192.0.2.1",))
    lan = Port(id=GUEST, network="lan", mac="02:00:00:00:00:01", mtu=1400, address="192.0.2.10", static=static)
    dhcp = Port(id=GUEST.replace("1", "2"), network="out", mac="02:00:00:00:00:02")
    files = dict(drive_files(GUEST, CONFIG, dedicated=(), seed=b"", ports=(lan, dhcp)))
    assert json.loads(files["openstack/latest/network_data.json"]) == {
        "links": [
            {"id": "tap00000000-00", "vif_id": lan.id, "type": "phy", "mtu": 1400, "ethernet_mac_address": lan.mac},
            {"id": "tap00000000-00", "vif_id": dhcp.id, "type": "phy", "mtu": None, "ethernet_mac_address": dhcp.mac},
        ],
        "networks": [
            {
                "id": "network0",
                "link": "tap00000000-00",
                "network_id": network_id("lan"),
                "type": "ipv4",
                "ip_address": "192.0.2.10",
                "netmask": "255.255.255.0",
                "routes": [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "192.0.2.1"}],
                "services": [{"type": "dns", "address": "192.0.2.1"}],
            },
            {"id": "network1", "link": "tap00000000-00", "network_id": network_id("out"), "type": "ipv4_dhcp"},
        ],
        "services": [{"type": "dns", "address": "192.0.2.1"}],
    }


def test_what_is_not_given_is_not_there() -> None:
    files = dict(drive_files(GUEST, GuestConfig(name="vm", hostname="vm"), dedicated=(), seed=b""))
    assert "openstack/latest/user_data" not in files
    assert not {"admin_pass", "keys", "public_keys", "meta"} & json.loads(files["openstack/latest/meta_data.json"]).keys()


def test_a_secret_is_in_no_text_about_the_value() -> None:
    assert "hunter2" not in f"{CONFIG} {CONFIG!r}" and CONFIG.user_data not in repr([CONFIG])


def test_user_data_may_have_line_breaks_and_its_refusal_does_not_show_it() -> None:
    assert decoded_user_data("Zm\n9v\n") == b"foo"
    with pytest.raises(InvalidRequest) as refused:
        decoded_user_data("password: hunter2")
    assert "hunter2" not in str(refused.value)
