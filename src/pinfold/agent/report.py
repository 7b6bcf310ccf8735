"""Make an agent's reports of its host and its guests, from a survey and a verdict. Pure."""

from __future__ import annotations

from typing import Final

from msgspec import UNSET

from pinfold.agent.events import HostFacts
from pinfold.agent.reconcile import LastBoot, Memory, PresentGuest, lacking, leaving
from pinfold.agent.wire import GuestOrder, GuestReport, InterfaceFailure, InterfacesReport, Orders, ThreadReport, shorten_failure
from pinfold.core.adoption import Takeover
from pinfold.core.drift import Finding, seen_thread
from pinfold.core.fit.answer import Strategy
from pinfold.core.host import Foreign, ForeignMemory
from pinfold.core.identity import GuestId
from pinfold.core.repair_question import RepairAnswer, RepairResult
from pinfold.drivers.port import GuestState, HostGuest
from pinfold.host.repair import GuestRepair
from pinfold.host.survey import Survey
from pinfold.host.verify import Verdict, record_of
from pinfold.store.records import Desired, HostReport, Observed

_OBSERVED: Final = {
    GuestState.RUNNING: Observed.RUNNING,
    GuestState.PAUSED: Observed.PAUSED,
    GuestState.STOPPED: Observed.STOPPED,
    GuestState.CRASHED: Observed.CRASHED,
}


_GONE: Final = "its domain is gone from its host, or has lost pinfold's record; pinfold did not make it, and cannot make it anew"


def present_guests(guests: tuple[HostGuest, ...], owner: str) -> tuple[PresentGuest, ...]:
    """The service's guests on the host (their record names `owner`), ordered by id."""
    return tuple(
        PresentGuest(
            guest=guest.id,
            state=guest.state,
            revision=guest.record.revision,
            claim=guest.record.claim,
            taken=guest.record.fit.taken,
            macs_everywhere=guest.macs_everywhere,
            macs_anywhere=guest.macs_anywhere,
        )
        for guest in guests
        if guest.record is not None and guest.record.owner == owner
    )


def host_report(seen: Survey, ordered: frozenset[GuestId], *, strategy: Strategy, any_cell: bool, facts: HostFacts) -> HostReport:
    """The host's report for the service. `ordered` are the guests with an order; every other guest counts as foreign, ours or not."""
    strangers = [_stranger(guest) for guest in seen.ours if guest.id not in ordered]
    foreign = tuple(sorted((*seen.state.ledger.foreign, *filter(None, strangers)), key=lambda other: other.name))
    return HostReport(
        topology=seen.state.topology,
        pools=seen.state.pools,
        limits=seen.state.limits,
        foreign=tuple(other for other in foreign if other.cpus or other.pages or other.memory_mib),
        strategy=strategy,
        any_cell=any_cell,
        disk_gib=facts.disk_gib,
        facts=facts.facts,
        networks=facts.networks,
        features=facts.features,
        processor_traits=UNSET if seen.processor_traits is None else seen.processor_traits,
    )


def guest_report(
    guest: HostGuest,
    booted: LastBoot | None,
    threads: ThreadReport | None,
    *,
    unmoved: str = "",
    not_paused: str = "",
    rebuild: int = 0,
    stays_paused: bool = False,
    interfaces: InterfacesReport | None = None,
) -> GuestReport:
    """The report of a guest that has our record. A running guest has no failure to report, whoever started it, except that its disk was not
    made anew with the boot `rebuild`, and neither has one that is paused, unless it `stays_paused` although it is to run; a stopped one has
    no threads. `unmoved` says why it could not follow its claim.
    """
    assert guest.record is not None
    fails = not guest.active or stays_paused or (booted is not None and 0 < rebuild <= booted.boot)
    return GuestReport(
        revision=guest.record.revision,
        observed=_OBSERVED[guest.state],
        boot=None if booted is None else booted.boot,
        threads=threads if guest.active else None,
        failure=booted.failure if booted is not None and fails else "",
        not_paused=not_paused,
        claim=guest.record.claim,
        unmoved=unmoved,
        interfaces=UNSET if interfaces is None else interfaces,
    )


def interfaces_report(guest: HostGuest, order: GuestOrder, failures: tuple[InterfaceFailure, ...]) -> InterfacesReport | None:
    """Which of the ordered interfaces a guest has; None for none, and while some are to be attached or detached. `failures` are those that
    are not tried again.
    """
    if not order.ports and not order.detach:
        return None
    lacks, leaves = {port.mac for port in lacking(order, guest.macs_everywhere)}, set(leaving(order, guest.macs_anywhere))
    if (lacks | leaves) - {failed.mac for failed in failures}:
        return None
    return InterfacesReport(macs=tuple(sorted({port.mac for port in order.ports} - lacks | leaves)), failures=failures)


def lost_guests(orders: Orders, present: tuple[PresentGuest, ...], memory: Memory) -> tuple[tuple[GuestId, GuestReport], ...]:
    """`(id, report)` of each guest without a definition for which nothing more is done: it is to be stopped, its last boot failed, or its
    domain was not made here and is gone.

    In the order of `orders`.
    """
    here = {guest.guest for guest in present}
    booted = {entry.guest: entry for entry in memory.booted}
    lost = []
    for order in orders.orders:
        last = booted.get(order.guest)
        failure = _GONE if order.takeover is Takeover.ADOPTED else "" if last is None else last.failure
        rests = order.desired is Desired.STOPPED or (order.desired is Desired.RUNNING and failure)
        if order.guest not in here and order.takeover is not Takeover.ADOPT and rests:
            boot = None if last is None else last.boot
            report = GuestReport(revision=order.claim.revision, observed=Observed.ABSENT, boot=boot, failure=failure, claim=order.claim.id)
            lost.append((order.guest, report))
    return tuple(lost)


def thread_report(verdict: Verdict) -> ThreadReport | None:
    """Every thread of a running guest, recorded and observed; None for a guest that does not run."""
    if verdict.observation is None:
        return None
    fit = record_of(verdict.guest).fit
    threads = tuple(seen_thread(thread, verdict.masks, fit) for thread in verdict.observation.threads)
    drift = tuple(finding.sentence() for finding in verdict.drift)
    return ThreadReport(witness=verdict.observation.witness, threads=threads, drift=drift, hangs=verdict.guest.hangs)


def answer_of(found: GuestRepair, number: int) -> tuple[RepairAnswer, tuple[str, ...]]:
    """The answer to a repair that somebody asked for, and the classes of the threads that it moved, '' for a definition alone."""
    stays = f"moving threads does not undo: {_facts(found.stays)}" if found.stays else ""
    if not found.moved:
        result, said = RepairResult.NEEDLESS, "its threads are where they are recorded"
    elif found.left:
        result, said = RepairResult.FAILED, f"moved, and read back, but still: {_facts(found.left)}"
    else:
        result, said = RepairResult.DONE, f"moved, and read back in place; it is over that {_facts(found.moved)}"
    classes = {"" if one.thread_class is None else one.thread_class.value for one in found.moved}
    sentence = shorten_failure("; ".join(filter(None, (said, stays))))
    return RepairAnswer(number=number, result=result, sentence=sentence), tuple(sorted(classes))


def _facts(findings: tuple[Finding, ...]) -> str:
    return "; ".join(one.fact() for one in findings)


def _stranger(guest: HostGuest) -> Foreign | None:
    """A guest that has our record but no order: the pCPUs in its record count as taken."""
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
