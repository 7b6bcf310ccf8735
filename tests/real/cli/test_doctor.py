"""`pinfold doctor` about guests and libvirts that are real: what it prints is followed, and then it has nothing to say."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.real.cli.conftest import Pinfold

from pinfold.drivers.libvirt import prerequisites, state_files
from pinfold.drivers.libvirt.address import address
from pinfold.drivers.libvirt.driver import LibvirtDriver
from pinfold.lab.daemon import LabHost
from pinfold.linux.grants import huge_page_mounts

_DOMAIN = """<domain type='{kind}'>
  <name>bare</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
  <cputune><vcpupin vcpu='0' cpuset='1'/><emulatorpin cpuset='1'/><vcpusched vcpus='0' scheduler='fifo' priority='1'/></cputune>
  <os><type arch='x86_64'>hvm</type><loader readonly='yes' type='rom'>{rom}</loader></os>
</domain>"""


def test_an_emulator_beside_a_realtime_vcpu_is_moved_by_the_command_that_doctor_prints(
    real_pinfold: Pinfold, lab: LabHost, idle_rom: Path, tmp_path: Path
) -> None:
    if lab.cgroups != "none":
        pytest.skip("cgroup v1 with groups of realtime gives a guest none")
    xml = tmp_path / "bare.xml"
    xml.write_text(_DOMAIN.format(kind="kvm" if lab.kvm else "qemu", rom=idle_rom))
    subprocess.run(["virsh", "-c", lab.uri, "create", str(xml)], check=True, capture_output=True)
    starved = _answer(real_pinfold, "starvation", status=1)
    assert starved["health"] == "poor"
    assert "of guest bare may run only on pCPU 1, beside vCPU 0 of guest bare" in starved["words"]
    assert any(fact["source"].startswith("/proc/") and "fifo" in fact["value"] for fact in starved["seen"])
    subprocess.run(["sh", "-c", starved["repair"]], check=True, capture_output=True, timeout=60)
    assert _answer(real_pinfold, "starvation")["words"] == "1 realtime vCPU on pCPU 1, where no overhead thread may run"


def _answer(pinfold: Pinfold, check: str, status: int = 0) -> dict[str, Any]:
    found = [one for one in json.loads(pinfold("doctor", "--json", status=status).stdout)["checks"] if one["check"] == check]
    assert len(found) == 1, found
    return dict(found[0])


def test_a_hugetlbfs_that_is_mounted_late_is_found_after_a_restart(lab: LabHost) -> None:
    if not lab.kvm or lab.cgroups == "none":
        pytest.skip("one kind of lab is enough: libvirt looks for mounts in the same way in all")
    late = "/run/libvirt/late"
    conf = "/etc/libvirt/qemu.conf"
    assert _mark(lab, late) is None
    _inside(lab, f"mkdir {late} && mount -t hugetlbfs -o pagesize=2M hugetlbfs {late} && cp {conf} /run/libvirt/conf")
    try:
        assert _mark(lab, late) is False
        _inside(lab, f"sed -i /hugetlbfs_mount/d {conf}")
        lab.restart_daemon()
        assert _mark(lab, late) is True
    finally:
        _inside(lab, f"cat /run/libvirt/conf > {conf} && umount {late}")
        lab.restart_daemon()


def _mark(lab: LabHost, path: str) -> bool | None:
    """Whether libvirt found the mount at `path` when it started; None without such a mount."""
    LibvirtDriver(lab.uri).close()  # it has started when it answers
    found = [mount.found for mount in huge_page_mounts(_daemon(lab), prerequisites.LIBVIRT_PAGES) if mount.path == path]
    return found[0] if found else None


def _inside(lab: LabHost, command: str) -> None:
    subprocess.run(["nsenter", "-t", str(_daemon(lab)), "-m", "sh", "-c", command], check=True, capture_output=True)


def _daemon(lab: LabHost) -> int:
    pid = state_files.daemon_pid(address(lab.uri, session_dir="").state_dir)
    assert pid is not None
    return pid
