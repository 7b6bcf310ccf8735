"""Random cases: hosts with claims on them, and requests near the edge of what fits. A seed and a number give the same case for ever.

Claims are placed by the oracle's own random valid placements, never by the engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from msgspec import UNSET
from msgspec.structs import replace
from tests.oracle.boundary import near_boundary
from tests.oracle.enumeration import Placement, T, placements
from tests.oracle.hosts import LARGE, SMALL, TRAITS, random_foreign, random_host
from tests.oracle.oracle import feasible_in, is_small
from tests.oracle.room import CellRoom, Room, emptied, read
from tests.oracle.valid import local_overhead

from pinfold.core.cpuset import CpuSet
from pinfold.core.fit.answer import EmulatorPlacement, Fit, FitCell, Strategy
from pinfold.core.host import Claim, HostState, Ledger, Limits, Locality, OverheadRates
from pinfold.core.pools import Pools
from pinfold.core.request.guest_hardware import GuestHardware
from pinfold.core.request.model import CpuPolicy, EmulatorPolicy, GuestCell, GuestRequest, PageKind, PageRequest, ThreadPolicy

LARGE_SHARE = 0.03
ACCEPTED_SHARE = 0.35
"""How many cases are drawn again until the oracle accepts; the others stay as they fall."""
POSSIBLE_SHARE = 0.35
"""How many cases are drawn again until at least the empty host accepts."""
NEAR_SHARE = 0.5
"""How many cases on small hosts are drawn again until they lie near the boundary."""
NEAR = (0, 0, 0, 0, 0, -1, 1, 1, 1)
FAR = (-1, -2, -3, -4, -5, -6)
TIGHT = ("pins", "pins", "pins", "pins", "shared", "memory", "memory", "memory", "nothing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One question to the engine; `overhead_kind` says how the host's overhead pool was made."""

    seed: str
    request: GuestRequest
    state: HostState
    strategy: Strategy
    overhead_kind: str


def case(seed: int, index: int) -> Case:
    """The case of that number."""
    name = f"{seed}:{index}"
    rng = Random(name)
    state, kind = random_host(rng, LARGE if rng.random() < LARGE_SHARE else SMALL)
    state = replace(state, limits=with_locality(Random(f"{name} locality"), state.limits))
    if rng.random() < 0.85:
        state = with_claims(rng, state, rng.choice((1, 2, 2, 3, 4)))
    if rng.random() < 0.5:
        state = replace(state, ledger=Ledger(claims=state.ledger.claims, foreign=random_foreign(rng, state)))
    if state.ledger.claims and rng.random() < 0.2:
        state = with_retiring(rng, state)
    room = read(emptied(state)) if rng.random() < 0.15 else read(state)
    request = wanted_request(rng, room, read(emptied(state)))
    return Case(seed=name, request=request, state=state, strategy=rng.choice(list(Strategy)), overhead_kind=kind)


def with_locality(rng: Random, limits: Limits) -> Limits:
    """The limits with a locality; where parts of the pool are preferred, often with rates that fill a part with two guests."""
    locality = rng.choice(list(Locality))
    if locality is Locality.PREFER_LOCAL and rng.random() < 0.7:
        limits = replace(limits, rates=OverheadRates(guest=rng.choice((40, 240, 440, 640)), vcpu=7))
    return replace(limits, locality=locality)


def wanted_request(rng: Random, room: Room, empty: Room) -> GuestRequest:
    """A random request, drawn again a few times where one is wanted that is accepted, that the empty host takes, or near the boundary."""
    accept, near = rng.random() < ACCEPTED_SHARE, rng.random() < NEAR_SHARE and is_small(room)
    possible = rng.random() < POSSIBLE_SHARE
    for _ in range(8):
        request = random_request(rng, room, NEAR)
        accepted = feasible_in(request, room)
        if possible and not accepted and not feasible_in(request, empty):
            continue
        if (accepted or not accept) and (not near or near_boundary(request, room, accepted)):
            break
    return request


