"""The lab itself: what a libvirtd in it sees, what the shim records, and what is left when a lab ends in whichever way."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import libvirt
import pytest
from tests.real.patience import until

from pinfold.cli.app import run
from pinfold.cli.session import Parts
from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import Conflict, Unavailable
from pinfold.core.hosttext import host
from pinfold.lab import cgroup
from pinfold.lab.daemon import LabHost
from pinfold.lab.folder import LabFolder, labs, reap
from pinfold.lab.witness import witness_of
from pinfold.wiring.host import open_driver

DOMAIN = """
<domain type="{kind}"><name>{name}</name><memory unit="MiB">8</memory><vcpu placement="static">2</vcpu><iothreads>1</iothreads>
<cputune><vcpupin vcpu="0" cpuset="{first}"/><vcpupin vcpu="1" cpuset="{second}"/><emulatorpin cpuset="{emulator}"/>
<iothreadpin iothread="1" cpuset="{emulator}"/></cputune>{numatune}
<os><type arch="x86_64" machine="pc">hvm</type><loader readonly="yes" type="rom">{rom}</loader></os>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator><controller type="usb" model="none"/>
<serial type="file"><source path="{serial}"/></serial><memballoon model="none"/>{disk}</devices></domain>
"""
DISK = """<disk type="file" device="disk"><driver name="qemu" type="raw" io="threads" cache="writeback"/><source file="{path}"/>
<target dev="vda" bus="virtio"/></disk>"""


def start(
    lab: LabHost, rom: Path, *, name: str = "g", first: str, second: str, emulator: str, cell: int | None = None, disk: str = ""
) -> int:
    """Start a guest with two vCPUs, and return its process id."""
    numatune = "" if cell is None else f'<numatune><memory mode="strict" nodeset="{cell}"/></numatune>'
    kind = "kvm" if lab.kvm else "qemu"
    serial = lab.run_dir / f"{name}-serial.log"
    xml = DOMAIN.format(
        kind=kind, name=name, first=first, second=second, emulator=emulator, numatune=numatune, rom=rom, serial=serial, disk=disk
    )
    connection = libvirt.open(lab.uri)
    try:
        connection.createXML(xml)
    finally:
        connection.close()
    return int((lab.run_dir / f"qemu/{name}.pid").read_text())


def destroy(lab: LabHost) -> None:
    """End the guest. libvirt 9.0 may say that it is gone already, when it ends just as a new libvirtd takes it over."""
    connection = libvirt.open(lab.uri)
    try:
        connection.lookupByName("g").destroy()
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
            raise
    finally:
        connection.close()


def ended(pid: int) -> bool:
    """Whether a process has ended; where init is slow it stays a zombie for a while."""
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def threads(pid: int) -> dict[int, str]:
    """The names of a process's threads, by id; those that end meanwhile are left out."""
    found = {}
    for tid in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError):
            found[int(tid)] = Path(f"/proc/{pid}/task/{tid}/comm").read_text().strip()
    return found


@pytest.fixture
def named(lab_name: str, lab_possible: None) -> Iterator[str]:
    """A name for a lab that the test brings up itself; whatever it leaves is removed."""
    name = f"{lab_name}-own"
    yield name
    for folder in labs():
        if folder.path.name == name:
            LabHost.of(folder).down()


def test_a_guest_boots_and_says_so(lab: LabHost, idle_rom: Path) -> None:
    start(lab, idle_rom, first="0", second="0", emulator="0")
    until(lambda: "PROBE-UP behaviour=0" in (lab.run_dir / "g-serial.log").read_text())
    destroy(lab)


def test_the_witness_is_procfs_on_the_real_topology(lab: LabHost) -> None:
    assert lab.witness == "procfs" and not lab.synthetic
    assert witness_of(lab.uri) is None


def test_guests_survive_a_restart_and_a_kill_of_libvirtd(lab: LabHost, idle_rom: Path) -> None:
    pid = start(lab, idle_rom, first="0", second="0", emulator="0")
    lab.restart_daemon()
    lab.kill_daemon()
    with pytest.raises(libvirt.libvirtError):
        libvirt.open(lab.uri)
    lab.start_daemon()
    connection = libvirt.open(lab.uri)
    assert not ended(pid) and connection.lookupByName("g").isActive()
    connection.close()
    destroy(lab)
    until(lambda: ended(pid))


