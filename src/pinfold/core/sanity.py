"""Check that a host in an agent's report is possible: consistent, with numbers in range.

Reports are untrusted. One host that contradicts itself, or has absurd numbers, would break every decision that reads it. Warnings and
drift of a possible host are in `pools` and `drift`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pinfold.core import topology as topologies
from pinfold.core.bounds import MAX_AMOUNT, MAX_CELLS
from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest, InvariantViolation
from pinfold.core.host import Foreign, Limits
from pinfold.core.pools import Pools
from pinfold.core.topology import Topology

MAX_RATIO: Final = 1e6
MAX_MILLICPU: Final = 1_000_000

Amount = tuple[str, float, float, float]
"""A name, its value, and the smallest and largest value allowed."""


def check_host(topology: Topology, pools: Pools, limits: Limits, foreign: tuple[Foreign, ...], disk_gib: int | None) -> None:
    """Check that a host is possible. Raises `InvalidRequest` naming the first impossible value and what is allowed.

    >>> from pinfold.core.hosttext import host
    >>> check_host(host("core:4"), Pools(shared=CpuSet.of(0), dedicated=CpuSet.parse("1-4")), Limits(), (), None)
    Traceback (most recent call last):
    ...
    pinfold.core.errors.InvalidRequest: dedicated names pCPUs 4, which are not online; online are 0-3
    """
    try:
        topologies.check(topology)
    except InvariantViolation as error:
        raise InvalidRequest(str(error), key="topology") from error
    _check_pools(pools, topology.online)
    for name, value, least, most in (*_memory(topology), *_limits(limits), *_foreign(foreign), ("disk_gib", disk_gib or 0, 0, MAX_AMOUNT)):
        if not least <= value <= most:
            raise InvalidRequest(f"{name} is {value}; it must be from {least:g} to {most:.10g}", key=name)


def _check_pools(pools: Pools, online: CpuSet) -> None:
    overhead = CpuSet() if pools.overhead is None else pools.overhead
    for name, pool in (("shared", pools.shared), ("dedicated", pools.dedicated), ("overhead", overhead)):
        if not pool <= online:
            raise InvalidRequest(f"{name} names pCPUs {pool - online}, which are not online; online are {online}", key=name)
    both = pools.dedicated & (pools.shared | overhead)
    if both:
        raise InvalidRequest(f"pCPUs {both} are in the dedicated pool and in another; a pCPU is in one of them at most", key="dedicated")


def _memory(topology: Topology) -> Iterator[Amount]:
    yield "the number of cells", len(topology.cells), 0, MAX_CELLS
    yield "the memory in MiB", sum(cell.memory_mib for cell in topology.cells), 0, MAX_AMOUNT
    pages_kib = sum(pages.size_kib * pages.total for cell in topology.cells for pages in cell.pages)
    yield "the memory in pages, in MiB", pages_kib // 1024, 0, MAX_AMOUNT


def _limits(limits: Limits) -> Iterator[Amount]:
    # The minimum is that of the option (pinfold.config). There, 0 means "not set".
    for name in ("cpu_allocation_ratio", "ram_allocation_ratio", "disk_allocation_ratio"):
        yield name, getattr(limits, name), 1e-6, MAX_RATIO
    yield "shared_fraction", limits.shared_fraction, 0, 1
    yield "reserved_memory_mib", limits.reserved_memory_mib, 0, MAX_AMOUNT
    yield "reserved_disk_gib", limits.reserved_disk_gib, 0, MAX_AMOUNT
    for name in ("guest", "vcpu", "disk", "nic"):
        yield f"{name}_millicpu", getattr(limits.rates, name), 0, MAX_MILLICPU
    for pages in limits.reserved_pages:
        yield "the size of a reserved page in KiB", pages.size_kib, 1, MAX_AMOUNT
        yield "the number of reserved pages", pages.count, 0, MAX_AMOUNT


def _foreign(foreign: tuple[Foreign, ...]) -> Iterator[Amount]:
    for other in foreign:
        yield f"the memory of {other.name} in MiB", other.memory_mib, 0, MAX_AMOUNT
        for pages in other.pages:
            yield f"the page size of {other.name} in KiB", pages.size_kib, 1, MAX_AMOUNT
            yield f"the number of pages of {other.name}", pages.count, 0, MAX_AMOUNT
