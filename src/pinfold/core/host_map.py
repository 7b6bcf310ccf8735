"""`HostMap`: sockets, cells, cores and pCPUs of one host, each pCPU with its pool, role and owners. Pure.

The command line makes it of a survey, the service of its ledger and of what the host's agent reported. The form that msgspec writes is what
`pinfold host map --json` and `GET /v1/hosts/NAME/map` print. A value that was not observed is None.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Final

from msgspec import Struct

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import PLACE_CODES, Finding, FindingCode, Severity
from pinfold.core.fit.answer import EmulatorPlacement
from pinfold.core.fit.count import count_host
from pinfold.core.host import HostState, Ledger
from pinfold.core.identity import GuestId
from pinfold.core.ledger import Role, holds
from pinfold.core.overhead import OverheadPool, ThreadClass, capacity_millicpu, pool_of
from pinfold.core.overhead.booking import booked_on
from pinfold.core.pools import Pools
from pinfold.core.strays import Stray, Strays, cpus_in, strays


class Pool(Enum):
    """The pool of a pCPU. One in both the shared and the overhead pool is SHARED, and its `overhead` is set.

    EITHER is Nova's `vcpu_pin_set`: one pool for pinned and floating vCPUs.
    """

    DEDICATED = "dedicated"
    EITHER = "dedicated and shared"
    SHARED = "shared"
    OVERHEAD = "overhead"
    HOST = "host"


class Owner(Struct, frozen=True, kw_only=True):
    """One guest that holds a pCPU: its id and name, the class of the thread that runs there, and the vCPU if it is one.

    `guest` is None for a foreign guest whose id is unknown. `thread_class` is None for a sibling that the guest keeps idle. `stray`: one
    of its definitions pins a guest of Nova's to this pCPU, outside its place. `drifted`: the thread may run elsewhere than recorded.
    """

    guest: GuestId | None
    name: str
    role: Role
    thread_class: ThreadClass | None = None
    vcpu: int | None = None
    stray: bool | None = False
    drifted: bool | None = None

    @property
    def key(self) -> str:
        """What tells the guest from the others of the host: its id, else its name."""
        return self.guest or self.name


class PcpuMap(Struct, frozen=True, kw_only=True):
    """One pCPU. `owners` are those who hold it, ours first and strays last: none if it is free.

    `role` is None outside the dedicated pool, unless somebody holds it. `contested`: it has two owners. `overhead`: it is in the overhead
    pool. `retiring`: it has left the dedicated pool while somebody holds it. `vcpus_float` and `overhead_runs`: floating vCPUs, and
    overhead threads of guests that do not hold it, may run there now. `left_by` are the names of guests with threads that belong here
    without holding it, and may run elsewhere. `strays` are those whose threads may run here, but belong elsewhere, at most three of them;
    `more_strays` counts the others. `vhost_runs`: vhost threads of guests may run there.
    """

    pcpu: int
    pool: Pool
    overhead: bool
    role: Role | None
    retiring: bool
    contested: bool
    offline: bool
    vcpus_float: bool | None
    overhead_runs: bool | None
    owners: tuple[Owner, ...]
    left_by: tuple[str, ...] = ()
    strays: tuple[Stray, ...] = ()
    more_strays: int = 0
    vhost_runs: bool | None = None


class CoreMap(Struct, frozen=True, kw_only=True):
    """The online siblings of one core, and the ids of its socket and last-level cache. They are None if the host does not report them."""

    socket: int | None
    cache: int | None
    siblings: CpuSet
    pcpus: tuple[PcpuMap, ...]


class PagesMap(Struct, frozen=True, kw_only=True):
    """The huge pages of one size in one cell: all, and those that no guest holds and the host does not reserve."""

    size_kib: int
    total: int
    free: int


class CellMap(Struct, frozen=True, kw_only=True):
    """One host cell: its memory, its huge pages by size, how many of its dedicated pCPUs are free, and its cores by lowest pCPU.

    `memory_free_mib` is its small-page memory less the reserve of pages and the memory of guests with cells.
    """

    id: int
    memory_mib: int
    memory_free_mib: int
    huge_pages: tuple[PagesMap, ...]
    dedicated: int
    dedicated_free: int
    cores: tuple[CoreMap, ...]

    @property
    def caches(self) -> tuple[tuple[int | None, tuple[CoreMap, ...]], ...]:
        """The cores by last-level cache, in the order of their lowest pCPU: `(cache, cores)`."""
        found: dict[int | None, list[CoreMap]] = {}
        for core in self.cores:
            found.setdefault(core.cache, []).append(core)
        return tuple((cache, tuple(cores)) for cache, cores in found.items())


class OverheadPart(Struct, frozen=True, kw_only=True):
    """The part of the overhead pool on one cell, in millicpu: booked there by claims, and in total."""

    cell: int
    pool: CpuSet
    booked_millicpu: int
    total_millicpu: int


class OverheadBooking(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The overhead pool in millicpu: booked by claims, and in total. `guests` counts the guests that use it.

    `others` counts running foreign guests with emulator threads on the pool; they book nothing. `parts` are ascending by cell, where the
    pool is on several cells and guests prefer theirs; empty elsewhere. What guests book of the whole pool is in no part.
    """

    pool: CpuSet
    booked_millicpu: int
    total_millicpu: int
    guests: int
    others: int | None
    parts: tuple[OverheadPart, ...] = ()


