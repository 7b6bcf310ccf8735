"""The page about accounting in Nova, typed: a real libvirt with guests as Nova defines them, the real client, the real Placement.

The Compute API is pinfold's own, and `systemctl restart nova-compute` is what Nova does then (`nova_compute.py`).
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.real.clients.conftest import Rig
from tests.real.clients.preloaded import openstack
from tests.rig.in_process import ADMIN

from pinfold.config.clouds import clouds_yaml
from pinfold.lab.daemon import LabHost

PAGE = Path(__file__).parents[3] / "docs/how-to/account-overhead-in-nova.md"
NODE = "10000000-0000-4000-8000-000000000001"
OLD, TYPED = (f"20000000-0000-4000-8000-00000000000{number}" for number in (1, 2))
SHARE = "--property hw:cpu_policy=dedicated --property hw:emulator_threads_policy=share"
PLAIN = {"PCPU": 1, "MEMORY_MB": 64}
VERSION = {"OpenStack-API-Version": "placement 1.38"}
HOSTILE = "$(touch hacked); 'x' \"y\" --help"

pytestmark = [pytest.mark.real_libvirt, pytest.mark.real_placement]


def domain(uuid: str, name: str, flavor: str) -> str:
    """A guest of one pinned vCPU, as Nova defines it."""
    return f"""<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid>
<metadata><nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1"><nova:name>{name}-server</nova:name>
<nova:flavor name="{flavor}"><nova:memory>64</nova:memory><nova:disk>0</nova:disk><nova:swap>0</nova:swap>
<nova:ephemeral>0</nova:ephemeral><nova:vcpus>1</nova:vcpus><nova:extraSpecs>
<nova:extraSpec name="hw:cpu_policy">dedicated</nova:extraSpec>
<nova:extraSpec name="hw:emulator_threads_policy">share</nova:extraSpec></nova:extraSpecs></nova:flavor></nova:instance></metadata>
<memory unit='MiB'>64</memory><vcpu>1</vcpu><cputune><vcpupin vcpu='0' cpuset='1'/><emulatorpin cpuset='0'/></cputune>
<os><type arch='x86_64'>hvm</type></os></domain>"""


@dataclass(frozen=True)
class NovaNode:
    """A compute node: its folder in place of /etc/nova, and what an operator types there."""

    folder: Path
    rig: Rig

    def type(self, commands: str, code: int = 0) -> str:
        """What the commands print in one shell, run as they stand on the page; the exit status is asserted."""
        restart = [sys.executable, str(Path(__file__).with_name("nova_compute.py")), f"{self.folder}/provider_config"]
        restart += [f"{self.rig.url}/placement", *ADMIN, NODE]
        typed = f"systemctl() {{ {shlex.join(restart)}; }}\n{commands.replace('/etc/nova', str(self.folder))}"
        path = f"{self.folder}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}"
        around = self.rig.environment() | {"PATH": path, "OS_CLIENT_CONFIG_FILE": f"{self.folder}/clouds.yaml"}
        del around["OS_CLOUD"]
        done = subprocess.run(["bash", "-eu", "-c", typed], cwd=self.folder, env=around, capture_output=True, text=True, check=False)
        assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout

    def allocation(self, consumer: str) -> tuple[dict[str, int], str, str, str]:
        """The consumer's resources of the node, its project, user and type."""
        found = self.rig.fleet.http.get(f"/placement/allocations/{consumer}", headers=VERSION).raise_for_status().json()
        return found["allocations"][NODE]["resources"], found["project_id"], found["user_id"], found["consumer_type"]


