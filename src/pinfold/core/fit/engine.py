"""`fit`: one valid placement of a guest on a host, or why there is none. docs/design/0001-what-fits.md defines "valid".

`search` is the part of it that many questions share: it takes the compiled request and the host's counts, which the caller keeps.

1. Host: traits, pools, the limits of vCPUs, memory, disk and overhead (`room.host_takes`).
2. Counts: what each host cell has left (`count`), against what each kind of guest cell needs (`room`).
3. Host cells for the guest cells (`place`, by `match`).
4. pCPUs inside each chosen cell, by thread policy (`cores`, `emulator`).
5. The result is checked against the invariants before it is returned (`check`).
"""

from __future__ import annotations

from typing import Final

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvariantViolation
from pinfold.core.fit import check, cores, emulator
from pinfold.core.fit.answer import EmulatorPlacement, Fit, FitCell, NoFit, Strategy
from pinfold.core.fit.count import Counts, count_host
from pinfold.core.fit.demand import Demand, prepare
from pinfold.core.fit.explain import explain
from pinfold.core.fit.place import Placed, place
from pinfold.core.fit.room import host_takes
from pinfold.core.host import HostState
from pinfold.core.overhead.booking import book
from pinfold.core.request.model import GuestRequest

_NONE: Final = CpuSet()
_FLOAT: Final = EmulatorPlacement.FLOAT


def fit(request: GuestRequest, state: HostState, strategy: Strategy = Strategy.PACK) -> Fit | NoFit:
    """A valid placement of `request` on `state`, or the reasons why there is none.

    Pure and deterministic; sound and complete by docs/design/0001-what-fits.md. It compiles the request and counts the host. A caller
    that asks about many hosts or guests keeps both, and calls `search`, and `explain` where it needs the reasons.
    Raises `InvalidRequest` for an invalid request (an emulator policy without pinned vCPUs), `InvariantViolation` if the engine's own
    answer is wrong.
    """
    demand, counts = prepare(request), count_host(state)
    return search(demand, counts, strategy) or NoFit(reasons=explain(demand, counts))


def search(demand: Demand, counts: Counts, strategy: Strategy = Strategy.PACK, first: int = -1) -> Fit | None:
    """A valid placement of the compiled request on the counted host; None where there is none. Raises `InvariantViolation` as `fit`.

    A guest of equal cells goes to the host cell at position `first`, if that takes it; the others follow by `strategy`.
    """
    if not host_takes(demand, counts):
        return None
    if not demand.n_cells:
        answer = _float(demand, counts)
    else:
        placed = place(demand, counts, strategy, first)
        if placed is None:
            return None
        answer = _pin(demand, counts, placed)
    if not check.holds(demand, counts, answer):
        sentences = check.violations(demand.request, counts.state, answer)
        raise InvariantViolation("a fit breaks its own invariants: " + "; ".join(sentences))
    return answer


def _pin(demand: Demand, counts: Counts, placed: Placed) -> Fit:
    """The fit on the chosen host cells: their pCPUs and pages, and the place and the booking of the overhead threads by their rule.

    Without a pool or a pCPU of their own, the emulator threads float over the guest's pCPUs without those of realtime vCPUs (`own`).
    """
    seats, carrier = placed
    fit_cells: list[FitCell] = []
    own = idle = 0
    emulator_pcpu: int | None = None
    isolated, required = demand.isolated_threads, demand.required_threads
    request, pool = demand.request, counts.frame.pool
    rule = demand.rules[pool.state]
    placement = rule.placement
    over_own = placement is _FLOAT
    for position, guest in enumerate(demand.cells):  # `zip` takes twice as long
        _, cell, page_kib = seats[position]
        frame = cell.frame
        if position == carrier:
            pcpus, emulator_pcpu = emulator.choose(cell, guest, required, isolated)
            if isolated:
                idle |= cores.siblings(cell, (*pcpus, emulator_pcpu))
        elif guest.pins:
            pcpus = cores.choose(cell, guest.pins, required, isolated)
            if isolated:
                idle |= cores.siblings(cell, pcpus)
        else:
            pcpus = ()
        # `enumerate` takes two thirds of the time of `zip`. Neither `tuple` nor `strict`, which cost more than the pairs.
        pins = (*(enumerate(pcpus, guest.first) if guest.first >= 0 else zip(guest.vcpus, pcpus)),) if pcpus else ()  # noqa: B905
        if over_own:
            realtime = guest.realtime
            for vcpu, pcpu in pins:
                if not realtime or not realtime >> vcpu & 1:
                    own |= 1 << pcpu
        float_set = _NONE
        if guest.floats:
            float_set = frame.shared
            own |= float_set.mask
        fit_cells.append(FitCell(guest.guest_cell, frame.id, pins, guest.float_vcpus, float_set, guest.memory_mib, page_kib))
    cells = (*fit_cells,)
    if rule.books:
        booked = book(request, pool, counts.overhead_room, cells, counts.state.ledger)
        overhead, millicpu, warnings, by_cell = booked.cpus, booked.millicpu, booked.warnings, booked.cells
    else:
        overhead = CpuSet((), own if emulator_pcpu is None else 1 << emulator_pcpu)
        millicpu, warnings, by_cell = 0, (), ()
    return Fit(
        request.vcpus,
        demand.memory_mib,
        demand.disk_gib,
        cells,
        _NONE,
        _NONE,
        request.realtime,
        placement,
        overhead,
        emulator_pcpu,
        CpuSet((), idle) if idle else _NONE,
        millicpu,
        warnings,
        by_cell,
    )


def _float(demand: Demand, counts: Counts) -> Fit:
    """The fit of a guest without cells: everything on the shared pool."""
    request, shared = demand.request, counts.frame.shared
    return Fit(
        vcpus=request.vcpus,
        memory_mib=request.memory_mib,
        disk_gib=request.disk_gib,
        float_vcpus=demand.float_vcpus,
        float_set=shared,
        realtime=request.realtime,
        emulator=shared,
    )
