"""A few servers of tempest in CI: the installed tempest against `pinfold up` on a lab host, with a stand-in for Keystone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.real.fleet.conftest import TOPOLOGY
from tests.rig.fleet import sweep
from tests.rig.keystone_stand_in import keystone_stand_in
from tests.rig.network_namespace import network_namespace
from tests.tempest.cloud import make_flavors, serving
from tests.tempest.installed import ROLES, run_installed

from pinfold.core.hosttext import host
from pinfold.lab.daemon import LabHost
from pinfold.lab.witness import SYNTHETIC

CHOSEN = (
    "tempest.api.compute.servers.test_create_server.ServersTestJSON.test_verify_server_details",
    "tempest.api.compute.servers.test_create_server.ServersTestJSON.test_list_servers_with_detail",
    "tempest.api.compute.servers.test_delete_server.DeleteServersTestJSON.test_delete_active_server",
)


@pytest.mark.real_clients
def test_servers_of_tempest_are_created_shown_and_deleted(
    lab_name: str, lab_possible: None, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    record_property("witness", f"{'KVM' if Path('/dev/kvm').exists() else 'TCG'}, no cgroups, {SYNTHETIC}")
    folder = tmp_path / "cloud"
    folder.mkdir()
    for each in (folder, tmp_path):
        each.chmod(0o711)
    with (
        network_namespace("br0") as namespace,
        namespace.inside(),
        keystone_stand_in(ROLES) as keystone,
        LabHost(f"{lab_name}-tempest", topology=host(TOPOLOGY)) as lab,
    ):
        with serving(folder, f"{lab_name}-t", lab, keystone.url) as api:
            keystone.catalogue = api.url
            make_flavors(api)
            images = {one["name"]: one["id"] for one in api.ask("GET", "/image/v2/images")["images"]}
            assert run_installed(CHOSEN, tmp_path, keystone=keystone.url, image=images["probe"], network="lan") == len(CHOSEN)
        sweep(lab)
