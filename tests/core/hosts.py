"""Host states and guests in one line, and hypothesis strategies for both. Expectations belong in the tests."""

from __future__ import annotations

from hypothesis import strategies as st

from pinfold.core.cpuset import CpuSet
from pinfold.core.fit.engine import fit
from pinfold.core.fit.model import Fit, FitCell, NoFit, Strategy
from pinfold.core.host import Booking, Claim, Foreign, ForeignMemory, HostState, Ledger, Limits, ReservedPages
from pinfold.core.hosttext import host
from pinfold.core.pools import Pools
from pinfold.core.request.model import (
    CpuPolicy,
    EmulatorPolicy,
    GuestCell,
    GuestRequest,
    PageKind,
    PageRequest,
    ThreadPolicy,
)

SMALL = PageRequest(kind=PageKind.SMALL)
LARGE = PageRequest(kind=PageKind.LARGE)
ANY = PageRequest(kind=PageKind.ANY)
NO_RESERVE = Limits(reserved_memory_mib=0)


def explicit(size_kib: int) -> PageRequest:
    """A page size asked for by number."""
    return PageRequest(kind=PageKind.EXPLICIT, size_kib=size_kib)


def cpus(text: str) -> CpuSet:
    """A cpulist."""
    return CpuSet.parse(text)


def state(
    text: str,
    *,
    dedicated: str | None = None,
    shared: str = "",
    overhead: str | None = None,
    limits: Limits = NO_RESERVE,
    taken: str = "",
    foreign: tuple[Foreign, ...] = (),
    traits: frozenset[str] = frozenset(),
    disk_gib: int | None = None,
) -> HostState:
    """A host of text. All that is not shared or overhead is dedicated unless told; `taken` pCPUs belong to an older guest."""
    topology = host(text)
    apart = cpus(shared) | cpus(overhead or "")
    pool = topology.online - apart if dedicated is None else cpus(dedicated)
    overhead_pool = None if overhead is None else cpus(overhead)
    claims = (Claim(guest="older", fit=holding(topology.cell_of, cpus(taken))),) if taken else ()
    return HostState(
        topology=topology,
        pools=Pools(shared=cpus(shared), dedicated=pool, overhead=overhead_pool),
        limits=limits,
        ledger=Ledger(claims=claims, foreign=foreign),
        traits=traits,
        disk_gib=disk_gib,
    )


def holding(cell_of: dict[int, int], pcpus: CpuSet) -> Fit:
    """A fit that holds these pCPUs and no memory."""
    pins = list(enumerate(pcpus))
    cells = tuple(
        FitCell(guest_cell=n, host_cell=cell, pins=tuple((v, p) for v, p in pins if cell_of[p] == cell))
        for n, cell in enumerate(sorted({cell_of[p] for p in pcpus}))
    )
    return Fit(vcpus=len(pcpus), memory_mib=0, cells=cells, emulator=pcpus)


def guest(
    cells: str,
    *,
    floating: str = "",
    emulator: EmulatorPolicy = EmulatorPolicy.UNSET,
    threads: ThreadPolicy = ThreadPolicy.PREFER,
    realtime: str = "",
    memory_mib: int = 0,
    page: PageRequest = SMALL,
    disks: int = 0,
    nics: int = 0,
    disk_gib: int = 0,
    required: frozenset[str] = frozenset(),
    forbidden: frozenset[str] = frozenset(),
) -> GuestRequest:
    """A guest with one cell for each number of vCPUs in `cells`, pinned but for `floating`; `memory_mib` is a cell's (0: its vCPUs)."""
    built: list[GuestCell] = []
    first = 0
    for number, text in enumerate(cells.split()):
        vcpus = CpuSet(range(first, first + int(text)))
        first += int(text)
        built.append(GuestCell(id=number, vcpus=vcpus, dedicated=vcpus - cpus(floating), memory_mib=memory_mib or int(text)))
    pinned = sum(len(cell.dedicated) for cell in built)
    policy = CpuPolicy.DEDICATED if pinned == first else CpuPolicy.MIXED if pinned else CpuPolicy.SHARED
    return GuestRequest(
        vcpus=first,
        memory_mib=sum(cell.memory_mib for cell in built),
        disk_gib=disk_gib,
        cpu_policy=policy,
        thread_policy=threads,
        emulator_policy=emulator,
        realtime=cpus(realtime),
        cells=tuple(built),
        page=page,
        explicit_page=page is not SMALL,
        disks=disks,
        nics=nics,
        traits_required=required,
        traits_forbidden=forbidden,
    )


def fits(request: GuestRequest, where: HostState, strategy: Strategy = Strategy.PACK) -> Fit:
    """The fit, which there must be."""
    answer = fit(request, where, strategy)
    assert isinstance(answer, Fit), answer.sentence()
    return answer


