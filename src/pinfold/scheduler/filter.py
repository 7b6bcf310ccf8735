"""Find the hosts that are worth a fit, all at once. It never drops a host that fits, but may keep one that does not: only `core.fit` says
yes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pinfold.core.overhead import table
from pinfold.core.request.model import GuestRequest, PageKind, ThreadPolicy
from pinfold.scheduler.index import CELL_FREE, CELL_MEMORY, CELL_PAIRED, CELL_WHOLES, WIDTH, View

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a request needs of any host, as numbers. `pins` and `memory_mib` are per guest cell, each sorted from the largest."""

    request: GuestRequest
    pins: tuple[int, ...]
    memory_mib: tuple[int, ...]
    taken: int
    floating: int
    whole_cores: bool
    paired: bool
    shares: bool
    all_realtime: bool
    small_pages: bool


def need(request: GuestRequest) -> Need:
    """Compile a request for the filter."""
    pins = sorted((len(cell.dedicated) for cell in request.cells), reverse=True)
    dedicated = sum(pins)
    small = request.page.kind is PageKind.SMALL
    return Need(
        request=request,
        pins=tuple(pins[:WIDTH]),
        memory_mib=tuple(sorted((cell.memory_mib for cell in request.cells), reverse=True)[:WIDTH]),
        taken=dedicated + table.own_pcpus(request.emulator_policy),
        floating=request.vcpus - dedicated,
        whole_cores=request.thread_policy is ThreadPolicy.ISOLATE and dedicated > 0,
        paired=request.thread_policy is ThreadPolicy.REQUIRE,
        shares=table.uses_pool(request.emulator_policy),
        all_realtime=dedicated > 0 and dedicated == request.vcpus and len(request.realtime) == request.vcpus,
        small_pages=small,
    )


def survivors(wanted: Need, view: View) -> Mask:
    """For each row of the view, whether a fit there is worth a try."""
    request = wanted.request
    left: Mask = view.column("open") > 0
    left &= view.column("disk") >= request.disk_gib
    if wanted.floating:
        left &= (view.column("vcpu_room") >= wanted.floating) & (view.column("shared") > 0)
    if not request.cells:
        left &= view.column("floating_mib") >= request.memory_mib
        return left
    if wanted.small_pages:
        left &= view.column("strict_mib") >= request.memory_mib
    left &= view.column("cells") >= len(request.cells)
    left &= view.column("free") >= wanted.taken
    if wanted.whole_cores:
        left &= view.column("wholes") >= wanted.taken
    start = CELL_WHOLES if wanted.whole_cores else CELL_PAIRED if wanted.paired else CELL_FREE
    for position, pins in enumerate(wanted.pins):
        if pins:
            left &= view.numbers[:, start + position] >= pins
    for position, memory in enumerate(wanted.memory_mib):
        left &= view.numbers[:, CELL_MEMORY + position] >= memory
    if wanted.shares:
        left &= _overhead(wanted, view)
    return left


def _overhead(wanted: Need, view: View) -> Mask:
    pool = view.column("pool")
    room = view.column("overhead_room") >= booked(wanted, view)
    takes = np.zeros(len(pool), dtype=np.bool_)
    for state, rule in enumerate(table.rules(wanted.request.emulator_policy)):
        if rule.refusal is None and not (wanted.all_realtime and rule.realtime_refusal):
            takes |= ((pool == state) & room) if rule.books else pool == state
    return takes


def booked(wanted: Need, view: View) -> NDArray[np.int64]:
    """What the guest's overhead would book on each host, in millicpu."""
    request = wanted.request
    column = view.column
    return (
        column("rate_guest") + column("rate_vcpu") * request.vcpus + column("rate_disk") * request.disks + column("rate_nic") * request.nics
    )
