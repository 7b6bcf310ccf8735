"""What an agent tells of its host and its guests, from a survey and a verdict: pure. Looking at the host does not belong here."""

from __future__ import annotations

from typing import Final

from pinfold.agent.reconcile import Present
from pinfold.agent.wire import SeenThread, ThreadReport
from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import expected
from pinfold.core.fit.model import Strategy
from pinfold.core.ledger import Foreign, ForeignMemory
from pinfold.drivers.port import GuestState, HostGuest
from pinfold.host.survey import Survey
from pinfold.host.verify import Verdict
from pinfold.store.model import HostReport, Observed, Pairs

OBSERVED: Final = {
    GuestState.RUNNING: Observed.RUNNING,
    GuestState.PAUSED: Observed.PAUSED,
    GuestState.STOPPED: Observed.STOPPED,
    GuestState.CRASHED: Observed.CRASHED,
}


def present_guests(guests: tuple[HostGuest, ...], owner: str) -> tuple[Present, ...]:
    """The service's guests that the host shows, ordered by id: those whose record names `owner`."""
    return tuple(
        Present(guest=guest.id, state=guest.state, revision=guest.record.revision)
        for guest in guests
        if guest.record is not None and guest.record.owner == owner
    )


def host_report(seen: Survey, ordered: frozenset[str], *, strategy: Strategy, disk_gib: int | None, facts: Pairs) -> HostReport:
    """The host as the service should count it. `ordered` are the guests that orders name; every other one is foreign, ours or not."""
    strangers = [_stranger(guest) for guest in seen.ours if guest.id not in ordered]
    foreign = tuple(sorted((*seen.state.ledger.foreign, *filter(None, strangers)), key=lambda other: other.name))
    return HostReport(
        topology=seen.state.topology,
        pools=seen.state.pools,
        limits=seen.state.limits,
        foreign=tuple(other for other in foreign if other.cpus or other.pages or other.memory_mib),
        strategy=strategy,
        disk_gib=disk_gib,
        facts=facts,
    )


def thread_report(verdict: Verdict) -> ThreadReport | None:
    """Every thread of a running guest, recorded and observed; None for one that does not run."""
    if verdict.sight is None:
        return None
    threads = tuple(
        SeenThread(
            tid=thread.tid,
            name=thread.name,
            thread_class=thread.thread_class.value,
            allowed=thread.allowed,
            recorded=expected(verdict.masks, thread) or CpuSet(),
            vcpu=thread.vcpu,
        )
        for thread in verdict.sight.threads
    )
    return ThreadReport(witness=verdict.sight.witness, threads=threads, drift=tuple(finding.sentence() for finding in verdict.drift))


def _stranger(guest: HostGuest) -> Foreign | None:
    """A guest with a record of ours that no order names: what its record holds counts as taken. Pure."""
    if guest.record is None:
        return None
    fit = guest.record.fit
    small = sum(cell.memory_mib for cell in fit.cells if cell.page_kib == 4) if fit.cells else fit.memory_mib
    pages = tuple(
        ForeignMemory(cell=cell.host_cell, size_kib=cell.page_kib, count=cell.memory_mib * 1024 // cell.page_kib)
        for cell in fit.cells
        if cell.page_kib > 4
    )
    return Foreign(name=guest.name, cpus=fit.taken, pages=pages if guest.active else (), memory_mib=small if guest.active else 0)
