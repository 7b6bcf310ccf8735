"""Compare a host's pools with who uses them: pCPUs with two owners, guests outside the pools, foreign processes on dedicated pCPUs.

`guest` compares the threads and definitions of a single guest.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from msgspec import Struct

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import remedy
from pinfold.core.drift.finding import Finding, FindingCode, Subject
from pinfold.core.drift.steps import Move, MoveProcess, Pin, Pinned, Step
from pinfold.core.fit.answer import EmulatorPlacement, Fit
from pinfold.core.overhead import ObservedThread, ThreadClass
from pinfold.core.plural import count
from pinfold.core.pools import Pools
from pinfold.core.printable import shell_word

_HARD_REBOOT = "reboot it with `openstack server reboot --hard`, which makes Nova write its definition by the pools of today"
_POOLS_BACK = "give the pool its pCPUs back"
_UNHELD = (ThreadClass.KTHREAD, ThreadClass.THREAD_CONTEXT, ThreadClass.UNKNOWN)
"""Classes that no pin moves: kernel threads float, thread contexts stay on the memory's cell, and nobody knows what the others do."""
_AUDIT_THERE = "audit it there, and let only one of the two use these pCPUs"
_FOLDED = (
    "the pCPUs of that lab are made up, and the lab folds its guests onto CPUs of this machine: end the lab, or leave these pCPUs out of "
    "cpu_dedicated_set"
)
_OTHERS_PINS = "give it pins outside cpu_dedicated_set in its own definition"
_OTHERS_MASKS = "move its threads outside cpu_dedicated_set, or pin all of them"
_MOST_NAMED = 8
_NAME_THREADS = "start it with `-name NAME,debug-threads=on` or with a QMP socket, so that its threads can be told apart"


class Owner(Enum):
    """Who manages a holder's guest and can give it other pCPUs."""

    OURS = "ours"
    NOVA = "nova"
    OTHER = "other"


class Holder(Struct, frozen=True, kw_only=True):
    """A guest that is pinned to pCPUs. `name` is its name in findings, `guest` its bare name.

    `alone` means that nobody else may use them: a guest of ours, or a pinned one of Nova's. Others may share pCPUs with each other.
    `keeper` is who manages a guest of ours (`Subject.owner`). `runs` is False for a stopped guest, which needs its pCPUs at its next
    start.
    """

    name: str
    cpus: CpuSet
    alone: bool = True
    guest: str = ""
    guest_id: str = ""
    owner: Owner = Owner.OURS
    keeper: str = "pinfold"
    runs: bool = True


class Place(Struct, frozen=True, kw_only=True):
    """The place of one guest: the pCPUs it has `alone`, the set its vCPUs are `floating` over, and the overhead pool it uses, or None.

    `local`: it uses a part of the pool on purpose (`[overhead] locality = prefer_local`).
    """

    alone: CpuSet = CpuSet()
    floating: CpuSet = CpuSet()
    pooled: CpuSet | None = None
    local: bool = False


class Process(Struct, frozen=True, kw_only=True):
    """A process that belongs to no guest here, with the pCPUs that each of its threads may run on.

    `machine` describes the virtual machine that it runs for another libvirt, or for none; '' if it is no virtual machine. `keeper`
    names who runs that virtual machine. `folded`: a synthetic lab runs it, which folds made-up pCPUs onto the CPUs of this machine.
    """

    pid: int
    name: str
    allowed: tuple[CpuSet, ...]
    machine: str = ""
    keeper: str = ""
    folded: bool = False


def place_of(fit: Fit) -> Place:
    """The place that a recorded fit gives a guest."""
    pooled = fit.emulator if fit.emulator_placement is EmulatorPlacement.POOL else None
    return Place(alone=fit.taken, floating=fit.floating, pooled=pooled, local=bool(fit.overhead_cells))


