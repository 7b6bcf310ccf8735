"""The commands that `pinfold doctor` prints, run as they are, where files of a made-up machine lie over this machine's own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.host.checkups.test_pools import answer, seen
from tests.host.checkups.trees import machine

from pinfold.core.cpuset import CpuSet
from pinfold.core.hosttext import host
from pinfold.drivers.checkup import Check, Health, Needs
from pinfold.drivers.libvirt.prerequisites import huge_page_checkups
from pinfold.host.checkups import kernel
from pinfold.host.checkups.facts import kernel_facts, pcpu_facts
from pinfold.linux import sysfs
from pinfold.linux.grants import HugePageMount

REALTIME = Needs(realtime=True)
TOPOLOGY = host("core:4 pu:2")
DEDICATED = CpuSet.parse("2-7")

Run = Callable[[str, str], None]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a command with a shell that sees one folder of the made-up machine in place of this machine's own."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("mounts of one's own need root and unshare")

    def _run(folder: str, command: str) -> None:
        if not Path(folder).is_dir():
            pytest.skip(f"this machine has no {folder}")
        inside = 'mount --make-rprivate / && mount --bind "$1$2" "$2" && eval "$3"'
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", inside, "sh", str(tmp_path), folder, command], capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, ""), done

    return _run


def test_interrupts_are_moved(run: Run, tmp_path: Path) -> None:
    facts = machine(tmp_path, TOPOLOGY, irqs={24: ("0-7", "3"), 25: ("2", "2"), 31: ("0-7", "7"), 40: ("0", "0")})
    (before,) = kernel.interrupts(DEDICATED, TOPOLOGY.online, facts, REALTIME)
    run("/proc/irq", before.repair)
    facts = pcpu_facts(TOPOLOGY.online, sys=tmp_path / "sys", proc=tmp_path / "proc")
    (after,) = kernel.interrupts(DEDICATED, TOPOLOGY.online, facts, REALTIME)
    assert (before.health, after.health) == (Health.POOR, Health.GOOD)


def test_governors_are_set(run: Run, tmp_path: Path) -> None:
    (before,) = kernel.governors(DEDICATED, machine(tmp_path, TOPOLOGY, governor="powersave"), REALTIME)
    run("/sys/devices/system/cpu", before.repair)
    facts = pcpu_facts(TOPOLOGY.online, sys=tmp_path / "sys", proc=tmp_path / "proc")
    (after,) = kernel.governors(DEDICATED, facts, REALTIME)
    assert (before.health, after.health) == (Health.POOR, Health.GOOD)
    assert (tmp_path / "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor").read_text() == "powersave\n"


@pytest.mark.parametrize(
    ("name", "folder", "text"),
    [("page_recovery", "sys/module/kvm/parameters", "60"), ("throttling", "proc/sys/kernel", "950000")],
)
def test_kernel_settings_are_written(run: Run, tmp_path: Path, name: str, folder: str, text: str) -> None:
    files = ("nx_huge_pages_recovery_ratio", "nx_huge_pages") if name == "page_recovery" else ("sched_rt_runtime_us", "sched_rt_period_us")
    (tmp_path / folder).mkdir(parents=True)
    for file, value in zip(files, (text, "Y" if name == "page_recovery" else "1000000"), strict=True):
        (tmp_path / folder / file).write_text(f"{value}\n")
    check = getattr(kernel, name)
    before = check(kernel_facts(sys=tmp_path / "sys", proc=tmp_path / "proc"), REALTIME)
    run(f"/{folder}", before.repair)
    after = check(kernel_facts(sys=tmp_path / "sys", proc=tmp_path / "proc"), REALTIME)
    assert (before.health, after.health) == (Health.POOR, Health.GOOD)


def test_pcpus_of_an_empty_pool_are_switched_on(run: Run, tmp_path: Path) -> None:
    if shutil.which("chcpu", path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
        pytest.skip("there is no chcpu (util-linux)")
    topology = host("core:4 pu:2 offline:0-1")
    facts = machine(tmp_path, topology, fixed="")
    repair = answer(seen("0-1", "4-7", topology=topology), facts, Check.EMPTY_POOLS).repair
    run("/sys/devices/system/cpu", f"PATH=$PATH:/usr/sbin:/sbin; {repair}")
    switches = {pcpu: (tmp_path / f"sys/devices/system/cpu/cpu{pcpu}/online").read_text().strip() for pcpu in (0, 1, 2)}
    assert switches == {0: "1", 1: "1", 2: "1"}


def test_huge_pages_are_reserved(run: Run, tmp_path: Path) -> None:
    machine(tmp_path, host("cell:2 core:2 huge:2048x0"))
    for cell in (0, 1):
        folder = tmp_path / f"sys/devices/system/node/node{cell}/hugepages/hugepages-2048kB"
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("nr_hugepages", "free_hugepages"):
            (folder / name).write_text("0\n")
    mounts = (HugePageMount(path="/dev/hugepages", size_kib=2048, found=True),)
    wanted = Needs(large_pages=True)
    (before,) = huge_page_checkups(sysfs.huge_pages(sys=tmp_path / "sys"), mounts, wanted, default_kib=2048)
    run("/sys/devices/system/node", before.repair)
    (after,) = huge_page_checkups(sysfs.huge_pages(sys=tmp_path / "sys"), mounts, wanted, default_kib=2048)
    assert (before.health, after.health) == (Health.POOR, Health.GOOD)
    assert after.words.startswith("512 in cell 0 (0 free), 512 in cell 1")
