"""Random hosts: topology, pools, limits, and what others hold. Requests and claims are made in `generate`."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from pinfold.core.cpuset import CpuSet
from pinfold.core.host import Booking, Foreign, ForeignMemory, HostState, Ledger, Limits, OverheadRates, ReservedPages
from pinfold.core.pools import Pools
from pinfold.core.topology import HostCell, PagePool, Topology

PAGE_SIZES = ((4, 2048), (4, 2048, 1048576), (4,), (4, 2048, 32768), (64, 2048, 524288))
TRAITS = ("HW_CPU_HYPERTHREADING", "CUSTOM_FAST", "CUSTOM_SLOW")
OVERHEAD_KINDS = ("shared", "separate", "partial", "none", "offline")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How large a random host is: cells, and pCPUs in each at most."""

    cells: tuple[int, ...]
    pcpus: int


SMALL = Shape(cells=(1, 1, 2, 2, 2, 3, 3, 4), pcpus=8)
LARGE = Shape(cells=(2, 4, 6, 8, 12, 16), pcpus=16)


def random_host(rng: Random, shape: Shape = SMALL) -> tuple[HostState, str]:
    """A host with no claims, and the kind of its overhead pool."""
    topology = random_topology(rng, shape)
    pools, kind = random_pools(rng, topology)
    traits = frozenset(trait for trait in TRAITS if rng.random() < 0.5)
    disk = rng.choice((None, None, 100, 500))
    return HostState(topology=topology, pools=pools, limits=random_limits(rng, topology), traits=traits, disk_gib=disk), kind


