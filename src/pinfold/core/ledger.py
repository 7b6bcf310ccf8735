"""A host's recorded state (topology, pools, limits, claims), and `claim` and `release`, which return the next state.

`core.fit` decides fits, `store` stores states, and `core.drift` compares them with what the host shows.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import Conflict
from pinfold.core.fit.count import Counts
from pinfold.core.fit.model import Fit
from pinfold.core.pools import Pools
from pinfold.core.topology import Topology


class Role(Enum):
    """What one pCPU of dedicated ∪ retiring is used for. Each has exactly one role."""

    FREE = "free"
    VCPU = "vcpu"
    EMULATOR = "emulator"
    IDLE_SIBLING = "idle sibling"
    FOREIGN = "foreign"


class Booking(Enum):
    """`[overhead] booking`: whether a fully booked overhead pool refuses a guest or only warns."""

    ENFORCE = "enforce"
    REPORT = "report"


@dataclass(frozen=True, slots=True, kw_only=True)
class OverheadRates:
    """The millicpu of overhead that a `share` guest books: per guest, per vCPU, per disk and per NIC."""

    guest: int = 20
    vcpu: int = 2
    disk: int = 10
    nic: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservedPages:
    """Pages of one size in one cell that are not for guests (`reserved_huge_pages`)."""

    cell: int
    size_kib: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of a host may be promised: ratios and reserves, as in Nova.

    Ratios apply only to floating guests. A guest with cells is backed by real memory and is never overcommitted.
    `shared_fraction` is the part of the overlap of overhead and shared pool that counts as overhead.
    """

    cpu_allocation_ratio: float = 4.0
    ram_allocation_ratio: float = 1.0
    disk_allocation_ratio: float = 1.0
    reserved_memory_mib: int = 512
    reserved_disk_gib: int = 0
    reserved_pages: tuple[ReservedPages, ...] = ()
    shared_fraction: float = 0.5
    booking: Booking = Booking.ENFORCE
    rates: OverheadRates = OverheadRates()


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignMemory:
    """Pages in one cell that processes other than our guests hold."""

    cell: int
    size_kib: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """A domain or process on the host that is not ours: the pCPUs it is pinned to and the pages it holds.

    `memory_mib` is its small-page memory on all cells; it counts against the host's limit of floating memory.
    """

    name: str
    cpus: CpuSet = CpuSet()
    pages: tuple[ForeignMemory, ...] = ()
    memory_mib: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A fit recorded for one guest. `guest` is its id, a UUID in text form."""

    guest: str
    fit: Fit


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The claims and foreign domains of one host. `claims` are ordered by guest id, each id once; `foreign` is ordered by name."""

    claims: tuple[Claim, ...] = ()
    foreign: tuple[Foreign, ...] = ()


