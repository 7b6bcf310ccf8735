"""Sample how long the threads of each guest and each pCPU of an audited host ran and waited. `core.usage` adds the samples up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pinfold.core.cpuset import CpuSet
from pinfold.core.host_map import HostMap
from pinfold.core.overhead import OVERHEAD_CLASSES, ThreadClass
from pinfold.core.pools import Pools
from pinfold.core.usage import GuestTimes, Sample, ThreadTimes
from pinfold.drivers.port import Observation
from pinfold.host.audit import Audit
from pinfold.host.verify import Verdict
from pinfold.linux import schedstat


def sample(found: Audit, drawn: HostMap) -> Sample:
    """The sample of a host that was audited just now; `drawn` is its map. Empty for a remote hypervisor.

    pCPUs are left out where procfs shows others than the hypervisor does, as in a synthetic lab. Raises `Unavailable` if procfs may not be
    read.
    """
    if not found.verified:
        return Sample()
    guests = tuple(times for guest in found.guests if (times := _guest(guest)) is not None)
    read = {times.guest for times in guests}
    return Sample(
        guests=guests,
        unread=frozenset(guest.id for guest in found.seen.guests if guest.active and guest.id not in read),
        busy_ns=tuple(sorted(schedstat.busy_times().items())) if found.seen.own_machine else (),
        owned=tuple(_owned(found.guests, drawn)),
        pools=named_pools(found.seen.state.pools),
    )


def named_pools(pools: Pools) -> tuple[tuple[str, CpuSet], ...]:
    """The pools of a host by their names; one that is not configured is left out."""
    named = (("dedicated", pools.dedicated), ("shared", pools.shared), ("overhead", pools.overhead))
    return tuple((name, cpus) for name, cpus in named if cpus is not None)


def _guest(found: Verdict) -> GuestTimes | None:
    pid, observation = found.guest.pid, found.observation
    # Read the process before its threads: what they run in between is then counted once, under their classes.
    process = None if pid is None or observation is None else schedstat.process_times(pid)
    if pid is None or observation is None or process is None:
        return None
    read = schedstat.thread_times(pid, (thread.tid for thread in observation.threads))
    threads = (
        ThreadTimes(
            tid=thread.tid,
            thread_class=thread.thread_class,
            allowed=thread.allowed,
            times=read[thread.tid][0],
            outside=read[thread.tid][1],
        )
        for thread in observation.threads
        if thread.tid in read
    )
    return GuestTimes(guest=found.guest.id, pid=pid, start_ticks=process[0], process_ns=process[1], threads=tuple(threads))


def _owned(guests: Iterable[Verdict], drawn: HostMap) -> Iterator[tuple[int, frozenset[int]]]:
    """Each pCPU that one running guest has alone, with its threads that may run only there and that it has the pCPU for."""
    known: dict[str, Observation | None] = {found.guest.id: found.observation for found in guests}
    for pcpu in drawn.pcpus:
        owners = [use for use in pcpu.owners if not use.stray]
        observation = known.get(owners[0].key) if len(owners) == 1 else None
        if observation is not None:
            classes = (ThreadClass.VCPU,) if owners[0].thread_class is ThreadClass.VCPU else OVERHEAD_CLASSES
            alone = CpuSet.of(pcpu.pcpu)
            yield (
                pcpu.pcpu,
                frozenset(thread.tid for thread in observation.threads if thread.allowed == alone and thread.thread_class in classes),
            )
