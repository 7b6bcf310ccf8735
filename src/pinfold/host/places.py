"""`Places`: where a foreign guest's threads belong, and where its pins put them. `core.overhead` gives the places of our guests."""

from __future__ import annotations

from dataclasses import dataclass

from pinfold.core.cpuset import CpuSet
from pinfold.core.overhead import table
from pinfold.core.overhead.evidence import is_alone
from pinfold.core.pools import Pools
from pinfold.core.request.model import CpuPolicy
from pinfold.drivers.port import HostGuest
from pinfold.host.nova import Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """`pinned` are the pCPUs with one vCPU each. `floats` counts the other vCPUs, which share `floating`.

    `emulator` is the set of the emulator threads, empty if unknown. None means every online pCPU. `emulator_alone` means that the emulator
    threads have a pCPU of their own, as with policy `isolate`. `unknown` counts the vCPUs whose place the evidence does not show.
    """

    pinned: CpuSet
    floats: int
    floating: CpuSet | None
    emulator: CpuSet | None
    emulator_alone: bool = False
    unknown: int = 0

    def same(self, other: Places, online: CpuSet) -> tuple[bool, bool]:
        """Whether both put the vCPUs, and the emulator threads, on the same online pCPUs."""

        def reach(cpus: CpuSet | None) -> CpuSet:
            return online if cpus is None else cpus & online

        mine, theirs = ((one.pinned, one.floats, one.unknown, reach(one.floating)) for one in (self, other))
        return mine == theirs, reach(self.emulator) == reach(other.emulator)


def belonging(guest: HostGuest, reading: Reading, pools: Pools, online: CpuSet) -> Places:
    """Where a Nova guest belongs by the evidence that an audit judges it by (`host.nova`). Pure.

    A floating guest whose definitions lie outside the shared pool belongs nowhere; its live pins count.
    """
    if reading.beyond:
        return places(guest, pools)
    overhead = reading.wanted.overhead
    isolated = table.own_pcpus(reading.policy) > 0 and bool(overhead)
    pinned = reading.place.alone - overhead if isolated else reading.place.alone
    lost = sum(not cpus for vcpu, cpus in enumerate(reading.wanted.vcpus) if vcpu not in reading.dedicated)
    return Places(
        pinned=pinned,
        floats=guest.vcpus - len(reading.dedicated) - lost,
        floating=reading.place.floating & online,
        emulator=overhead & online or overhead,
        emulator_alone=isolated,
        unknown=len(reading.dedicated) - len(pinned) + lost,
    )


def places(guest: HostGuest, pools: Pools | None) -> Places:
    """The places in a guest's definition, the live one if it runs. Pure.

    A vCPU pinned to one pCPU owns it, unless that pCPU is only in the shared pool or Nova says that the guest floats. Without `pools` no
    pCPU counts as shared or as the emulator's own.
    """
    shared = pools.shared - pools.dedicated if pools is not None else CpuSet()
    floats = guest.nova is not None and dict(guest.nova.extra_specs or ()).get("hw:cpu_policy") == CpuPolicy.SHARED.value
    pins = dict(guest.pins.vcpus)
    pinned, floating, count = 0, 0, 0
    anywhere = False
    for vcpu in range(guest.vcpus):
        cpus = pins.get(vcpu)
        if cpus is not None and len(cpus) == 1 and not floats and cpus.isdisjoint(shared):
            pinned |= cpus.mask
            continue
        count += 1
        cpus = guest.pins.placement if cpus is None else cpus
        anywhere = anywhere or cpus is None
        floating |= 0 if cpus is None else cpus.mask
    emulator = guest.pins.placement if guest.pins.emulator is None else guest.pins.emulator
    own = CpuSet.from_mask(pinned)
    alone = pools is not None and bool(own) and is_alone(emulator, own, pools)
    return Places(
        pinned=own,
        floats=count,
        floating=None if anywhere else CpuSet.from_mask(floating),
        emulator=emulator,
        emulator_alone=alone,
    )
