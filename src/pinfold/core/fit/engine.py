"""`fit`: one valid placement of a guest on a host, or why there is none. docs/design/0001-what-fits.md defines "valid".

1. Host: traits, pools, the limits of vCPUs, memory, disk and overhead (`room.host_takes`).
2. Counts: what each host cell has left (`count`), against what each kind of guest cell needs (`room`).
3. Host cells for the guest cells (`place`, by `match`).
4. pCPUs inside each chosen cell, by thread policy (`cores`, `emulator`).
5. The result is checked against the invariants before it is returned (`check`).
"""

from __future__ import annotations

from functools import partial
from typing import Final

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvariantViolation
from pinfold.core.fit import check, cores, emulator
from pinfold.core.fit.booking import booking
from pinfold.core.fit.count import Counts, Threads
from pinfold.core.fit.demand import Demand, prepare
from pinfold.core.fit.explain import explain
from pinfold.core.fit.model import EmulatorPlacement, Fit, FitCell, NoFit, Strategy
from pinfold.core.fit.place import Placed, place
from pinfold.core.fit.room import host_takes, page_for
from pinfold.core.host import HostState
from pinfold.core.reasons import Reason
from pinfold.core.request.model import GuestRequest

_NONE: Final = CpuSet()
_FLOAT: Final = EmulatorPlacement.FLOAT
_POOL: Final = EmulatorPlacement.POOL
_ISOLATED: Final = EmulatorPlacement.ISOLATED
_new = object.__new__
_set_mask = CpuSet.__dict__["mask"].__set__


def fit(request: GuestRequest, state: HostState, strategy: Strategy = Strategy.PACK) -> Fit | NoFit:
    """A valid placement of `request` on `state`, or the reasons why there is none.

    Pure and deterministic; sound and complete by docs/design/0001-what-fits.md. The first call with a state counts it, and the first
    call with a request compiles it. Both results are stored with the values, which do not change.
    Raises `InvalidRequest` for an invalid request (an emulator policy without pinned vCPUs), `InvariantViolation` if the engine's own
    answer is wrong.
    """
    demand = prepare(request)
    counts = state.counts
    if not host_takes(demand, counts):
        return _refuse(demand, state)
    if not demand.cells:
        answer = _float(demand, counts)
    else:
        placed = place(demand, counts, strategy)
        if placed is None:
            return _refuse(demand, state)
        answer = _pin(demand, counts, placed)
    if not check.holds(demand, counts, answer):
        raise InvariantViolation("a fit breaks its own invariants: " + "; ".join(check.violations(request, state, answer)))
    return answer


def _refuse(demand: Demand, state: HostState) -> NoFit:
    """A refusal that works out its reasons when they are first read."""
    new: NoFit = _new(NoFit)
    new.__dict__["_explain"] = partial(explain, demand, state)
    return new


def _pin(demand: Demand, counts: Counts, placed: Placed) -> Fit:
    """The fit on the chosen host cells."""
    host_cells, carrier = placed
    fit_cells: list[FitCell] = []
    ordinary = idle = 0
    emulator_pcpu: int | None = None
    isolated, required = demand.isolated_threads, demand.required_threads
    own = not demand.isolates_emulator and (not demand.shares_emulator or counts.frame.overhead is None)
    for position, guest in enumerate(demand.cells):
        cell = host_cells[position]
        frame = cell.frame
        pcpus: Threads = ()
        if position == carrier:
            pcpus, emulator_pcpu = emulator.choose(cell, guest, required=required, isolated=isolated)
            if isolated:
                idle |= cores.siblings(cell, (*pcpus, emulator_pcpu))
        elif guest.pins:
            pcpus = cores.choose(cell, guest.pins, required=required, isolated=isolated)
            if isolated:
                idle |= cores.siblings(cell, pcpus)
        pins = tuple(zip(guest.vcpus, pcpus))  # noqa: B905  (`check.holds` counts them, at a lower price)
        if own:
            realtime = guest.realtime
            for vcpu, pcpu in pins:
                if not realtime >> vcpu & 1:
                    ordinary |= 1 << pcpu
        float_set = _NONE
        if guest.floats:
            float_set = frame.shared
            ordinary |= float_set.mask
        new: FitCell = _new(FitCell)
        fields = new.__dict__
        fields["guest_cell"] = guest.guest_cell
        fields["host_cell"] = frame.id
        fields["pins"] = pins
        fields["float_vcpus"] = guest.float_vcpus
        fields["float_set"] = float_set
        fields["memory_mib"] = guest.memory_mib
        fields["page_kib"] = frame.small_kib if demand.only_small_pages else page_for(cell, demand.kinds[guest.kind], demand)
        fit_cells.append(new)
    return _with_overhead(demand, counts, tuple(fit_cells), ordinary, idle, emulator_pcpu)


def _with_overhead(demand: Demand, counts: Counts, cells: tuple[FitCell, ...], ordinary: int, idle: int, emulator_pcpu: int | None) -> Fit:
    """The fit with the emulator threads' place and booking, and a warning if the pool is booked beyond its capacity.

    `ordinary` are the guest's own pCPUs without those of realtime vCPUs.
    """
    request, frame = demand.request, counts.frame
    millicpu = 0
    warnings: tuple[Reason, ...] = ()
    if emulator_pcpu is not None:
        placement, mask = _ISOLATED, _cpus(1 << emulator_pcpu)
    elif not demand.shares_emulator or frame.overhead is None:
        placement, mask = _FLOAT, _cpus(ordinary)
    else:
        placement, mask = _POOL, frame.overhead
        millicpu, lacking = booking(request, frame, counts.overhead_room)
        if lacking is not None:
            warnings = (lacking,)
    return _filled(request, cells, _NONE, _NONE, placement, mask, emulator_pcpu, _cpus(idle) if idle else _NONE, millicpu, warnings)


def _filled(
    request: GuestRequest,
    cells: tuple[FitCell, ...],
    float_vcpus: CpuSet,
    float_set: CpuSet,
    placement: EmulatorPlacement,
    emulator_cpus: CpuSet,
    emulator_pcpu: int | None,
    idle_siblings: CpuSet,
    millicpu: int,
    warnings: tuple[Reason, ...],
) -> Fit:
    """`Fit(…)` with every field given, set through its dict. The constructor of a frozen dataclass would take a third of the decision."""
    answer: Fit = _new(Fit)
    fields = answer.__dict__
    fields["vcpus"] = request.vcpus
    fields["memory_mib"] = request.memory_mib
    fields["disk_gib"] = request.disk_gib
    fields["cells"] = cells
    fields["float_vcpus"] = float_vcpus
    fields["float_set"] = float_set
    fields["realtime"] = request.realtime
    fields["emulator_placement"] = placement
    fields["emulator"] = emulator_cpus
    fields["emulator_pcpu"] = emulator_pcpu
    fields["idle_siblings"] = idle_siblings
    fields["overhead_millicpu"] = millicpu
    fields["warnings"] = warnings
    return answer


def _cpus(mask: int) -> CpuSet:
    """`CpuSet.from_mask` for a mask of pCPUs that are known to exist."""
    new: CpuSet = _new(CpuSet)
    _set_mask(new, mask)
    return new


def _float(demand: Demand, counts: Counts) -> Fit:
    """The fit of a guest without cells: everything on the shared pool."""
    request = demand.request
    shared = counts.frame.shared
    return _filled(request, (), demand.float_vcpus, shared, _FLOAT, shared, None, _NONE, 0, ())