def with_claims(rng: Random, state: HostState, count: int) -> HostState:
    """The state with up to `count` guests placed, each at a random valid place."""

    def shuffled(items: Sequence[T]) -> Sequence[T]:
        return rng.sample(list(items), len(items))

    claims: list[Claim] = []
    for index in range(count):
        current = replace(state, ledger=Ledger(claims=tuple(claims)))
        room = read(current)
        for _ in range(4):
            request = random_request(rng, room, FAR)
            placement = next(placements(request, room, shuffled), None) if len(request.cells) <= 3 else None
            if placement is not None:
                break
        if placement is not None:
            claims.append(Claim(guest=f"00000000-0000-4000-8000-{index:012d}", fit=as_fit(request, current, placement)))
    return replace(state, ledger=Ledger(claims=tuple(claims)))


def with_retiring(rng: Random, state: HostState) -> HostState:
    """The state after the dedicated pool lost some claimed pCPUs, now and then to the shared pool."""
    claimed = sorted({pcpu for claim in state.ledger.claims for pcpu in claim.fit.taken})
    leaving = CpuSet(rng.sample(claimed, rng.randint(0, len(claimed))))
    shared = state.pools.shared | leaving if rng.random() < 0.3 else state.pools.shared
    pools = Pools(shared=shared, dedicated=state.pools.dedicated - leaving, overhead=state.pools.overhead)
    return replace(state, pools=pools)


def as_fit(request: GuestRequest, state: HostState, placement: Placement) -> Fit:
    """The fit that a placement of the oracle is."""
    room = read(state)
    rooms = {cell.id: cell for cell in room.cells}
    parts = []
    for guest, host_cell, pcpus, page in zip(request.cells, placement.host_cells, placement.pcpus, placement.pages, strict=True):
        parts.append(
            FitCell(
                guest_cell=guest.id,
                host_cell=host_cell,
                pins=tuple(zip(guest.dedicated, pcpus, strict=True)),
                float_vcpus=guest.shared,
                float_set=CpuSet(rooms[host_cell].shared) if guest.shared else CpuSet(),
                memory_mib=guest.memory_mib,
                page_kib=page,
            )
        )
    fit = Fit(vcpus=request.vcpus, memory_mib=request.memory_mib, disk_gib=request.disk_gib, cells=tuple(parts), realtime=request.realtime)
    if not request.cells:
        return replace(fit, float_vcpus=request.floating, float_set=state.pools.shared, emulator=state.pools.shared)
    own = set(fit.pinned)
    if placement.emulator is not None:
        fit = replace(fit, emulator_placement=EmulatorPlacement.ISOLATED, emulator=CpuSet.of(placement.emulator))
        fit = replace(fit, emulator_pcpu=placement.emulator)
        own.add(placement.emulator)
    elif request.emulator_policy is EmulatorPolicy.SHARE and state.pools.overhead is not None:
        amount = room.overhead_of(request)
        fit = replace(fit, emulator_placement=EmulatorPlacement.POOL, emulator=state.pools.overhead, overhead_millicpu=amount)
        local, by_cell, _ = local_overhead(request, room, fit)
        fit = replace(fit, emulator=CpuSet(local) or fit.emulator, overhead_cells=by_cell)
    else:
        pins = {pcpu for vcpu, pcpu in fit.pins if vcpu not in request.realtime}
        fit = replace(fit, emulator=CpuSet(pins | {pcpu for part in parts for pcpu in part.float_set}))
    if request.thread_policy is ThreadPolicy.ISOLATE:
        fit = replace(fit, idle_siblings=CpuSet({sibling for pcpu in own for sibling in state.topology.siblings[pcpu]} - own))
    return fit


