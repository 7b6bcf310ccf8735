"""`prepare` compiles a request once for any number of hosts. Its answer, `Demand`, is what the search reads; the caller keeps it."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.overhead import table
from pinfold.core.overhead.table import Rule
from pinfold.core.request.model import GuestRequest, PageKind, ThreadPolicy

_KEY: Final = "hw:emulator_threads_policy"


class CellNeed(Struct, frozen=True, kw_only=True):
    """What guest cells of one kind need of a host cell: numbers of pins and floating vCPUs, and memory."""

    pins: int
    floats: int
    memory_mib: int
    memory_kib: int


class CellDemand(Struct, frozen=True, kw_only=True):
    """One guest cell: its kind (an index into `Demand.kinds`), its pinned and its floating vCPUs. `realtime` is a mask.

    `first` is the first of its pinned vCPUs if they are numbered in a row, as they usually are; else -1.
    """

    guest_cell: int
    kind: int
    vcpus: tuple[int, ...]
    first: int
    pins: int
    realtime: int
    float_vcpus: CpuSet
    floats: int
    memory_mib: int


class Demand(Struct, frozen=True, kw_only=True, cache_hash=True):
    """A request as the search reads it: the amounts that a host must have, and one kind for all guest cells with equal needs.

    `kinds` are in the order of their first guest cell. `floating` counts all vCPUs that float, in cells or not. `explicit_kib` is the
    explicit page size, else 0. `may_be_small` means that the page's kind allows the small page. `rules` are those of the emulator policy,
    by the state of a host's overhead pool. `own_pcpus` counts the pCPUs of isolated emulator threads. `asks_pool` means that a host's
    overhead pool decides whether it takes the guest. `by_core` means that the thread policy counts cores, not pCPUs alone.
    """

    request: GuestRequest
    memory_mib: int
    kinds: tuple[CellNeed, ...]
    n_cells: int
    cells: tuple[CellDemand, ...]
    one_kind: bool
    pins: int
    floating: int
    float_vcpus: CpuSet
    disk_gib: int
    traits: bool
    all_realtime: bool
    rules: tuple[Rule, Rule, Rule]
    own_pcpus: int
    asks_pool: bool
    by_core: bool
    isolated_threads: bool
    required_threads: bool
    only_small_pages: bool
    explicit_kib: int
    may_be_small: bool


def prepare(request: GuestRequest) -> Demand:
    """The request's demand. Raises `InvalidRequest` for an emulator policy without pinned vCPUs, and for none if all vCPUs are realtime."""
    kinds, cells = _kinds(request)
    pins = sum(cell.pins for cell in cells)
    all_realtime = bool(pins) and pins == request.vcpus and request.realtime == request.dedicated
    policy, page = request.emulator_policy, request.page
    if not pins and table.needs_pinned(policy):
        raise InvalidRequest(f"{_KEY}={policy.value} needs hw:cpu_policy=dedicated or mixed: the guest has no pinned vCPU", key=_KEY)
    if all_realtime and table.needs_ordinary(policy):
        raise InvalidRequest(
            f"{_KEY} must be share or isolate where all vCPUs are realtime: emulator threads have no pCPU to float over", key=_KEY
        )
    return Demand(
        request=request,
        memory_mib=request.memory_mib,
        kinds=kinds,
        n_cells=len(cells),
        cells=cells,
        one_kind=len(kinds) == 1,
        pins=pins,
        floating=request.vcpus - pins,
        float_vcpus=request.floating,
        disk_gib=request.disk_gib,
        traits=bool(request.traits_required or request.traits_forbidden),
        all_realtime=all_realtime,
        rules=table.rules(policy),
        own_pcpus=table.own_pcpus(policy),
        asks_pool=table.uses_pool(policy),
        by_core=request.thread_policy in (ThreadPolicy.ISOLATE, ThreadPolicy.REQUIRE),
        isolated_threads=request.thread_policy is ThreadPolicy.ISOLATE,
        required_threads=request.thread_policy is ThreadPolicy.REQUIRE,
        only_small_pages=page.kind is PageKind.SMALL,
        explicit_kib=page.size_kib if page.kind is PageKind.EXPLICIT else 0,
        may_be_small=page.kind in (PageKind.SMALL, PageKind.ANY),
    )


def _kinds(request: GuestRequest) -> tuple[tuple[CellNeed, ...], tuple[CellDemand, ...]]:
    kinds: list[CellNeed] = []
    cells: list[CellDemand] = []
    for cell in request.cells:
        pins, floating = tuple(cell.dedicated), cell.shared
        need = CellNeed(pins=len(pins), floats=len(floating), memory_mib=cell.memory_mib, memory_kib=cell.memory_mib * 1024)
        if need not in kinds:
            kinds.append(need)
        cells.append(
            CellDemand(
                guest_cell=cell.id,
                kind=kinds.index(need),
                vcpus=pins,
                first=pins[0] if pins and pins == tuple(range(pins[0], pins[0] + len(pins))) else -1,
                pins=len(pins),
                realtime=(request.realtime & cell.dedicated).mask,
                float_vcpus=floating,
                floats=len(floating),
                memory_mib=cell.memory_mib,
            )
        )
    return tuple(kinds), tuple(cells)
