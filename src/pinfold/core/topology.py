"""The hardware of a host: cells, cores, pCPUs and memory pages. `pools` and `ledger` say what they are used for."""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise

from msgspec import Struct

from pinfold.core.bounds import Number
from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvariantViolation


class PagePool(Struct, frozen=True, kw_only=True):
    """All pages of one size in one cell: `total` pages of `size_kib` KiB."""

    size_kib: Number
    total: Number


class HostCell(Struct, frozen=True, kw_only=True):
    """One NUMA node of the host.

    `cores` holds the online siblings of each physical core, ordered by lowest pCPU; `sockets` the socket id of each core, and `caches` the
    id of its last-level cache, in the same order, or nothing if the host does not report them. A cache may reach into other cells.
    `pages` is ordered by size, the small page first; its total excludes memory in huge pages, as in libvirt.
    `distances` holds `(cell id, distance)` for every cell, this one included; empty if the host does not report them.
    A cell may have no memory or no pCPUs.
    """

    id: Number
    cores: tuple[CpuSet, ...]
    sockets: tuple[Number, ...] = ()
    caches: tuple[Number, ...] = ()
    memory_mib: Number = 0
    pages: tuple[PagePool, ...] = ()
    distances: tuple[tuple[Number, Number], ...] = ()

    @property
    def cpus(self) -> CpuSet:
        """The online pCPUs of the cell."""
        mask = 0
        for core in self.cores:
            mask |= core.mask
        return CpuSet.from_mask(mask)

    @property
    def small_page_kib(self) -> int:
        """The size of the cell's small page in KiB; 4 if the cell has no pages."""
        return self.pages[0].size_kib if self.pages else 4

    @property
    def small_memory_mib(self) -> int:
        """The memory in small pages, in MiB, rounded down."""
        return self.pages[0].size_kib * self.pages[0].total // 1024 if self.pages else 0


class Topology(Struct, frozen=True, kw_only=True, dict=True):
    """A host's cells, ordered by id, and the pCPUs that exist but are offline.

    Invariants (see `check`): no pCPU is in two cores or both online and offline; cell ids ascend; pages ascend by size.
    """

    cells: tuple[HostCell, ...]
    offline: CpuSet = CpuSet()

    @cached_property
    def online(self) -> CpuSet:
        """Every online pCPU."""
        mask = 0
        for cell in self.cells:
            mask |= cell.cpus.mask
        return CpuSet.from_mask(mask)

    @cached_property
    def siblings(self) -> dict[int, CpuSet]:
        """For each online pCPU, the online pCPUs of its core, itself included. Read only."""
        return {cpu: core for cell in self.cells for core in cell.cores for cpu in core}

    @cached_property
    def cell_of(self) -> dict[int, int]:
        """For each online pCPU, the id of its cell. Read only."""
        return {cpu: cell.id for cell in self.cells for cpu in cell.cpus}

    @property
    def threads_per_core(self) -> int:
        """The largest number of online siblings on one core; 1 means no SMT."""
        return max((len(core) for cell in self.cells for core in cell.cores), default=1)

    def cell(self, cell_id: int) -> HostCell:
        """The cell with that id. Raises `KeyError`."""
        for cell in self.cells:
            if cell.id == cell_id:
                return cell
        raise KeyError(cell_id)


def check(topology: Topology) -> None:
    """Check the invariants of the topology. Raises `InvariantViolation` naming the first one that is broken.

    >>> check(Topology(cells=(HostCell(id=1, cores=()), HostCell(id=0, cores=()))))
    Traceback (most recent call last):
    ...
    pinfold.core.errors.InvariantViolation: topology: cell ids [1, 0] do not ascend
    """
    ids = [cell.id for cell in topology.cells]
    _demand(all(a < b for a, b in pairwise(ids)), f"cell ids {ids} do not ascend")
    seen = 0
    for cell in topology.cells:
        _check_cell(cell, ids)
        for core in cell.cores:
            _demand(not seen & core.mask, f"pCPU {CpuSet.from_mask(seen & core.mask)} stands in two cores")
            seen |= core.mask
    both = topology.offline & CpuSet.from_mask(seen)
    _demand(not both, f"pCPU {both} is both online and offline")


def _check_cell(cell: HostCell, ids: list[int]) -> None:
    _demand(all(cell.cores), f"cell {cell.id} has a core without pCPUs")
    firsts = [core.first for core in cell.cores]
    _demand(firsts == sorted(firsts), f"the cores of cell {cell.id} are not ordered by their lowest pCPU")
    _demand(len(cell.sockets) in (0, len(cell.cores)), f"cell {cell.id} has {len(cell.cores)} cores and {len(cell.sockets)} socket ids")
    _demand(len(cell.caches) in (0, len(cell.cores)), f"cell {cell.id} has {len(cell.cores)} cores and {len(cell.caches)} cache ids")
    sizes = [page.size_kib for page in cell.pages]
    _demand(all(a < b for a, b in pairwise([0, *sizes])), f"the page sizes {sizes} of cell {cell.id} do not ascend")
    _demand(cell.memory_mib >= 0 and all(page.total >= 0 for page in cell.pages), f"cell {cell.id} has a negative amount of memory")
    told = sorted(other for other, _ in cell.distances)
    _demand(not told or told == ids, f"cell {cell.id} tells distances to the cells {told}, not to {ids}")


def _demand(holds: bool, sentence: str) -> None:
    if not holds:
        raise InvariantViolation(f"topology: {sentence}")
