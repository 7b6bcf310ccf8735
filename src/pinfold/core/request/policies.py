"""Decide the policies, the pinned vCPUs and the realtime vCPUs, and refuse combinations that make no sense.

`cells` divides the vCPUs into guest cells.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.overhead import table
from pinfold.core.plural import count
from pinfold.core.request.merge import EffectiveSpecs
from pinfold.core.request.model import CpuPolicy, EmulatorPolicy, ThreadPolicy
from pinfold.core.request.values import SpecValue, indexes
from pinfold.core.traits import HYPERTHREADING

_HYPERTHREADING: Final = f"trait:{HYPERTHREADING}"


class Policies(Struct, frozen=True, kw_only=True):
    """The policies with their defaults. `dedicated` are the vCPUs that are pinned, `realtime` a subset of them."""

    cpu: CpuPolicy
    thread: ThreadPolicy
    emulator: EmulatorPolicy
    dedicated: CpuSet
    realtime: CpuSet


def decide_policies(vcpus: int, asked: EffectiveSpecs) -> Policies:
    """The policies of a guest with this number of vCPUs. Raises `InvalidRequest` for combinations that are not allowed.

    1. The CPU policy: as given, else from `resources:VCPU|PCPU`, else shared.
    2. Realtime vCPUs: all, or the mask's.
    3. Pinned vCPUs: all of a dedicated guest; of a mixed guest the dedicated mask, else the realtime mask.
    4. Thread and emulator policies, which need pinned vCPUs.

    >>> decide_policies(2, EffectiveSpecs()).cpu
    <CpuPolicy.SHARED: 'shared'>
    """
    cpu = _cpu_policy(vcpus, asked)
    realtime = _realtime(vcpus, cpu, asked)
    dedicated = _dedicated(vcpus, cpu, realtime, asked)
    thread = _thread_policy(cpu, asked)
    emulator = _emulator_policy(cpu, asked)
    if len(realtime) == vcpus and table.needs_ordinary(emulator):
        raise InvalidRequest(
            f"hw:cpu_realtime makes every vCPU ({indexes(vcpus)}) realtime, which leaves none for the emulator threads; "
            "hw:emulator_threads_policy must be share or isolate, or hw:cpu_realtime_mask must leave a vCPU out",
            key="hw:cpu_realtime",
        )
    return Policies(cpu=cpu, thread=thread, emulator=emulator, dedicated=dedicated, realtime=realtime)


def _cpu_policy(vcpus: int, asked: EffectiveSpecs) -> CpuPolicy:
    if asked.cpu_policy is not None:
        _check_beside_policy(asked.cpu_policy, asked)
        return asked.cpu_policy.value
    floating, pinned = asked.resources_vcpu, asked.resources_pcpu
    if floating is not None and pinned is not None and floating.value and pinned.value:
        raise InvalidRequest(
            f"{floating.said()} and {pinned.said()}; only one may be set, and a guest with both kinds of vCPUs has hw:cpu_policy=mixed",
            key=pinned.name,
        )
    if pinned is not None and pinned.value:
        _check_pinned_count(vcpus, pinned, asked)
        return CpuPolicy.DEDICATED
    if floating is not None and floating.value != vcpus:
        raise InvalidRequest(f"{floating.said()}, but the flavor has {count(vcpus, 'vCPU')}; it must be {vcpus}", key=floating.name)
    return CpuPolicy.SHARED


def _check_beside_policy(policy: SpecValue[CpuPolicy], asked: EffectiveSpecs) -> None:
    """Refuse resource amounts beside a CPU policy. A zero that the policy implies anyway is allowed."""
    implied_zero = {
        "resources:VCPU": policy.value is CpuPolicy.DEDICATED,
        "resources:PCPU": policy.value is CpuPolicy.SHARED,
    }
    for amount in (asked.resources_vcpu, asked.resources_pcpu):
        if amount is not None and (amount.value or not implied_zero[amount.name]):
            raise InvalidRequest(
                f"{amount.said()} beside {policy.name}={policy.text}; only one of the two keys may be set", key=amount.name
            )


def _check_pinned_count(vcpus: int, pinned: SpecValue[int], asked: EffectiveSpecs) -> None:
    policy = _emulator(asked)
    needed = vcpus + table.own_pcpus(policy)
    if pinned.value != needed:
        more = f" and hw:emulator_threads_policy={policy.value} needs one more" if needed > vcpus else ""
        raise InvalidRequest(f"{pinned.said()}, but the flavor has {count(vcpus, 'vCPU')}{more}; it must be {needed}", key=pinned.name)


def _realtime(vcpus: int, cpu: CpuPolicy, asked: EffectiveSpecs) -> CpuSet:
    if not asked.is_realtime:
        return CpuSet()
    _check_pinned(cpu, asked.realtime)
    return asked.realtime_mask.value if asked.realtime_mask is not None else CpuSet.from_mask((1 << vcpus) - 1)


def _dedicated(vcpus: int, cpu: CpuPolicy, realtime: CpuSet, asked: EffectiveSpecs) -> CpuSet:
    mask = asked.dedicated_mask
    if cpu is not CpuPolicy.MIXED:
        if mask is not None:
            raise InvalidRequest(f"{mask.said()}, but the CPU policy is {cpu.value}; the mask needs hw:cpu_policy=mixed", key=mask.name)
        return CpuSet.from_mask((1 << vcpus) - 1) if cpu is CpuPolicy.DEDICATED else CpuSet()
    chosen = _mixed_mask(mask, realtime, asked)
    if len(chosen.value) == vcpus:
        raise InvalidRequest(
            f"{chosen.said()}, which pins all {count(vcpus, 'vCPU')}; in a mixed guest it must leave some to float", key=chosen.name
        )
    return chosen.value


def _mixed_mask(mask: SpecValue[CpuSet] | None, realtime: CpuSet, asked: EffectiveSpecs) -> SpecValue[CpuSet]:
    """The one mask that names a mixed guest's pinned vCPUs."""
    if mask is not None and realtime:
        raise InvalidRequest(
            f"{mask.said()} beside hw:cpu_realtime; a mixed guest's pinned vCPUs must be named once, "
            "by hw:cpu_dedicated_mask or by hw:cpu_realtime_mask",
            key=mask.name,
        )
    chosen = mask if mask is not None else asked.realtime_mask
    if chosen is not None:
        return chosen
    name = asked.cpu_policy.name if asked.cpu_policy is not None else "hw:cpu_policy"
    raise InvalidRequest(
        f"{name} is 'mixed', but nothing says which vCPUs are pinned; "
        "it needs hw:cpu_dedicated_mask, or hw:cpu_realtime with hw:cpu_realtime_mask",
        key=name,
    )


