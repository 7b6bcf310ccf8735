"""`Places`: where the pins of a foreign guest put its threads. `core.overhead.masks` gives the places of our guests."""

from __future__ import annotations

from dataclasses import dataclass

from pinfold.core.cpuset import CpuSet
from pinfold.core.pools import Pools
from pinfold.core.request.model import CpuPolicy
from pinfold.drivers.port import HostGuest


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """`pinned` are the pCPUs with one vCPU each. `floats` counts the other vCPUs, which share `floating`.

    `emulator` is the set of the emulator threads. None means every online pCPU. `emulator_alone` means that the emulator threads have a
    pCPU of their own, as with policy `isolate`.
    """

    pinned: CpuSet
    floats: int
    floating: CpuSet | None
    emulator: CpuSet | None
    emulator_alone: bool = False


def places(guest: HostGuest, pools: Pools | None) -> Places:
    """The places in a guest's definition. Pure.

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
    alone = pools is not None and bool(own) and emulator is not None and len(emulator) == 1 and emulator <= pools.dedicated - own
    return Places(
        pinned=own,
        floats=count,
        floating=None if anywhere else CpuSet.from_mask(floating),
        emulator=emulator,
        emulator_alone=alone,
    )
