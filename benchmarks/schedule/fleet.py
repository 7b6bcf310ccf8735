"""Synthetic fleets: hosts of a few shapes with a realistic fill, and the requests that are asked of them. Timing does not belong here."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from random import Random

from pinfold.core import ledger
from pinfold.core.cpuset import CpuSet
from pinfold.core.fit import fit
from pinfold.core.fit.model import Fit
from pinfold.core.host import HostState, Limits
from pinfold.core.pools import Pools
from pinfold.core.request.model import CpuPolicy, EmulatorPolicy, GuestCell, GuestRequest, ThreadPolicy
from pinfold.core.topology import HostCell, PagePool, Topology
from pinfold.scheduler.index import Entry

SHAPES = ((2, 16, 2), (2, 24, 2), (1, 32, 2), (4, 12, 2), (8, 8, 1))
"""Cells, cores in each, threads of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One kind of request, `hard` where it fits few hosts or none."""

    name: str
    request: GuestRequest
    hard: bool


def pinned(
    vcpus: int,
    cells: int = 1,
    *,
    emulator: EmulatorPolicy = EmulatorPolicy.UNSET,
    threads: ThreadPolicy = ThreadPolicy.PREFER,
) -> GuestRequest:
    """A guest whose vCPUs are all pinned, split evenly over its cells."""
    each = vcpus // cells
    parts = tuple(
        GuestCell(
            id=cell,
            vcpus=CpuSet(range(cell * each, (cell + 1) * each)),
            dedicated=CpuSet(range(cell * each, (cell + 1) * each)),
            memory_mib=512 * each,
        )
        for cell in range(cells)
    )
    return GuestRequest(
        vcpus=vcpus,
        memory_mib=512 * vcpus,
        cpu_policy=CpuPolicy.DEDICATED,
        thread_policy=threads,
        emulator_policy=emulator,
        cells=parts,
        disks=1,
        nics=1,
    )


ASKS = (
    Ask(name="2 floating vCPUs", request=GuestRequest(vcpus=2, memory_mib=1024), hard=False),
    Ask(name="4 pinned, share", request=pinned(4, emulator=EmulatorPolicy.SHARE), hard=False),
    Ask(name="4 pinned, isolate", request=pinned(4, emulator=EmulatorPolicy.ISOLATE), hard=False),
    Ask(name="16 pinned on 2 cells, share", request=pinned(16, 2, emulator=EmulatorPolicy.SHARE), hard=True),
    Ask(name="8 whole cores, isolate", request=pinned(8, threads=ThreadPolicy.ISOLATE, emulator=EmulatorPolicy.ISOLATE), hard=True),
    Ask(name="32 pinned on 4 cells", request=pinned(32, 4), hard=True),
    Ask(name="refused: 64 pinned on 8 cells, isolate", request=pinned(64, 8, emulator=EmulatorPolicy.ISOLATE), hard=True),
)

_FILL = (
    (GuestRequest(vcpus=1, memory_mib=512), 2),
    (pinned(2, emulator=EmulatorPolicy.SHARE), 3),
    (pinned(4, emulator=EmulatorPolicy.SHARE), 4),
    (pinned(4, emulator=EmulatorPolicy.ISOLATE), 2),
    (pinned(8, 2), 2),
    (pinned(2, threads=ThreadPolicy.ISOLATE), 1),
)


def topology(cells: int, cores: int, threads: int) -> Topology:
    """A host whose siblings are numbered side by side; 4 GiB of small pages for each core."""
    made = []
    for cell in range(cells):
        first = cell * cores * threads
        sets = tuple(CpuSet(range(first + core * threads, first + (core + 1) * threads)) for core in range(cores))
        memory = 4096 * cores
        made.append(
            HostCell(id=cell, cores=sets, sockets=(cell,) * cores, memory_mib=memory, pages=(PagePool(size_kib=4, total=memory * 256),))
        )
    return Topology(cells=tuple(made))


def empty(shape: tuple[int, int, int]) -> HostState:
    """A host without guests; two cores of each cell are the shared and overhead pool."""
    made = topology(*shape)
    shared = CpuSet(pcpu for cell in made.cells for core in cell.cores[:2] for pcpu in core)
    return HostState(
        topology=made,
        pools=Pools(shared=shared, dedicated=made.online - shared, overhead=shared),
        limits=Limits(reserved_memory_mib=2048),
        revision=1,
    )


def filled(state: HostState, share: float, rng: Random) -> HostState:
    """The host with guests until about that share of its dedicated pCPUs is taken."""
    wanted = int(len(state.pools.dedicated) * share)
    requests, weights = zip(*_FILL, strict=True)
    misses = 0
    while misses < 5 and len(state.pools.dedicated) - state.counts.free.bit_count() < wanted:
        answer = fit(rng.choices(requests, weights)[0], state)
        if isinstance(answer, Fit):
            state = ledger.claim(state, str(uuid.UUID(int=rng.getrandbits(128))), answer)
        else:
            misses += 1
    return state


def fleet(hosts: int, seed: int = 1) -> tuple[Entry, ...]:
    """So many hosts: a tenth empty, the others up to full, most of them rather full."""
    rng = Random(seed)
    kinds = [filled(empty(rng.choice(SHAPES)), rng.choice((0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0)), rng) for _ in range(min(hosts, 400))]
    entries = []
    for number in range(hosts):
        state = kinds[number % len(kinds)]
        name = f"c{number:05}"
        # Beyond 400 the hosts repeat, each a value of its own, as if it had been read from the store.
        own = HostState(**{field: getattr(state, field) for field in state.__dataclass_fields__})
        entries.append(Entry(id=str(uuid.UUID(int=number + 1)), name=name, state=replace(own, name=name)))
    return tuple(entries)
