"""`unpreferred`: the preferences of `0001-what-fits` that a valid fit neglects; only those that the contract fixes without question.

1. ISOLATED: guest cell 0 carries the emulator pCPU if any placement allows it.
2. The emulator pCPU shares a core with a realtime vCPU only where its cell offers no choice of pCPUs that keeps its core free of vCPUs.
3. `prefer` breaks as few whole cores as any choice in that cell (cells that carry the emulator pCPU apart).
4. One guest cell that pins: of the host cells that work, PACK takes the one with the fewest free dedicated pCPUs, SPREAD the most; ties
   the lowest id.
"""

from __future__ import annotations

from tests.oracle.enumeration import pcpu_choices, placements
from tests.oracle.oracle import is_small
from tests.oracle.room import CellRoom, Room, read

from pinfold.core.fit.answer import Fit, FitCell, Strategy
from pinfold.core.host import HostState
from pinfold.core.request.model import EmulatorPolicy, GuestRequest, ThreadPolicy


def unpreferred(request: GuestRequest, state: HostState, strategy: Strategy, fit: Fit) -> list[str]:
    """The sentences of neglected preferences; empty on hosts too large to try everything."""
    room = read(state)
    if not request.cells or not is_small(room):
        return []
    found = []
    cells = {cell.id: cell for cell in room.cells}
    for part in fit.cells:
        found += _cell(request, cells[part.host_cell], part, fit)
    first = fit.cells[0]
    if fit.emulator_pcpu is not None and fit.emulator_pcpu not in cells[first.host_cell].free:
        if next(placements(request, room, carriers=[0]), None) is not None:
            found.append("guest cell 0 could carry the emulator pCPU")
    if len(request.cells) == 1 and request.cells[0].dedicated:
        best = _best_cell(request, room, strategy)
        if first.host_cell != best:
            found.append(f"host cell {best} comes before {first.host_cell} with {strategy.value}")
    return found


def _cell(request: GuestRequest, cell: CellRoom, part: FitCell, fit: Fit) -> list[str]:
    pins = frozenset(pcpu for _, pcpu in part.pins)
    if fit.emulator_pcpu in cell.free:
        assert fit.emulator_pcpu is not None
        core = next(core for core in cell.cores if fit.emulator_pcpu in core)
        realtime = {pcpu for vcpu, pcpu in part.pins if vcpu in request.realtime}
        if core & realtime and _core_for_emulator(request, cell, len(pins)):
            return [f"emulator pCPU {fit.emulator_pcpu} is a sibling of a realtime vCPU, another choice exists in cell {cell.id}"]
        return []
    if request.thread_policy is not ThreadPolicy.PREFER or not pins:
        return []
    fewest = min(broken(cell, frozenset(chosen)) for chosen, _ in pcpu_choices(cell, len(pins), False, ThreadPolicy.PREFER))
    if broken(cell, pins) > fewest:
        return [f"cell {cell.id}: pins {sorted(pins)} break {broken(cell, pins)} whole cores, {fewest} would do"]
    return []


def _core_for_emulator(request: GuestRequest, cell: CellRoom, count: int) -> bool:
    """Whether some choice keeps the emulator's core free of the guest's vCPUs."""
    for chosen, emulator in pcpu_choices(cell, count, True, request.thread_policy):
        core = next(core for core in cell.cores if emulator in core)
        if not core & frozenset(chosen):
            return True
    return False


def broken(cell: CellRoom, pins: frozenset[int]) -> int:
    """How many whole free cores of two or more threads are used in part."""
    return sum(len(core) > 1 and core <= cell.free and 0 < len(core & pins) < len(core) for core in cell.cores)


def _best_cell(request: GuestRequest, room: Room, strategy: Strategy) -> int:
    working = []
    for placement in placements(request, room):
        cell = next(cell for cell in room.cells if cell.id == placement.host_cells[0])
        working.append((len(cell.free) if strategy is Strategy.PACK else -len(cell.free), cell.id))
    assert working or request.emulator_policy is EmulatorPolicy.ISOLATE
    return min(working)[1]
