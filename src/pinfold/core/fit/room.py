"""Whether a host, or one host cell, has room for a demand. Search and explanation share these rules."""

from __future__ import annotations

from pinfold.core.fit.count import CellCounts, Counts
from pinfold.core.fit.demand import CellNeed, Demand
from pinfold.core.overhead.pool import Lack, lack


def host_takes(demand: Demand, counts: Counts) -> bool:
    """Whether the host as a whole has room, without regard to the choice of cells."""
    frame = counts.frame
    if demand.traits:
        request = demand.request
        if not (request.traits_required <= frame.traits and request.traits_forbidden.isdisjoint(frame.traits)):
            return False
    if counts.disk_room is not None and demand.disk_gib > counts.disk_room:
        return False
    if demand.floating and (not frame.n_shared or demand.floating > counts.vcpu_room):
        return False
    if not demand.cells:
        return demand.memory_mib <= counts.floating_room_mib
    if demand.only_small_pages and demand.memory_mib > counts.strict_room_mib:
        return False
    return not demand.asks_pool or overhead_lack(demand, counts) is None


def overhead_lack(demand: Demand, counts: Counts) -> Lack | None:
    """What the host lacks for the overhead threads; None if it lacks nothing."""
    pool = counts.frame.pool
    return lack(demand.rules[pool.state], pool, demand.request, counts.overhead_room, demand.all_realtime)


def takes(cell: CellCounts, need: CellNeed, extra: int, demand: Demand) -> bool:
    """Whether the cell has the pCPUs and shared room for the guest cell, with `extra` more for an isolated emulator; pages apart."""
    pins = need.pins + extra
    if pins > cell.n_free:
        return False
    if demand.by_core:
        shape = cell.known_shape or cell.shape
        if pins > shape.n_wholes if demand.isolated_threads else need.pins > shape.n_paired:
            return False
    return not need.floats or (need.floats <= cell.frame.n_shared and need.floats <= cell.shared_room)


def page_for(cell: CellCounts, need: CellNeed, demand: Demand) -> int:
    """The page size in KiB for the guest cell's memory in this host cell; 0 if none suffices.

    `large` and `any` take the largest size that works, so that small memory is used last.
    """
    small = cell.frame.small_kib
    if not demand.only_small_pages:
        explicit = demand.explicit_kib
        if explicit != small:
            for size, free in cell.huge:
                if (not explicit or size == explicit) and need.memory_kib % size == 0 and need.memory_kib // size <= free:
                    return size
            if not demand.may_be_small:
                return 0
    return small if need.memory_mib <= cell.small_free_mib and need.memory_kib % small == 0 else 0