def refused(request: GuestRequest, where: HostState) -> NoFit:
    """The refusal, which there must be."""
    answer = fit(request, where)
    assert isinstance(answer, NoFit), answer
    return answer


def places(answer: Fit) -> list[tuple[int, str]]:
    """For each guest cell the host cell and its pCPUs in the order of its vCPUs: `(1, "4,6")`."""
    return [(cell.host_cell, ",".join(str(pcpu) for _, pcpu in cell.pins)) for cell in answer.cells]


TEXTS = (
    "core:4 mem:64",
    "pack:2 core:2 pu:2 mem:64 huge:2048x16",
    "pack:2 core:3 pu:2 far mem:64 huge:1024x8,4096x6",
    "core:2 pu:4 mem:64 / core:3 mem:64 huge:1024x20 / core:0 mem:32",
    "pack:3 core:2 pu:2 offline:6 step:2 mem:64 huge:2048x8",
    "core:3 pu:2 ids:0,4 mem:48 / core:2 mem:0",
    "cell:4 core:2 mem:32 huge:2048x4",
)


@st.composite
def states(draw: st.DrawFn) -> HostState:
    """Small hosts of every shape, with pools anywhere, foreign pins and pages, and limits that bind."""
    topology = host(draw(st.sampled_from(TEXTS)))
    online = list(topology.online)
    pool = draw(st.lists(st.sampled_from("dddso-"), min_size=len(online), max_size=len(online)))
    named = {letter: CpuSet(pcpu for pcpu, role in zip(online, pool, strict=True) if role == letter) for letter in "dso"}
    overhead = draw(st.sampled_from([None, named["s"], named["o"], named["s"] | named["o"], CpuSet()]))
    limits = Limits(
        cpu_allocation_ratio=draw(st.sampled_from([1.0, 1.1, 4.0])),
        ram_allocation_ratio=draw(st.sampled_from([1.0, 1.5])),
        reserved_memory_mib=draw(st.sampled_from([0, 16, 60])),
        reserved_pages=draw(st.sampled_from([(), (ReservedPages(cell=0, size_kib=2048, count=3),)])),
        shared_fraction=draw(st.sampled_from([0.0, 0.3, 0.5, 1.0])),
        booking=draw(st.sampled_from(list(Booking))),
    )
    pages = st.builds(ForeignMemory, cell=st.just(0), size_kib=st.sampled_from([4, 1024, 2048]), count=st.integers(0, 9))
    other = st.builds(
        Foreign,
        name=st.just("other"),
        cpus=st.builds(CpuSet, st.sets(st.sampled_from(online), max_size=3)),
        pages=st.tuples(pages),
        memory_mib=st.integers(0, 20),
    )
    return HostState(
        topology=topology,
        pools=Pools(shared=named["s"], dedicated=named["d"], overhead=overhead),
        limits=limits,
        ledger=Ledger(foreign=draw(st.sampled_from([(), (draw(other),)]))),
        disk_gib=draw(st.sampled_from([None, 8])),
    )


@st.composite
def guests(draw: st.DrawFn) -> GuestRequest:
    """Guests of every combination that is allowed as a request, small enough for the hosts of `states`."""
    sizes = draw(st.lists(st.integers(1, 3), max_size=3))
    if not sizes:
        return GuestRequest(vcpus=draw(st.integers(1, 6)), memory_mib=draw(st.integers(1, 40)), disk_gib=draw(st.integers(0, 3)))
    vcpus = range(sum(sizes))
    floating = draw(st.one_of(st.just(CpuSet()), st.just(CpuSet(vcpus)), st.builds(CpuSet, st.sets(st.sampled_from(vcpus)))))
    pinned = CpuSet(vcpus) - floating
    realtime = draw(st.builds(CpuSet, st.sets(st.sampled_from(list(pinned))))) if pinned else CpuSet()
    policies = [policy for policy in EmulatorPolicy if pinned or policy is EmulatorPolicy.UNSET]
    if realtime == CpuSet(vcpus):
        policies.remove(EmulatorPolicy.UNSET)
    return guest(
        " ".join(str(size) for size in sizes),
        floating=str(floating),
        emulator=draw(st.sampled_from(policies)),
        threads=draw(st.sampled_from(list(ThreadPolicy))) if pinned else ThreadPolicy.PREFER,
        realtime=str(realtime),
        memory_mib=draw(st.sampled_from([0, 2, 4, 8, 11])),
        page=draw(st.sampled_from([SMALL, SMALL, LARGE, ANY, explicit(4), explicit(1024), explicit(2048)])),
        disk_gib=draw(st.integers(0, 3)),
        disks=draw(st.integers(0, 2)),
    )