def random_topology(rng: Random, shape: Shape) -> Topology:
    """Cells of uneven size, some without memory or pCPUs; SMT 1, 2 or 4; numbered core by core or thread by thread; some pCPUs offline."""
    cells = rng.choice(shape.cells)
    threads = rng.choice((1, 2, 2, 2, 4))
    most = shape.pcpus // threads
    counts = [rng.choice((most, most, most, rng.randint(0, most), rng.randint(1, most))) for _ in range(cells)]
    total = sum(counts)
    by_core = rng.random() < 0.5
    gap = rng.choice((0, 0, 0, 3))
    sizes = rng.choice(PAGE_SIZES)
    per_socket = rng.choice((1, 1, 2))
    offline: set[int] = set()
    first, made = 0, []
    for cell in range(cells):
        cores = []
        for core in range(first, first + counts[cell]):
            members = {core * threads + thread if by_core else thread * total + core for thread in range(threads)}
            members = {member + gap * cell if by_core else member for member in members}
            gone = {member for member in members if rng.random() < 0.03}
            offline |= gone
            if members - gone:
                cores.append(CpuSet(members - gone))
        first += counts[cell]
        cores.sort(key=lambda core: core.first)
        cell_id = cell if gap == 0 else cell * 2
        pages = random_pages(rng, sizes)
        made.append(
            HostCell(
                id=cell_id,
                cores=tuple(cores),
                sockets=tuple(cell // per_socket for _ in cores),
                memory_mib=sum(pool.size_kib * pool.total for pool in pages) // 1024,
                pages=pages,
            )
        )
    return Topology(cells=tuple(made), offline=CpuSet(offline))


def random_pages(rng: Random, sizes: tuple[int, ...]) -> tuple[PagePool, ...]:
    """The pages of one cell; now and then none at all. Small memory is whole MiB."""
    if rng.random() < 0.05:
        return ()
    small_mib = rng.choice((0, 64, 256, 512, 512, 1024, 1024, rng.randint(1, 512)))
    pages = [PagePool(size_kib=sizes[0], total=small_mib * 1024 // sizes[0])]
    for size in sizes[1:]:
        most = max(1, 256 * 1024 // size)
        pages.append(PagePool(size_kib=size, total=rng.choice((0, most, most * 2, rng.randint(1, 4 * most)))))
    return tuple(pages)


def random_pools(rng: Random, topology: Topology) -> tuple[Pools, str]:
    """Disjoint shared and dedicated pools, pCPU by pCPU or cell by cell, and an overhead pool of some kind."""
    shared: set[int] = set()
    dedicated: set[int] = set()
    separate: set[int] = set()
    shared_part = rng.choice((0.0, 0.1, 0.2, 0.2, 0.35, 0.6))
    separate_part = rng.choice((0.05, 0.1, 0.1, 0.2))
    for cell in topology.cells:
        here = rng.choice((shared_part, shared_part, shared_part, 0.0, 1.0)) if rng.random() < 0.3 else shared_part
        by_core = rng.random() < 0.7
        for core in cell.cores:
            core_draw = rng.random()
            for cpu in core:
                draw = core_draw if by_core else rng.random()
                if draw < here:
                    shared.add(cpu)
                elif draw < here + separate_part:
                    separate.add(cpu)
                elif draw < 0.97:
                    dedicated.add(cpu)
    kind = rng.choices(OVERHEAD_KINDS, (25, 20, 27, 15, 13))[0]
    if kind == "partial" and not (shared and separate):
        kind = "shared" if shared else "separate"
    if kind == "shared" and not shared:
        kind = "separate"
    if kind == "separate" and not separate:
        kind = "shared" if shared else "none"
    overhead = {"shared": shared, "separate": separate, "partial": separate | set(sorted(shared)[: len(shared) // 2 + 1]), "offline": set()}
    if rng.random() < 0.05:
        dedicated |= set(topology.offline)
    return Pools(shared=CpuSet(shared), dedicated=CpuSet(dedicated), overhead=None if kind == "none" else CpuSet(overhead[kind])), kind


def random_limits(rng: Random, topology: Topology) -> Limits:
    """Ratios, among them ones that binary fractions cannot hold; reserves; the booking of overhead."""
    small_mib = sum(cell.small_memory_mib for cell in topology.cells)
    reserved = [
        ReservedPages(cell=cell.id, size_kib=pool.size_kib, count=rng.randint(0, pool.total))
        for cell in topology.cells
        for pool in cell.pages[1:]
        if pool.total and rng.random() < 0.15
    ]
    return Limits(
        cpu_allocation_ratio=rng.choice((1.0, 1.0, 1.2, 1.5, 2.0, 4.0, 16.0, 0.7)),
        ram_allocation_ratio=rng.choice((1.0, 1.0, 1.5, 2.0, 1.1)),
        disk_allocation_ratio=rng.choice((1.0, 1.5, 0.9)),
        reserved_memory_mib=rng.choice((0, 0, 16, 64, small_mib // 4, small_mib // 2)),
        reserved_disk_gib=rng.choice((0, 10)),
        reserved_pages=tuple(reserved),
        shared_fraction=rng.choice((0.5, 0.5, 0.0, 1.0, 0.25, 0.1)),
        booking=rng.choice((Booking.ENFORCE, Booking.ENFORCE, Booking.REPORT)),
        rates=rng.choice((OverheadRates(), OverheadRates(), OverheadRates(guest=300, vcpu=20, disk=50, nic=70))),
    )


def random_foreign(rng: Random, state: HostState) -> tuple[Foreign, ...]:
    """Other people's domains: pinned anywhere, also where claims are; holding pages of any size."""
    found = []
    for index in range(rng.choice((0, 0, 0, 1, 1, 2))):
        online = sorted(state.topology.online)
        cpus = rng.sample(online, min(len(online), rng.randint(0, 3)))
        pages = tuple(
            ForeignMemory(cell=cell.id, size_kib=pool.size_kib, count=rng.randint(0, pool.total // 2))
            for cell in state.topology.cells
            for pool in cell.pages
            if pool.total and rng.random() < 0.15
        )
        memory = rng.choice((0, 0, 16, 100))
        found.append(Foreign(name=f"foreign-{index}", cpus=CpuSet(cpus), pages=pages, memory_mib=memory))
    return tuple(found)


def with_foreign(rng: Random, state: HostState) -> Ledger:
    """The state's ledger with other people's domains."""
    return Ledger(claims=state.ledger.claims, foreign=random_foreign(rng, state))
