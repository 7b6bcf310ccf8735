"""The fit of a guest after some of its own pCPUs were exchanged for others of the same host cell. Its memory and its cells stay."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.fit.answer import EmulatorPlacement, Fit
from pinfold.core.fit.count import CellCounts
from pinfold.core.overhead.table import pcpus
from pinfold.core.pool_change import own_pcpus

Exchange = Mapping[int, int]
"""A pCPU of a vCPU or an isolated emulator -> the pCPU that it moves to."""


def repinned(fit: Fit, exchange: Exchange, idle: CpuSet, online: CpuSet) -> Fit:
    """The fit with these pCPUs exchanged and these idle siblings. Threads that float over the guest's own pCPUs follow them."""
    cells = tuple(
        replace(cell, pins=tuple((vcpu, exchange.get(pcpu, pcpu)) for vcpu, pcpu in cell.pins))
        if any(pcpu in exchange for _, pcpu in cell.pins)
        else cell
        for cell in fit.cells
    )
    alone = None if fit.emulator_pcpu is None else exchange.get(fit.emulator_pcpu, fit.emulator_pcpu)
    after = replace(fit, cells=cells, emulator_pcpu=alone, idle_siblings=idle)
    if fit.emulator_placement is EmulatorPlacement.POOL:
        return after
    own = own_pcpus(after, online)
    return replace(after, emulator=pcpus(fit.emulator_placement, None, own, CpuSet() if alone is None else CpuSet.of(alone)))


def carriers(fit: Fit, host_cell: int, cell_of: Mapping[int, int]) -> tuple[int, ...]:
    """The pCPUs of the guest's vCPUs on one host cell, in the order of the vCPUs, then that of its isolated emulator if it is there.

    An offline pCPU has no cell. That of an emulator counts as one of the guest's first cell.
    """
    pins = tuple(pcpu for cell in fit.cells if cell.host_cell == host_cell for _, pcpu in cell.pins)
    alone = fit.emulator_pcpu
    first = fit.cells[0].host_cell if fit.cells else None
    return pins if alone is None or cell_of.get(alone, first) != host_cell else (*pins, alone)


def unwelcome(fit: Fit, pcpu: int, cell: CellCounts) -> int:
    """The cores of `cell`, as a mask, that what runs on `pcpu` should not move to: those where the guest's isolated emulator would be a
    sibling of one of its realtime vCPUs.
    """
    if fit.emulator_pcpu is None or not fit.realtime:
        return 0
    realtime = [own for vcpu, own in fit.pins if vcpu in fit.realtime]
    avoided = realtime if pcpu == fit.emulator_pcpu else [fit.emulator_pcpu] if pcpu in realtime else []
    mask = 0
    for own in avoided:
        mask |= cell.frame.core_of.get(own, 0)
    return mask
