"""The values of one host: topology, pools, limits, claims and foreign domains. `ledger` has the functions that change them."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from fractions import Fraction

from msgspec import Struct

from pinfold.core.bounds import Number
from pinfold.core.cpuset import CpuSet
from pinfold.core.fit.answer import Fit
from pinfold.core.identity import ClaimId, GuestId
from pinfold.core.pools import Pools
from pinfold.core.topology import Topology


class Booking(Enum):
    """`[overhead] booking`: whether a fully booked overhead pool refuses a guest or only warns."""

    ENFORCE = "enforce"
    REPORT = "report"


class Locality(Enum):
    """`[overhead] locality`: where the overhead threads of a `share` guest run on the overhead pool."""

    POOL = "pool"
    """on the whole pool"""
    PREFER_LOCAL = "prefer_local"
    """on the part of the pool on the guest's host cells, if there is one with room; otherwise on the whole pool"""


class OverheadRates(Struct, frozen=True, kw_only=True):
    """The millicpu of overhead that a `share` guest books: per guest, per vCPU, per disk and per NIC."""

    guest: Number = 20
    vcpu: Number = 2
    disk: Number = 10
    nic: Number = 10


class ReservedPages(Struct, frozen=True, kw_only=True):
    """Pages of one size in one cell that are not for guests (`reserved_huge_pages`)."""

    cell: Number
    size_kib: Number
    count: Number


class Limits(Struct, frozen=True, kw_only=True):
    """How much of a host may be promised: ratios and reserves, as in Nova.

    Ratios apply only to floating guests. A guest with cells is backed by real memory and is never overcommitted.
    `shared_fraction` is the part of the overlap of overhead and shared pool that counts as overhead.
    """

    cpu_allocation_ratio: float = 4.0
    ram_allocation_ratio: float = 1.0
    disk_allocation_ratio: float = 1.0
    reserved_memory_mib: Number = 512
    reserved_disk_gib: Number = 0
    reserved_pages: tuple[ReservedPages, ...] = ()
    shared_fraction: float = 0.5
    booking: Booking = Booking.ENFORCE
    locality: Locality = Locality.POOL
    rates: OverheadRates = OverheadRates()


def exact(number: float) -> Fraction:
    """The exact decimal value of a configured number: 0.1 is one tenth, not the nearest binary fraction.

    >>> exact(1.1) * 10, exact(4)
    (Fraction(11, 1), Fraction(4, 1))
    """
    return Fraction(str(number))


class ForeignMemory(Struct, frozen=True, kw_only=True):
    """Pages in one cell that processes other than our guests hold."""

    cell: Number
    size_kib: Number
    count: Number


class Foreign(Struct, frozen=True, kw_only=True):
    """A domain or process on the host that is not ours: the pCPUs it is pinned to and the pages it holds.

    `memory_mib` is its small-page memory on all cells; it counts against the host's limit of floating memory.
    """

    name: str
    cpus: CpuSet = CpuSet()
    pages: tuple[ForeignMemory, ...] = ()
    memory_mib: Number = 0


class Claim(Struct, frozen=True, kw_only=True):
    """A fit recorded for one guest. `id` is None where a guest has one claim."""

    guest: GuestId
    fit: Fit
    id: ClaimId | None = None


class Ledger(Struct, frozen=True, kw_only=True):
    """The claims and foreign domains of one host. `claims` are ordered by guest id and claim id, each pair once; `foreign` is
    ordered by name. Claims are a tuple, or `PackedClaims`, which are equal to one.
    """

    claims: Sequence[Claim] = ()
    foreign: tuple[Foreign, ...] = ()


class HostState(Struct, frozen=True, kw_only=True):
    """Everything that a fit depends on. Equal states give equal answers.

    `disk_gib` is None if disk space is not accounted. `revision` counts the recorded changes; a fit ignores it.
    """

    topology: Topology
    pools: Pools
    limits: Limits = Limits()
    ledger: Ledger = Ledger()
    traits: frozenset[str] = frozenset()
    disk_gib: Number | None = None
    revision: int = 0
    name: str = ""
