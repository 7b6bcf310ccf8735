"""A guest's cells, memory and CPU topology as its domain XML says them."""

from __future__ import annotations

from tests.build.hosts import cpus

from pinfold.core.request.model import GuestCpuTopology
from pinfold.drivers.libvirt.guest_memory import HostPages, shape
from pinfold.drivers.port import GuestShape, ShapeCell

PAGES = HostPages(cells=(0, 1), default_huge_kib=2048)


def test_a_guest_without_cells_is_one_cell_bound_to_nothing() -> None:
    text = "<domain><memory unit='MiB'>64</memory><vcpu current='3'>4</vcpu></domain>"
    cell = ShapeCell(id=0, vcpus=cpus("0-3"), memory_mib=64)
    assert shape(text, PAGES) == GuestShape(cells=(cell,), unplugged=1)


def test_memory_counts_as_bound_only_if_it_is_strictly() -> None:
    def bound(numatune: str) -> str:
        text = f"<domain><memory unit='MiB'>64</memory><vcpu>1</vcpu><numatune>{numatune}</numatune></domain>"
        return str(shape(text, PAGES).cells[0].host_cells)

    assert bound("<memory mode='strict' nodeset='1'/>") == bound("<memory nodeset='1'/>") == "1"
    assert bound("<memory mode='preferred' nodeset='1'/>") == bound("<memory mode='strict' placement='auto'/>") == ""
    assert bound("<memory nodeset='0-1'/><memnode cellid='0' mode='strict' nodeset='0'/>") == "0"


def test_cells_huge_pages_topology_and_locked_memory_are_read() -> None:
    text = """<domain><memory unit='MiB'>96</memory><vcpu>4</vcpu>
    <memoryBacking><hugepages><page size='2' unit='MiB' nodeset='1'/></hugepages><locked/></memoryBacking>
    <numatune><memnode cellid='0' nodeset='1'/><memnode cellid='1' nodeset='0'/></numatune>
    <cpu><topology sockets='1' dies='2' cores='1' threads='2'/><numa><cell id='1' cpus='2-3' memory='32' unit='MiB'/>
    <cell id='0' cpus='0-1' memory='64' unit='MiB'/></numa></cpu></domain>"""
    cells = (
        ShapeCell(id=0, vcpus=cpus("0-1"), memory_mib=64, host_cells=cpus("1")),
        ShapeCell(id=1, vcpus=cpus("2-3"), memory_mib=32, page_kib=2048, host_cells=cpus("0")),
    )
    assert shape(text, PAGES) == GuestShape(
        cells=cells, numa=True, cpu_topology=GuestCpuTopology(sockets=2, cores=1, threads=2), locked=True
    )