@pytest.fixture
def node(rig: Rig, lab_name: str, lab_possible: None, tmp_path: Path) -> Iterator[NovaNode]:
    """A node of Nova's with two guests that are older than the accounting; the allocation of one has a type, as newer clients give it."""
    if not {0, 1} <= os.sched_getaffinity(0):
        pytest.skip("the example is about pCPUs 0 and 1")
    with LabHost(f"{lab_name}-novaacc", cgroups=False, kvm=False) as lab:
        for number, uuid in enumerate((OLD, TYPED), 1):
            file = tmp_path / f"{number}.xml"
            file.write_text(domain(uuid, f"instance-0000000{number}", "pinned"))
            subprocess.run(["virsh", "-c", lab.uri, "define", str(file)], check=True, capture_output=True)
        (tmp_path / "nova.conf").write_text(
            f"[DEFAULT]\nhost = n1\n[compute]\ncpu_shared_set = 0\ncpu_dedicated_set = 1\n[libvirt]\nconnection_uri = {lab.uri}\n"
        )
        (tmp_path / "provider_config").mkdir()
        (tmp_path / "clouds.yaml").touch(mode=0o600)
        (tmp_path / "clouds.yaml").write_text(clouds_yaml("mycloud", rig.url, *ADMIN))
        held = f"--allocation rp={NODE},PCPU=1,MEMORY_MB=64 --project-id p --user-id u"
        rig.succeed(
            f"flavor create --vcpus 1 --ram 64 --disk 0 {SHARE} pinned",
            "flavor create --vcpus 1 --ram 64 --disk 0 plain",
            f"flavor create --vcpus 2 --ram 64 --disk 0 --private {SHARE} -- {shlex.quote(HOSTILE)}",
            f"resource provider create --uuid {NODE} n1",
            f"--os-placement-api-version 1.28 resource provider inventory set {NODE} --resource PCPU=8 --resource MEMORY_MB=1024",
            f"--os-placement-api-version 1.28 resource provider trait set --trait HW_CPU_X86_VMX {NODE}",
            f"--os-placement-api-version 1.28 resource provider allocation set {OLD} {held}",
        )
        body = {"allocations": {NODE: {"resources": PLAIN}}, "project_id": "p", "user_id": "u", "consumer_generation": None}
        typed = rig.fleet.http.put(f"/placement/allocations/{TYPED}", json=body | {"consumer_type": "INSTANCE"}, headers=VERSION)
        typed.raise_for_status()
        (tmp_path / "bin").mkdir()
        client, address = tmp_path / "bin" / "openstack", tmp_path / "client"
        client.write_text(openstack(address))
        client.chmod(0o755)
        loaded = subprocess.Popen([sys.executable, str(Path(__file__).with_name("preloaded.py")), str(address)])
        try:
            while not address.exists():
                assert loaded.poll() is None
                time.sleep(0.05)
            yield NovaNode(tmp_path, rig)
        finally:
            loaded.kill()
            loaded.wait()


def steps() -> dict[str, str]:
    """The commands of the page by the heading above them."""
    parts = re.split(r"^## (.+)\n", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {
        title: "".join(re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
        for title, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def refusals(node: NovaNode) -> None:
    """A cloud that cannot be asked, and a node that it does not have, are told in a sentence."""
    for command in ("flavors", "check --config /etc/nova/nova.conf"):
        said = node.type(f"pinfold nova {command} --cloud nowhere 2>&1 >/dev/null", code=3)
        assert said.startswith("pinfold: `openstack "), said
        assert "nowhere" in said and said.count("\n") == 1
    said = node.type("pinfold nova check --config /etc/nova/nova.conf --cloud mycloud --name n9 2>&1", code=2)
    assert said == "pinfold: Placement has no resource provider 'n9'; --name takes the name that it has for this node\n"


def test_the_page_leads_through_it_and_back_out(node: NovaNode) -> None:
    refusals(node)
    page = steps()
    assert [title for title, text in page.items() if text] == [
        "On every compute node",
        "The flavors",
        "The guests that run already",
        "Back out",
    ]
    said = node.type(page["On every compute node"])
    assert "500 millicpu" in said
    assert "cpu_allocation_ratio has been 4, set it to 2" in " ".join(said.split())
    assert (node.folder / "provider_config/overhead.yaml").stat().st_mode & 0o777 == 0o644

    printed = node.type(page["The flavors"])
    assert "resources:CUSTOM_OVERHEAD_MILLICPU=42" in printed
    assert not (node.folder / "hacked").exists()
    rows = json.loads(node.type("openstack --os-cloud mycloud flavor list --all --long -f json"))
    booked = {row["Name"]: row["Properties"].get("resources:CUSTOM_OVERHEAD_MILLICPU") for row in rows}
    assert (booked["pinned"], booked["plain"], booked[HOSTILE]) == ("42", None, "44")

    checked = " ".join(node.type(page["The guests that run already"]).split())
    assert f"guest instance-00000001-server ({OLD}) has policy share and books nothing; it needs 42 millicpu" in checked
    assert checked.endswith("node, Placement and flavors agree: n1 has 500 millicpu, 84 booked, 2 guests")
    healed = PLAIN | {"CUSTOM_OVERHEAD_MILLICPU": 42}
    assert node.allocation(OLD) == (healed, "p", "u", "unknown")
    assert node.allocation(TYPED) == (healed, "p", "u", "INSTANCE")
    assert node.type("pinfold nova flavors --cloud mycloud") == "# every flavor books what its guests need\n"

    assert "nothing books overhead on n1" in node.type(page["Back out"])
    assert node.allocation(OLD) == (PLAIN, "p", "u", "unknown")
    traits, inventory = node.rig.succeed(
        f"--os-placement-api-version 1.28 resource provider trait list {NODE} -f json",
        f"--os-placement-api-version 1.28 resource provider inventory list {NODE} -f json",
    )
    assert [trait["name"] for trait in traits] == ["HW_CPU_X86_VMX"]
    assert {row["resource_class"] for row in inventory} == {"PCPU", "MEMORY_MB"}
    rows = json.loads(node.type("openstack --os-cloud mycloud flavor list --all --long -f json"))
    assert not [row["Name"] for row in rows if "CUSTOM_OVERHEAD" in json.dumps(row["Properties"])]
