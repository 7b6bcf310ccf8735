"""`HostLoad`: how a host's pCPUs, pools and guests worked and waited lately, and which guests starve and who runs instead. Pure.

It is made of the last samples of a `HostHistory`. Amounts are means in millicpu, None where nothing is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from pinfold.core.cpuset import CpuSet
from pinfold.core.history import GuestHistory, HostHistory, PcpuHistory, PoolHistory, Series, mean, since
from pinfold.core.host import Claim
from pinfold.core.identity import GuestId
from pinfold.core.overhead import OVERHEAD_CLASSES, ThreadClass
from pinfold.core.plural import pcpus

LATELY_SECONDS: Final = 60.0
"""The time over which the means are taken."""
STARVING_MILLICPU: Final = 100
"""Threads that wait longer than this starve: a tenth of the time, for one thread."""
_MOST_RUNNERS: Final = 3
_MOST_PCPUS: Final = 8
_THREADS: Final = {True: "vCPUs", False: "emulator threads"}
_LEAST_RUNNER: Final = 30
"""Threads that worked less, in millicpu, are not named among those that ran."""


class Load(Struct, frozen=True, kw_only=True):
    """What something worked and waited. `others` is what others ran on its pCPUs, None where it has none alone."""

    work: int | None = None
    wait: int | None = None
    others: int | None = None


class HostLoad(Struct, frozen=True, kw_only=True):
    """One host lately. `ended` is when the last sample ended, in seconds since the epoch.

    `guests` has two loads of each guest id: its vCPUs, and its overhead threads of all classes. `names` are the guests' names.
    """

    ended: float
    pcpus: Mapping[int, Load]
    pools: Mapping[str, Load]
    guests: Mapping[str, tuple[Load, Load]]
    names: Mapping[str, str]


class Pressure(Struct, frozen=True, kw_only=True):
    """What is kept of a host's load to compare it with others: how much its overhead pool worked and waited, in millicpu, and whether
    threads of a guest starve.
    """

    millicpu: int
    starving: bool


class Runner(Struct, frozen=True):
    """What of another guest ran, its vCPUs or its overhead threads, and how much they worked in millicpu."""

    name: str
    vcpus: bool
    work: int


class Starving(Struct, frozen=True, kw_only=True):
    """Threads of a guest that wait for a pCPU: its vCPUs, or its overhead threads. `where` are the pCPUs that they may use.

    `runners` are those of other guests that ran there most, and `strangers` is what ran there that is no guest's.
    """

    guest: GuestId
    name: str
    vcpus: bool
    where: CpuSet
    wait: int
    runners: tuple[Runner, ...]
    strangers: int | None = None

    def sentence(self) -> str:
        """What an operator wants to know, beside the guest's name.

        >>> busy = (Runner("busy", True, 1400),)
        >>> Starving(guest="1", name="web", vcpus=False, where=CpuSet({0, 1}), wait=620, runners=busy).sentence()
        'its emulator threads waited for pCPUs 0-1 for 62 % of the last minute; the vCPUs of busy (140 % of one pCPU) ran there instead'
        """
        ran = [f"the {_THREADS[one.vcpus]} of {one.name} ({share(one.work)} of one pCPU)" for one in self.runners]
        ran += [f"processes of no guest ({share(self.strangers)} of one pCPU)"] if self.strangers else []
        instead = f"{', '.join(ran)} ran there instead" if ran else "what ran there instead is not known"
        return f"its {_THREADS[self.vcpus]} waited for {pcpus(str(self.where))} for {share(self.wait)} of the last minute; {instead}"

    def remedy(self) -> str:
        """What would end it.

        >>> Starving(guest="1", name="web", vcpus=False, where=CpuSet({0}), wait=620, runners=()).remedy()
        'give the overhead pool more pCPUs, or the busiest guest a pCPU for its emulator alone (hw:emulator_threads_policy=isolate)'
        """
        if self.vcpus:
            return "keep other threads off these pCPUs; if its vCPUs float, give the shared pool more pCPUs"
        return "give the overhead pool more pCPUs, or the busiest guest a pCPU for its emulator alone (hw:emulator_threads_policy=isolate)"


def share(millicpu: int) -> str:
    """An amount in per cent of one pCPU.

    >>> share(620), share(4)
    ('62 %', '0 %')
    """
    return f"{round(millicpu / 10)} %"


def pcpu_sentences(load: HostLoad) -> tuple[str, ...]:
    """Which pCPUs were waited for, and where others than the owner ran, the most first; for pictures without room for bars.

    >>> pcpus = {0: Load(wait=700), 1: Load(wait=20), 7: Load(wait=0, others=300)}
    >>> pcpu_sentences(HostLoad(ended=0.0, pcpus=pcpus, pools={}, guests={}, names={}))
    ('waited for in the last minute: pCPU 0 (70 %)', 'others than its owner ran in the last minute: pCPU 7 (30 %)')
    >>> pcpu_sentences(HostLoad(ended=0.0, pcpus={0: Load(wait=5)}, pools={}, guests={}, names={}))
    ('no pCPU was waited for in the last minute',)
    """
    waits = [(cpu, one.wait) for cpu, one in load.pcpus.items() if one.wait is not None and one.wait >= STARVING_MILLICPU]
    others = [(cpu, one.others) for cpu, one in load.pcpus.items() if one.others is not None and one.others >= _LEAST_RUNNER]
    found = [f"waited for in the last minute: {_most(waits)}" if waits else "no pCPU was waited for in the last minute"]
    return (*found, *([f"others than its owner ran in the last minute: {_most(others)}"] if others else []))


def _most(amounts: list[tuple[int, int]]) -> str:
    ordered = sorted(amounts, key=lambda one: (-one[1], one[0]))
    named = ", ".join(f"pCPU {cpu} ({share(amount)})" for cpu, amount in ordered[:_MOST_PCPUS])
    return named + (f" and {len(ordered) - _MOST_PCPUS} more" if len(ordered) > _MOST_PCPUS else "")


def lately(history: HostHistory) -> HostLoad | None:
    """The last minute of a history, None if it has no sample."""
    if not history.ends:
        return None
    last = since(history, LATELY_SECONDS)
    names: dict[str, str] = {}
    by_guest: dict[str, list[GuestHistory]] = {}
    for row in last.guests:
        names[row.guest] = row.name
        by_guest.setdefault(row.guest, []).append(row)
    return HostLoad(
        ended=last.ends[-1],
        pcpus={row.pcpu: _load(row, row.others_millicpu, last.seconds) for row in last.pcpus},
        pools={row.pool: _load(row, (), last.seconds) for row in last.pools},
        guests={guest: _of_guest(rows, last.seconds) for guest, rows in by_guest.items()},
        names=names,
    )


def pressure(load: HostLoad) -> Pressure:
    """What is kept of a load to compare hosts.

    >>> pools = {"overhead": Load(work=900, wait=700)}
    >>> pressure(HostLoad(ended=0.0, pcpus={}, pools=pools, guests={"1": (Load(), Load(wait=620))}, names={"1": "web"}))
    Pressure(millicpu=1600, starving=True)
    """
    pool = load.pools.get("overhead", Load())
    waits = (one.wait or 0 for pair in load.guests.values() for one in pair)
    return Pressure(millicpu=(pool.work or 0) + (pool.wait or 0), starving=any(wait > STARVING_MILLICPU for wait in waits))


def starving(load: HostLoad, claims: Iterable[Claim]) -> tuple[Starving, ...]:
    """The guests with a claim whose threads starve, those that wait longest first."""
    places = {claim.guest: (claim.fit.pinned | claim.fit.floating, claim.fit.emulator) for claim in claims}
    found = []
    for guest, (vcpus, overhead) in places.items():
        for kind, (where, one) in enumerate(zip((vcpus, overhead), load.guests.get(guest, ()), strict=False)):
            if (one.wait or 0) > STARVING_MILLICPU:
                found.append(
                    Starving(
                        guest=guest,
                        name=load.names[guest],
                        vcpus=kind == 0,
                        where=where,
                        wait=one.wait or 0,
                        runners=_runners(load, places, guest, where),
                        strangers=one.others,
                    )
                )
    return tuple(sorted(found, key=lambda one: (-one.wait, one.name, one.guest, one.vcpus)))


def _runners(load: HostLoad, places: Mapping[GuestId, tuple[CpuSet, CpuSet]], guest: GuestId, where: CpuSet) -> tuple[Runner, ...]:
    """The threads of other guests that may use some of these pCPUs, by what they worked."""
    ran = [
        Runner(load.names[other], vcpus, one.work or 0)
        for other, sets in places.items()
        for vcpus, cpus, one in zip((True, False), sets, load.guests.get(other, ()), strict=False)
        if other != guest and cpus & where and (one.work or 0) >= _LEAST_RUNNER
    ]
    return tuple(sorted(ran, key=lambda one: (-one.work, one.name, one.vcpus))[:_MOST_RUNNERS])


def _of_guest(rows: Iterable[GuestHistory], seconds: tuple[float, ...]) -> tuple[Load, Load]:
    """The loads of a guest's vCPUs and of its overhead threads."""
    vcpus, overhead = Load(), Load()
    for row in rows:
        if row.thread_class is ThreadClass.VCPU:
            vcpus = _load(row, row.others_millicpu, seconds)
        elif row.thread_class in OVERHEAD_CLASSES:
            one = _load(row, row.others_millicpu, seconds)
            work, wait, others = overhead.work, overhead.wait, overhead.others
            overhead = Load(work=_sum(work, one.work), wait=_sum(wait, one.wait), others=_sum(others, one.others))
    return vcpus, overhead


def _load(row: PcpuHistory | GuestHistory | PoolHistory, others: Series, seconds: tuple[float, ...]) -> Load:
    return Load(
        work=mean(row.work_millicpu, seconds), wait=mean(row.wait_millicpu, seconds), others=mean(others, seconds) if others else None
    )


def _sum(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else one + other