def two_owners(holders: Iterable[Holder]) -> tuple[Finding, ...]:
    """pCPUs of one holder that another holder is pinned to. One finding per group of holders, ordered by lowest pCPU. Pure.

    >>> [f.sentence() for f in two_owners([Holder(name="a", cpus=CpuSet.parse("2-5")), Holder(name="b", cpus=CpuSet.parse("4-7"))])]
    ['pCPUs 4-5 have more than one owner: a, b']
    """
    owners: dict[int, list[Holder]] = {}
    for holder in holders:
        for cpu in holder.cpus:
            owners.setdefault(cpu, []).append(holder)
    groups: dict[tuple[str, ...], tuple[int, list[Holder]]] = {}
    for cpu in sorted(owners):
        if len(owners[cpu]) > 1 and any(holder.alone for holder in owners[cpu]):
            names = tuple(sorted(holder.name for holder in owners[cpu]))
            groups[names] = (groups.get(names, (0, []))[0] | 1 << cpu, owners[cpu])
    return tuple(
        Finding(
            code=FindingCode.TWO_OWNERS,
            subject=str(CpuSet.from_mask(mask)),
            observed=", ".join(names if all(one.runs for one in group) else [_with_state(one) for one in _sorted(group)]),
            advice=_parting(group),
            minor=sum(one.runs for one in group) < 2,
        )
        for names, (mask, group) in groups.items()
    )


def _sorted(group: list[Holder]) -> list[Holder]:
    return sorted(group, key=lambda holder: holder.name)


def _with_state(holder: Holder) -> str:
    return holder.name if holder.runs else f"{holder.name} (stopped)"


def _parting(group: list[Holder]) -> str:
    """Advice to move one of the guests: first one of Nova's, which Nova moves without loss, then ours, then others.

    Stopped guests come before running ones.
    """
    order = (Owner.NOVA, Owner.OURS, Owner.OTHER)
    one = min(group, key=lambda holder: (order.index(holder.owner), holder.runs, holder.name))
    name = one.guest or one.name
    if one.owner is Owner.NOVA:
        return (
            f"migrate {name} to another host with Nova, or resize it, so that Nova gives it other pCPUs; "
            "stopping and starting it changes nothing, since Nova keeps its pins"
        )
    if one.owner is Owner.OURS:
        subject = Subject(name=name, id=one.guest_id, owner=one.keeper, active=one.runs)
        return f"give {name} a place that nobody else has, its disk stays: {remedy.replaced(subject)}"
    return f"give {name} other pins in its own definition"


def outside_pools(subject: Subject, place: Place, pools: Pools, online: CpuSet) -> tuple[Finding, ...]:
    """Findings about a guest's place outside the pools: pins, then floating vCPUs, then overhead threads. Pure.

    Offline pCPUs are ignored: they are in no pool, and another finding reports them. Overhead threads on a part of the pool are a note,
    because a pool that has grown breaks no promise to the guest.
    """
    findings = []
    follow = _advice(subject, pinned=False)
    pins = (place.alone & online) - pools.dedicated
    if pins:
        findings.append(_outside(subject, "its pins", pins, pools.dedicated, _advice(subject, pinned=True)))
    floating = (place.floating & online) - pools.shared
    if floating:
        findings.append(_outside(subject, "its floating vCPUs", floating, pools.shared, follow))
    if place.pooled is not None:
        pool = CpuSet() if pools.overhead is None else pools.overhead
        pooled = place.pooled & online
        if pooled - pool:
            findings.append(_outside(subject, "its overhead threads", pooled - pool, pool, follow))
        elif pooled and pooled != pool and not place.local:
            findings.append(_outside(subject, "its overhead threads", pooled, pool, follow, code=FindingCode.POOL_PART))
    return tuple(findings)


def _outside(
    subject: Subject,
    about: str,
    observed: CpuSet,
    place: CpuSet,
    advice: str,
    *,
    code: FindingCode = FindingCode.OUTSIDE_POOL,
    steps: tuple[Step, ...] = (),
) -> Finding:
    return Finding(
        code=code,
        guest=subject.name,
        guest_id=subject.id,
        subject=about,
        recorded=str(place),
        observed=str(observed),
        steps=steps,
        advice=advice,
    )


