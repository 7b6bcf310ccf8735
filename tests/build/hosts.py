"""Hosts in one line: pools, states, what an agent reports; and a hypothesis strategy. Expectations belong in the tests."""

from __future__ import annotations

from hypothesis import strategies as st
from msgspec.structs import replace
from tests.build.fits import holding

from pinfold.core.cpuset import CpuSet
from pinfold.core.host import Booking, Claim, Foreign, ForeignMemory, HostState, Ledger, Limits, ReservedPages
from pinfold.core.hosttext import host
from pinfold.core.pools import Pools
from pinfold.core.topology import Topology
from pinfold.store.records import HostReport

NO_RESERVE = Limits(reserved_memory_mib=0)


def pools(shared: str = "", dedicated: str = "", overhead: str | None = None) -> Pools:
    """Three pools as cpulists; without `overhead` there is no overhead pool."""
    return Pools(shared=cpus(shared), dedicated=cpus(dedicated), overhead=None if overhead is None else cpus(overhead))


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
    rest = topology.online - cpus(shared) - cpus(overhead or "")
    claims = (Claim(guest="older", fit=holding(topology.cell_of, cpus(taken))),) if taken else ()
    return HostState(
        topology=topology,
        pools=pools(shared, str(rest) if dedicated is None else dedicated, overhead),
        limits=limits,
        ledger=Ledger(claims=claims, foreign=foreign),
        traits=traits,
        disk_gib=disk_gib,
    )


def report(
    *, cells: int = 2, cores: int = 4, threads: int = 2, shared: str = "0-1", limits: Limits = NO_RESERVE, overhead: bool = True
) -> HostReport:
    """What an agent reports of a host without distances, whose pCPUs are all dedicated but the shared ones, the overhead pool too."""
    near = host(f"pack:{cells} core:{cores} pu:{threads} mem:8192")
    topology = Topology(cells=tuple(replace(cell, distances=()) for cell in near.cells))
    apart = pools(shared, str(topology.online - cpus(shared)), shared if overhead else None)
    return HostReport(topology=topology, pools=apart, limits=limits, disk_gib=100)


def as_state(reported: HostReport, *, name: str = "", revision: int = 0, claims: tuple[Claim, ...] = ()) -> HostState:
    """The state of a host that reports this and holds these claims."""
    return HostState(
        topology=reported.topology,
        pools=reported.pools,
        limits=reported.limits,
        ledger=Ledger(claims=claims),
        disk_gib=reported.disk_gib,
        name=name,
        revision=revision,
    )


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
