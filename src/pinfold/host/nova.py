"""Infer where the threads of a Nova guest should run, from what Nova wrote into its domain and from the pools. Pure.

The evidence, strongest first (docs/design/0005-evidence.md):

1. The flavor and the image in the domain's metadata, which newer Novas write. They give the policies; a missing key means no policy.
2. The persistent definition. It gives what a policy leaves open: the pCPU of each pinned vCPU, the cells of a floating guest.
3. The live definition. It counts only if Nova cannot have written the persistent one.

If Nova can have written both definitions, these rules choose one:

- If the persistent one was not written since the guest started, it counts: only the live one can have been changed.
- Else, if exactly one of the two takes a pCPU of a guest of ours, the other one counts.
- Else nothing on the host shows which one Nova wrote, and no repair is safe.

`share` alone pins nothing: Nova accepts it for floating guests, where it has no effect on vCPUs. Such a guest has pinned vCPUs only if a
definition pins one, since an image that was not written may have asked for that.

Older Novas do not write the flavor's extra specs. Then the policy is inferred from the emulator's pin, which Nova always writes for a
pinned guest: the overhead pool means `share`, the guest's own pCPUs mean no policy, one dedicated pCPU without a vCPU means `isolate`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from msgspec.structs import replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Definitions, Finding, FindingCode, InferredMasks, Place, Subject, compare, floating_astray, outside_pools
from pinfold.core.errors import InvalidRequest
from pinfold.core.nova.extra_specs import CPU_POLICY, EMULATOR_POLICY, amounts, states_share
from pinfold.core.overhead import table
from pinfold.core.overhead.evidence import inferred_policy, is_alone
from pinfold.core.pools import Pools
from pinfold.core.request.compile import compile_request
from pinfold.core.request.model import CpuPolicy, EmulatorPolicy, Flavor, GuestRequest, Image, ThreadPolicy
from pinfold.drivers.port import DefinedPins, HostGuest, NovaRecord, Observation

T = TypeVar("T")

_HARD_REBOOT = "reboot it with `openstack server reboot --hard`, which makes Nova write its pins anew"
_MIGRATE = "migrate or resize it, so that Nova places it by the pools of today; or give the pool its pCPUs back"
_PLACING_KEYS = ("cpu_policy", "emulator_threads_policy", "cpu_dedicated_mask", "cpu_realtime", "numa_", "mem_page_size")
"""The prefixes of keys that affect placement, after `hw:` in a flavor or `hw_` in an image."""
_IN_FLAVOR, _IN_IMAGE = (tuple(f"{prefix}{key}" for key in _PLACING_KEYS) for prefix in ("hw:", "hw_"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the evidence says about a Nova domain: where its threads should run, what it holds, and its emulator policy.

    `policy` is None for a floating guest, and if the evidence fits no policy. `stated`: Nova wrote the policies; otherwise they are
    inferred. `dedicated` are the vCPUs with one pCPU each. `beyond` is the set that a floating guest's definitions allow, if it is not
    within the shared pool. `movable`: such a guest is bound to no cell. `findings` are about missing evidence.
    """

    wanted: InferredMasks
    place: Place
    policy: EmulatorPolicy | None = None
    stated: bool = False
    dedicated: CpuSet = CpuSet()
    beyond: CpuSet = CpuSet()
    movable: bool = False
    findings: tuple[Finding, ...] = ()


def keeps_siblings_idle(guest: HostGuest) -> bool:
    """Whether the thread policy that Nova wrote, from flavor or image, keeps the SMT siblings of the guest's pCPUs idle."""
    if guest.nova is None:
        return False
    specs, properties = dict(guest.nova.extra_specs or ()), dict(guest.nova.image_properties or ())
    told = specs.get("hw:cpu_thread_policy") or properties.get("hw_cpu_thread_policy")
    return told == ThreadPolicy.ISOLATE.value


