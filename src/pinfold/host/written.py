"""The written forms of what is found and done on a host, for `--json`: proofs, audits, repairs, a host's numbers. Pure.

Guests are written as `HostGuest`, threads as `SeenThread`, findings as `WrittenFinding`.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct, field
from msgspec.structs import replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Finding, SeenThread, seen_thread
from pinfold.core.drift.written import WrittenFinding, write
from pinfold.core.fit.answer import Fit, Strategy
from pinfold.core.fit.written import written as fit_written
from pinfold.core.host import Limits
from pinfold.core.host_map import HostMap, OverheadBooking, PagesMap
from pinfold.core.identity import GuestId
from pinfold.core.pools import Pools
from pinfold.core.repin.gain import gain
from pinfold.core.repin.plan import SizeChange, SlotChange
from pinfold.core.repin.written import WrittenStay, WrittenStep
from pinfold.core.request.model import EmulatorPolicy
from pinfold.core.settings import HostSettings
from pinfold.core.topology import PagePool
from pinfold.drivers.port import HostGuest, Record
from pinfold.host.adopt import AdoptPlan, AppliedAdoption
from pinfold.host.audit import Audit
from pinfold.host.pool_change import AppliedPlan, GuestChange, PoolPlan, ThreadMove
from pinfold.host.repair import FailedRepair, Repair
from pinfold.host.repin import AppliedRepin, RepinPlan
from pinfold.host.replace import ReplaceResult
from pinfold.host.survey import Survey
from pinfold.host.verify import GuestOrigin, Verdict


class Proof(Struct, frozen=True, kw_only=True):
    """One guest with every thread that was seen. `placed` is false if anything drifted.

    `whose` says who created it. `policy` is None if there is none; `inferred` means that it was inferred from pins. `witness` and `stable`
    are None for a guest that does not run.
    """

    guest: HostGuest
    whose: GuestOrigin
    policy: EmulatorPolicy | None
    inferred: bool
    placed: bool
    witness: str | None
    stable: bool | None
    threads: tuple[SeenThread, ...]
    findings: tuple[WrittenFinding, ...]


class WrittenAudit(Struct, frozen=True, kw_only=True):
    """The audit of a host. `verified` is false if it ran from another machine. `drift` counts the findings that break a promise."""

    host: str
    verified: bool
    drift: int
    guests: tuple[Proof, ...]
    host_findings: tuple[WrittenFinding, ...]
    warnings: tuple[str, ...]


class WrittenGuestRepair(Struct, frozen=True, kw_only=True):
    """A guest that had drifted: the drift that was found, and what of it is left."""

    guest: HostGuest
    found: tuple[WrittenFinding, ...]
    left: tuple[WrittenFinding, ...]


class WrittenRemainder(Struct, frozen=True, kw_only=True):
    """A finding that a repair does not change, and why."""

    finding: WrittenFinding
    why: str


class WrittenRepair(Struct, frozen=True, kw_only=True):
    """Every guest that had drifted, the remaining drift of the host, and the guests whose repair failed."""

    repaired: tuple[WrittenGuestRepair, ...]
    left: tuple[WrittenRemainder, ...]
    failed: tuple[FailedRepair, ...]


class WrittenReplacement(Struct, frozen=True, kw_only=True):
    """A stopped guest whose definition was rewritten, and its place before. `before` is None if its record could not be read."""

    guest: HostGuest
    moved: bool
    before: Fit | None
    because: tuple[WrittenFinding, ...]
    warnings: tuple[str, ...]


class WrittenChange(Struct, frozen=True, kw_only=True):
    """What the pools of today mean for one guest. `outcome` is `kept`, `left`, `pending`, `moved` or `failed`.

    `why` says why it is left, or has failed.
    """

    id: str
    name: str
    whose: GuestOrigin
    outcome: str
    moves: tuple[ThreadMove, ...]
    retiring: CpuSet
    why: str
    later: str


class WrittenPoolPlan(Struct, frozen=True, kw_only=True):
    """What the pools of today mean for the guests of a host, and whether that was carried out."""

    host: str
    pools: Pools
    applied: bool
    settled: bool
    guests: tuple[WrittenChange, ...]
    warnings: tuple[str, ...]


class WrittenRepin(Struct, frozen=True, kw_only=True):
    """The moves that help a host, in their order, what they gain, and what became of them.

    `gain` are sentences; `freed`, `slots` and `sizes` the same in numbers. `failure` says why a step failed, '' if none did. Then every
    guest was moved back, except those in `not_moved_back`.
    """

    host: str
    applied: bool
    steps: tuple[WrittenStep, ...]
    gain: tuple[str, ...]
    freed: CpuSet
    slots: tuple[SlotChange, ...]
    sizes: tuple[SizeChange, ...]
    stays: tuple[WrittenStay, ...]
    failure: str
    not_moved_back: tuple[WrittenStay, ...]
    warnings: tuple[str, ...]


class WrittenAdoption(Struct, frozen=True, kw_only=True):
    """What adopting a guest means: its record if nothing conflicts, the threads that move, and whether it was carried out.

    `conflicts` say why it cannot be adopted, `failure` why it was not, and was undone.
    """

    host: str
    guest: HostGuest
    record: Record | None
    moves: tuple[ThreadMove, ...]
    conflicts: tuple[str, ...]
    notes: tuple[str, ...]
    adopted: bool
    failure: str
    warnings: tuple[str, ...]


class CellNumbers(Struct, frozen=True, kw_only=True):
    """One host cell in numbers, as on the map."""

    id: int
    cpus: CpuSet
    cores: tuple[CpuSet, ...]
    sockets: tuple[int, ...]
    caches: tuple[int, ...]
    memory_mib: int
    memory_free_mib: int
    pages: tuple[PagePool, ...]
    huge_pages: tuple[PagesMap, ...]
    dedicated: int
    dedicated_free: int


class HostNumbers(Struct, frozen=True, kw_only=True):
    """A host in numbers: pools, cells, limits, and what is free."""

    host: str
    pools: Pools
    reserved_pcpus: int
    online: CpuSet
    offline: CpuSet
    switched_off: CpuSet
    threads_per_core: int
    cells: tuple[CellNumbers, ...]
    overhead: OverheadBooking | None
    floating_vcpus: int | None
    floating_memory_free_mib: int
    limits: Limits
    strategy: Strategy
    traits: frozenset[str]
    uri: str = field(name="libvirt")
    configuration: str
    warnings: tuple[str, ...]


def guest(found: HostGuest) -> HostGuest:
    """A guest as it is written: with the sentences of its fit's warnings."""
    record = found.record
    return found if record is None else replace(found, record=replace(record, fit=fit_written(record.fit)))