class HostMap(Struct, frozen=True, kw_only=True):
    """A host: its cells, ordered by id, the offline pCPUs that somebody still holds, and the overhead pool or None.

    `revision` counts the changes that the service recorded, 0 for a host without one. `dedicated_free` counts the free pCPUs of the
    dedicated pool, also those that Nova has switched off. `floating_vcpus` counts the vCPUs that float, also those of running foreign
    guests. `floating_memory_free_mib` is the memory available to a guest without cells. `strays` are threads outside their place, each with
    what puts it back.
    """

    host: str
    revision: int
    cells: tuple[CellMap, ...]
    offline: tuple[PcpuMap, ...]
    overhead: OverheadBooking | None
    dedicated_free: int
    floating_vcpus: int | None
    floating_memory_free_mib: int
    strays: tuple[Strays, ...] = ()

    @property
    def pcpus(self) -> tuple[PcpuMap, ...]:
        """Every pCPU, by cell and core, then those that are offline and held."""
        return (*(pcpu for cell in self.cells for core in cell.cores for pcpu in core.pcpus), *self.offline)

    @property
    def caches(self) -> frozenset[int]:
        """The ids of the last-level caches that the host reports."""
        return frozenset(core.cache for cell in self.cells for core in cell.cores if core.cache is not None)


class Stranger(Struct, frozen=True, kw_only=True):
    """What a host shows of a guest that has no claim: `(pCPU, owner)` for the dedicated pCPUs that it holds or is pinned to.

    `floats` counts its vCPUs that float now, over `floating`. `overhead` are the pCPUs of its overhead threads that are not its own.
    `pooled`: these threads belong on the overhead pool.
    """

    held: tuple[tuple[int, Owner], ...] = ()
    floats: int = 0
    floating: CpuSet = CpuSet()
    overhead: CpuSet = CpuSet()
    pooled: bool = False


class Observed(Struct, frozen=True, kw_only=True):
    """What was observed on a host, beside its state.

    `names` are guests' names by id. `strangers` are all guests without a claim, None if no more is known of them than the ledger has.
    `findings` are those of an audit. `judged` are the guests whose threads that audit compared with their record. `vhost` are
    the pCPUs on which vhost threads may run, None if nobody has looked at threads.
    """

    names: Mapping[GuestId, str]
    strangers: tuple[Stranger, ...] | None = None
    findings: tuple[Finding, ...] = ()
    judged: frozenset[GuestId] = frozenset()
    vhost: CpuSet | None = None


