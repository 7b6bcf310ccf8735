"""Find the hosts that are worth a fit, all at once. It never drops a host that fits, but may keep one that does not: only `core.fit` says
yes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pinfold.core.fit.demand import Demand
from pinfold.scheduler.index import CELL_FREE, CELL_MEMORY, CELL_PAIRED, CELL_WHOLES, WIDTH, View

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a demand needs of any host, as numbers. `pins` and `memory_mib` are per guest cell, each sorted from the largest."""

    demand: Demand
    pins: tuple[int, ...]
    memory_mib: tuple[int, ...]
    taken: int
    whole_cores: bool


def need(demand: Demand) -> Need:
    """Compile a demand for the filter."""
    return Need(
        demand=demand,
        pins=tuple(sorted((cell.pins for cell in demand.cells), reverse=True)[:WIDTH]),
        memory_mib=tuple(sorted((cell.memory_mib for cell in demand.cells), reverse=True)[:WIDTH]),
        taken=demand.pins + demand.own_pcpus,
        whole_cores=demand.isolated_threads and demand.pins > 0,
    )


def survivors(wanted: Need, view: View) -> Mask:
    """For each row of the view, whether a fit there is worth a try."""
    demand, request = wanted.demand, wanted.demand.request
    left: Mask = view.column("open") > 0
    left &= view.column("disk") >= demand.disk_gib
    if demand.floating:
        left &= (view.column("vcpu_room") >= demand.floating) & (view.column("shared") > 0)
    if not request.cells:
        left &= view.column("floating_mib") >= request.memory_mib
        return left
    if demand.only_small_pages:
        left &= view.column("strict_mib") >= request.memory_mib
    left &= view.column("cells") >= len(request.cells)
    left &= view.column("free") >= wanted.taken
    if wanted.whole_cores:
        left &= view.column("wholes") >= wanted.taken
    start = CELL_WHOLES if wanted.whole_cores else CELL_PAIRED if demand.required_threads else CELL_FREE
    for position, pins in enumerate(wanted.pins):
        if pins:
            left &= view.numbers[:, start + position] >= pins
    for position, memory in enumerate(wanted.memory_mib):
        left &= view.numbers[:, CELL_MEMORY + position] >= memory
    if demand.asks_pool:
        left &= _overhead(wanted, view)
    return left


def _overhead(wanted: Need, view: View) -> Mask:
    pool = view.column("pool")
    room = view.column("overhead_room") >= booked(wanted, view)
    takes = np.zeros(len(pool), dtype=np.bool_)
    for state, rule in enumerate(wanted.demand.rules):
        if rule.refusal is None and not (wanted.demand.all_realtime and rule.realtime_refusal):
            takes |= ((pool == state) & room) if rule.books else pool == state
    return takes


def booked(wanted: Need, view: View) -> NDArray[np.int64]:
    """What the guest's overhead would book on each host, in millicpu."""
    request = wanted.demand.request
    column = view.column
    return (
        column("rate_guest") + column("rate_vcpu") * request.vcpus + column("rate_disk") * request.disks + column("rate_nic") * request.nics
    )
