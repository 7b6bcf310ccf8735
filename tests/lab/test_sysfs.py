"""A topology as sysfs text."""

from __future__ import annotations

from pathlib import Path

from pinfold.core.cpuset import CpuSet
from pinfold.core.topology import HostCell, PagePool, Topology
from pinfold.lab import sysfs

UNEVEN = Topology(
    cells=(
        HostCell(
            id=0,
            cores=(CpuSet.of(0, 4), CpuSet.of(1)),
            sockets=(0, 0),
            memory_mib=1024,
            pages=(PagePool(size_kib=4, total=131072), PagePool(size_kib=2048, total=256)),
        ),
        HostCell(id=2, cores=(CpuSet.of(2, 6),), sockets=(1,), distances=((0, 32), (2, 10))),
        HostCell(id=3, cores=(), memory_mib=64),
    ),
    offline=CpuSet.of(5),
)


def test_cells_without_memory_or_cpus_and_offline_cpus_are_shown() -> None:
    files = sysfs.files(UNEVEN)
    assert files["cpu/online"] == "0-2,4,6" and files["cpu/offline"] == "5" and files["cpu/present"] == "0-2,4-6"
    assert files["cpu/cpu5/online"] == "0" and "cpu/cpu5/topology/core_id" not in files
    assert files["node/online"] == "0,2-3" and files["node/has_cpu"] == "0,2" and files["node/has_memory"] == "0,3"
    assert files["node/node0/distance"] == "10 21 21" and files["node/node2/distance"] == "32 10 21"
    assert files["node/node3/cpulist"] == "" and files["node/node3/cpumap"] == "00000000"


def test_cores_have_ids_within_their_socket() -> None:
    files = sysfs.files(UNEVEN)
    assert [files[f"cpu/cpu{cpu}/topology/core_id"] for cpu in (0, 4, 1, 2)] == ["0", "0", "1", "0"]
    assert files["cpu/cpu1/topology/thread_siblings_list"] == "1" and files["cpu/cpu1/topology/core_siblings_list"] == "0-1,4"


def test_huge_pages_are_counted_by_size() -> None:
    files = sysfs.files(UNEVEN)
    assert files["node/node0/hugepages/hugepages-2048kB/nr_hugepages"] == "256"
    assert "MemTotal:      1048576 kB" in files["node/node0/meminfo"]


def test_masks_have_a_word_for_every_32_cpus() -> None:
    high = Topology(cells=(HostCell(id=0, cores=(CpuSet.of(0, 64),)),))
    assert sysfs.files(high)["node/node0/cpumap"] == "00000001,00000000,00000001"


def test_links_join_cells_and_cpus(tmp_path: Path) -> None:
    sysfs.write(UNEVEN, tmp_path)
    base = tmp_path / "devices/system"
    assert (base / "cpu/cpu6/node2/cpulist").read_text() == "2,6\n"
    assert (base / "node/node0/cpu4/topology/core_id").read_text() == "0\n"
