"""A host's recorded state: topology, pools, limits and claims, and the claim and release that lead from one state to the next.

Who decides a fit (`core.fit`), how a state is stored, and what is observed on the host do not belong here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from pinfold.core.cpuset import CpuSet
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
