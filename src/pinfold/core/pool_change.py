"""What a change of a host's pools means for a guest that runs there: which of its threads move, and what it keeps.

The guest keeps the pCPUs that only it may use, because its memory lies beside them; those that left the dedicated pool retire. Its other
threads follow the pools. `core.fit` finds new places, and `core.drift` says who is outside of the pools.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.fit.answer import EmulatorPlacement, Fit, FitCell, NoFit
from pinfold.core.host import Claim, HostState
from pinfold.core.ledger import release
from pinfold.core.overhead import masks
from pinfold.core.overhead.booking import PoolBooking, book, divided, free_millicpu
from pinfold.core.overhead.pool import pool_of
from pinfold.core.overhead.table import Rule, pcpus, rule
from pinfold.core.reasons import Kind, Reason, ReasonCode
from pinfold.core.request.model import GuestRequest


class Followed(Struct, frozen=True, kw_only=True):
    """The fit of a guest by the pools of today; the recorded one if none of its threads has to move.

    `retiring` are the pCPUs of its own that are no longer dedicated, or offline. They stay its own until it ends or is placed again.
    """

    fit: Fit
    retiring: CpuSet = CpuSet()


def follow(claim: Claim, request: GuestRequest, state: HostState) -> Followed | NoFit:
    """The fit of a claim of `state`, whose pools have changed since, by the pools of today; or why its threads cannot follow. Pure.

    1. Pins, idle siblings and an isolated emulator's pCPU stay.
    2. Floating vCPUs float over the shared pool of today, or over their cell's part of it. If that is empty, the guest cannot follow.
    3. Overhead threads run where the policy's rule puts them on a host with this overhead pool (`core.overhead.table`). A guest on
       the whole pool of today stays there; another one prefers the pool's parts on its cells if `[overhead] locality` says so.
    4. A guest that moves books by the rates of today. If an enforcing pool has no room for more than it books now, it goes on with that,
       with a warning: it runs already. One that booked nothing until now cannot follow then.

    If nothing moves, the fit is the recorded one, booking and warnings included. Raises `Conflict` if `state` has no such claim.
    """
    others = release(state, claim.guest, claim.id)
    fit = claim.fit
    lacking = _floating_lacks(fit, state)
    if lacking:
        return NoFit(reasons=lacking)
    cells = tuple(_cell(cell, state) for cell in fit.cells)
    floated = replace(fit, cells=cells, float_set=state.pools.shared if fit.float_vcpus else fit.float_set)
    found = _with_overhead(floated, request, others)
    if isinstance(found, NoFit):
        return found
    moves = masks(found) != masks(fit) or found.emulator_placement is not fit.emulator_placement
    return Followed(fit=found if moves else fit, retiring=fit.taken - (state.pools.dedicated & state.topology.online))


def _floating_lacks(fit: Fit, state: HostState) -> tuple[Reason, ...]:
    """A reason for each set of floating vCPUs that has no pCPU to float over."""
    lacking = []
    if fit.float_vcpus and not state.pools.shared:
        lacking.append(Reason(code=ReasonCode.NO_SHARED_POOL, kind=Kind.INSUFFICIENT, needed=len(fit.float_vcpus)))
    for cell in fit.cells:
        if cell.float_vcpus and not _part(cell, state):
            needed = len(cell.float_vcpus)
            lacking.append(Reason(code=ReasonCode.SHARED_PCPUS, kind=Kind.INSUFFICIENT, cell=cell.host_cell, needed=needed))
    return tuple(lacking)


def _part(cell: FitCell, state: HostState) -> CpuSet:
    """The part of the shared pool on the host cell; none if the host has no such cell any more."""
    return next((one.cpus & state.pools.shared for one in state.topology.cells if one.id == cell.host_cell), CpuSet())


def _cell(cell: FitCell, state: HostState) -> FitCell:
    return replace(cell, float_set=_part(cell, state)) if cell.float_vcpus else cell


def _with_overhead(fit: Fit, request: GuestRequest, others: HostState) -> Fit | NoFit:
    """The fit with its overhead threads by the rule of today. `others` is the host without the guest."""
    today = rule(request.emulator_policy, others.pools.overhead)
    own = own_pcpus(fit, others.topology.online)
    code = today.refusal or (None if own else today.realtime_refusal)
    if code is not None:
        return NoFit(reasons=(Reason(code=code, kind=Kind.INSUFFICIENT),))
    if today.placement is EmulatorPlacement.ISOLATED:
        return fit
    booked = _booked(fit, request, others, today)
    if isinstance(booked, NoFit):
        return booked
    return replace(
        fit,
        emulator_placement=today.placement,
        emulator=pcpus(today.placement, booked.cpus, own, CpuSet()),
        overhead_millicpu=booked.millicpu,
        overhead_cells=booked.cells,
        warnings=booked.warnings,
    )


def own_pcpus(fit: Fit, online: CpuSet) -> CpuSet:
    """The guest's own pCPUs for overhead threads: those of vCPUs that are not realtime, without offline ones unless all are."""
    own = fit.floating | CpuSet(pcpu for vcpu, pcpu in fit.pins if vcpu not in fit.realtime)
    return own & online or own


def _booked(fit: Fit, request: GuestRequest, others: HostState, today: Rule) -> PoolBooking | NoFit:
    pool = pool_of(others)
    if not today.books:
        return PoolBooking(pool.cpus, 0, ())
    if fit.emulator == pool.cpus and not fit.overhead_cells:
        pool = replace(pool, prefers_local=False)
    booked = book(request, pool, free_millicpu(others), fit.cells, others.ledger)
    full = any(reason.code is ReasonCode.OVERHEAD_BOOKED for reason in booked.warnings)
    if not full or not pool.enforces or booked.millicpu <= fit.overhead_millicpu:
        return booked
    if fit.emulator_placement is not EmulatorPlacement.POOL:
        return NoFit(reasons=booked.warnings)
    kept = divided(fit.overhead_millicpu, fit.cells, CpuSet(cell for cell, _ in booked.cells))
    return replace(booked, millicpu=fit.overhead_millicpu, cells=kept)