def proof(found: Verdict) -> Proof:
    """The form of a verdict."""
    record, observation = found.guest.record, found.observation
    fit = None if record is None else record.fit
    return Proof(
        guest=guest(found.guest),
        whose=found.origin,
        policy=found.policy,
        inferred=found.inferred,
        placed=not found.drift,
        witness=None if observation is None else observation.witness,
        stable=None if observation is None else observation.stable,
        threads=() if observation is None else tuple(seen_thread(thread, found.masks, fit) for thread in observation.threads),
        findings=_written(found.findings),
    )


def audit(found: Audit) -> WrittenAudit:
    """The form of an audit."""
    return WrittenAudit(
        host=found.seen.state.name,
        verified=found.verified,
        drift=len(found.drift),
        guests=tuple(map(proof, found.guests)),
        host_findings=_written(found.host_findings),
        warnings=found.seen.warnings,
    )


def repair(done: Repair) -> WrittenRepair:
    """The form of a repair."""
    return WrittenRepair(
        repaired=tuple(
            WrittenGuestRepair(guest=guest(one.before.guest), found=_written(one.before.drift), left=_written(one.after.drift))
            for one in done.done
        ),
        left=tuple(WrittenRemainder(finding=write(one.finding), why=one.why) for one in done.left),
        failed=done.failed,
    )


def replacement(done: ReplaceResult) -> WrittenReplacement:
    """The form of a guest's new place."""
    return WrittenReplacement(
        guest=guest(done.guest),
        moved=done.before != done.after,
        before=None if done.before is None else fit_written(done.before),
        because=_written(done.because),
        warnings=done.warnings,
    )


