"""What a host that somebody describes may not be."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.host import Foreign, ForeignMemory, Limits, OverheadRates, ReservedPages
from pinfold.core.hosttext import host
from pinfold.core.pools import Pools
from pinfold.core.sanity import check_host
from pinfold.core.topology import HostCell, PagePool, Topology

HOST = host("core:4")
POOLS = Pools(shared=CpuSet.of(0), dedicated=CpuSet.parse("1-3"), overhead=CpuSet.of(0))
TWICE = Topology(cells=(HostCell(id=0, cores=(CpuSet.parse("0-1"), CpuSet.parse("1-3"))),))
VAST = Topology(cells=(HostCell(id=0, cores=(), pages=(PagePool(size_kib=2**30, total=2**30),)),))
MANY = Topology(cells=tuple(HostCell(id=index, cores=()) for index in range(1025)))
NO_POOLS = Pools(shared=CpuSet(), dedicated=CpuSet())


def test_hosts_that_can_be_pass() -> None:
    check_host(HOST, POOLS, Limits(), (), None)
    check_host(Topology(cells=()), NO_POOLS, Limits(cpu_allocation_ratio=0.01), (), 0)
    pages = (ForeignMemory(cell=0, size_kib=2048, count=1),)
    check_host(HOST, replace(POOLS, overhead=CpuSet()), Limits(), (Foreign(name="x", cpus=CpuSet.parse("0-8000"), pages=pages),), 10)


@pytest.mark.parametrize(
    ("topology", "pools", "limits", "foreign", "disk_gib", "sentence"),
    [
        (TWICE, NO_POOLS, Limits(), (), None, "pCPU 1 stands in two cores"),
        (MANY, NO_POOLS, Limits(), (), None, "the number of cells is 1025; it must be from 0 to 1024"),
        (VAST, NO_POOLS, Limits(), (), None, "the memory in pages, in MiB is 1125899906842624; it must be from 0 to 2147483647"),
        (HOST, replace(POOLS, shared=CpuSet.of(1)), Limits(), (), None, "pCPUs 1 are in the dedicated pool and in another"),
        (HOST, replace(POOLS, overhead=CpuSet.of(3)), Limits(), (), None, "pCPUs 3 are in the dedicated pool and in another"),
        (HOST, replace(POOLS, overhead=CpuSet.of(4)), Limits(), (), None, "overhead names pCPUs 4, which are not online"),
        (HOST, POOLS, Limits(cpu_allocation_ratio=1e300), (), None, "cpu_allocation_ratio is 1e+300; it must be from 1e-06 to 1000000"),
        (HOST, POOLS, Limits(ram_allocation_ratio=0.0), (), None, "ram_allocation_ratio is 0.0"),
        (HOST, POOLS, Limits(disk_allocation_ratio=-1.0), (), None, "disk_allocation_ratio is -1.0"),
        (HOST, POOLS, Limits(shared_fraction=1.5), (), None, "shared_fraction is 1.5; it must be from 0 to 1"),
        (HOST, POOLS, Limits(reserved_memory_mib=-1), (), None, "reserved_memory_mib is -1"),
        (HOST, POOLS, Limits(reserved_disk_gib=2**53), (), None, "reserved_disk_gib is 9007199254740992"),
        (HOST, POOLS, Limits(rates=OverheadRates(nic=-10)), (), None, "nic_millicpu is -10; it must be from 0 to 1000000"),
        (HOST, POOLS, Limits(reserved_pages=(ReservedPages(cell=0, size_kib=0, count=1),)), (), None, "the size of a reserved page in KiB"),
        (HOST, POOLS, Limits(), (Foreign(name="x", memory_mib=-5),), None, "the memory of x in MiB is -5"),
        (
            HOST,
            POOLS,
            Limits(),
            (Foreign(name="x", pages=(ForeignMemory(cell=0, size_kib=4, count=-1),)),),
            None,
            "the number of pages of x",
        ),
        (HOST, POOLS, Limits(), (), -1, "disk_gib is -1; it must be from 0 to 2147483647"),
    ],
)
def test_hosts_that_cannot_be_are_refused(
    topology: Topology, pools: Pools, limits: Limits, foreign: tuple[Foreign, ...], disk_gib: int | None, sentence: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_host(topology, pools, limits, foreign, disk_gib)
    assert sentence in str(caught.value)
