"""The tempest that is installed beside pinfold, for a few of its tests in CI, with the accounts of a stand-in for Keystone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROLES: Final = {"ada": {"red": "admin"}, "mia": {"red": "member"}, "rob": {"red": "reader"}}
"""The stand-in's accounts: user, project, role."""
_ACCOUNTS: Final = """
- {username: mia, project_name: red, password: mia, roles: [member]}
- {username: rob, project_name: red, password: rob, roles: [reader]}
- {username: ada, project_name: red, password: ada, types: [admin], roles: [admin, member]}
"""
_CONF: Final = """
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
neutron = {neutron}
cinder = false
swift = false

[validation]
run_validation = false

[compute]
image_ref = {image}
image_ref_alt = {image}
flavor_ref = 101
flavor_ref_alt = 102
fixed_network_name = {network}
build_interval = 1
build_timeout = 60
max_microversion = 2.96

[compute-feature-enabled]
enable_instance_password = false
"""


def run_installed(chosen: Sequence[str], folder: Path, *, keystone: str, image: str, network: str = "") -> int:
    """Run tests and classes of tempest, of which none may fail or be skipped; how many ran.

    Classes that make servers on a network are skipped unless `network` names one of the Network API.
    """
    (folder / "accounts.yaml").write_text(_ACCOUNTS)
    neutron = str(bool(network)).lower()
    (folder / "tempest.conf").write_text(_CONF.format(folder=folder, keystone=keystone, image=image, network=network, neutron=neutron))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "PYTEST"))}
    command = [sys.executable, "-m", "testtools.run", *chosen]
    env = kept | {"TEMPEST_CONFIG_DIR": str(folder), "TEMPEST_CONFIG": "tempest.conf"}
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    ran = re.search(r"^Ran (\d+) tests?", done.stdout, re.MULTILINE)
    assert ran is not None, done.stdout
    assert "skip" not in done.stdout.lower(), done.stdout + done.stderr
    return int(ran[1])