def _thread_policy(cpu: CpuPolicy, asked: EffectiveSpecs) -> ThreadPolicy:
    given = asked.thread_policy
    trait = next((trait for trait in asked.traits if trait.name == _HYPERTHREADING), None)
    if given is not None and trait is not None:
        raise InvalidRequest(f"{given.said()} beside {trait.name}={trait.text}; only one of the two keys may be set", key=given.name)
    _check_pinned(cpu, given)
    _check_pinned(cpu, trait)
    if trait is not None:
        return ThreadPolicy.REQUIRE if trait.value else ThreadPolicy.ISOLATE
    return given.value if given is not None else ThreadPolicy.PREFER


def _emulator_policy(cpu: CpuPolicy, asked: EffectiveSpecs) -> EmulatorPolicy:
    policy = _emulator(asked)
    if table.needs_pinned(policy):
        _check_pinned(cpu, asked.emulator_policy)
    return policy


def _emulator(asked: EffectiveSpecs) -> EmulatorPolicy:
    return EmulatorPolicy.UNSET if asked.emulator_policy is None else asked.emulator_policy.value


def _check_pinned(cpu: CpuPolicy, given: SpecValue[object] | None) -> None:
    if given is not None and cpu is CpuPolicy.SHARED:
        raise InvalidRequest(f"{given.said()}, but no vCPU is pinned; it needs hw:cpu_policy dedicated or mixed", key=given.name)