def definitions_of(guest: HostGuest) -> Definitions:
    """The live and the persistent definition of a guest, None if one does not exist."""
    if not guest.active:
        return Definitions(kept=guest.pins, iothreads=guest.iothreads)
    return Definitions(live=guest.pins, kept=guest.kept, iothreads=guest.iothreads)


@lru_cache(maxsize=1024)
def read(subject: Subject, guest: HostGuest, pools: Pools | None, online: CpuSet, *, cells: int = 1, ours: CpuSet = CpuSet()) -> Reading:
    """Infer where a Nova guest should run. Needs `guest.nova`.

    `pools` are the configured pools with their offline members, None if none are configured. `cells` is the number of host cells.
    `ours` are the pCPUs that guests of ours hold alone. Remembered: a sweep asks several times, and the next sweep asks the same.
    """
    asked = _by_rank(guest, ours)
    pinned = any(_inferred_dedicated(guest, one, pools) for one in asked)
    told = _told(guest.nova, pinned=pinned) if guest.nova is not None else None
    dedicated = told.dedicated if told is not None else _inferred_dedicated(guest, asked[0], pools)
    if dedicated:
        return _Pinned(subject, guest, told, asked, dedicated, pools, cells).reading()
    return _floating(guest, told, asked, pools, online, cells)


def judged(
    subject: Subject, guest: HostGuest, reading: Reading, observation: Observation | None, pools: Pools | None, online: CpuSet
) -> tuple[Finding, ...]:
    """Every finding about a Nova guest with this reading. `pools` are the online ones, None if none are configured.

    First missing evidence, then its place outside the pools, then differences from its place.
    """
    found = list(reading.findings)
    threads = None if observation is None else observation.threads
    if pools is not None:
        found += [replace(finding, advice=_MIGRATE) for finding in outside_pools(subject, reading.place, pools, online)]
    if pools is not None and reading.beyond:
        found += floating_astray(subject, reading.beyond, threads or (), guest.vcpus, pools, online, movable=reading.movable)
    stable = observation is None or observation.stable
    found += compare(subject, reading.wanted, threads, online, definitions=definitions_of(guest), stable=stable)
    return tuple(found)


def _by_rank(guest: HostGuest, ours: CpuSet) -> tuple[DefinedPins, ...]:
    """The guest's definitions, the persistent one first.

    A definition that takes a pCPU of ours is left out if the other takes none and their age does not show which one was changed.
    """
    both = (guest.kept, guest.pins) if guest.active else (guest.pins,)
    found = tuple(asked for asked in both if asked is not None)
    apart = tuple(asked for asked in found if _taken(asked).isdisjoint(ours))
    return apart if apart and not guest.kept_first else found


def _taken(asked: DefinedPins) -> CpuSet:
    """The pCPUs that a definition names one by one, for a vCPU or the emulator."""
    sets = [cpus for _, cpus in asked.vcpus] + ([] if asked.emulator is None else [asked.emulator])
    return CpuSet.union(cpus for cpus in sets if len(cpus) == 1)


def _told(nova: NovaRecord, *, pinned: bool) -> GuestRequest | None:
    """The policies of flavor and image; None if Nova did not write them or they cannot be read.

    `pinned` is whether a definition pins a vCPU to a pCPU of its own. What Nova accepts and `compile_request` refuses is read so:

    1. `share`, if there is a CPU policy or `pinned` is false: the guest floats, and the policy has no effect.
    2. Without a CPU policy: something unwritten pinned the vCPUs.
    """
    if nova.extra_specs is None:
        return None
    specs = _placing(nova.extra_specs)
    properties = {key: value for key, value in nova.image_properties or () if key.startswith(_IN_IMAGE)}
    policy = specs.get(CPU_POLICY) or properties.get("hw_cpu_policy")
    attempts = [specs]
    if states_share(specs.items()) and (policy or not pinned):
        attempts.append({key: value for key, value in specs.items() if key != EMULATOR_POLICY})
    if not policy:
        attempts.append({**specs, CPU_POLICY: CpuPolicy.DEDICATED.value})
    for one in attempts:
        flavor = Flavor(vcpus=nova.vcpus, memory_mib=nova.memory_mib, extra_specs=tuple(sorted(one.items())))
        try:
            return compile_request(flavor, Image(properties=tuple(sorted(properties.items()))))
        except InvalidRequest:
            continue
    return None


