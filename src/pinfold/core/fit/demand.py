"""`Demand`: a request compiled once for any number of hosts."""

from __future__ import annotations

from typing import Final

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.request.model import EmulatorPolicy, GuestCell, GuestRequest, PageKind, PageRequest, ThreadPolicy

_KEY: Final = "hw:emulator_threads_policy"


class CellNeed:
    """What guest cells of one kind need of a host cell: numbers of pins and floating vCPUs, and memory."""

    __slots__ = ("floats", "memory_kib", "memory_mib", "pins")

    def __init__(self, pins: int, floats: int, memory_mib: int) -> None:
        self.pins = pins
        self.floats = floats
        self.memory_mib = memory_mib
        self.memory_kib = memory_mib * 1024


class CellDemand:
    """One guest cell: its kind (an index into `Demand.kinds`), its pinned and its floating vCPUs. `realtime` is a mask."""

    __slots__ = ("float_vcpus", "floats", "guest_cell", "kind", "memory_mib", "pins", "realtime", "vcpus")

    def __init__(self, cell: GuestCell, kind: int, realtime: CpuSet) -> None:
        self.guest_cell = cell.id
        self.kind = kind
        self.vcpus = tuple(cell.dedicated)
        self.pins = len(self.vcpus)
        self.realtime = (realtime & cell.dedicated).mask
        self.float_vcpus = cell.shared
        self.floats = len(self.float_vcpus)
        self.memory_mib = cell.memory_mib


class Demand:
    """A request as the search reads it: the amounts that a host must have, and one kind for all guest cells with equal needs.

    `kinds` are in the order of their first guest cell. `floating` counts all vCPUs that float, in cells or not. `explicit_kib` is the
    explicit page size, else 0. `may_be_small` means that the page's kind allows the small page.
    """

    __slots__ = (
        "all_realtime",
        "cells",
        "disk_gib",
        "explicit_kib",
        "float_vcpus",
        "floating",
        "isolated_threads",
        "isolates_emulator",
        "kinds",
        "may_be_small",
        "one_kind",
        "only_small_pages",
        "pins",
        "request",
        "required_threads",
        "shares_emulator",
        "traits",
    )

    def __init__(self, request: GuestRequest) -> None:
        """Compile. Raises `InvalidRequest` for an emulator policy without pinned vCPUs, and for none if all vCPUs are realtime."""
        self.request = request
        self.kinds, self.cells = _kinds(request)
        self.pins = sum(len(cell.vcpus) for cell in self.cells)
        self.floating = request.vcpus - self.pins
        self.float_vcpus = request.floating
        self.disk_gib = request.disk_gib
        self.traits = bool(request.traits_required or request.traits_forbidden)
        self.all_realtime = bool(self.pins) and request.realtime == request.dedicated and not self.floating
        self.isolates_emulator = request.emulator_policy is EmulatorPolicy.ISOLATE
        self.shares_emulator = request.emulator_policy is EmulatorPolicy.SHARE
        self.isolated_threads = request.thread_policy is ThreadPolicy.ISOLATE
        self.required_threads = request.thread_policy is ThreadPolicy.REQUIRE
        page: PageRequest = request.page
        self.only_small_pages = page.kind is PageKind.SMALL
        self.explicit_kib = page.size_kib if page.kind is PageKind.EXPLICIT else 0
        self.may_be_small = page.kind in (PageKind.SMALL, PageKind.ANY)
        self.one_kind = len(self.kinds) == 1
        if not self.pins and request.emulator_policy is not EmulatorPolicy.UNSET:
            raise InvalidRequest(
                f"{_KEY}={request.emulator_policy.value} needs hw:cpu_policy=dedicated or mixed: the guest has no pinned vCPU", key=_KEY
            )
        if self.all_realtime and request.emulator_policy is EmulatorPolicy.UNSET:
            raise InvalidRequest(
                f"{_KEY} must be share or isolate where all vCPUs are realtime: emulator threads have no pCPU to float over", key=_KEY
            )


def prepare(request: GuestRequest) -> Demand:
    """The request's demand. It is compiled at the first call and stored with the request, which never changes.

    Raises `InvalidRequest` as `Demand` does.
    """
    kept = request.__dict__.get("_demand")
    if kept is None:
        kept = request.__dict__["_demand"] = Demand(request)
    demand: Demand = kept
    return demand


def _kinds(request: GuestRequest) -> tuple[tuple[CellNeed, ...], tuple[CellDemand, ...]]:
    positions: dict[tuple[int, int, int], int] = {}
    kinds: list[CellNeed] = []
    cells: list[CellDemand] = []
    for cell in request.cells:
        key = (len(cell.dedicated), len(cell.shared), cell.memory_mib)
        if key not in positions:
            positions[key] = len(kinds)
            kinds.append(CellNeed(*key))
        cells.append(CellDemand(cell, positions[key], request.realtime))
    return tuple(kinds), tuple(cells)