@dataclass(frozen=True, kw_only=True)
class HostState:
    """Everything that a fit depends on. Equal states give equal answers.

    `disk_gib` is None if disk space is not accounted. `revision` counts the recorded changes; a fit ignores it.
    """

    topology: Topology
    pools: Pools
    limits: Limits = Limits()
    ledger: Ledger = Ledger()
    traits: frozenset[str] = frozenset()
    disk_gib: int | None = None
    revision: int = field(default=0, compare=False)
    name: str = field(default="", compare=False)

    @cached_property
    def counts(self) -> Counts:
        """What the host has left, counted once. It belongs to the engine and is not part of the value."""
        return Counts.of(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class PcpuRole:
    """The role of one pCPU of dedicated ∪ retiring, and the guest that it serves.

    `guest` is '' for a free pCPU and the domain's name for a foreign one. `vcpu` is set only for VCPU.
    """

    pcpu: int
    role: Role
    retiring: bool = False
    guest: str = ""
    vcpu: int | None = None


def claim(state: HostState, guest: str, fit: Fit) -> HostState:
    """The state with `fit` claimed by `guest`; the revision increases by one.

    The fit has already decided memory, shared room and bookings; they are not checked again here.
    Raises `Conflict` if the guest has a claim already, or if a pCPU belongs to another claim or to something foreign.
    """
    claims = state.ledger.claims
    at = bisect_left(claims, guest, key=lambda one: one.guest)
    if at < len(claims) and claims[at].guest == guest:
        raise Conflict(f"guest {guest} has a claim on host {state.name or '(unnamed)'} already")
    taken = fit.taken
    for other in claims:
        if not taken.isdisjoint(other.fit.taken):
            raise Conflict(f"pCPU {(taken & other.fit.taken).first} belongs to guest {other.guest} by now")
    for foreign in state.ledger.foreign:
        if not taken.isdisjoint(foreign.cpus):
            raise Conflict(f"pCPU {(taken & foreign.cpus).first} belongs to {foreign.name}, which is not ours")
    return _with_claims(state, (*claims[:at], Claim(guest=guest, fit=fit), *claims[at:]), fit, taken=True)


def release(state: HostState, guest: str) -> HostState:
    """The state without the claim of `guest`; the revision increases by one. Raises `Conflict` if it has no claim."""
    claims = state.ledger.claims
    at = bisect_left(claims, guest, key=lambda one: one.guest)
    if at == len(claims) or claims[at].guest != guest:
        raise Conflict(f"guest {guest} has no claim on host {state.name or '(unnamed)'}")
    return _with_claims(state, (*claims[:at], *claims[at + 1 :]), claims[at].fit, taken=False)


def _with_claims(state: HostState, claims: tuple[Claim, ...], fit: Fit, *, taken: bool) -> HostState:
    ledger = Ledger(claims=claims, foreign=state.ledger.foreign)
    new = replace(state, ledger=ledger, revision=state.revision + 1)
    if "counts" in state.__dict__:
        new.__dict__["counts"] = state.counts.after(fit, new, taken=taken)
    return new


def retiring(state: HostState) -> CpuSet:
    """The pCPUs that live claims hold but that are no longer in the dedicated pool."""
    mask = 0
    for one in state.ledger.claims:
        mask |= one.fit.taken.mask
    return CpuSet.from_mask(mask & ~state.pools.dedicated.mask)


def roles(state: HostState) -> dict[int, PcpuRole]:
    """The role of each pCPU of dedicated ∪ retiring, ascending by pCPU.

    A pCPU with two owners (see `conflicts`) is listed once: a claim wins over something foreign, and the lowest guest id wins.
    """
    leaving = retiring(state)
    owned: dict[int, PcpuRole] = {}
    for foreign in reversed(state.ledger.foreign):
        for pcpu in foreign.cpus:
            owned[pcpu] = PcpuRole(pcpu=pcpu, role=Role.FOREIGN, retiring=pcpu in leaving, guest=foreign.name)
    for one in reversed(state.ledger.claims):
        for pcpu in one.fit.idle_siblings:
            owned[pcpu] = PcpuRole(pcpu=pcpu, role=Role.IDLE_SIBLING, retiring=pcpu in leaving, guest=one.guest)
        for vcpu, pcpu in one.fit.pins:
            owned[pcpu] = PcpuRole(pcpu=pcpu, role=Role.VCPU, retiring=pcpu in leaving, guest=one.guest, vcpu=vcpu)
        if (emulator := one.fit.emulator_pcpu) is not None:
            owned[emulator] = PcpuRole(pcpu=emulator, role=Role.EMULATOR, retiring=emulator in leaving, guest=one.guest)
    return {pcpu: owned.get(pcpu) or PcpuRole(pcpu=pcpu, role=Role.FREE) for pcpu in state.pools.dedicated | leaving}


def conflicts(state: HostState) -> CpuSet:
    """The pCPUs that two claims hold, or a claim and something foreign. Only a ledger read back from a faulty host has any."""
    once = twice = 0
    for one in state.ledger.claims:
        twice |= once & one.fit.taken.mask
        once |= one.fit.taken.mask
    for foreign in state.ledger.foreign:
        twice |= once & foreign.cpus.mask
    return CpuSet.from_mask(twice)