def random_request(rng: Random, room: Room, deltas: Sequence[int]) -> GuestRequest:
    """A request of any combination that is allowed, sized to what the room has plus one of `deltas`."""
    cpu = rng.choices(list(CpuPolicy), (15, 50, 35))[0]
    if cpu is CpuPolicy.SHARED and rng.random() < 0.5:
        return _floating(rng, room, deltas)
    pinned = cpu is not CpuPolicy.SHARED
    thread = rng.choices(list(ThreadPolicy), (40, 30, 30))[0] if pinned else ThreadPolicy.PREFER
    emulator = rng.choice(list(EmulatorPolicy)) if pinned else EmulatorPolicy.UNSET
    sizes = sorted({page.size_kib for cell in room.cells for page in cell.pages}) or [4]
    kind = rng.choices(list(PageKind), (45, 17, 19, 19))[0]
    page = PageRequest(kind=kind, size_kib=rng.choice(sizes) if kind is PageKind.EXPLICIT else 0)
    count = min(rng.choice((1, 1, 1, 2, 2, 3, 4)), len(room.cells) + (rng.random() < 0.03))
    carrier = rng.randrange(count) if emulator is EmulatorPolicy.ISOLATE else None
    tight_cell, tight = rng.randrange(count), rng.choice(TIGHT)
    cells: list[GuestCell] = []
    first = 0
    for index, target in enumerate(_targets(rng, room, count, tight_cell)):
        near = tight if index == tight_cell else "nothing"
        most = usable_pcpus(target, thread) - (1 if index == carrier else 0)
        pins = _sized(rng, most, deltas, near == "pins") if pinned else 0
        shared = _sized(rng, floating_room(target, room), deltas, near == "shared") if cpu is not CpuPolicy.DEDICATED else 0
        pins, shared = _at_least_one(cpu, pins, shared, index == count - 1, cells)
        vcpus = range(first, first + pins + shared)
        chosen = sorted(vcpus) if rng.random() < 0.5 else rng.sample(vcpus, len(vcpus))
        memory = _memory(rng, target, room, page, deltas if near == "memory" else None)
        cells.append(GuestCell(id=index, vcpus=CpuSet(vcpus), dedicated=CpuSet(chosen[:pins]), memory_mib=memory))
        first += pins + shared
    return _with_rest(rng, room, cells, cpu, thread, emulator, page)


def _with_rest(
    rng: Random, room: Room, cells: list[GuestCell], cpu: CpuPolicy, thread: ThreadPolicy, emulator: EmulatorPolicy, page: PageRequest
) -> GuestRequest:
    dedicated = sorted(vcpu for cell in cells for vcpu in cell.dedicated)
    vcpus = sum(len(cell.vcpus) for cell in cells)
    realtime: list[int] = []
    if cpu is not CpuPolicy.SHARED and rng.random() < 0.5:
        realtime = dedicated if rng.random() < 0.6 else rng.sample(dedicated, rng.randint(1, len(dedicated)))
        if emulator is EmulatorPolicy.UNSET and len(realtime) == vcpus:
            realtime = realtime[1:]
    required, forbidden, disk = _rest(rng, room)
    return GuestRequest(
        vcpus=vcpus,
        memory_mib=sum(cell.memory_mib for cell in cells),
        disk_gib=disk,
        cpu_policy=cpu,
        thread_policy=thread,
        emulator_policy=emulator,
        realtime=CpuSet(realtime),
        cells=tuple(cells),
        page=page,
        explicit_page=page.kind is not PageKind.SMALL,
        traits_required=required,
        traits_forbidden=forbidden,
        disks=rng.randint(0, 2),
        nics=rng.randint(0, 2),
        hardware=GuestHardware(multiqueue=True) if rng.random() < 0.1 else UNSET,
    )


def _rest(rng: Random, room: Room) -> tuple[frozenset[str], frozenset[str], int]:
    """Traits and disk, nearly always such that the host has them."""
    required = rng.sample(sorted(room.traits), min(len(room.traits), rng.choice((0, 0, 0, 1))))
    absent = sorted(set(TRAITS) - room.traits)
    forbidden = rng.sample(absent, min(len(absent), rng.choice((0, 0, 0, 1))))
    draw = rng.random()
    if draw < 0.005:
        required = [*required, "CUSTOM_NOWHERE"]
    elif draw < 0.01 and room.traits:
        forbidden = [sorted(room.traits)[0]]
        required = [trait for trait in required if trait not in forbidden]
    disk = 0
    if rng.random() < 0.3:
        disk = rng.choice((1, 5, 10))
        if room.disk is not None and rng.random() < 0.2:
            disk = max(1, int(room.disk) + rng.choice((-1, 0, 0, 1)))
    return frozenset(required), frozenset(forbidden), disk


