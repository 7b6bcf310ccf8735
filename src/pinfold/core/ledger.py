"""A host's recorded state: topology, pools, limits and claims, and the claim and release that lead from one state to the next.

Who decides a fit (`core.fit`), how a state is stored, and what is observed on the host do not belong here.
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
    """What one pCPU of dedicated ∪ retiring is doing. Exactly one holds for each."""

    FREE = "free"
    VCPU = "vcpu"
    EMULATOR = "emulator"
    IDLE_SIBLING = "idle sibling"
    FOREIGN = "foreign"


class Booking(Enum):
    """`[overhead] booking`: whether a booked overhead pool refuses a guest or only says so."""

    ENFORCE = "enforce"
    REPORT = "report"


@dataclass(frozen=True, slots=True, kw_only=True)
class OverheadRates:
    """Millicpu of overhead that one `share` guest books: per guest, vCPU, disk and nic."""

    guest: int = 20
    vcpu: int = 2
    disk: int = 10
    nic: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservedPages:
    """Pages of one size in one cell that the host keeps for others (`reserved_huge_pages`)."""

    cell: int
    size_kib: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of a host may be promised: ratios and reserves, as in Nova.

    Ratios apply to floating guests alone; a guest with cells is backed by real memory and never overcommitted.
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
    """Pages in one cell that somebody else's processes hold."""

    cell: int
    size_kib: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """Somebody else's domain (or process) on the host: the pCPUs it is pinned to and the pages it holds.

    `memory_mib` is what it takes of small-page memory wherever that lies; it joins the host's line of floating memory.
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
    """Who holds what of one host. `claims` are ordered by guest id, each id once; `foreign` by name."""

    claims: tuple[Claim, ...] = ()
    foreign: tuple[Foreign, ...] = ()


@dataclass(frozen=True, kw_only=True)
class HostState:
    """All that a fit is decided on; two equal states give equal answers.

    `disk_gib` is None where disks are not accounted. `revision` counts the recorded changes; it takes no part in a fit.
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
        """What the host has left, counted once; the engine's own, not part of the value."""
        return Counts.of(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class PcpuRole:
    """What one pCPU of dedicated ∪ retiring is doing, and for whom.

    `guest` is '' for a free pCPU, the foreign domain's name for a foreign one. `vcpu` is set for VCPU alone.
    """

    pcpu: int
    role: Role
    retiring: bool = False
    guest: str = ""
    vcpu: int | None = None


def claim(state: HostState, guest: str, fit: Fit) -> HostState:
    """The state after `guest` took what `fit` says; the revision is one higher.

    Memory, shared room and bookings were decided by the fit and are not decided again here.
    Raises `Conflict` when the guest has a claim already, or when any of its pCPUs belongs to another claim or to something foreign.
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
    """The state after `guest` gave back all that it had; the revision is one higher. Raises `Conflict` when it has no claim."""
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
    """The pCPUs that live claims hold and that are in the dedicated pool no more."""
    mask = 0
    for one in state.ledger.claims:
        mask |= one.fit.taken.mask
    return CpuSet.from_mask(mask & ~state.pools.dedicated.mask)


def roles(state: HostState) -> dict[int, PcpuRole]:
    """What each pCPU of dedicated ∪ retiring is doing, ascending by pCPU.

    A pCPU with two owners (see `conflicts`) is told once: for a claim before something foreign, for the lowest guest id first.
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
    """The pCPUs that two claims hold, or a claim and something foreign; empty unless a ledger was read back from a host gone wrong."""
    once = twice = 0
    for one in state.ledger.claims:
        twice |= once & one.fit.taken.mask
        once |= one.fit.taken.mask
    for foreign in state.ledger.foreign:
        twice |= once & foreign.cpus.mask
    return CpuSet.from_mask(twice)
