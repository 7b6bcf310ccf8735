"""What Nova meant by a domain: its emulator policy, place and masks, from its metadata and pins. Pure.

What Nova should have decided does not belong here.

Newer Novas write the flavor's extra specs into the domain, and then the policy is known. Older ones do not; then it is inferred from the
emulator's pin, which Nova always writes for a pinned guest: the overhead pool means `share`, the guest's own pCPUs mean no policy, one
dedicated pCPU that no vCPU has means `isolate`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Finding, FindingCode, Place, Subject, outside_pools
from pinfold.core.drift.remedy import emulatorpin
from pinfold.core.overhead import Masks
from pinfold.core.pools import Pools
from pinfold.core.request.model import CpuPolicy, EmulatorPolicy
from pinfold.drivers.port import HostGuest

_HARD_REBOOT = "reboot it with `openstack server reboot --hard`, which makes Nova write its pins anew"

_MIGRATE = "migrate or resize it, so that Nova places it by the pools of today; or give the pool its pCPUs back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A domain of Nova's, understood: the masks that its pins ask for, the place they give it, and its emulator policy.

    `policy` is None for a guest that floats, and where pins fit no policy. `stated` says that Nova wrote the policy, else it is inferred.
    """

    masks: Masks
    place: Place
    policy: EmulatorPolicy | None
    stated: bool
    findings: tuple[Finding, ...] = ()


def read(subject: Subject, guest: HostGuest, pools: Pools, online: CpuSet) -> Reading:
    """What the pins of a domain of Nova's ask for, and where its emulator threads break the policy. Needs `guest.nova`."""
    vcpus, dedicated = _vcpus(guest, pools, online)
    default = online if guest.pins.placement is None else guest.pins.placement
    emulator = default if guest.pins.emulator is None else guest.pins.emulator
    masks = Masks(vcpus=vcpus, overhead=emulator, realtime=guest.pins.realtime)
    pinned = _union([vcpus[vcpu] for vcpu in dedicated])
    floating = _union([cpus for vcpu, cpus in enumerate(vcpus) if vcpu not in dedicated])
    if not dedicated:
        return Reading(masks=masks, place=Place(floating=floating | emulator), policy=None, stated=False)
    own = _union([cpus for vcpu, cpus in enumerate(vcpus) if vcpu not in guest.pins.realtime])
    known = _stated(guest)
    policy = known if known is not None else _inferred(emulator, own, pinned, pools)
    alone, pooled = pinned, None
    if policy is EmulatorPolicy.ISOLATE:
        alone = pinned | (emulator & pools.dedicated)
    if policy is EmulatorPolicy.SHARE and pools.overhead is not None and emulator.isdisjoint(pools.dedicated | pinned):
        pooled = emulator
    findings = () if pooled is not None else _against(subject, policy, emulator, own, pinned, pools)
    return Reading(
        masks=masks,
        place=Place(alone=alone, floating=floating, pooled=pooled),
        policy=policy,
        stated=known is not None,
        findings=findings,
    )


def place_findings(subject: Subject, reading: Reading, pools: Pools, online: CpuSet) -> tuple[Finding, ...]:
    """Where the place that Nova gave a guest no longer lies within the pools, with the way out for a guest of Nova's."""
    found = []
    for finding in outside_pools(subject, reading.place, pools, online):
        if finding.subject == "its overhead threads" and pools.overhead:
            found.append(replace(finding, repair=emulatorpin(subject, pools.overhead), advice=""))
        else:
            found.append(replace(finding, advice=_MIGRATE))
    return tuple(found)


def _vcpus(guest: HostGuest, pools: Pools, online: CpuSet) -> tuple[tuple[CpuSet, ...], CpuSet]:
    """The set of each vCPU, and which vCPUs have a pCPU of their own.

    One is dedicated when its pin is one pCPU, and that is dedicated or at least not shared: a cell's part of the shared pool may be one
    pCPU too. Where Nova wrote `hw:cpu_policy=shared` none is, where it wrote `dedicated` all of them are, whatever became of the pools.
    """
    pins = dict(guest.pins.vcpus)
    default = online if guest.pins.placement is None else guest.pins.placement
    sets = tuple(pins.get(vcpu, default) for vcpu in range(guest.vcpus))
    stated = dict(guest.nova.extra_specs).get("hw:cpu_policy") if guest.nova is not None else None
    if stated == CpuPolicy.SHARED.value:
        return sets, CpuSet()
    whatever = stated == CpuPolicy.DEDICATED.value
    single = [vcpu for vcpu, cpus in enumerate(sets) if vcpu in pins and len(cpus) == 1]
    return sets, CpuSet(vcpu for vcpu in single if whatever or sets[vcpu] <= pools.dedicated or not sets[vcpu] <= pools.shared)


def _stated(guest: HostGuest) -> EmulatorPolicy | None:
    """The policy that Nova wrote. A flavor with extra specs but without this one has none; an unknown value is no statement."""
    specs = dict(guest.nova.extra_specs) if guest.nova is not None else {}
    if not specs:
        return None
    value = specs.get("hw:emulator_threads_policy", EmulatorPolicy.UNSET.value)
    return next((policy for policy in EmulatorPolicy if policy.value == value), None)


def _inferred(emulator: CpuSet, own: CpuSet, pinned: CpuSet, pools: Pools) -> EmulatorPolicy | None:
    if emulator == own:
        return EmulatorPolicy.UNSET
    if len(emulator) == 1 and emulator <= pools.dedicated and emulator.isdisjoint(pinned):
        return EmulatorPolicy.ISOLATE
    if pools.overhead is not None and emulator.isdisjoint(pools.dedicated | pinned):
        return EmulatorPolicy.SHARE
    return None


def _against(
    subject: Subject, policy: EmulatorPolicy | None, emulator: CpuSet, own: CpuSet, pinned: CpuSet, pools: Pools
) -> tuple[Finding, ...]:
    """Where a pinned guest's emulator pin is not what its policy says (section 1 of the design); at most one finding."""
    if policy is EmulatorPolicy.ISOLATE:
        if len(emulator) == 1 and emulator <= pools.dedicated and emulator.isdisjoint(pinned):
            return ()
        wanted, command = f"one pCPU of {pools.dedicated} that no vCPU has", ""
    elif policy is EmulatorPolicy.SHARE and pools.overhead is not None:
        wanted, command = str(pools.overhead), emulatorpin(subject, pools.overhead) if pools.overhead else ""
    elif policy is None:
        wanted, command = "its own pCPUs, the overhead pool, or a pCPU of their own", ""
    elif emulator == own:
        return ()
    else:
        wanted, command = str(own), emulatorpin(subject, own) if own else ""
    return (
        Finding(
            code=FindingCode.EMULATOR_POLICY,
            guest=subject.name,
            guest_id=subject.id,
            subject="unknown" if policy is None else policy.value,
            recorded=wanted,
            observed=str(emulator),
            repair=command,
            advice="" if command else _HARD_REBOOT,
        ),
    )


def _union(sets: list[CpuSet]) -> CpuSet:
    mask = 0
    for cpus in sets:
        mask |= cpus.mask
    return CpuSet.from_mask(mask)
