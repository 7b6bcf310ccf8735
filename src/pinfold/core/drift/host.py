"""What differs between a host's pools and who runs on them: two owners, guests outside their pools, strangers on dedicated pCPUs.

A single guest's threads and definition do not belong here.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import remedy
from pinfold.core.drift.finding import Finding, FindingCode, Subject
from pinfold.core.fit.model import EmulatorPlacement, Fit
from pinfold.core.pools import Pools

_STOP_ONE = "stop one of them and start it anew, so that it is given pCPUs of its own"
_POOLS_BACK = "give the pool its pCPUs back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Somebody who is pinned to pCPUs. `name` is how findings call it.

    `alone` says that they are its own by right: a guest of ours, or a pinned one of Nova's. Others may share their pins with their like.
    """

    name: str
    cpus: CpuSet
    alone: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one guest has been put: pCPUs of its `alone`, the set its vCPUs are `floating` over, and the overhead pool it uses or None."""

    alone: CpuSet = CpuSet()
    floating: CpuSet = CpuSet()
    pooled: CpuSet | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process that belongs to no guest, and for each of its threads the pCPUs that it may run on."""

    pid: int
    name: str
    allowed: tuple[CpuSet, ...]


def place_of(fit: Fit) -> Place:
    """The place that a recorded fit gives a guest."""
    floating = fit.float_set.mask
    for cell in fit.cells:
        floating |= cell.float_set.mask
    pooled = fit.emulator if fit.emulator_placement is EmulatorPlacement.POOL else None
    return Place(alone=fit.taken, floating=CpuSet.from_mask(floating), pooled=pooled)


def two_owners(holders: Iterable[Holder]) -> tuple[Finding, ...]:
    """The pCPUs that somebody holds alone and somebody else is pinned to; one finding per group of holders, by lowest pCPU. Pure.

    >>> [f.sentence() for f in two_owners([Holder(name="a", cpus=CpuSet.parse("2-5")), Holder(name="b", cpus=CpuSet.parse("4-7"))])]
    ['pCPU 4-5 has more than one owner: a, b']
    """
    owners: dict[int, list[Holder]] = {}
    for holder in holders:
        for cpu in holder.cpus:
            owners.setdefault(cpu, []).append(holder)
    groups: dict[tuple[str, ...], int] = {}
    for cpu in sorted(owners):
        if len(owners[cpu]) > 1 and any(holder.alone for holder in owners[cpu]):
            names = tuple(sorted(holder.name for holder in owners[cpu]))
            groups[names] = groups.get(names, 0) | 1 << cpu
    return tuple(
        Finding(code=FindingCode.TWO_OWNERS, subject=str(CpuSet.from_mask(mask)), observed=", ".join(names), advice=_STOP_ONE)
        for names, mask in groups.items()
    )


def outside_pools(subject: Subject, place: Place, pools: Pools, online: CpuSet) -> tuple[Finding, ...]:
    """Where a guest's place no longer lies within the pools: pins, then floating vCPUs, then overhead threads. Pure.

    Offline pCPUs are left out: they are in no pool, and are reported by themselves. Overhead threads on a part of the pool are a note,
    since a pool that has grown breaks no promise to the guest.
    """
    findings = []
    pins = (place.alone & online) - pools.dedicated
    if pins:
        findings.append(_outside(subject, "its pins", pins, pools.dedicated))
    floating = (place.floating & online) - pools.shared
    if floating:
        findings.append(_outside(subject, "its floating vCPUs", floating, pools.shared))
    if place.pooled is not None:
        pool = CpuSet() if pools.overhead is None else pools.overhead
        pooled = place.pooled & online
        if pooled - pool:
            findings.append(_outside(subject, "its overhead threads", pooled - pool, pool))
        elif pooled and pooled != pool:
            findings.append(_outside(subject, "its overhead threads", pooled, pool, code=FindingCode.POOL_PART))
    return tuple(findings)


def _outside(subject: Subject, about: str, observed: CpuSet, pool: CpuSet, *, code: FindingCode = FindingCode.OUTSIDE_POOL) -> Finding:
    return Finding(
        code=code,
        guest=subject.name,
        guest_id=subject.id,
        subject=about,
        recorded=str(pool),
        observed=str(observed),
        advice=place_again(subject) if subject.owner else _POOLS_BACK,
    )


def place_again(subject: Subject) -> str:
    """What to do about a guest of ours whose place is not in the pools any more."""
    stop = "stop the guest, " if subject.active else ""
    return f"{stop}give it a place in the pools of today and start it, its disk stays: {remedy.replaced(subject)}; or {_POOLS_BACK}"


def foreign_floating(subject: Subject, may_run: CpuSet, own: CpuSet, vcpus: int, pools: Pools) -> tuple[Finding, ...]:
    """A guest of somebody else's that may run on dedicated pCPUs which are not its own pins; at most one finding. Pure.

    `may_run` is everything that one of its threads may use, `own` its pins. The repair moves it to the shared pool, where there is one.
    """
    astray = (may_run - own) & pools.exclusive
    if not astray:
        return ()
    moves = [remedy.vcpupin(subject, vcpu, pools.shared) for vcpu in range(vcpus)] if pools.shared and not own else []
    return (
        Finding(
            code=FindingCode.FOREIGN_FLOATING,
            guest=subject.name,
            guest_id=subject.id,
            subject="it",
            recorded=str(own),
            observed=str(astray),
            repair=" && ".join([*moves, remedy.emulatorpin(subject, pools.shared)]) if moves else "",
            advice="" if moves else "give it pins outside cpu_dedicated_set in its own definition",
        ),
    )


def foreign_process(process: Process, pools: Pools, online: CpuSet, default: CpuSet) -> tuple[Finding, ...]:
    """A process of the host with threads that are bound to dedicated pCPUs; at most one finding. Pure.

    A thread that may run on every online pCPU, or on the set that the host gives all processes (`default`, the init process's), is bound
    to none: where those lie is the affair of `isolcpus` and of the service manager.
    """
    mask = 0
    for allowed in process.allowed:
        if allowed != default and not online <= allowed:
            mask |= allowed.mask
    astray = CpuSet.from_mask(mask) & pools.exclusive
    if not astray:
        return ()
    elsewhere = online - pools.dedicated
    return (
        Finding(
            code=FindingCode.FOREIGN_PROCESS,
            tid=process.pid,
            thread=process.name,
            recorded=str(elsewhere),
            observed=str(astray),
            repair=remedy.taskset_process(process.pid, elsewhere) if elsewhere else "",
            advice="" if elsewhere else "every online pCPU is dedicated; leave the host some in cpu_dedicated_set",
        ),
    )


def record_unreadable(subject: Subject, problem: str) -> Finding:
    """A guest that bears a record of ours which cannot be read; it counts as somebody else's until it can."""
    shutdown = f"`{remedy.shutdown(subject)}`, " if subject.active else ""
    advice = (
        f"its pins count as taken; restore the metadata from a backup, read it with the pinfold that wrote it, or have it written again by "
        f"the guest's flavor: {shutdown}`pinfold guest replace {shlex.quote(subject.name)} --flavor NAME`"
    )
    return Finding(
        code=FindingCode.RECORD_UNREADABLE,
        guest=subject.name,
        guest_id=subject.id,
        observed=problem,
        advice=advice,
    )