def _placing(extra_specs: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """The extra specs that affect placement. Amounts of resources become what Nova makes of them.

    Nova adds up the groups of resources. PCPU pins the vCPUs. VCPU of any number means that they float, and 0 means nothing.
    """
    found = {key: value for key, value in extra_specs if key.startswith(_IN_FLAVOR)}
    vcpu, pcpu = amounts(extra_specs)
    if pcpu:
        found["resources:PCPU"] = str(pcpu)
    elif vcpu:
        found.setdefault(CPU_POLICY, CpuPolicy.SHARED.value)
    return found


def _inferred_dedicated(guest: HostGuest, asked: DefinedPins, pools: Pools | None) -> CpuSet:
    """The vCPUs with a pCPU of their own: pinned to one that is dedicated, or at least not shared.

    A pin to one shared pCPU does not count, because a cell's part of the shared pool may be a single pCPU.
    """
    single = {vcpu: cpus for vcpu, cpus in asked.vcpus if len(cpus) == 1 and vcpu < guest.vcpus}
    return CpuSet(vcpu for vcpu, cpus in single.items() if pools is None or cpus <= pools.dedicated or not cpus <= pools.shared)


def _floating(
    guest: HostGuest, told: GuestRequest | None, asked: tuple[DefinedPins, ...], pools: Pools | None, online: CpuSet, cells: int
) -> Reading:
    """The reading of a floating guest: it floats over its set in the definition, or over the shared pool if the set is not within it."""
    stated, shared = told is not None, online if pools is None else pools.shared
    bound = told is None or bool(told.cells)
    sets = []
    for vcpu in range(guest.vcpus):
        given = [cpus for one in asked for cpus in _float_sets(one, vcpu, online, pinned=bound)]
        sets.append(next((cpus for cpus in given if cpus & online and cpus & online <= shared), CpuSet()))
    if all(sets):
        floats = CpuSet.union(sets)
        shares = told is None or (guest.nova is not None and states_share(guest.nova.extra_specs or ()))
        overhead = _beside_floating(asked, floats, pools, online) if shares else floats
        return Reading(wanted=InferredMasks(vcpus=tuple(sets), overhead=overhead), place=Place(floating=floats), stated=stated)
    beyond = CpuSet.union(cpus for vcpu in range(guest.vcpus) for cpus in _float_sets(asked[0], vcpu, online, pinned=True)[:1])
    movable = cells == 1 or not bound or not any(one.vcpus for one in asked)
    wanted = InferredMasks(vcpus=(CpuSet(),) * guest.vcpus, overhead=CpuSet())
    return Reading(wanted=wanted, place=Place(), stated=stated, beyond=beyond, movable=movable)


def _beside_floating(asked: tuple[DefinedPins, ...], floats: CpuSet, pools: Pools | None, online: CpuSet) -> CpuSet:
    """The place of the emulator threads of a floating guest that may have the policy `share`.

    Nova pins them to the whole shared pool if such a guest has cells, though its vCPUs float over a cell's part of it. Where they are
    pinned to less, or not at all, they belong beside the vCPUs.
    """
    pinned = [one.emulator for one in asked if one.emulator]
    if pools is None:
        return pinned[0] if pinned else floats
    return pools.shared if any(cpus & online == pools.shared & online for cpus in pinned) else floats


def _float_sets(asked: DefinedPins, vcpu: int, online: CpuSet, *, pinned: bool) -> list[CpuSet]:
    """The set of each floating vCPU in one definition: its pin, else the default. Nova pins it only to bind it to a cell."""
    pin = dict(asked.vcpus).get(vcpu) if pinned else None
    return [cpus for cpus in (pin, online if asked.placement is None else asked.placement) if cpus is not None]


@dataclass(frozen=True, slots=True)
class _Pinned:
    """Works out the reading of a guest with pinned vCPUs."""

    subject: Subject
    guest: HostGuest
    told: GuestRequest | None
    asked: tuple[DefinedPins, ...]
    dedicated: CpuSet
    pools: Pools | None
    cells: int

    def reading(self) -> Reading:
        """The place of each vCPU, then the policy, then the place of the emulator threads."""
        bases = self._bases()
        sets = self._vcpu_sets(bases)
        findings = list(self._lost(bases, sets))
        realtime = self._realtime()
        own = CpuSet.union(cpus for vcpu, cpus in enumerate(sets) if vcpu not in realtime) if all(sets) else CpuSet()
        pinned = CpuSet.union(sets[vcpu] for vcpu in self.dedicated)
        policy = self._policy(own, pinned)
        overhead, known = self._overhead(policy, own, pinned)
        if not known:
            findings.append(self._unknown(policy))
        alone = pinned | overhead if table.own_pcpus(policy) else pinned
        floating = CpuSet.union(cpus for vcpu, cpus in enumerate(sets) if vcpu not in self.dedicated)
        # If one pin is unknown the others may be wrong too: judge none of them, but count all as held.
        whole = all(sets[vcpu] for vcpu in self.dedicated)
        vcpus = tuple(CpuSet() if vcpu in self.dedicated and not whole else cpus for vcpu, cpus in enumerate(sets))
        return Reading(
            wanted=InferredMasks(vcpus=vcpus, overhead=overhead, realtime=realtime, policy=policy),
            place=Place(alone=alone, floating=floating),
            policy=policy,
            stated=self.told is not None,
            dedicated=self.dedicated,
            findings=tuple(findings),
        )

    def _realtime(self) -> CpuSet:
        return self.told.realtime if self.told is not None else self.asked[0].realtime

    def _bases(self) -> tuple[DefinedPins, ...]:
        """The definitions that may hold the pCPUs of pinned vCPUs: one, or two that differ if Nova can have written both.

        1. Take those that Nova can have written; if there is none, take the persistent one.
        2. If Nova stated no emulator policy, prefer one with an emulator pin that agrees with its own vCPUs.
        3. Prefer the persistent one if nobody wrote it since the guest started.
        """
        possible = [asked for asked in self.asked if self._possible(asked)] or list(self.asked[:1])
        if self.told is None or table.needs_ordinary(self.told.emulator_policy):
            agreeing = [asked for asked in possible if asked.emulator == self._own(asked)]
            possible = agreeing or possible
        return tuple(possible[:1] if self.guest.kept_first else possible)

    def _possible(self, asked: DefinedPins) -> bool:
        pins = dict(asked.vcpus)
        sets = [pins.get(vcpu, CpuSet()) for vcpu in self.dedicated]
        apart = len(CpuSet.union(sets)) == len(sets) == sum(len(cpus) for cpus in sets)
        return apart and (self.pools is None or CpuSet.union(sets) <= self.pools.dedicated)

    def _own(self, asked: DefinedPins) -> CpuSet:
        realtime = self._realtime()
        return CpuSet.union(cpus for vcpu, cpus in asked.vcpus if vcpu not in realtime)

    def _vcpu_sets(self, bases: tuple[DefinedPins, ...]) -> tuple[CpuSet, ...]:
        """The place of each vCPU, empty if unknown. No two pinned vCPUs have the same place."""
        sets, taken = [], CpuSet()
        for vcpu in range(self.guest.vcpus):
            if vcpu not in self.dedicated:
                sets.append(self._float_set(vcpu))
                continue
            said = {dict(base.vcpus).get(vcpu, CpuSet()) for base in bases}
            pin = said.pop()
            sets.append(pin if not said and len(pin) == 1 and pin.isdisjoint(taken) else CpuSet())
            taken |= sets[-1]
        return tuple(sets)

    def _float_set(self, vcpu: int) -> CpuSet:
        """The set that a mixed guest's vCPU floats over: its cell's part of the shared pool."""
        given = [dict(asked.vcpus).get(vcpu, asked.placement) for asked in self.asked]
        known = [cpus for cpus in given if cpus]
        if self.pools is None:
            return known[0] if known else CpuSet()
        shared = self.pools.shared
        return next((cpus for cpus in known if cpus <= shared), shared if self.cells == 1 else CpuSet())

    def _lost(self, bases: tuple[DefinedPins, ...], sets: tuple[CpuSet, ...]) -> Iterator[Finding]:
        """The finding for vCPUs without known places."""
        for vcpu, cpus in enumerate(sets):
            if not cpus:
                yield self._finding(
                    FindingCode.DEFINITION_PINS,
                    subject=f"vCPU {vcpu}",
                    recorded="one pCPU of its own" if vcpu in self.dedicated else "the shared pool",
                    observed=_said([dict(base.vcpus).get(vcpu, base.placement) for base in reversed(bases)]),
                )

    def _policy(self, own: CpuSet, pinned: CpuSet) -> EmulatorPolicy | None:
        if self.told is not None:
            return self.told.emulator_policy
        inferred = [self._inferred(asked.emulator, own, pinned) for asked in self.asked]
        return self._first([policy for policy in inferred if policy is not None])

    def _first(self, found: list[T]) -> T | None:
        """The value that counts among those of the definitions, the persistent one's first; None if it cannot be known."""
        settled = self.guest.kept_first or len(set(found)) == 1
        return found[0] if found and settled else None

    def _inferred(self, emulator: CpuSet | None, own: CpuSet, pinned: CpuSet) -> EmulatorPolicy | None:
        return None if emulator is None or self.pools is None else inferred_policy(emulator, own, pinned, self.pools)

    def _overhead(self, policy: EmulatorPolicy | None, own: CpuSet, pinned: CpuSet) -> tuple[CpuSet, bool]:
        """The place of the emulator threads by the table of policies, and whether the evidence shows it.

        Without pools nothing is judged. If a vCPU's place is unknown, so are the guest's own pCPUs. Other findings report both.
        """
        if self.pools is None:
            return CpuSet(), True
        if policy is None:
            return CpuSet(), False
        known = [asked.emulator for asked in self.asked if asked.emulator is not None and is_alone(asked.emulator, pinned, self.pools)]
        alone = self._first(known)
        place = table.pcpus(table.rule(policy, self.pools.overhead).placement, self.pools.overhead, own, alone or CpuSet())
        return place, alone is not None or not table.own_pcpus(policy)

    def _unknown(self, policy: EmulatorPolicy | None) -> Finding:
        """The finding for an emulator pin that fits no policy, or not the stated policy if only Nova knows the right pCPU."""
        dedicated = self.pools.dedicated if self.pools is not None else CpuSet()
        isolate = f"one pCPU of {dedicated} that no vCPU has"
        return self._finding(
            FindingCode.EMULATOR_POLICY,
            subject="unknown" if policy is None else policy.value,
            recorded="its own pCPUs, the overhead pool, or a pCPU of their own" if policy is None else isolate,
            observed=_said([asked.emulator for asked in reversed(self.asked)]),
        )

    def _finding(self, code: FindingCode, *, subject: str, recorded: str, observed: str) -> Finding:
        return Finding(
            code=code,
            guest=self.subject.name,
            guest_id=self.subject.id,
            by_record=False,
            subject=subject,
            recorded=recorded,
            observed=observed,
            advice=_HARD_REBOOT,
        )


def _said(sets: list[CpuSet | None]) -> str:
    """The values of the definitions as text, the live one first; a single value if they agree."""
    words = list(dict.fromkeys("every pCPU" if cpus is None else str(cpus) for cpus in sets))
    return words[0] if len(words) == 1 else f"{words[0]} now and on {words[1]} from the next start on"
