"""`Top`: what guests and pools did between two sweeps of a host, for `pinfold top`. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final

from msgspec import Struct

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Severity
from pinfold.core.identity import GuestId
from pinfold.core.overhead import OVERHEAD_CLASSES, ThreadClass
from pinfold.core.usage import GuestUsage, PcpuUsage, Times, Usage, added
from pinfold.watch.snapshot import SeenGuest, SeenPool, Snapshot

_OVERHEAD: Final = (*OVERHEAD_CLASSES, ThreadClass.KTHREAD)
_VCPUS: Final = (ThreadClass.VCPU,)
_PER_MILLICPU: Final = 1_000_000


class TopGuest(Struct, frozen=True, kw_only=True):
    """One running guest. The amounts are None if it was not read at both sweeps.

    `overhead_millicpu` is what its overhead threads and KVM's threads for it ran, and `overhead_wait_millicpu` how long they waited for a
    pCPU; the same for its vCPUs. `others_millicpu` is what others ran on the pCPUs that it has alone, None if it has none.
    """

    guest: str
    name: str
    origin: str
    policy: str
    vcpus: int
    overhead_millicpu: int | None = None
    overhead_wait_millicpu: int | None = None
    vcpu_millicpu: int | None = None
    vcpu_wait_millicpu: int | None = None
    others_millicpu: int | None = None
    drift: int = 0


class TopPool(Struct, frozen=True, kw_only=True):
    """One pool: how much of it was used, how long threads waited that may run nowhere else, and what is booked of its capacity."""

    pool: str
    cpus: CpuSet
    used_millicpu: int | None
    wait_millicpu: int | None
    booked_millicpu: int
    capacity_millicpu: int
    guests: int


class Top(Struct, frozen=True, kw_only=True):
    """A host in the `seconds` between two sweeps: its pools and its running guests. `unread` are guests that could not be read."""

    host: str
    seconds: float
    pools: tuple[TopPool, ...]
    guests: tuple[TopGuest, ...]
    unread: tuple[str, ...] = ()


class Order(Enum):
    """What guests are sorted by: the most first, or the name."""

    DELAY = "delay"
    OVERHEAD = "overhead"
    VCPU = "vcpu"
    WAIT = "wait"
    OTHERS = "others"
    NAME = "name"


_AMOUNT: Final[Mapping[Order, Callable[[TopGuest], int | None]]] = {
    Order.DELAY: lambda guest: guest.overhead_wait_millicpu,
    Order.OVERHEAD: lambda guest: guest.overhead_millicpu,
    Order.VCPU: lambda guest: guest.vcpu_millicpu,
    Order.WAIT: lambda guest: guest.vcpu_wait_millicpu,
    Order.OTHERS: lambda guest: guest.others_millicpu,
    Order.NAME: lambda _: 0,
}


def ordered(guests: tuple[TopGuest, ...], order: Order) -> tuple[TopGuest, ...]:
    """The guests with the most first; those without a number last, and equal ones by name."""

    def key(guest: TopGuest) -> tuple[bool, int, str, str]:
        amount = _AMOUNT[order](guest)
        return amount is None, -(amount or 0), guest.name, guest.guest

    return tuple(sorted(guests, key=key))


def top(before: Usage, after: Usage, seen: Snapshot, seconds: float, unread: tuple[str, ...] = ()) -> Top:
    """The host between two usages, with the snapshot of the later sweep."""
    taken = _taken(before, after)
    return Top(
        host=seen.host,
        seconds=round(seconds, 3),
        pools=tuple(_pool(pool, before, after, seconds) for pool in seen.pools),
        guests=ordered(
            tuple(_guest(guest, before, after, taken, seen, seconds) for guest in seen.guests if guest.runs and guest.name not in unread),
            Order.DELAY,
        ),
        unread=unread,
    )


def _guest(guest: SeenGuest, before: Usage, after: Usage, taken: Mapping[GuestId, int], seen: Snapshot, seconds: float) -> TopGuest:
    key = GuestId(guest.id)
    old, new = before.guests.get(key), after.guests.get(key)
    overhead = _between(old, new, _OVERHEAD)
    vcpus = _between(old, new, _VCPUS)
    return TopGuest(
        guest=guest.id,
        name=guest.name,
        origin=guest.origin,
        policy=guest.policy,
        vcpus=guest.vcpus,
        overhead_millicpu=None if overhead is None else _millicpu(overhead.run_ns, seconds),
        overhead_wait_millicpu=None if overhead is None else _millicpu(overhead.wait_ns, seconds),
        vcpu_millicpu=None if vcpus is None else _millicpu(vcpus.run_ns, seconds),
        vcpu_wait_millicpu=None if vcpus is None else _millicpu(vcpus.wait_ns, seconds),
        others_millicpu=_millicpu(taken[key], seconds) if key in taken else None,
        drift=sum(finding.guest_id == guest.id and finding.severity is Severity.DRIFT for finding in seen.findings),
    )


def _between(before: GuestUsage | None, after: GuestUsage | None, kinds: tuple[ThreadClass, ...]) -> Times | None:
    """What the threads of these classes did; None for a guest that is new, or that is another process now."""
    if before is None or after is None or (before.pid, before.start_ticks) != (after.pid, after.start_ticks):
        return None
    whole = Times()
    for kind in kinds:
        old, new = before.classes.get(kind, Times()), after.classes.get(kind, Times())
        whole = added(whole, Times(run_ns=new.run_ns - old.run_ns, wait_ns=new.wait_ns - old.wait_ns))
    return whole


def _taken(before: Usage, after: Usage) -> dict[GuestId, int]:
    """What others ran on the pCPUs that each guest had alone at both sweeps, in nanoseconds."""
    owners = {tid: guest for guest, used in after.guests.items() for tid in used.last}
    taken: dict[GuestId, int] = {}
    for number, new in after.pcpus.items():
        old: PcpuUsage | None = before.pcpus.get(number)
        owner = next((owners[tid] for tid in new.owned or () if tid in owners), None)
        if owner is not None and old is not None and old.owned == new.owned:
            taken[owner] = taken.get(owner, 0) + new.others_ns - old.others_ns
    return taken


def _pool(pool: SeenPool, before: Usage, after: Usage, seconds: float) -> TopPool:
    old, new = before.pools.get(pool.name), after.pools.get(pool.name)
    both = old is not None and new is not None and bool(after.pcpus)
    return TopPool(
        pool=pool.name,
        cpus=pool.cpus,
        used_millicpu=_millicpu(new.run_ns - old.run_ns, seconds) if both and old and new else None,
        wait_millicpu=_millicpu(new.wait_ns - old.wait_ns, seconds) if old and new else None,
        booked_millicpu=round(pool.booked * 1000),
        capacity_millicpu=round(pool.capacity * 1000),
        guests=pool.guests,
    )


def _millicpu(ns: int, seconds: float) -> int:
    return round(ns / seconds / _PER_MILLICPU)
