"""`Fit`, `NoFit` and `Strategy`: the engine's answers, and its preference among host cells."""

from __future__ import annotations

from enum import Enum
from functools import cached_property

from msgspec import Struct

from pinfold.core.bounds import CellIndex, Count, CpuIndex, MemoryMib, PageKib, VcpuCount
from pinfold.core.cpuset import CpuSet
from pinfold.core.reasons import Kind, Reason


class Strategy(Enum):
    """Which host cells to prefer: the fullest that fit (PACK), or the emptiest (SPREAD)."""

    PACK = "pack"
    SPREAD = "spread"


class EmulatorPlacement(Enum):
    """Where the emulator threads run on this host, by policy and pools."""

    FLOAT = "float"
    """over the guest's own pCPUs"""
    POOL = "pool"
    """on the host's overhead pool"""
    ISOLATED = "isolated"
    """on one pCPU of the dedicated pool, for this guest alone"""


class FitCell(Struct, frozen=True):  # not kw_only: see Fit
    """One guest cell on one host cell.

    `pins` holds `(vCPU, pCPU)` ascending by vCPU, one for each dedicated vCPU. `float_set` is the host cell's part of the shared pool
    if the cell has shared vCPUs (`float_vcpus`), else empty. `page_kib` is the chosen page size.
    """

    guest_cell: CellIndex
    host_cell: CellIndex
    pins: tuple[tuple[CpuIndex, CpuIndex], ...] = ()
    float_vcpus: CpuSet = CpuSet()
    float_set: CpuSet = CpuSet()
    memory_mib: MemoryMib = 0
    page_kib: PageKib = 4


class Fit(Struct, frozen=True, dict=True, cache_hash=True):
    """A valid placement of one guest on one host: everything that a ledger charges and a domain needs.

    `cells` is ordered by guest cell. It is empty for a guest without cells; then `float_vcpus` float over `float_set`, the shared pool.
    `emulator` is never empty. `emulator_pcpu` is set only for ISOLATED, and then `emulator` is that pCPU.
    `idle_siblings` are dedicated pCPUs that thread policy `isolate` keeps idle; they are charged like pins.
    `overhead_cells` is empty if the overhead threads run on the whole overhead pool. If they run on the part of it on the guest's host
    cells, it says what part of `overhead_millicpu` is booked on which host cell, ascending.
    """

    # Not kw_only: the engine gives the fields by position, because 13 keywords take three times as long.
    vcpus: VcpuCount
    memory_mib: MemoryMib
    disk_gib: Count = 0
    cells: tuple[FitCell, ...] = ()
    float_vcpus: CpuSet = CpuSet()
    float_set: CpuSet = CpuSet()
    realtime: CpuSet = CpuSet()
    emulator_placement: EmulatorPlacement = EmulatorPlacement.FLOAT
    emulator: CpuSet = CpuSet()
    emulator_pcpu: CpuIndex | None = None
    idle_siblings: CpuSet = CpuSet()
    overhead_millicpu: Count = 0
    warnings: tuple[Reason, ...] = ()
    """For example, an overhead pool that is booked beyond its total with `booking=report`."""
    overhead_cells: tuple[tuple[CellIndex, Count], ...] = ()

    @property
    def pins(self) -> tuple[tuple[int, int], ...]:
        """`(vCPU, pCPU)` of every dedicated vCPU, ascending by vCPU."""
        return tuple(sorted(pin for cell in self.cells for pin in cell.pins))

    @cached_property
    def pinned(self) -> CpuSet:
        """The pCPUs that carry a dedicated vCPU."""
        return CpuSet(pcpu for cell in self.cells for _, pcpu in cell.pins)

    @cached_property
    def taken(self) -> CpuSet:
        """Every pCPU that only this guest may use: pins, emulator pCPU, idle siblings."""
        return CpuSet.from_mask(self.taken_mask)

    @cached_property
    def taken_mask(self) -> int:
        """`taken` as a bit mask (bit n is pCPU n), which is read of each claim where a host is counted."""
        return self.compute_taken_mask()

    def compute_taken_mask(self) -> int:
        """`taken_mask` without keeping it: a new fit is claimed at half the price."""
        mask = self.idle_siblings.mask
        for cell in self.cells:
            for _, pcpu in cell.pins:
                mask |= 1 << pcpu
        return mask if self.emulator_pcpu is None else mask | 1 << self.emulator_pcpu

    @property
    def floating(self) -> CpuSet:
        """The pCPUs that its shared vCPUs float over, in cells or not."""
        return CpuSet.union((self.float_set, *(cell.float_set for cell in self.cells)))

    @cached_property
    def floating_count(self) -> int:
        """The number of vCPUs that float over shared pCPUs, in cells or not: the guest's `VCPU` in Placement."""
        return len(self.float_vcpus) + sum(len(cell.float_vcpus) for cell in self.cells)


class NoFit(Struct, frozen=True, kw_only=True):
    """Why a guest does not fit on a host. Reasons are never empty and ordered: the host's first, then by cell, then by code."""

    reasons: tuple[Reason, ...]

    @property
    def kind(self) -> Kind:
        """INFEASIBLE if the empty host with its whole overhead pool online would refuse too, else INSUFFICIENT."""
        infeasible = any(reason.kind is Kind.INFEASIBLE and reason.cell is None for reason in self.reasons)
        return Kind.INFEASIBLE if infeasible else Kind.INSUFFICIENT

    def sentence(self) -> str:
        """All reasons in one line."""
        return "; ".join(reason.sentence() for reason in self.reasons)
