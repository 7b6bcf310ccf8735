"""This machine's topology from sysfs: recorded hosts written as files and read back, and the machine itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.hosttext import host as made
from pinfold.core.topology import Topology, check
from pinfold.drivers.libvirt import capabilities
from pinfold.lab import sysfs as written
from pinfold.linux import sysfs
from pinfold.linux.topology import topology

HOSTS = sorted((Path(__file__).parents[1] / "hosts").glob("*/capabilities.xml"))


def whole(host: Topology) -> Topology:
    """The host with the amounts that files tell: memory in whole MiB, and small pages as what huge ones leave."""
    cells = []
    for cell in host.cells:
        huge = cell.pages[1:]
        small = cell.memory_mib * 1024 - sum(page.size_kib * page.total for page in huge)
        first = (replace(cell.pages[0], total=small // cell.pages[0].size_kib),) if cell.memory_mib else ()
        cells.append(replace(cell, pages=first + huge))
    return replace(host, cells=tuple(cells))


@pytest.mark.parametrize("file", HOSTS, ids=lambda file: file.parent.name)
def test_a_recorded_host_is_read_from_its_files(file: Path, tmp_path: Path) -> None:
    offline = file.with_name("offline")
    gone = CpuSet.parse(offline.read_text().strip()) if offline.exists() else CpuSet()
    host = capabilities.topology(file.read_text(), offline=gone)
    written.write(host, tmp_path)
    found = topology(sys=tmp_path, small_page_kib=host.cells[0].small_page_kib)
    check(found)
    assert found == whole(host)


def test_a_kernel_without_numa_is_one_cell(tmp_path: Path) -> None:
    files = {"online": "0-1\n", "present": "0-2\n"}
    for cpu in (0, 1):
        files |= {f"cpu{cpu}/topology/physical_package_id": "-1\n", f"cpu{cpu}/topology/thread_siblings_list": "0-1\n"}
    for name, text in files.items():
        (tmp_path / "devices/system/cpu" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "devices/system/cpu" / name).write_text(text)
    (tmp_path / "meminfo").write_text("MemTotal:       65536 kB\n")
    found = topology(sys=tmp_path, proc=tmp_path, small_page_kib=4)
    (cell,) = found.cells
    assert (cell.cores, cell.sockets, cell.memory_mib, found.offline) == ((CpuSet.of(0, 1),), (0,), 64, CpuSet.of(2))


def test_last_level_caches_are_read_from_their_files(tmp_path: Path) -> None:
    host = made("pack:2 core:4 pu:2 far cache:2 / core:2 cache:1")
    written.write(host, tmp_path)
    assert [cell.caches for cell in topology(sys=tmp_path).cells] == [(0, 0, 1, 1), (2, 2, 3, 3), (4, 4)]
    for cpu in range(18):
        (tmp_path / f"devices/system/cpu/cpu{cpu}/cache/index0/id").unlink()
    assert [cell.caches for cell in topology(sys=tmp_path).cells] == [(0, 0, 2, 2), (4, 4, 6, 6), (8, 8)], "the lowest pCPU of each"


def test_the_cache_of_the_highest_level_is_the_last(tmp_path: Path) -> None:
    written.write(made("core:2 cache:1"), tmp_path)
    for cpu in (0, 1):
        lower = tmp_path / f"devices/system/cpu/cpu{cpu}/cache/index1"
        lower.mkdir()
        (lower / "level").write_text("2\n")
        (lower / "id").write_text(f"{cpu}\n")
    assert topology(sys=tmp_path).cells[0].caches == (0, 0)


@pytest.mark.parametrize("file", ["level", "id", "shared_cpu_list"])
@pytest.mark.parametrize("text", ["", "-1", "many", "9" * 5000, "0-" + "9" * 5000, "\xff", "0-99999999", "1" * 100_000])
def test_a_cell_whose_cache_files_are_not_the_kernel_s_has_no_caches(file: str, text: str, tmp_path: Path) -> None:
    written.write(made("core:2 cache:1"), tmp_path)
    cache = tmp_path / "devices/system/cpu/cpu1/cache/index0"
    if file == "shared_cpu_list":
        (cache / "id").unlink()
    (cache / file).write_text(text, encoding="latin-1")
    (cell,) = topology(sys=tmp_path).cells
    assert (cell.cores, cell.caches) == ((CpuSet.of(0), CpuSet.of(1)), ())


def test_this_machine_is_read() -> None:
    found = topology()
    check(found)
    assert found.online == sysfs.online()
    assert sum(cell.memory_mib for cell in found.cells) > 0