@pytest.mark.parametrize(
    "text",
    [
        "pack:2 core:8 pu:2 mem:16384",
        "core:4 mem:8192 / core:2 pu:4 mem:0 ids:0,4 offline:5",
        "pack:2 cell:2 core:4 pu:2 far mem:4096 huge:2048x512,1048576x1",
        "cell:2 core:3 step:2 / core:0 mem:1024",
        "pack:8 core:16 pu:2 mem:2048",
    ],
    ids=[
        "two cells",
        "a cell without memory, an offline pCPU",
        "huge pages, siblings far apart",
        "sparse ids, a cell without pCPUs",
        "256",
    ],
)
def test_libvirt_sees_the_topology_that_was_asked_for(named: str, text: str) -> None:
    topology = host(text)
    with LabHost(named, topology=topology) as lab:
        connection = libvirt.open(lab.uri)
        seen = ElementTree.fromstring(connection.getCapabilities()).findall(".//topology/cells/cell")
        connection.close()
    assert [int(cell.get("id", "")) for cell in seen] == [cell.id for cell in topology.cells]
    for cell, expected in zip(seen, topology.cells, strict=True):
        assert CpuSet(int(cpu.get("id", "")) for cpu in cell.findall("cpus/cpu")) == expected.cpus
        assert {CpuSet.parse(cpu.get("siblings", "")) for cpu in cell.findall("cpus/cpu")} == set(expected.cores)
        pages = [(int(page.get("size", "")), int(page.text or "0")) for page in cell.findall("pages")]
        assert [page for page in pages if page[0] > 4] == [(pool.size_kib, pool.total) for pool in expected.pages[1:]]
        if expected.memory_mib:
            assert int(cell.findtext("memory", "0")) == expected.memory_mib * 1024


def test_what_is_asked_of_absent_pcpus_is_recorded(synthetic_lab: LabHost, idle_rom: Path) -> None:
    pid = start(synthetic_lab, idle_rom, first="24", second="25", emulator="0,16", cell=1)
    witness = witness_of(synthetic_lab.uri)
    assert witness is not None and witness.label == synthetic_lab.witness
    asked = {name: str(witness.allowed(tid)) for tid, name in threads(pid).items() if not name.startswith("kvm-")}
    vcpus = {name[:5]: mask for name, mask in asked.items() if name.startswith("CPU ")}
    assert vcpus == {"CPU 0": "24", "CPU 1": "25"}
    assert {mask for name, mask in asked.items() if not name.startswith("CPU ")} == {"0,16"}
    real = CpuSet(os.sched_getaffinity(0))
    assert all(CpuSet(os.sched_getaffinity(tid)) <= real for tid in threads(pid))
    connection = libvirt.open(synthetic_lab.uri)
    domain = connection.lookupByName("g")
    assert [cpu for cpu, there in enumerate(domain.vcpus()[1][1]) if there] == [25]
    connection.close()
    destroy(synthetic_lab)
    until(lambda: witness.allowed(pid) is None)  # forgotten when the thread is gone


def test_threads_made_later_inherit_their_creators_record(synthetic_lab: LabHost, disk_rom: Path, tmp_path: Path) -> None:
    image = tmp_path / "disk.raw"
    image.write_bytes(bytes(1 << 20))
    tmp_path.chmod(0o755)
    pid = start(synthetic_lab, disk_rom, first="2", second="3", emulator="1", disk=DISK.format(path=image))
    witness = witness_of(synthetic_lab.uri)
    assert witness is not None

    def recorded() -> set[CpuSet]:
        asked = {witness.allowed(tid) for tid, name in threads(pid).items() if name == "worker"}
        return {cpus for cpus in asked if cpus is not None}  # None: it has just ended

    # The main thread makes them, or a vCPU's thread while it runs the block layer, as it may on a busy machine.
    assert until(recorded, "there is a worker") <= {CpuSet.of(1), CpuSet.of(2), CpuSet.of(3)}
    destroy(synthetic_lab)


def test_a_name_is_taken_once(synthetic_lab: LabHost) -> None:
    with pytest.raises(Conflict, match="is up already"):
        LabHost(synthetic_lab.spec.name, topology=host("core:2")).up()


def test_nothing_is_left_after_down(named: str, idle_rom: Path) -> None:
    with LabHost(named, cgroups=cgroup.version(cgroup.hierarchies()) != "none") as lab:
        pid = start(lab, idle_rom, first="0", second="0", emulator="0")
        inside = until(lambda: len(found := lab.folder.processes(lab.spec)) == 3 and found, "libvirtd, virtlogd and the guest are inside")
        assert pid in inside
    assert not lab.folder.path.exists()
    assert all(ended(each) for each in inside)
    assert not any((found.mount / lab.spec.group).exists() for found in cgroup.hierarchies() if lab.spec.group)