def pool_plan(plan: PoolPlan, done: AppliedPlan | None) -> WrittenPoolPlan:
    """The form of a plan, and of what became of it; `done` is None for a plan alone."""
    return WrittenPoolPlan(
        host=plan.seen.state.name,
        pools=plan.seen.state.pools,
        applied=done is not None,
        settled=plan.settled if done is None else done.complete,
        guests=tuple(_change(change, done) for change in plan.changes),
        warnings=plan.warnings,
    )


def _change(change: GuestChange, done: AppliedPlan | None) -> WrittenChange:
    failure = "" if done is None else done.failures.get(change.guest.id, "")
    outcome = "left" if change.why else "kept" if not change.pending else "pending" if done is None else "failed" if failure else "moved"
    return WrittenChange(
        id=change.guest.id,
        name=change.guest.name,
        whose=change.origin,
        outcome=outcome,
        moves=change.moves,
        retiring=change.retiring,
        why=failure or change.why,
        later=change.later,
    )


def repin(plan: RepinPlan, done: AppliedRepin | None) -> WrittenRepin:
    """The form of a plan to re-pin guests, and of what became of it; `done` is None for a plan alone."""
    names = {guest.id: guest.name for guest in plan.seen.guests}
    held = {step.guest: step.after.taken for step in plan.found.steps}
    return WrittenRepin(
        host=plan.seen.state.name,
        applied=done is not None and not done.failure,
        steps=tuple(WrittenStep(id=step.guest, name=names[step.guest], moves=step.moves) for step in plan.found.steps),
        gain=gain(plan.found),
        freed=plan.found.freed,
        slots=plan.found.slots,
        sizes=plan.found.sizes,
        stays=tuple(WrittenStay(id=one.guest.id, name=one.guest.name, pcpus=one.pcpus, why=one.why) for one in plan.stays),
        failure="" if done is None else done.failure,
        not_moved_back=()
        if done is None
        else tuple(
            WrittenStay(id=key, name=names[GuestId(key)], pcpus=held[GuestId(key)], why=why) for key, why in done.not_undone.items()
        ),
        warnings=plan.seen.warnings,
    )


def adoption(plan: AdoptPlan, done: AppliedAdoption | None) -> WrittenAdoption:
    """The form of a plan to adopt a guest, and of what became of it; `done` is None for a plan alone."""
    record = plan.found.record
    return WrittenAdoption(
        host=plan.seen.state.name,
        guest=guest(plan.found.guest if done is None else done.guest),
        record=None if record is None else replace(record, fit=fit_written(record.fit)),
        moves=plan.moves,
        conflicts=plan.found.conflicts,
        notes=plan.found.notes,
        adopted=done is not None and done.adopted,
        failure="" if done is None else done.failure,
        warnings=plan.seen.warnings,
    )


def host(seen: Survey, chart: HostMap, settings: HostSettings) -> HostNumbers:
    """The form of a surveyed host's numbers; `chart` is its map."""
    state = seen.state
    cells = tuple(
        CellNumbers(
            id=cell.id,
            cpus=cell.cpus,
            cores=cell.cores,
            sockets=cell.sockets,
            caches=cell.caches,
            memory_mib=cell.memory_mib,
            memory_free_mib=drawn.memory_free_mib,
            pages=cell.pages,
            huge_pages=drawn.huge_pages,
            dedicated=drawn.dedicated,
            dedicated_free=drawn.dedicated_free,
        )
        for cell, drawn in zip(state.topology.cells, chart.cells, strict=True)
    )
    return HostNumbers(
        host=state.name,
        pools=state.pools,
        reserved_pcpus=seen.reserved_pcpus,
        online=state.topology.online,
        offline=state.topology.offline,
        switched_off=seen.switched_off,
        threads_per_core=state.topology.threads_per_core,
        cells=cells,
        overhead=chart.overhead,
        floating_vcpus=chart.floating_vcpus,
        floating_memory_free_mib=chart.floating_memory_free_mib,
        limits=settings.limits,
        strategy=settings.strategy,
        traits=state.traits,
        uri=settings.uri,
        configuration=settings.source,
        warnings=seen.warnings,
    )


def _written(findings: Iterable[Finding]) -> tuple[WrittenFinding, ...]:
    return tuple(map(write, findings))
