"""Read the production traces: what is free on each host, and the requests in order of arrival. `traces/README.md` is their notice."""

from __future__ import annotations

import csv
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from pinfold.core.cpuset import CpuSet
from pinfold.core.fit.answer import Strategy
from pinfold.core.fit.demand import Demand, prepare
from pinfold.core.host import HostState, Limits
from pinfold.core.identity import HostId
from pinfold.core.pools import Pools
from pinfold.core.request.model import CpuPolicy, GuestCell, GuestRequest
from pinfold.core.topology import HostCell, PagePool, Topology
from pinfold.scheduler.index import Entry, counts_of

FOLDER: Final = Path(__file__).parent / "traces"
NAMES: Final = ("c1", "c2", "c3")
_LIMITS: Final = Limits(reserved_memory_mib=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a guest asks for: every vCPU pinned, its cells equal."""

    vcpus: int
    memory_gib: int
    cells: int


HostCells = tuple[tuple[int, int], ...]
"""Free pCPUs and free memory in GiB of each cell of a host."""


def hosts() -> list[HostCells]:
    """What is free on each host."""
    return [((row[0], row[1]), (row[2], row[3])) for row in (list(map(int, line)) for line in list(_rows("hosts"))[1:])]


def requests(trace: str, times: int = 1) -> list[Shape]:
    """The requests of a trace in order, so many times around. Groups of requests and their fault domains are left out."""
    shapes = [Shape(vcpus=int(row[0]), memory_gib=int(row[1]), cells=int(row[2])) for row in list(_rows(trace))[1:]]
    return shapes * times


def _rows(name: str) -> Iterator[list[str]]:
    with (FOLDER / f"{name}.csv").open(encoding="ascii", newline="") as file:
        yield from csv.reader(file)


@cache
def demand(shape: Shape) -> Demand:
    """The demand of a guest of this shape, compiled once."""
    pins, memory = shape.vcpus // shape.cells, shape.memory_gib * 1024 // shape.cells
    vcpus = [CpuSet(range(cell * pins, (cell + 1) * pins)) for cell in range(shape.cells)]
    cells = tuple(GuestCell(id=cell, vcpus=own, dedicated=own, memory_mib=memory) for cell, own in enumerate(vcpus))
    return prepare(
        GuestRequest(vcpus=shape.vcpus, memory_mib=memory * shape.cells, cpu_policy=CpuPolicy.DEDICATED, cells=cells),
    )


@cache
def entries(cell_strategy: Strategy | None) -> tuple[Entry, ...]:
    """The hosts as the scheduler's index has them: what is free is the dedicated pool, no core has siblings.

    `cell_strategy` is the operator's preference among host cells, None for none.
    """
    return tuple(_entry(number, host, cell_strategy) for number, host in enumerate(hosts()))


@cache
def _topology(host: HostCells) -> Topology:
    cells, first = [], 0
    for cell, (pcpus, memory_gib) in enumerate(host):
        cores = tuple(CpuSet.of(pcpu) for pcpu in range(first, first + pcpus))
        pages = (PagePool(size_kib=4, total=memory_gib << 18),)
        cells.append(HostCell(id=cell, cores=cores, sockets=(cell,) * pcpus, memory_mib=memory_gib << 10, pages=pages))
        first += pcpus
    return Topology(cells=tuple(cells))


def _entry(number: int, host: HostCells, cell_strategy: Strategy | None) -> Entry:
    topology = _topology(host)
    pools = Pools(shared=CpuSet(), dedicated=topology.online, overhead=None)
    name = f"c{number:05}"
    state = HostState(topology=topology, pools=pools, limits=_LIMITS, name=name, revision=1)
    return Entry(
        id=HostId(str(uuid.UUID(int=number + 1))),
        name=name,
        counts=counts_of(state),
        strategy=cell_strategy or Strategy.SPREAD,
        any_cell=cell_strategy is None,
    )
