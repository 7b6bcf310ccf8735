"""The table read backwards: which policy a guest has, by the pCPUs that its emulator threads are pinned to. `table` has the rules."""

from __future__ import annotations

from pinfold.core.cpuset import CpuSet
from pinfold.core.pools import Pools
from pinfold.core.request.model import EmulatorPolicy


def inferred_policy(emulator: CpuSet, own: CpuSet, pinned: CpuSet, pools: Pools) -> EmulatorPolicy | None:
    """The policy that puts the emulator threads there; None if no policy does.

    `own` are the guest's own pCPUs, and `pinned` those of its pinned vCPUs.

    >>> pools = Pools(shared=CpuSet.parse("0-1"), dedicated=CpuSet.parse("2-7"), overhead=CpuSet.parse("0-1"))
    >>> [inferred_policy(CpuSet.parse(text), CpuSet.parse("4-5"), CpuSet.parse("4-5"), pools) for text in ("4-5", "0-1", "6", "6-7")]
    [<EmulatorPolicy.UNSET: 'unset'>, <EmulatorPolicy.SHARE: 'share'>, <EmulatorPolicy.ISOLATE: 'isolate'>, None]
    """
    if not emulator:
        return None
    if emulator == own:
        return EmulatorPolicy.UNSET
    if is_alone(emulator, pinned, pools):
        return EmulatorPolicy.ISOLATE
    if pools.overhead is not None and emulator.isdisjoint(pools.dedicated | pinned):
        return EmulatorPolicy.SHARE
    return None


def is_alone(emulator: CpuSet | None, pinned: CpuSet, pools: Pools) -> bool:
    """Whether emulator threads with that pin have a dedicated pCPU of their own. `pinned` are the pCPUs of their guest's pinned vCPUs."""
    return emulator is not None and len(emulator) == 1 and emulator <= pools.dedicated and emulator.isdisjoint(pinned)