def _advice(subject: Subject, *, pinned: bool) -> str:
    """What to do about a guest outside the pools: pins of ours need a new place, other threads of ours can follow."""
    if not subject.owner:
        return _POOLS_BACK
    return f"{_place_again(subject) if pinned else remedy.followed(subject)}; or {_POOLS_BACK}"


def _place_again(subject: Subject) -> str:
    """How a guest of ours gets a place in the pools of today."""
    reread = remedy.pools_reread(subject)
    first = f"{reread}, then " if reread else ""
    stop = "stop the guest, " if subject.active else ""
    return f"{first}{stop}give it a place in the pools of today and start it, its disk stays: {remedy.replaced(subject)}"


def floating_astray(
    subject: Subject, place: CpuSet, threads: Iterable[ObservedThread], vcpus: int, pools: Pools, online: CpuSet, *, movable: bool
) -> tuple[Finding, ...]:
    """A finding for a floating guest of Nova's whose definitions let it float beyond the shared pool; at most one. Pure.

    `place` is the set in the definitions. The repair moves the whole guest to the shared pool. It exists only if the guest is `movable`:
    not bound to a host cell.
    """
    outside = (place & online) - pools.shared
    if not outside:
        return ()
    seen = tuple(thread for thread in threads if thread.thread_class not in _UNHELD)
    steps = _floated(seen, vcpus, pools.shared, online, keep=False) if movable and pools.shared else ()
    return (
        Finding(
            code=FindingCode.OUTSIDE_POOL,
            guest=subject.name,
            guest_id=subject.id,
            subject="its floating vCPUs",
            recorded=str(pools.shared),
            observed=str(outside),
            steps=steps,
            advice="" if steps else _HARD_REBOOT,
        ),
    )


def foreign_floating(
    subject: Subject, threads: Iterable[ObservedThread], own: CpuSet, vcpus: int, pools: Pools, online: CpuSet
) -> tuple[Finding, ...]:
    """A finding for a foreign guest that may run on dedicated pCPUs other than its own pins, and one for threads of unknown class. Pure.

    `own` are its pins. The repair removes the dedicated pCPUs from each thread's mask; a thread with no others goes to the shared pool.
    Threads of unknown class are not moved.
    """
    whole = tuple(threads)
    seen = tuple(thread for thread in whole if thread.thread_class not in _UNHELD)
    unknown = tuple(thread for thread in whole if thread.thread_class is ThreadClass.UNKNOWN)
    found = []
    if astray := _beyond(seen, own, pools, online):
        steps = _floated(seen, vcpus, pools.shared, online, keep=True) if pools.shared and not own else ()
        advice = "" if steps else _OTHERS_PINS if subject.persistent else _OTHERS_MASKS
        found.append(_outside(subject, "it", astray, own, advice, code=FindingCode.FOREIGN_FLOATING, steps=steps))
    if astray := _beyond(unknown, own, pools, online):
        names = ", ".join(str(thread.tid) for thread in unknown[:_MOST_NAMED]) + (" and others" if len(unknown) > _MOST_NAMED else "")
        about = f"what is not known ({count(len(unknown), 'thread')}: {names})"
        found.append(_outside(subject, about, astray, own, _NAME_THREADS, code=FindingCode.FOREIGN_FLOATING))
    return tuple(found)


def _beyond(threads: Iterable[ObservedThread], own: CpuSet, pools: Pools, online: CpuSet) -> CpuSet:
    """The dedicated pCPUs that the threads may run on, other than the guest's own."""
    return (CpuSet.union(thread.allowed for thread in threads) & online - own) & pools.exclusive