@pytest.fixture
def own_root(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A place for labs where nobody else looks: the next lab of any other suite would remove what is left behind."""
    with tempfile.TemporaryDirectory(prefix="pf-labs-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setenv("PINFOLD_LAB_ROOT", folder)
        yield


def test_a_killed_keeper_leaves_what_the_next_look_removes(own_root: None, named: str, idle_rom: Path) -> None:
    lab = LabHost(named, topology=host("core:4"), detached=True).up()
    pid = start(lab, idle_rom, first="3", second="2", emulator="0")
    os.kill(lab.keeper, signal.SIGKILL)
    until(lambda: lab.folder.processes(lab.spec) == (pid,))  # the daemons go with their keeper
    assert named in reap().removed
    assert ended(pid) and not lab.folder.path.exists()


def test_a_lab_ends_with_the_process_that_holds_it(named: str, idle_rom: Path) -> None:
    code = (
        "import sys, time; from pinfold.lab.daemon import LabHost; from pinfold.core.hosttext import host;"
        f"LabHost({named!r}, topology=host('core:4')).up(); print('up', flush=True); time.sleep(3600)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
    assert holder.stdout is not None and holder.stdout.readline() == "up\n"
    folder = next(folder for folder in labs() if folder.path.name == named)
    pid = start(LabHost.of(folder), idle_rom, first="3", second="2", emulator="0")
    holder.kill()
    holder.wait()
    holder.stdout.close()
    until(lambda: not folder.path.exists())
    assert ended(pid)


def test_a_lab_that_is_up_leaves_what_is_mounted_in_it_as_it_is(own_root: None, named: str, tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("dear")
    lab = LabHost(named, topology=host("core:4"), detached=True).up()
    point = lab.folder.path / "mine"
    point.mkdir()
    subprocess.run(["mount", "--bind", str(tmp_path), str(point)], check=True)
    try:
        with pytest.raises(Unavailable, match="mine is a mount point in lab"):
            lab.down()
        until(lambda: not lab.folder.held())
        assert (tmp_path / "letter").read_text() == "dear"
    finally:
        subprocess.run(["umount", str(point)], check=True)
    assert reap().removed == (named,)


def test_huge_pages_that_the_machine_lacks_are_booked_and_not_taken(named: str, idle_rom: Path) -> None:
    with LabHost(named, topology=host("cell:2 core:2 mem:4096 huge:2048x1024,1048576x1")) as lab:
        kind = "kvm" if lab.kvm else "qemu"
        xml = DOMAIN.format(
            kind=kind, name="g", first="2", second="3", emulator="0", numatune="", rom=idle_rom, serial=lab.run_dir / "g.log", disk=""
        )
        backing = """<memory unit="MiB">1024</memory><memoryBacking><hugepages><page size="2048" unit="KiB"/></hugepages></memoryBacking>
        <numatune><memory mode="strict" nodeset="1"/></numatune>"""
        connection = libvirt.open(lab.uri)
        connection.createXML(xml.replace('<memory unit="MiB">8</memory>', backing))
        connection.close()
        pid = int((lab.run_dir / "qemu/g.pid").read_text())
        resident = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
        assert int(resident.split()[1]) < 200 * 1024


def test_the_command_line_brings_labs_up_and_down(lab_name: str, lab_possible: None, capsys: pytest.CaptureFixture[str]) -> None:
    def pinfold(*arguments: str) -> tuple[int, str, str]:
        status = run(arguments, Parts(open_driver=open_driver))
        return status, *capsys.readouterr()

    name = f"{lab_name}-cli"
    try:
        status, said, _ = pinfold("lab", "up", name, "--topology", "cell:2 core:2", "--hosts", "2", "--json")
        assert status == 0
        first, second = json.loads(said)["labs"]
        assert (first["name"], second["name"]) == (f"{name}1", f"{name}2")
        assert first["synthetic"] and not first["cgroups"]
        status, said, _ = pinfold("host", "show", "--config", second["config"], "--json")
        assert status == 0
        assert json.loads(said)
        assert pinfold("lab", "up", f"{name}1")[0] == 4
        damaged = LabFolder.named(f"{name}1").path / "lab.json"
        damaged.write_text("{")
        assert "lab.json is damaged" in " ".join(pinfold("lab", "status")[1].split())
        assert f"lab {name}2 is up (cell:2 core:2)" in pinfold("lab", "status")[1]
    finally:
        assert pinfold("lab", "down", f"{name}1")[0] == 0  # its keeper knows what it is
        assert pinfold("lab", "down", name)[1] == f"lab {name}2 is down; its guests have ended\n"
    status, _, complaint = pinfold("lab", "down", f"{name}2")
    assert (status, complaint) == (2, f"pinfold: there is no lab '{name}2'; `pinfold lab status` lists those that are up\n")
    assert pinfold("lab", "up", name, "--real", "--topology", "core:2")[0] == 2
    assert pinfold("lab", "up", "Name")[0] == 2
    assert pinfold("lab", "up", name, "--topology", "core:x")[0] == 2
