"""`explain`: why a host refuses a request, and whether it always will. Call it after `engine.search` found no place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pinfold.core.errors import InvariantViolation
from pinfold.core.fit.count import CellCounts, Counts
from pinfold.core.fit.demand import CellNeed, Demand
from pinfold.core.fit.match import most
from pinfold.core.fit.place import carriers, least_small_mib
from pinfold.core.fit.room import overhead_lack, page_for, takes
from pinfold.core.reasons import Kind, Reason, ReasonCode

_ORDER: Final = {code: position for position, code in enumerate(ReasonCode)}
_WITH_EMULATOR: Final = " with the pCPU of the emulator threads"
_PLACEMENT: Final = (ReasonCode.GUEST_CELL, ReasonCode.CELL_COMBINATION, ReasonCode.EMULATOR_PCPU, ReasonCode.TOO_FEW_CELLS)


def explain(demand: Demand, counts: Counts) -> tuple[Reason, ...]:
    """Every reason why the counted host refuses `demand`, those of the host first.

    A reason of the host that the empty host has too is INFEASIBLE and gives the empty host's numbers. So the refusal is INFEASIBLE exactly
    if the empty host refuses for any reason besides an offline overhead pool. Raises `InvariantViolation` if there is no reason, because
    then the search was wrong.
    """
    empty = counts.frame.empty
    reasons = list(_host_reasons(demand, empty, Kind.INFEASIBLE))
    for reason in _host_reasons(demand, counts, Kind.INSUFFICIENT):
        if not any(known.code is reason.code and known.detail == reason.detail for known in reasons):
            reasons.append(reason)
    if not reasons:
        raise InvariantViolation(f"host {counts.state.name or '(unnamed)'} refuses a request and has no reason to")
    lacks_cells = any(reason.code in _PLACEMENT for reason in reasons)
    if len(reasons) > 1:
        reasons.sort(key=_by_code)
    if lacks_cells:
        for cell, empty_cell in zip(counts.cells, empty.cells, strict=True):
            reasons += _cell_reasons(demand, cell, empty_cell)
    return tuple(reasons)


def _by_code(reason: Reason) -> tuple[int, str]:
    return _ORDER[reason.code], reason.detail


def _host_reasons(demand: Demand, counts: Counts, kind: Kind) -> Iterator[Reason]:
    """What the host as a whole lacks: traits and pools first, cells last. Empty exactly if it has a placement."""
    frame, request = counts.frame, demand.request
    for trait in sorted(request.traits_required - frame.traits):
        yield Reason(code=ReasonCode.MISSING_TRAIT, kind=Kind.INFEASIBLE, detail=trait)
    for trait in sorted(request.traits_forbidden & frame.traits):
        yield Reason(code=ReasonCode.FORBIDDEN_TRAIT, kind=Kind.INFEASIBLE, detail=trait)
    if counts.disk_room is not None and demand.disk_gib > counts.disk_room:
        yield Reason(code=ReasonCode.DISK, kind=kind, needed=demand.disk_gib, available=counts.disk_room)
    if demand.floating and not frame.n_shared:
        yield Reason(code=ReasonCode.NO_SHARED_POOL, kind=kind, needed=demand.floating)
    elif demand.floating and demand.floating > counts.vcpu_room:
        yield Reason(code=ReasonCode.SHARED_CAPACITY, kind=kind, needed=demand.floating, available=counts.vcpu_room)
    room = counts.strict_room_mib if demand.cells else counts.floating_room_mib
    if (demand.only_small_pages or not demand.cells) and request.memory_mib > room:
        yield Reason(code=ReasonCode.MEMORY, kind=kind, needed=request.memory_mib, available=room)
    lacking = overhead_lack(demand, counts) if demand.asks_pool else None
    if lacking is not None:
        code, needed, available = lacking
        # No release brings an offline pool back, but switching its pCPUs on does.
        passing = Kind.INSUFFICIENT if code is ReasonCode.OVERHEAD_POOL_OFFLINE else kind
        yield Reason(code=code, kind=passing, needed=needed, available=available)
    if demand.pins and not frame.dedicated:
        yield Reason(code=ReasonCode.NO_DEDICATED_POOL, kind=kind, needed=demand.pins)
    elif demand.cells and (frame.n_shared or not demand.floating):
        yield from _placement_reasons(demand, counts, kind)


def _placement_reasons(demand: Demand, counts: Counts, kind: Kind) -> Iterator[Reason]:
    """Why the guest cells get no host cells: one by itself, all together, with the emulator's pCPU, or by the host's small memory."""
    if len(demand.cells) > len(counts.cells):
        yield Reason(code=ReasonCode.TOO_FEW_CELLS, kind=kind, needed=len(demand.cells), available=len(counts.cells))
        return
    allowed = [_allowed(demand, need, counts, 0) for need in demand.kinds]
    for position, mask in enumerate(allowed):
        if not mask:
            first = next(cell.guest_cell for cell in demand.cells if cell.kind == position)
            yield Reason(code=ReasonCode.GUEST_CELL, kind=kind, detail=str(first))
    if not all(allowed):
        return
    together = most([allowed[cell.kind] for cell in demand.cells])
    if together < len(demand.cells):
        yield Reason(code=ReasonCode.CELL_COMBINATION, kind=kind, needed=len(demand.cells), available=together)
        return
    if demand.only_small_pages:
        if demand.own_pcpus and not any(_carried(demand, counts, allowed, carrier) for carrier in carriers(demand)):
            yield _no_carrier(demand, counts, kind)
        return
    lightest = [small for carrier in carriers(demand) if (small := least_small_mib(demand, counts, carrier)) is not None]
    if not lightest:
        yield _no_carrier(demand, counts, kind)
    elif (small := min(lightest)) > counts.strict_room_mib and small:
        yield Reason(code=ReasonCode.MEMORY, kind=kind, needed=small, available=counts.strict_room_mib)


def _carried(demand: Demand, counts: Counts, allowed: list[int], carrier: int) -> bool:
    """Whether all guest cells have a placement with the emulator in that guest cell."""
    rows = [allowed[cell.kind] for cell in demand.cells]
    rows[carrier] = _allowed(demand, demand.kinds[demand.cells[carrier].kind], counts, 1)
    return most(rows) == len(rows)


def _no_carrier(demand: Demand, counts: Counts, kind: Kind) -> Reason:
    """The reason if the vCPUs can be placed but the isolated emulator cannot."""
    free = sum(len(cell.wholes) if demand.isolated_threads else cell.n_free for cell in counts.cells)
    if free <= demand.pins:
        return Reason(code=ReasonCode.EMULATOR_PCPU, kind=kind, needed=demand.pins + 1, available=free)
    if any(_allowed(demand, need, counts, 1) for need in demand.kinds):
        cells = len(demand.cells)
        return Reason(code=ReasonCode.CELL_COMBINATION, kind=kind, needed=cells, available=cells - 1, detail=_WITH_EMULATOR)
    return Reason(code=ReasonCode.GUEST_CELL, kind=kind, detail=f"{demand.cells[0].guest_cell}{_WITH_EMULATOR}")


def _allowed(demand: Demand, need: CellNeed, counts: Counts, extra: int) -> int:
    """The indexes of the host cells that take the guest cell, as a mask."""
    mask = 0
    for cell in counts.cells:
        if _fits(demand, cell, need, extra):
            mask |= 1 << cell.frame.position
    return mask


def _fits(demand: Demand, cell: CellCounts, need: CellNeed, extra: int) -> bool:
    return takes(cell, need, extra, demand) and page_for(cell, need, demand) != 0


def _cell_reasons(demand: Demand, cell: CellCounts, empty: CellCounts) -> list[Reason]:
    """What one host cell lacks for the kinds of guest cells that it does not take. Each code occurs once, with the smallest need."""
    never = not any(_fits(demand, empty, need, 0) for need in demand.kinds)
    judged, kind = (empty, Kind.INFEASIBLE) if never else (cell, Kind.INSUFFICIENT)
    found: list[Reason] = []
    for need in demand.kinds:
        for code, needed, available, detail in _lacks(demand, judged, need):
            known = [reason for reason in found if reason.code is code and reason.detail == detail]
            if not known or needed < known[0].needed:
                found = [reason for reason in found if reason not in known]
                found.append(Reason(code=code, kind=kind, cell=cell.frame.id, needed=needed, available=available, detail=detail))
    if len(found) > 1:
        found.sort(key=_by_code)
    return found


def _lacks(demand: Demand, cell: CellCounts, need: CellNeed) -> Iterator[tuple[ReasonCode, int, int, str]]:
    pins, extra = need.pins, demand.own_pcpus
    free = len(cell.wholes) if demand.isolated_threads else cell.n_free
    if demand.required_threads and pins > cell.n_paired:
        yield ReasonCode.THREAD_SIBLINGS, pins, cell.n_paired, ""
    elif pins > free:
        yield ReasonCode.WHOLE_CORES if demand.isolated_threads else ReasonCode.DEDICATED_PCPUS, pins, free, ""
    elif pins + extra > free:
        yield ReasonCode.EMULATOR_PCPU, pins + extra, free, ""
    if need.floats > cell.frame.n_shared:
        yield ReasonCode.SHARED_PCPUS, need.floats, cell.frame.n_shared, ""
    elif need.floats and need.floats > cell.shared_room:
        yield ReasonCode.SHARED_CAPACITY, need.floats, cell.shared_room, ""
    if not page_for(cell, need, demand):
        yield _lacks_pages(demand, cell, need)


def _lacks_pages(demand: Demand, cell: CellCounts, need: CellNeed) -> tuple[ReasonCode, int, int, str]:
    explicit = demand.explicit_kib
    if demand.may_be_small or explicit == cell.frame.small_kib:
        return ReasonCode.MEMORY, need.memory_mib, cell.small_free_mib, ""
    for size, free in cell.huge:
        if need.memory_kib % size == 0 and (not explicit or size == explicit):
            return ReasonCode.PAGES, need.memory_kib // size, free, str(size)
    return ReasonCode.PAGE_SIZE, 0, 0, f"{explicit} KiB" if explicit else "large"