def _floated(threads: tuple[ObservedThread, ...], vcpus: int, shared: CpuSet, online: CpuSet, *, keep: bool) -> tuple[Step, ...]:
    """The steps that move every thread of a guest to the shared pool. With `keep` no thread gets pCPUs that it did not have.

    An iothread without a number cannot be pinned; it is moved.
    """

    def pin(what: Pinned, of: tuple[ObservedThread, ...], index: int = 0) -> Step:
        within = CpuSet.union(thread.allowed for thread in of) & shared
        cpus = within if within and keep else shared
        astray = tuple(thread for thread in of if thread.allowed & online != cpus)
        return Pin(what=what, index=index, cpus=cpus, online=cpus & online, live=True, kept=True, threads=astray)

    iothreads = sorted({thread.iothread for thread in threads if thread.iothread is not None})
    overhead = tuple(thread for thread in threads if thread.thread_class not in (ThreadClass.VCPU, ThreadClass.IOTHREAD))
    rest = tuple(thread for thread in threads if thread.thread_class is ThreadClass.IOTHREAD and thread.iothread is None)
    loose = tuple(thread for thread in rest if thread.allowed & online - shared)
    return (
        *(pin(Pinned.VCPU, tuple(thread for thread in threads if thread.vcpu == vcpu), vcpu) for vcpu in range(vcpus)),
        pin(Pinned.EMULATOR, overhead),
        *(pin(Pinned.IOTHREAD, tuple(thread for thread in threads if thread.iothread == number), number) for number in iothreads),
        *((Move(threads=loose, cpus=shared & online),) if loose else ()),
    )


def foreign_process(process: Process, pools: Pools, online: CpuSet, default: CpuSet) -> tuple[Finding, ...]:
    """A finding for a host process with threads bound to dedicated pCPUs; at most one. Pure.

    A thread is not bound if it may run on every online pCPU, or on the set of all processes (`default`, the init process's): `isolcpus`
    and the service manager decide where those run. A foreign virtual machine gets no repair command, because only who runs it knows why
    its vCPUs are pinned there.
    """
    astray = CpuSet.union(allowed for allowed in process.allowed if allowed != default and not online <= allowed) & pools.exclusive
    if not astray:
        return ()
    elsewhere = online - pools.dedicated
    steps = (MoveProcess(pid=process.pid, cpus=elsewhere),) if elsewhere and not process.machine else ()
    advice = "every online pCPU is dedicated; leave the host some in cpu_dedicated_set"
    if process.machine:
        advice = f"it is {process.machine}, run by {process.keeper}; {_FOLDED if process.folded else _AUDIT_THERE}"
    return (
        Finding(
            code=FindingCode.FOREIGN_PROCESS,
            tid=process.pid,
            thread=process.name,
            subject="virtual machine" if process.machine else "process",
            recorded=str(elsewhere),
            observed=str(astray),
            steps=steps,
            advice="" if steps else advice,
        ),
    )


def pools_missing(guests: Iterable[str], source: str) -> tuple[Finding, ...]:
    """A finding for pinned guests on a host whose configuration names no pools; at most one. `source` is the file, '' for none."""
    names = sorted(guests)
    if not names:
        return ()
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    about = f"{len(names)} guests have pinned vCPUs" if len(names) > 1 else "1 guest has pinned vCPUs"
    where = f"{source} is not the file that Nova runs by" if source else "no configuration file was read"
    return (
        Finding(
            code=FindingCode.POOLS_MISSING,
            subject=about,
            observed=shown,
            advice=f"policies and pools are not judged; {where}: name the right one with --config",
        ),
    )


def record_unreadable(subject: Subject, problem: str, shutdown: str) -> Finding:
    """A finding for a guest with a record of ours that cannot be read. The guest counts as foreign until it can be read.

    `shutdown` is the command that asks it to shut down.
    """
    first = f"`{shutdown}`, " if subject.active and shutdown else ""
    advice = (
        f"its pins count as taken; restore the metadata from a backup, read it with the pinfold that wrote it, or have it written again by "
        f"the guest's flavor: {first}`pinfold guest replace {shell_word(subject.name)} --flavor NAME`"
    )
    return Finding(
        code=FindingCode.RECORD_UNREADABLE,
        guest=subject.name,
        guest_id=subject.id,
        observed=problem,
        advice=advice,
    )
