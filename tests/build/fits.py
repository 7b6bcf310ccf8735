"""Fits: those that the engine finds, and those that are made by hand."""

from __future__ import annotations

from pinfold.core.cpuset import CpuSet
from pinfold.core.fit import engine
from pinfold.core.fit.answer import EmulatorPlacement, Fit, FitCell, NoFit, Strategy
from pinfold.core.host import HostState
from pinfold.core.request.model import GuestRequest


def fits(request: GuestRequest, where: HostState, strategy: Strategy = Strategy.PACK) -> Fit:
    """The fit, which there must be."""
    answer = engine.fit(request, where, strategy)
    assert isinstance(answer, Fit), answer.sentence()
    return answer


def refused(request: GuestRequest, where: HostState) -> NoFit:
    """The refusal, which there must be."""
    answer = engine.fit(request, where)
    assert isinstance(answer, NoFit), answer
    return answer


def places(answer: Fit) -> list[tuple[int, str]]:
    """For each guest cell the host cell and its pCPUs in the order of its vCPUs: `(1, "4,6")`."""
    return [(cell.host_cell, ",".join(str(pcpu) for _, pcpu in cell.pins)) for cell in answer.cells]


def holding(cell_of: dict[int, int], pcpus: CpuSet) -> Fit:
    """A fit that holds these pCPUs and no memory."""
    pins = list(enumerate(pcpus))
    cells = tuple(
        FitCell(guest_cell=n, host_cell=cell, pins=tuple((v, p) for v, p in pins if cell_of[p] == cell))
        for n, cell in enumerate(sorted({cell_of[p] for p in pcpus}))
    )
    return Fit(vcpus=len(pcpus), memory_mib=0, cells=cells, emulator=pcpus)


def fit(pins: str, *, emulator: str = "", pcpu: int | None = None, idle: str = "") -> Fit:
    """A fit whose vCPUs sit on the pCPUs of `pins`, ascending; the emulator on the pool given, on a pCPU alone, or over the guest's own."""
    pairs = tuple(enumerate(CpuSet.parse(pins)))
    placement = EmulatorPlacement.ISOLATED if pcpu is not None else EmulatorPlacement.POOL if emulator else EmulatorPlacement.FLOAT
    return Fit(
        vcpus=len(pairs),
        memory_mib=64,
        cells=(FitCell(guest_cell=0, host_cell=0, pins=pairs, memory_mib=64),),
        emulator_placement=placement,
        emulator=CpuSet.of(pcpu) if pcpu is not None else CpuSet.parse(emulator or pins),
        emulator_pcpu=pcpu,
        idle_siblings=CpuSet.parse(idle),
        overhead_millicpu=32 if emulator else 0,
    )
