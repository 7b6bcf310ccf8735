"""Flavors and what guests ask for, in one line, and a hypothesis strategy."""

from __future__ import annotations

from hypothesis import strategies as st
from tests.build.hosts import cpus

from pinfold.core.cpuset import CpuSet
from pinfold.core.request.model import CpuPolicy, EmulatorPolicy, Flavor, GuestCell, GuestRequest, PageKind, PageRequest, ThreadPolicy

SMALL = PageRequest(kind=PageKind.SMALL)
LARGE = PageRequest(kind=PageKind.LARGE)
ANY = PageRequest(kind=PageKind.ANY)


def explicit(size_kib: int) -> PageRequest:
    """A page size asked for by number."""
    return PageRequest(kind=PageKind.EXPLICIT, size_kib=size_kib)


def flavor(specs: str = "", *, vcpus: int = 4, memory_mib: int = 2048, disk_gib: int = 0) -> Flavor:
    """A flavor; its extra specs are written `key=value` and separated by blanks."""
    pairs = (pair.partition("=") for pair in specs.split())
    return Flavor(vcpus=vcpus, memory_mib=memory_mib, disk_gib=disk_gib, extra_specs=tuple(sorted((key, text) for key, _, text in pairs)))


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


def pinned(
    vcpus: int,
    *,
    memory_mib: int = 64,
    emulator: EmulatorPolicy = EmulatorPolicy.UNSET,
    threads: ThreadPolicy = ThreadPolicy.PREFER,
    traits: frozenset[str] = frozenset(),
    forbidden: frozenset[str] = frozenset(),
) -> GuestRequest:
    """A guest of one cell, with every vCPU pinned, and a disk."""
    return guest(str(vcpus), memory_mib=memory_mib, disk_gib=1, emulator=emulator, threads=threads, required=traits, forbidden=forbidden)


def floating(vcpus: int, *, memory_mib: int = 64) -> GuestRequest:
    """A guest without cells."""
    return GuestRequest(vcpus=vcpus, memory_mib=memory_mib)


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
