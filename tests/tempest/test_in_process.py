"""A few tests of tempest in CI: the installed tempest against the service in this process, with a stand-in for Keystone."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.real.clients.conftest import Rig, rig
from tests.rig.databases import placement_file, sqlite_file
from tests.rig.keystone_stand_in import KeystoneStandIn, authtoken, keystone_stand_in
from tests.rig.served import served

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
_ACCOUNTS = """
- {username: mia, project_name: red, password: mia, roles: [member]}
- {username: rob, project_name: red, password: rob, roles: [reader]}
- {username: ada, project_name: red, password: ada, types: [admin], roles: [admin, member]}
"""
_CONF = """
[oslo_concurrency]
lock_path = {folder}/locks

[auth]
use_dynamic_credentials = false
test_accounts_file = {folder}/accounts.yaml
default_credentials_domain_name = Default

[identity]
auth_version = v3
uri_v3 = {keystone}
v3_endpoint_type = public
region = RegionOne

[service_available]
nova = true
glance = true
neutron = false
cinder = false
swift = false

[validation]
run_validation = false

[compute]
image_ref = {image}
image_ref_alt = {image}
flavor_ref = 101
flavor_ref_alt = 102
build_interval = 1
build_timeout = 60
max_microversion = 2.96
"""


@pytest.fixture
def keystone(rig: Rig, tmp_path: Path) -> Iterator[KeystoneStandIn]:
    """A stand-in whose catalogue names the service in this process."""
    with keystone_stand_in({"ada": {"red": "admin"}, "mia": {"red": "member"}, "rob": {"red": "reader"}}) as made:
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
    (tmp_path / "accounts.yaml").write_text(_ACCOUNTS)
    (tmp_path / "tempest.conf").write_text(_CONF.format(folder=tmp_path, keystone=keystone.url, image=image))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "PYTEST"))}
    command = [sys.executable, "-m", "testtools.run", *CHOSEN]
    env = kept | {"TEMPEST_CONFIG_DIR": str(tmp_path), "TEMPEST_CONFIG": "tempest.conf"}
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    ran = re.search(r"^Ran (\d+) tests", done.stdout, re.MULTILINE)
    assert ran is not None and int(ran[1]) >= PASSED
    assert "skip" not in done.stdout.lower()