def host_map(state: HostState, observed: Observed) -> HostMap:
    """The map of a host."""
    owners = _owners(state, observed)
    pcpu = _Pcpus(state, observed, owners)
    topology, pools, counts = state.topology, state.pools, count_host(state)
    held = CpuSet(owners)
    cells = []
    for cell in topology.cells:
        dedicated, left = cell.cpus & pools.dedicated, counts.cell(cell.id)
        total = {page.size_kib: page.total for page in cell.pages}
        cells.append(
            CellMap(
                id=cell.id,
                memory_mib=cell.memory_mib,
                memory_free_mib=left.small_free_mib,
                huge_pages=tuple(
                    PagesMap(size_kib=size, total=total[size], free=free) for size, free in reversed(left.huge) if total[size]
                ),
                dedicated=len(dedicated),
                dedicated_free=len(dedicated - held),
                cores=tuple(
                    CoreMap(socket=socket, cache=cache, siblings=core, pcpus=tuple(map(pcpu.of, core)))
                    for core, socket, cache in zip(
                        cell.cores,
                        cell.sockets or (None,) * len(cell.cores),
                        cell.caches or (None,) * len(cell.cores),
                        strict=True,
                    )
                ),
            )
        )
    return HostMap(
        host=state.name,
        revision=state.revision,
        cells=tuple(cells),
        offline=tuple(map(pcpu.of, held - topology.online)),
        overhead=_booking(state, observed),
        dedicated_free=len(pools.dedicated - held),
        floating_vcpus=pcpu.floating_vcpus,
        floating_memory_free_mib=counts.floating_room_mib,
        strays=pcpu.strays,
    )


class _Pcpus:
    """What is true of the host as a whole while its pCPUs are put on the map.

    `_unseen` is the answer for a pCPU on which nobody was seen to float: False if everybody was seen, else None.
    """

    def __init__(self, state: HostState, observed: Observed, owners: Mapping[int, tuple[Owner, ...]]) -> None:
        self._state, self._owners = state, owners
        self._contested = CpuSet(
            cpu for finding in observed.findings if finding.code is FindingCode.TWO_OWNERS for cpu in cpus_in(finding.subject)
        )
        self._unseen = False if _all_known(state, observed) else None
        self._left, self._vhost = _left(observed.findings), observed.vhost
        self.strays = strays(observed.findings, state.topology.online, {claim.guest for claim in state.ledger.claims})
        self._astray: dict[int, dict[Stray, None]] = {}
        for found in self.strays:
            for cpu in found.pcpus:
                self._astray.setdefault(cpu, {})[found.who] = None
        vcpus = 0
        self._floating = self._overhead = CpuSet()
        for claim in state.ledger.claims:
            vcpus += claim.fit.floating_count
            self._floating |= claim.fit.floating
            self._overhead |= claim.fit.emulator - claim.fit.taken
        for stranger in observed.strangers or ():
            vcpus += stranger.floats
            self._floating |= stranger.floating
            self._overhead |= stranger.overhead
        self.floating_vcpus = vcpus if _all_known(state, observed) else None

    def of(self, cpu: int) -> PcpuMap:
        """One pCPU on the map."""
        pools, owners = self._state.pools, self._owners.get(cpu, ())
        ours = sum(owner.role is not Role.FOREIGN for owner in owners)
        dedicated = cpu in pools.dedicated
        astray = tuple(self._astray.get(cpu, ()))
        return PcpuMap(
            pcpu=cpu,
            pool=_pool(cpu, pools),
            overhead=pools.overhead is not None and cpu in pools.overhead,
            role=owners[0].role if owners else Role.FREE if dedicated else None,
            retiring=ours > 0 and not dedicated,
            contested=ours > 1 or cpu in self._contested,
            offline=cpu not in self._state.topology.online,
            vcpus_float=cpu in self._floating or self._unseen,
            overhead_runs=cpu in self._overhead or self._unseen,
            owners=owners,
            left_by=() if owners else tuple(sorted(self._left.get(cpu, ()))),
            strays=astray[:_MOST_STRAYS],
            more_strays=max(0, len(astray) - _MOST_STRAYS),
            vhost_runs=None if self._vhost is None else cpu in self._vhost,
        )


def _pool(cpu: int, pools: Pools) -> Pool:
    if cpu in pools.dedicated:
        return Pool.EITHER if cpu in pools.shared else Pool.DEDICATED
    if cpu in pools.shared:
        return Pool.SHARED
    return Pool.OVERHEAD if pools.overhead is not None and cpu in pools.overhead else Pool.HOST


def _all_known(state: HostState, observed: Observed) -> bool:
    """Whether it is known where the threads of all guests run."""
    return observed.strangers is not None or not state.ledger.foreign


