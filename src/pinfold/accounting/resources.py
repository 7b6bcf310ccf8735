"""Express what a host offers and what a fit consumes in Placement's terms. Pure.

Placement's check is necessary but not sufficient: it accepts, with these inventories, whatever `core.fit` accepts on a host: `amount <=
max_unit` and `used + amount <= (total - reserved) * allocation_ratio`. If the two count differently, the inventory is the more generous
one, and the fit decides. (Claims that were made under more generous options than today's may overdraw an inventory; Placement then refuses
until enough of them are gone.)
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from pinfold.core.fit.answer import Fit
from pinfold.core.host import HostState, exact
from pinfold.core.overhead import RESOURCE_CLASS, PoolState, floating_pcpus, pool_of

PCPU: Final = "PCPU"
VCPU: Final = "VCPU"
MEMORY_MB: Final = "MEMORY_MB"
DISK_GB: Final = "DISK_GB"
OVERHEAD: Final = RESOURCE_CLASS

UNLIMITED: Final = 2**31 - 1
"""Placement's largest integer."""

Amounts = tuple[tuple[str, int], ...]
Shares = tuple[tuple[str, Amounts], ...]
"""What one consumer consumes of each provider, ordered by provider; each amount is ordered by resource class."""


def union(parts: Iterable[tuple[str, Amounts]]) -> Shares:
    """The sum of what several claims of one guest consume, each of one provider.

    >>> union([("h2", (("PCPU", 2),)), ("h1", (("PCPU", 1),)), ("h2", (("MEMORY_MB", 64), ("PCPU", 3)))])
    (('h1', (('PCPU', 1),)), ('h2', (('MEMORY_MB', 64), ('PCPU', 5))))
    """
    found: dict[str, dict[str, int]] = {}
    for provider, consumed in parts:
        mine = found.setdefault(provider, {})
        for name, amount in consumed:
            mine[name] = mine.get(name, 0) + amount
    return tuple((provider, tuple(sorted(found[provider].items()))) for provider in sorted(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """One resource class of a provider, with Placement's field names. `capacity` is how much of it can be used in total."""

    total: int
    reserved: int = 0
    allocation_ratio: float = 1.0
    min_unit: int = 1
    max_unit: int = 1
    step_size: int = 1

    @property
    def capacity(self) -> float:
        """The number with which Placement compares usage."""
        return (self.total - self.reserved) * self.allocation_ratio


Inventories = tuple[tuple[str, Inventory], ...]


def inventories(host: HostState, used: Amounts = ()) -> Inventories:
    """The inventories of a host's provider, ordered by resource class. A class with no amount and no usage is left out.

    A class that is used but no longer offered (its pool was removed) stays, full, until its last user goes: Placement does not delete an
    inventory in use. `used` is the total usage according to Placement; it may leave out what claims use.
    """
    offered = {
        PCPU: _dedicated(host),
        VCPU: _shared(host),
        MEMORY_MB: _memory(host),
        DISK_GB: _disk(host),
        OVERHEAD: _overhead(host),
    }
    claimed: dict[str, int] = {}
    for claim in host.ledger.claims:
        for name, amount in amounts(claim.fit, host):
            claimed[name] = claimed.get(name, 0) + amount
    found = {name: inventory for name, inventory in offered.items() if inventory is not None}
    for name, amount in (*claimed.items(), *used):
        if offered.get(name) is None and amount >= max(1, claimed.get(name, 0)):
            found[name] = Inventory(total=amount, max_unit=amount)
    return tuple(sorted(found.items()))


def amounts(fit: Fit, host: HostState) -> Amounts:
    """What a fit consumes on that host, ordered by resource class, without zeros. A host that accounts no disk gets no disk amount.

    >>> from pinfold.core.cpuset import CpuSet
    >>> from pinfold.core.pools import Pools
    >>> from pinfold.core.topology import Topology
    >>> host = HostState(topology=Topology(cells=()), pools=Pools(shared=CpuSet(), dedicated=CpuSet()))
    >>> amounts(Fit(vcpus=2, memory_mib=512, disk_gib=1, float_vcpus=CpuSet.of(0, 1), float_set=CpuSet.of(0)), host)
    (('MEMORY_MB', 512), ('VCPU', 2))
    """
    consumed = (  # in the order of their names
        (OVERHEAD, fit.overhead_millicpu),
        (DISK_GB, 0 if host.disk_gib is None else fit.disk_gib),
        (MEMORY_MB, fit.memory_mib),
        (PCPU, fit.taken_mask.bit_count()),
        (VCPU, fit.floating_count),
    )
    return tuple([one for one in consumed if one[1]])


def _dedicated(host: HostState) -> Inventory | None:
    taken = foreign = 0
    for claim in host.ledger.claims:
        taken |= claim.fit.taken.mask
    for other in host.ledger.foreign:
        foreign |= other.cpus.mask
    offered = (host.pools.dedicated & host.topology.online).mask | taken
    total = offered.bit_count()
    if not total:
        return None
    return Inventory(total=total, reserved=(offered & foreign & ~taken).bit_count(), max_unit=total)


def _shared(host: HostState) -> Inventory | None:
    left = floating_pcpus(host.pools, host.limits)
    return _stretched(len(host.pools.shared), 0, exact(host.limits.cpu_allocation_ratio) * left)


def _memory(host: HostState) -> Inventory | None:
    small = huge = kept = 0
    for cell in host.topology.cells:
        small += sum(pages.size_kib * pages.total for pages in cell.pages[:1])
        huge += sum(pages.size_kib * pages.total for pages in cell.pages[1:])
        reserved_of = {pages.size_kib: pages.count for pages in host.limits.reserved_pages if pages.cell == cell.id}
        kept += sum(pages.size_kib * min(pages.total, reserved_of.get(pages.size_kib, 0)) for pages in cell.pages[1:])
    total = -(-(small + huge) // 1024)
    # The reserve consists of small pages; what exceeds them takes nothing from a guest on huge pages.
    reserved = min(host.limits.reserved_memory_mib, small // 1024) + kept // 1024
    # The ratio affects only floating guests: with a ratio below one, guests with cells may still use everything.
    ratio = max(Fraction(1), exact(host.limits.ram_allocation_ratio))
    return _stretched(total, reserved, (total - reserved) * ratio)


def _disk(host: HostState) -> Inventory | None:
    if not host.disk_gib:
        return None
    ratio = exact(host.limits.disk_allocation_ratio)
    # A fit subtracts the reserve after applying the ratio; Placement subtracts it before.
    reserved = min(host.disk_gib, math.floor(host.limits.reserved_disk_gib / ratio))
    return _stretched(host.disk_gib, reserved, (host.disk_gib - reserved) * ratio)


def _overhead(host: HostState) -> Inventory | None:
    pool = pool_of(host)
    total = pool.capacity
    if pool.state is PoolState.ONLINE and pool.books and not pool.enforces:
        # A pool of less than one millicpu must still not refuse, and Placement has no empty inventories.
        return Inventory(total=total or 1, allocation_ratio=float(UNLIMITED), max_unit=UNLIMITED)
    return Inventory(total=total, max_unit=total) if total else None


def _stretched(total: int, reserved: int, capacity: Fraction) -> Inventory | None:
    """An inventory whose capacity, in Placement's floats, is at least the whole part of `capacity`; None if that is zero."""
    whole = math.floor(capacity)
    if whole < 1:
        return None
    ratio = float(capacity / (total - reserved))
    while (total - reserved) * ratio < whole:
        ratio = math.nextafter(ratio, math.inf)
    return Inventory(total=total, reserved=reserved, allocation_ratio=ratio, max_unit=min(whole, UNLIMITED))