def _floating(rng: Random, room: Room, deltas: Sequence[int]) -> GuestRequest:
    """A guest without cells, near the host's line of vCPUs or of memory."""
    left = int(len(room.shared) * room.effective_ratio()) - room.floating if room.shared else 0
    vcpus = max(1, left + rng.choice(deltas)) if rng.random() < 0.5 else rng.randint(1, max(1, left))
    memory_left = int(room.small_memory * room.ram_ratio)
    memory = max(1, memory_left + rng.choice(deltas)) if rng.random() < 0.5 else rng.randint(1, max(1, memory_left))
    required, forbidden, disk = _rest(rng, room)
    return GuestRequest(
        vcpus=vcpus, memory_mib=memory, disk_gib=disk, traits_required=required, traits_forbidden=forbidden, disks=rng.randint(0, 2)
    )


def _targets(rng: Random, room: Room, count: int, tight_cell: int) -> list[CellRoom]:
    """The host cells after which the guest's cells are sized: distinct ones, the roomy ones first, the roomiest for the tight cell."""
    by_room = sorted(room.cells, key=lambda cell: rng.random() * (1 + len(cell.free)) * (2 if cell.pages else 1), reverse=True)
    targets = [by_room[index % len(by_room)] for index in range(count)]
    targets[0], targets[tight_cell] = targets[tight_cell], targets[0]
    return targets


def _sized(rng: Random, most: int, deltas: Sequence[int], tight: bool) -> int:
    """A number of vCPUs: at the edge where tight, else anything that there is room for."""
    if tight:
        return max(0, most + rng.choice(deltas))
    return rng.randint(0, max(0, most))


def _at_least_one(cpu: CpuPolicy, pins: int, shared: int, last: bool, cells: Sequence[GuestCell]) -> tuple[int, int]:
    """The numbers of pinned and floating vCPUs of a cell, made such that every cell has a vCPU and a mixed guest has both kinds."""
    if cpu is CpuPolicy.SHARED:
        return 0, max(1, shared)
    if cpu is CpuPolicy.DEDICATED:
        return max(1, pins), 0
    if last and not pins and not any(cell.dedicated for cell in cells):
        pins = 1
    if last and not shared and not any(cell.shared for cell in cells):
        shared = 1
    return (pins, shared) if pins + shared else (1, 0)


def usable_pcpus(cell: CellRoom, thread: ThreadPolicy) -> int:
    """How many vCPUs a thread policy can pin in the cell."""
    if thread is ThreadPolicy.PREFER:
        return len(cell.free)
    if thread is ThreadPolicy.REQUIRE:
        return sum(len(core & cell.free) for core in cell.cores if len(core & cell.free) >= 2)
    return sum(core <= cell.free for core in cell.cores)


def floating_room(cell: CellRoom, room: Room) -> int:
    """How many vCPUs of one guest cell can float in the cell, at most."""
    if not cell.shared:
        return 0
    host_line = int(len(room.shared) * room.effective_ratio()) - room.floating
    return min(len(cell.shared), int(len(cell.shared) * room.effective_ratio()) - cell.floating, host_line)


def _memory(rng: Random, cell: CellRoom, room: Room, page: PageRequest, deltas: Sequence[int] | None) -> int:
    """MiB for one guest cell: whole pages of some size that the target has; near what is free of it where `deltas` are given."""
    wanted = [
        pool
        for pool in cell.pages
        if (page.kind is PageKind.EXPLICIT and pool.size_kib == page.size_kib)
        or (page.kind is PageKind.SMALL and pool.small)
        or (page.kind is PageKind.LARGE and not pool.small)
        or page.kind is PageKind.ANY
    ]
    if not wanted:
        return rng.choice((2, 16, 64))
    pool = max(wanted, key=lambda pool: rng.random() * (1 + pool.free * (1 if pool.small else pool.size_kib)))
    step = 1024 if pool.size_kib < 1024 else pool.size_kib
    free = pool.free * (1 if pool.small else pool.size_kib) // step
    if pool.small:
        free = min(free, int(room.small_memory // 1))
    count = rng.randint(1, max(1, free // 2)) if deltas is None else free + rng.choice(deltas)
    memory = max(1, count) * step // 1024
    return memory + 1 if rng.random() < 0.01 else memory
