"""`explain`: why a host refuses a request, and whether it always will. Call it after `engine.search` found no place."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, reduce
from itertools import chain
from operator import or_
from typing import Final

from msgspec import Struct

from pinfold.core.errors import InvariantViolation
from pinfold.core.fit.count import CellCounts, Counts, Frame
from pinfold.core.fit.demand import CellNeed, Demand
from pinfold.core.fit.match import most
from pinfold.core.fit.place import carriers, least_small_mib
from pinfold.core.fit.room import overhead_lack, page_for, takes
from pinfold.core.reasons import Kind, Reason, ReasonCode

_ORDER: Final = {code: position for position, code in enumerate(ReasonCode)}
_PCPUS: Final = ReasonCode.DEDICATED_PCPUS
_EMULATOR: Final = ReasonCode.EMULATOR_PCPU
_SIBLINGS: Final = ReasonCode.THREAD_SIBLINGS
_CORES: Final = ReasonCode.WHOLE_CORES
_GUEST_CELL: Final = ReasonCode.GUEST_CELL
_INSUFFICIENT: Final = Kind.INSUFFICIENT
_WITH_EMULATOR: Final = " with the pCPU of the emulator threads"
_PLACEMENT: Final = (_GUEST_CELL, ReasonCode.CELL_COMBINATION, ReasonCode.EMULATOR_PCPU, ReasonCode.TOO_FEW_CELLS)


class _Cells(Struct, frozen=True):
    """What the host cells lack for the guest cells of one kind, in the order of the host cells.

    `allowed` is the mask of the positions that take one, if the emulator's pCPU is elsewhere. `lacks` has the reasons of each host cell.
    """

    allowed: int
    lacks: tuple[tuple[Reason, ...], ...]


class _Empty(Struct, frozen=True):
    """What a host lacks for a demand without claims and foreign domains: the host's reasons; and for each cell, by position, its reasons if
    it takes none of the guest cells, else None.
    """

    host: tuple[Reason, ...]
    cells: tuple[tuple[Reason, ...] | None, ...]


def explain(demand: Demand, counts: Counts) -> tuple[Reason, ...]:
    """Every reason why the counted host refuses `demand`, those of the host first.

    A reason of the host that the empty host has too is INFEASIBLE and gives the empty host's numbers. So the refusal is INFEASIBLE exactly
    if the empty host refuses for any reason besides an offline overhead pool. Raises `InvariantViolation` if there is no reason, because
    then the search was wrong.
    """
    empty = _empty(demand, counts.frame)
    kinds = [_cells(demand, need, counts, _INSUFFICIENT, empty.cells) for need in demand.kinds]
    reasons = _host_reasons(demand, counts, _INSUFFICIENT, kinds)
    if empty.host:
        always = {(reason.code, reason.detail) for reason in empty.host}
        reasons = [*empty.host, *[reason for reason in reasons if (reason.code, reason.detail) not in always]]
    if not reasons:
        raise InvariantViolation(f"host {counts.state.name or '(unnamed)'} refuses a request and has no reason to")
    lacks_cells = any(reason.code in _PLACEMENT for reason in reasons)
    if len(reasons) > 1:
        reasons.sort(key=_by_code)
    if lacks_cells:
        lacks = kinds[0].lacks if len(kinds) == 1 else [_cell_reasons(kinds, position) for position in range(len(empty.cells))]
        reasons += chain.from_iterable(lacks)
    return tuple(reasons)


@lru_cache(maxsize=256)  # hosts that are alike share a frame, and guests a demand: this is half of the time of a refusal
def _empty(demand: Demand, frame: Frame) -> _Empty:
    counts = frame.empty
    every: list[tuple[Reason, ...] | None] = [None] * len(counts.cells)
    kinds = [_cells(demand, need, counts, Kind.INFEASIBLE, every) for need in demand.kinds]
    some = reduce(or_, [one.allowed for one in kinds], 0)
    return _Empty(
        tuple(_host_reasons(demand, counts, Kind.INFEASIBLE, kinds)),
        tuple([None if some >> position & 1 else _cell_reasons(kinds, position) for position in range(len(every))]),
    )


def _by_code(reason: Reason) -> tuple[int, str]:
    return _ORDER[reason.code], reason.detail


def _host_reasons(demand: Demand, counts: Counts, kind: Kind, kinds: Sequence[_Cells]) -> list[Reason]:
    """What the host as a whole lacks: traits and pools first, cells last. Empty exactly if it has a placement."""
    frame, request = counts.frame, demand.request
    found: list[Reason] = []
    if demand.traits:
        missing, forbidden = sorted(request.traits_required - frame.traits), sorted(request.traits_forbidden & frame.traits)
        found += [Reason(code=ReasonCode.MISSING_TRAIT, kind=Kind.INFEASIBLE, detail=trait) for trait in missing]
        found += [Reason(code=ReasonCode.FORBIDDEN_TRAIT, kind=Kind.INFEASIBLE, detail=trait) for trait in forbidden]
    if counts.disk_room is not None and demand.disk_gib > counts.disk_room:
        found.append(Reason(code=ReasonCode.DISK, kind=kind, needed=demand.disk_gib, available=counts.disk_room))
    if demand.floating and not frame.n_shared:
        found.append(Reason(code=ReasonCode.NO_SHARED_POOL, kind=kind, needed=demand.floating))
    elif demand.floating and demand.floating > counts.vcpu_room:
        found.append(Reason(code=ReasonCode.SHARED_CAPACITY, kind=kind, needed=demand.floating, available=counts.vcpu_room))
    room = counts.strict_room_mib if demand.cells else counts.floating_room_mib
    if (demand.only_small_pages or not demand.cells) and request.memory_mib > room:
        found.append(Reason(code=ReasonCode.MEMORY, kind=kind, needed=request.memory_mib, available=room))
    lacking = overhead_lack(demand, counts) if demand.asks_pool else None
    if lacking is not None:
        code, needed, available = lacking
        # No release brings an offline pool back, but switching its pCPUs on does.
        passing = Kind.INSUFFICIENT if code is ReasonCode.OVERHEAD_POOL_OFFLINE else kind
        found.append(Reason(code=code, kind=passing, needed=needed, available=available))
    if demand.pins and not frame.dedicated:
        found.append(Reason(code=ReasonCode.NO_DEDICATED_POOL, kind=kind, needed=demand.pins))
    elif demand.cells and (frame.n_shared or not demand.floating):
        _placement_reasons(demand, counts, kind, [one.allowed for one in kinds], found)
    return found


def _placement_reasons(demand: Demand, counts: Counts, kind: Kind, allowed: list[int], found: list[Reason]) -> None:
    """Append why the guest cells get no host cells: one alone, all together, with the emulator's pCPU, or by the host's small memory."""
    if len(demand.cells) > len(counts.cells):
        found.append(Reason(code=ReasonCode.TOO_FEW_CELLS, kind=kind, needed=len(demand.cells), available=len(counts.cells)))
        return
    if not all(allowed):
        for position, mask in enumerate(allowed):
            if not mask:
                first = [cell.kind for cell in demand.cells].index(position)
                found.append(Reason(_GUEST_CELL, kind, None, 0, 0, str(demand.cells[first].guest_cell)))
        return
    if demand.one_kind:  # any of the host cells serves any of the guest cells
        together = min(len(demand.cells), allowed[0].bit_count())
    else:
        together = most([allowed[cell.kind] for cell in demand.cells])
    if together < len(demand.cells):
        found.append(Reason(code=ReasonCode.CELL_COMBINATION, kind=kind, needed=len(demand.cells), available=together))
        return
    if demand.only_small_pages:
        if demand.own_pcpus and not any(_carried(demand, counts, allowed, carrier) for carrier in carriers(demand)):
            found.append(_no_carrier(demand, counts, kind))
        return
    lightest = [small for carrier in carriers(demand) if (small := least_small_mib(demand, counts, carrier)) is not None]
    if not lightest:
        found.append(_no_carrier(demand, counts, kind))
    elif (small := min(lightest)) > counts.strict_room_mib and small:
        found.append(Reason(code=ReasonCode.MEMORY, kind=kind, needed=small, available=counts.strict_room_mib))


def _carried(demand: Demand, counts: Counts, allowed: list[int], carrier: int) -> bool:
    """Whether all guest cells have a placement with the emulator in that guest cell."""
    if demand.one_kind:
        return _allowed(demand, demand.kinds[0], counts, 1) != 0
    rows = [allowed[cell.kind] for cell in demand.cells]
    rows[carrier] = _allowed(demand, demand.kinds[demand.cells[carrier].kind], counts, 1)
    return most(rows) == len(rows)


def _no_carrier(demand: Demand, counts: Counts, kind: Kind) -> Reason:
    """The reason if the vCPUs can be placed but the isolated emulator cannot."""
    free = sum(cell.shape.n_wholes if demand.isolated_threads else cell.n_free for cell in counts.cells)
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
        if takes(cell, need, extra, demand) and page_for(cell, need, demand):
            mask |= 1 << cell.frame.position
    return mask


def _cell_reasons(kinds: Sequence[_Cells], position: int) -> tuple[Reason, ...]:
    """The reasons of one host cell, by what it lacks for each kind of guest cell. Each code occurs once, with the smallest need."""
    if len(kinds) == 1:
        return kinds[0].lacks[position]
    found: dict[tuple[ReasonCode, str], Reason] = {}
    for one in kinds:
        for reason in one.lacks[position]:
            known = found.get((reason.code, reason.detail))
            if known is None or reason.needed < known.needed:
                found[reason.code, reason.detail] = reason
    return tuple(sorted(found.values(), key=_by_code))


def _cells(demand: Demand, need: CellNeed, counts: Counts, kind: Kind, never: Sequence[tuple[Reason, ...] | None]) -> _Cells:
    """What the host cells lack, each in the order of the codes. Those that `never` has reasons for have these."""
    pins, floats, extra = need.pins, need.floats, demand.own_pcpus
    isolated, by_core = demand.isolated_threads, demand.by_core
    taken = pins + extra
    lacking = _CORES if isolated else _PCPUS
    allowed = 0
    lacks: list[tuple[Reason, ...]] = []
    only_small, memory_mib, memory_kib = demand.only_small_pages, need.memory_mib, need.memory_kib
    for position, cell in enumerate(counts.cells):
        known = never[position]
        if known is not None:
            lacks.append(known)
            continue
        found: tuple[Reason, ...] = ()
        free = cell.n_free
        if by_core:
            shape = cell.known_shape or cell.shape
            if isolated:
                free = shape.n_wholes
            elif pins > shape.n_paired:
                found = (Reason(_SIBLINGS, kind, cell.frame.id, pins, shape.n_paired),)
        if taken > free and not found:
            found = (
                Reason(lacking, kind, cell.frame.id, pins, free) if pins > free else Reason(_EMULATOR, kind, cell.frame.id, taken, free),
            )
        if floats:
            frame = cell.frame
            if floats > frame.n_shared:
                found = (*found, Reason(ReasonCode.SHARED_PCPUS, kind, frame.id, floats, frame.n_shared))
            elif floats > cell.shared_room:
                found = (*found, Reason(ReasonCode.SHARED_CAPACITY, kind, frame.id, floats, cell.shared_room))
        # Most cells have the small pages, so the rule is asked only where they might not do.
        if (not only_small or memory_mib > cell.small_free_mib or memory_kib % cell.frame.small_kib) and not page_for(cell, need, demand):
            found = (*found, _lacks_pages(demand, cell, need, kind))
        if not found or (extra and len(found) == 1 and found[0].code is _EMULATOR):
            allowed |= 1 << position
        lacks.append(found)
    return _Cells(allowed, (*lacks,))


def _lacks_pages(demand: Demand, cell: CellCounts, need: CellNeed, kind: Kind) -> Reason:
    explicit, where = demand.explicit_kib, cell.frame.id
    if demand.may_be_small or explicit == cell.frame.small_kib:
        return Reason(ReasonCode.MEMORY, kind, where, need.memory_mib, cell.small_free_mib)
    for size, free in cell.huge:
        if need.memory_kib % size == 0 and (not explicit or size == explicit):
            return Reason(ReasonCode.PAGES, kind, where, need.memory_kib // size, free, str(size))
    return Reason(ReasonCode.PAGE_SIZE, kind, where, 0, 0, f"{explicit} KiB" if explicit else "large")
