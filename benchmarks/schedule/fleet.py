"""Synthetic fleets: hosts of a few shapes with a realistic fill, and the requests that are asked of them. Timing does not belong here."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import cycle, islice
from random import Random

from msgspec.structs import replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.fit.answer import Fit
from pinfold.core.fit.count import Counts
from pinfold.core.fit.demand import Demand, prepare
from pinfold.core.fit.engine import search
from pinfold.core.host import Claim, HostState, Ledger, Limits
from pinfold.core.pools import Pools
from pinfold.core.request.model import CpuPolicy, EmulatorPolicy, GuestCell, GuestRequest, ThreadPolicy
from pinfold.core.topology import HostCell, PagePool, Topology
from pinfold.scheduler.index import Entry, counts_of

SHAPES = ((2, 16, 2), (2, 24, 2), (1, 32, 2), (4, 12, 2), (8, 8, 1))
"""Cells, cores in each, threads of each."""
KINDS = 400
"""So many hosts of a fleet are filled; further ones repeat them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One kind of request, `hard` where it fits few hosts or none."""

    name: str
    demand: Demand
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
    Ask(name="2 floating vCPUs", demand=prepare(GuestRequest(vcpus=2, memory_mib=1024)), hard=False),
    Ask(name="4 pinned, share", demand=prepare(pinned(4, emulator=EmulatorPolicy.SHARE)), hard=False),
    Ask(name="4 pinned, isolate", demand=prepare(pinned(4, emulator=EmulatorPolicy.ISOLATE)), hard=False),
    Ask(name="16 pinned on 2 cells, share", demand=prepare(pinned(16, 2, emulator=EmulatorPolicy.SHARE)), hard=True),
    Ask(name="8 whole cores, isolate", demand=prepare(pinned(8, threads=ThreadPolicy.ISOLATE, emulator=EmulatorPolicy.ISOLATE)), hard=True),
    Ask(name="32 pinned on 4 cells", demand=prepare(pinned(32, 4)), hard=True),
    Ask(name="refused: 64 pinned on 8 cells, isolate", demand=prepare(pinned(64, 8, emulator=EmulatorPolicy.ISOLATE)), hard=True),
)

_FILL = (
    (prepare(GuestRequest(vcpus=1, memory_mib=512)), 2),
    (prepare(pinned(2, emulator=EmulatorPolicy.SHARE)), 3),
    (prepare(pinned(4, emulator=EmulatorPolicy.SHARE)), 4),
    (prepare(pinned(4, emulator=EmulatorPolicy.ISOLATE)), 2),
    (prepare(pinned(8, 2)), 2),
    (prepare(pinned(2, threads=ThreadPolicy.ISOLATE)), 1),
)

_SMALL = (
    (prepare(GuestRequest(vcpus=1, memory_mib=512)), 3),
    (prepare(pinned(1, emulator=EmulatorPolicy.SHARE)), 2),
    (prepare(pinned(2, emulator=EmulatorPolicy.SHARE)), 3),
    (prepare(pinned(4, emulator=EmulatorPolicy.SHARE)), 1),
)
"""Guests of which some 30 fit on every shape."""


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
    return _filled(state, _FILL, lambda counts: len(state.pools.dedicated) - counts.free.bit_count() >= wanted, rng)


def crowded(state: HostState, guests: int, rng: Random) -> HostState:
    """The host with that many small guests, or as many of them as fit."""
    return _filled(state, _SMALL, lambda counts: len(counts.state.ledger.claims) >= guests, rng)


def _filled(state: HostState, kinds: tuple[tuple[Demand, int], ...], enough: Callable[[Counts], bool], rng: Random) -> HostState:
    """The host with guests of these `(kind, weight)` until there are enough of them, or no more fit."""
    demands, weights = zip(*kinds, strict=True)
    counts = counts_of(state)
    misses = 0
    while misses < 5 and not enough(counts):
        answer = search(rng.choices(demands, weights)[0], counts)
        if answer is None:
            misses += 1
        else:
            guest = _uuid(rng)
            counts = counts.claimed(Claim(guest=guest, fit=answer, id=guest))
    return counts.state


def fleet(hosts: int, seed: int = 1) -> tuple[HostState, ...]:
    """So many hosts: a tenth empty, the others up to full, most of them rather full. Beyond 400 they repeat, each a value of its own."""
    kinds = tuple(islice(_filled_hosts(Random(seed)), min(hosts, KINDS)))
    return tuple(replace(kinds[number % len(kinds)], name=f"c{number:05}") for number in range(hosts))


def with_own_guests(hosts: int, *, alike: bool, seed: int = 1) -> Iterator[HostState]:
    """So many hosts, one after another, each with guests and claims of its own ids. With `alike` hosts repeat as in `fleet`, so a guest
    beyond the first 400 hosts has the fit of another; otherwise every host is filled by itself. Equal fits are one value, as the store
    reads them.
    """
    rng, ids = Random(seed), Random(seed + 1)
    kinds = cycle(tuple(islice(_filled_hosts(rng), min(hosts, KINDS)))) if alike else _filled_hosts(rng)
    for number, state in enumerate(islice(kinds, hosts)):
        claims = [Claim(guest=_uuid(ids), fit=_same(claim.fit), id=_uuid(ids)) for claim in state.ledger.claims]
        claims.sort(key=lambda claim: claim.guest)
        yield replace(state, ledger=Ledger(claims=tuple(claims)), name=f"c{number:05}")


def _filled_hosts(rng: Random) -> Iterator[HostState]:
    while True:
        yield filled(empty(rng.choice(SHAPES)), rng.choice((0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0)), rng)


@lru_cache(maxsize=16384)
def _same(fit: Fit) -> Fit:
    """One value for equal fits, for as many as the store remembers when it reads them."""
    return fit


def _uuid(rng: Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128)))


def entry(number: int, state: HostState) -> Entry:
    """The host as the index has it."""
    return Entry(id=str(uuid.UUID(int=number + 1)), name=state.name, counts=counts_of(state))
