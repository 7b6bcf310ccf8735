"""A few tests of tempest in CI: the installed tempest against the service in this process, with a stand-in for Keystone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.real.clients.conftest import Rig, rig
from tests.rig.databases import placement_file, sqlite_file
from tests.rig.keystone_stand_in import KeystoneStandIn, authtoken, keystone_stand_in
from tests.rig.served import served
from tests.tempest.installed import ROLES, run_installed

from pinfold.api.app import create_app
from pinfold.api.keystone import KeystoneTokens
from pinfold.config.keystone import keystone_conf

__all__ = ["placement_file", "rig", "sqlite_file"]

CHOSEN = (
    "tempest.api.compute.test_versions.TestVersions.test_get_version_details",
    "tempest.api.compute.flavors.test_flavors.FlavorsV2TestJSON",
    "tempest.api.compute.images.test_list_images.ListImagesTestJSON",
    "tempest.api.compute.admin.test_hosts.HostsAdminTestJSON.test_show_host_detail",
)
PASSED = 16


@pytest.fixture
def keystone(rig: Rig, tmp_path: Path) -> Iterator[KeystoneStandIn]:
    """A stand-in whose catalogue names the service in this process."""
    with keystone_stand_in(ROLES) as made:
        (tmp_path / "pinfold.conf").write_text(authtoken(made.url))
        tokens = KeystoneTokens(keystone_conf([str(tmp_path / "pinfold.conf")]))
        with served(create_app(dataclasses.replace(rig.fleet.services, tokens=tokens))) as url:
            made.catalogue = url
            yield made
        tokens.close()


@pytest.mark.real_clients
def test_some_tests_of_tempest_pass(rig: Rig, keystone: KeystoneStandIn, tmp_path: Path) -> None:
    for name in ("101", "102"):
        rig.fleet.flavor(name, vcpus=1)
    image = rig.fleet.http.get("/image/v2/images").json()["images"][0]["id"]
    assert run_installed(CHOSEN, tmp_path, keystone=keystone.url, image=image) >= PASSED