def _owners(state: HostState, observed: Observed) -> dict[int, tuple[Owner, ...]]:
    """Who holds each held pCPU: our guests by id, then foreign ones, then strays. Foreign pins count only in the dedicated pool."""
    drifted = _drifted(observed.findings)
    held: list[tuple[int, Owner]] = []
    for claim in state.ledger.claims:
        judged = False if claim.guest in observed.judged else None
        name = observed.names.get(claim.guest, claim.guest)
        for cpu, role, vcpu in holds(claim.fit):
            kind = _CLASSES.get(role)
            astray = (claim.guest, kind, cpu) in drifted or judged
            held.append((cpu, Owner(guest=claim.guest, name=name, role=role, thread_class=kind, vcpu=vcpu, drifted=astray)))
    foreign = [one for stranger in observed.strangers or () for one in stranger.held]
    if observed.strangers is None:
        unknown = [Owner(guest=None, name=other.name, role=Role.FOREIGN, stray=None) for other in state.ledger.foreign]
        foreign = [(cpu, owner) for other, owner in zip(state.ledger.foreign, unknown, strict=True) for cpu in other.cpus]
    held += sorted(foreign, key=lambda one: (bool(one[1].stray), one[1].key))
    owners: dict[int, tuple[Owner, ...]] = {}
    for cpu, owner in held:
        owners[cpu] = (*owners.get(cpu, ()), owner)
    return owners


_MOST_STRAYS: Final = 3
"""The most strays that one pCPU names."""
_CLASSES: Final = {Role.VCPU: ThreadClass.VCPU, Role.EMULATOR: ThreadClass.EMULATOR}
"""The class of the thread for which a guest of ours holds a pCPU, by role."""


def places_left(findings: Iterable[Finding]) -> CpuSet:
    """The pCPUs on which threads are recorded that may run elsewhere."""
    return CpuSet(cpu for _, cpu in _recorded_places(findings))


def _drifted(findings: Iterable[Finding]) -> frozenset[tuple[str, ThreadClass | None, int]]:
    """`(guest id, thread class, pCPU)` of the recorded places whose threads are elsewhere. All overhead threads count as the emulator's."""
    return frozenset(
        (finding.guest_id, ThreadClass.VCPU if finding.thread_class is ThreadClass.VCPU else ThreadClass.EMULATOR, cpu)
        for finding, cpu in _recorded_places(findings)
    )


def _left(findings: Iterable[Finding]) -> dict[int, set[str]]:
    """The names of guests by the pCPUs on which their threads are recorded, but which these may leave."""
    found: dict[int, set[str]] = {}
    for finding, cpu in _recorded_places(findings):
        found.setdefault(cpu, set()).add(finding.guest)
    return found


def _recorded_places(findings: Iterable[Finding]) -> Iterable[tuple[Finding, int]]:
    """Each finding of threads that are elsewhere, with each pCPU of their recorded place."""
    for finding in findings:
        if finding.code in PLACE_CODES and finding.tids and finding.severity is Severity.DRIFT:
            yield from ((finding, cpu) for cpu in cpus_in(finding.recorded))


def _booking(state: HostState, observed: Observed) -> OverheadBooking | None:
    pool = state.pools.overhead
    if pool is None:
        return None
    users = [claim.fit for claim in state.ledger.claims if claim.fit.emulator_placement is EmulatorPlacement.POOL]
    others = sum(stranger.pooled for stranger in observed.strangers or ())
    return OverheadBooking(
        pool=pool,
        booked_millicpu=sum(fit.overhead_millicpu for fit in users),
        total_millicpu=capacity_millicpu(state.pools, state.limits),
        guests=len(users),
        others=others if _all_known(state, observed) else None,
        parts=_parts(pool_of(state), state.ledger),
    )


def _parts(pool: OverheadPool, ledger: Ledger) -> tuple[OverheadPart, ...]:
    if not pool.prefers_local or len(pool.parts) < 2:
        return ()
    return tuple(
        OverheadPart(cell=part.cell, pool=part.cpus, booked_millicpu=booked_on(part.cell, ledger), total_millicpu=part.capacity)
        for part in pool.parts
    )
