"""Find the hosts that are worth a fit, all at once. It never drops a host that fits, but may keep one that does not: only `core.fit` says
yes.
"""

from __future__ import annotations

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from pinfold.core.fit.demand import Demand
from pinfold.scheduler.columns import AMPLE, CELL_FREE, CELL_MEMORY, CELL_PAIRED, CELL_WHOLES, COLUMN, COLUMNS, WIDTH, Columns, Numbers

Mask = NDArray[np.bool_]


class Need(Struct, frozen=True, kw_only=True, cache_hash=True):
    """What a demand needs of any host, as numbers. `pins` and `memory_mib` are per guest cell, each sorted from the largest.

    `small_mib` is the memory of guest cells that take small pages only, `loose_mib` that of a guest without cells; else None. `first` is
    the column of the fullest host cell's pCPUs, by thread policy. `overhead` is None if the overhead pool does not matter.
    """

    cells: int
    pins: tuple[int, ...]
    memory_mib: tuple[int, ...]
    taken: int
    wholes: int
    first: int
    floating: int
    disk_gib: int
    small_mib: int | None
    loose_mib: int | None
    overhead: OverheadNeed | None


class OverheadNeed(Struct, frozen=True, kw_only=True):
    """What the overhead threads need. `nics` counts the queues of network interfaces. `taking` says for each `PoolState` whether it takes
    the guest; `booking`, whether the guest books.
    """

    vcpus: int
    disks: int
    nics: int
    taking: tuple[bool, ...]
    booking: tuple[bool, ...]


def need(demand: Demand) -> Need:
    """Compile a demand for the filter."""
    request = demand.request
    whole_cores = demand.isolated_threads and demand.pins > 0
    taken = demand.pins + demand.own_pcpus
    return Need(
        cells=len(request.cells),
        pins=tuple(sorted((cell.pins for cell in demand.cells), reverse=True)[:WIDTH]),
        memory_mib=tuple(sorted((cell.memory_mib for cell in demand.cells), reverse=True)[:WIDTH]),
        taken=taken,
        wholes=taken if whole_cores else 0,
        first=CELL_WHOLES if whole_cores else CELL_PAIRED if demand.required_threads else CELL_FREE,
        floating=demand.floating,
        disk_gib=demand.disk_gib,
        small_mib=request.memory_mib if request.cells and demand.only_small_pages else None,
        loose_mib=None if request.cells else request.memory_mib,
        overhead=_overhead_need(demand) if demand.asks_pool else None,
    )


def _overhead_need(demand: Demand) -> OverheadNeed:
    request = demand.request
    taking = tuple(rule.refusal is None and not (demand.all_realtime and rule.realtime_refusal) for rule in demand.rules)
    booking = tuple(rule.books for rule in demand.rules)
    return OverheadNeed(vcpus=request.vcpus, disks=request.disks, nics=request.nic_queues, taking=taking, booking=booking)


def least(wanted: Need) -> Numbers:
    """The least number of each column with which a host is worth a fit, but for its overhead pool."""
    lowest: Numbers = np.full(COLUMNS, -AMPLE, dtype=np.int64)

    def column(name: str, number: int) -> None:
        lowest[COLUMN[name]] = number

    column("open", 1)
    column("disk", wanted.disk_gib)
    if wanted.floating:
        column("vcpu_room", wanted.floating)
        column("shared", 1)
    if wanted.loose_mib is not None:
        column("floating_mib", wanted.loose_mib)
        return lowest
    if wanted.small_mib is not None:
        column("strict_mib", wanted.small_mib)
    column("cells", wanted.cells)
    column("free", wanted.taken)
    if wanted.wholes:
        column("wholes", wanted.wholes)
    for position, pins in enumerate(wanted.pins):
        if pins:
            lowest[wanted.first + position] = pins
    for position, memory in enumerate(wanted.memory_mib):
        lowest[CELL_MEMORY + position] = memory
    return lowest


def survivors(wanted: Need, hosts: Columns, lowest: Numbers) -> Mask:
    """For each row, whether a fit there is worth a try. `lowest` is `least` of the need."""
    left: Mask = np.logical_and.reduce(hosts.numbers >= lowest, axis=1)
    if wanted.overhead is not None and wanted.loose_mib is None:
        left &= _overhead(wanted.overhead, hosts)
    return left


def _overhead(wanted: OverheadNeed, hosts: Columns) -> Mask:
    pool = hosts.column("pool")
    room = hosts.column("overhead_room") >= booked(wanted, hosts)
    takes = np.zeros(len(pool), dtype=np.bool_)
    for state, (taken, books) in enumerate(zip(wanted.taking, wanted.booking, strict=True)):
        if taken:
            takes |= ((pool == state) & room) if books else pool == state
    return takes


def booked(wanted: OverheadNeed, hosts: Columns) -> Numbers:
    """What the guest's overhead would book on each host, in millicpu."""
    column = hosts.column
    return column("rate_guest") + column("rate_vcpu") * wanted.vcpus + column("rate_disk") * wanted.disks + column("rate_nic") * wanted.nics
