"""Move one guest from its retiring pCPUs to free dedicated pCPUs of the same host cell, as its thread policy allows."""

from __future__ import annotations

from collections.abc import Iterable

from pinfold.core.cpuset import CpuSet
from pinfold.core.fit import cores
from pinfold.core.fit.answer import Fit
from pinfold.core.fit.count import CellCounts, Counts
from pinfold.core.repin.fits import carriers, repinned, unwelcome
from pinfold.core.request.model import GuestRequest, ThreadPolicy


def retiring_of(fit: Fit, counts: Counts) -> CpuSet:
    """The pCPUs of the guest's own that are no longer in the dedicated pool, or offline."""
    return fit.taken - CpuSet.from_mask(counts.frame.dedicated)


def vacated(fit: Fit, request: GuestRequest, counts: Counts) -> Fit:
    """The fit with as many of its retiring pCPUs exchanged as its host cells have free pCPUs for; the same fit if none can be. Pure.

    Thread policy `prefer`: each vCPU on a retiring pCPU moves, broken cores are filled first. `require`: the vCPUs of one cell that are
    no longer on a core with two dedicated threads for them move together, or none. `isolate`: each moves with its idle siblings, to a core
    that is wholly free.
    """
    for cell in counts.cells:
        leaving = retiring_of(fit, counts)
        if leaving:
            fit = _on_cell(fit, request, counts, cell, leaving)
    return fit


def _on_cell(fit: Fit, request: GuestRequest, counts: Counts, cell: CellCounts, leaving: CpuSet) -> Fit:
    topology = counts.state.topology
    mine = carriers(fit, cell.frame.id, topology.cell_of)
    if request.thread_policy is ThreadPolicy.ISOLATE:
        exchange, idle = _to_whole_cores(fit, mine, cell, leaving)
        return repinned(fit, exchange, idle, topology.online) if exchange else fit
    pins = [pcpu for pcpu in mine if pcpu != fit.emulator_pcpu]
    required = request.thread_policy is ThreadPolicy.REQUIRE
    exchange = _to_paired(fit, pins, cell, leaving) if required else _to_any(fit, [pcpu for pcpu in pins if pcpu in leaving], cell)
    if exchange:
        fit = repinned(fit, exchange, fit.idle_siblings, topology.online)
    alone = fit.emulator_pcpu
    if alone is not None and alone in leaving and alone in mine:
        exchange = _to_any(fit, [alone], cell, without=_mask(exchange.values()))
        fit = repinned(fit, exchange, fit.idle_siblings, topology.online) if exchange else fit
    return fit


def _to_whole_cores(fit: Fit, mine: tuple[int, ...], cell: CellCounts, leaving: CpuSet) -> tuple[dict[int, int], CpuSet]:
    """What moves to a wholly free core each, and the guest's idle siblings afterwards.

    Nothing tells whose sibling an offline pCPU is. It stays the guest's as long as one of its vCPUs stays.
    """
    core_of = cell.frame.core_of
    lost = leaving.mask & fit.taken.mask
    movers = [pcpu for pcpu in mine if (core_of.get(pcpu, 0) | 1 << pcpu) & lost]
    targets = tuple(core[0] for core in sorted(cell.shape.wholes, key=len)[: len(movers)])
    exchange = dict(zip(movers, targets, strict=False))
    stay = fit.taken.mask & ~fit.idle_siblings.mask & ~_mask(exchange)
    idle = [pcpu for pcpu in fit.idle_siblings if stay & core_of.get(pcpu, stay)]
    return exchange, CpuSet(idle) | CpuSet.from_mask(cores.siblings(cell, targets))


def _to_paired(fit: Fit, pins: list[int], cell: CellCounts, leaving: CpuSet) -> dict[int, int]:
    """What moves so that each vCPU is on a core with two or more dedicated threads that are free but for this guest; nothing if they
    do not all find such a core.
    """
    if leaving.isdisjoint(CpuSet(pins)):
        return {}
    open_to_it = cell.free | fit.taken.mask & ~leaving.mask
    paired = sum(core for core, _ in cell.frame.cores if (core & open_to_it).bit_count() > 1) & open_to_it
    movers = [pcpu for pcpu in pins if not paired >> pcpu & 1]
    avoided = _avoided(fit, movers, cell)
    wholes, brokens = _within(cell, paired & ~avoided)
    if sum(map(len, (*wholes, *brokens))) < len(movers):
        wholes, brokens = _within(cell, paired)
    if sum(map(len, (*wholes, *brokens))) < len(movers):
        return {}
    return dict(zip(movers, cores.fill(cell, wholes, brokens, len(movers)), strict=True))


def _to_any(fit: Fit, movers: list[int], cell: CellCounts, *, without: int = 0) -> dict[int, int]:
    """What moves to any free pCPUs of the cell but those of `without`; as many as there are."""
    free = cell.free & ~without
    kept = free & ~_avoided(fit, movers, cell)
    within = kept if kept.bit_count() >= len(movers) else free
    wholes, brokens = _within(cell, within)
    targets = cores.fill(cell, wholes, brokens, min(len(movers), within.bit_count()))
    return dict(zip(movers, targets, strict=False))


def _avoided(fit: Fit, movers: list[int], cell: CellCounts) -> int:
    mask = 0
    for pcpu in movers:
        mask |= unwelcome(fit, pcpu, cell)
    return mask


def _within(cell: CellCounts, mask: int) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """The cell's whole cores that lie within the mask, and the free threads within the mask of all other cores."""
    parts = [tuple(pcpu for pcpu in core if mask >> pcpu & 1) for core in (*cell.shape.wholes, *cell.shape.brokens)]
    wholes = [part for part in parts if part in cell.shape.wholes]
    return wholes, [part for part in parts if part and part not in wholes]


def _mask(pcpus: Iterable[int]) -> int:
    mask = 0
    for pcpu in pcpus:
        mask |= 1 << pcpu
    return mask
