"""`fit`: one valid placement of a guest on a host, or why there is none. What "valid" means is docs/design/0001-what-fits.md.

1. Host: traits, pools, the lines of vCPUs, memory, disk and overhead (`room.host_takes`).
2. Counts: what each host cell has left (`count`), against what each kind of guest cell needs (`room`).
3. Host cells for the guest cells (`place`, by `match`).
4. pCPUs inside each chosen cell, by thread policy (`cores`, `emulator`).
5. The result is checked against the invariants before it is returned (`check`).
"""

from __future__ import annotations

from typing import Any

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvariantViolation
from pinfold.core.fit import check, cores, emulator
from pinfold.core.fit.count import Counts
from pinfold.core.fit.demand import Demand, prepare
from pinfold.core.fit.explain import explain
from pinfold.core.fit.model import EmulatorPlacement, Fit, FitCell, NoFit, Strategy
from pinfold.core.fit.place import Placed, place
from pinfold.core.fit.room import host_takes, page_for
from pinfold.core.ledger import HostState
from pinfold.core.overhead import booked_millicpu
from pinfold.core.reasons import Kind, Reason, ReasonCode
from pinfold.core.request.model import GuestRequest

_NONE = CpuSet()
_new = object.__new__


def fit(request: GuestRequest, state: HostState, strategy: Strategy = Strategy.PACK) -> Fit | NoFit:
    """A valid placement of `request` on `state`, or the reasons why there is none.

    Pure and deterministic; sound and complete by docs/design/0001-what-fits.md. The first call on a state counts it, the first call with
    a request compiles it; both are kept with the values, which do not change.
    Raises `InvalidRequest` for a request that no host may be asked (an emulator policy without pinned vCPUs), `InvariantViolation` when
    the engine's own answer is wrong.
    """
    demand = prepare(request)
    counts = state.counts
    if not host_takes(demand, counts):
        return explain(demand, state)
    if not demand.cells:
        answer = _float(demand, counts)
    else:
        placed = place(demand, counts, strategy)
        if placed is None:
            return explain(demand, state)
        answer = _pin(demand, counts, placed)
    if not check.holds(demand, counts, answer):
        raise InvariantViolation("a fit breaks its own invariants: " + "; ".join(check.violations(request, state, answer)))
    return answer


def _pin(demand: Demand, counts: Counts, placed: Placed) -> Fit:
    """The fit on the chosen host cells."""
    request = demand.request
    host_cells, carrier = placed
    fit_cells: list[FitCell] = []
    pinned = ordinary = idle = 0
    emulator_pcpu: int | None = None
    for position, guest in enumerate(demand.cells):
        cell = host_cells[position]
        if position == carrier:
            pcpus, emulator_pcpu = emulator.choose(cell, guest, required=demand.required_threads, isolated=demand.isolated_threads)
            if demand.isolated_threads:
                idle |= cores.idle_mask(cell, (*pcpus, emulator_pcpu))
        elif guest.vcpus:
            pcpus = cores.choose(cell, len(guest.vcpus), required=demand.required_threads, isolated=demand.isolated_threads)
            if demand.isolated_threads:
                idle |= cores.idle_mask(cell, pcpus)
        else:
            pcpus = ()
        pins = tuple(zip(guest.vcpus, pcpus, strict=True))
        for vcpu, pcpu in pins:
            pinned |= 1 << pcpu
            if not guest.realtime.mask >> vcpu & 1:
                ordinary |= 1 << pcpu
        float_set = cell.frame.shared if guest.float_vcpus else _NONE
        ordinary |= float_set.mask
        page = page_for(cell, demand.kinds[guest.kind], demand)
        fit_cells.append(
            _build(
                FitCell,
                {
                    "guest_cell": guest.guest_cell,
                    "host_cell": cell.frame.id,
                    "pins": pins,
                    "float_vcpus": guest.float_vcpus,
                    "float_set": float_set,
                    "memory_mib": guest.memory_mib,
                    "page_kib": page,
                },
            )
        )
    where, mask, millicpu, warnings = _overhead(demand, counts, ordinary, emulator_pcpu)
    answer: Fit = _build(
        Fit,
        {
            "vcpus": request.vcpus,
            "memory_mib": request.memory_mib,
            "disk_gib": request.disk_gib,
            "cells": tuple(fit_cells),
            "float_vcpus": _NONE,
            "float_set": _NONE,
            "realtime": request.realtime,
            "emulator_placement": where,
            "emulator": mask,
            "emulator_pcpu": emulator_pcpu,
            "idle_siblings": CpuSet.from_mask(idle) if idle else _NONE,
            "overhead_millicpu": millicpu,
            "warnings": warnings,
        },
    )
    return answer


def _overhead(
    demand: Demand, counts: Counts, ordinary: int, emulator_pcpu: int | None
) -> tuple[EmulatorPlacement, CpuSet, int, tuple[Reason, ...]]:
    """Where the emulator threads go, what they book, and a warning where the pool is booked beyond its capacity."""
    frame = counts.frame
    if emulator_pcpu is not None:
        return EmulatorPlacement.ISOLATED, CpuSet.from_mask(1 << emulator_pcpu), 0, ()
    if not demand.shares_emulator or frame.overhead is None:
        return EmulatorPlacement.FLOAT, CpuSet.from_mask(ordinary), 0, ()
    if not frame.books:
        return EmulatorPlacement.POOL, frame.overhead, 0, ()
    millicpu = booked_millicpu(demand.request, frame.rates)
    warnings: tuple[Reason, ...] = ()
    if millicpu > counts.overhead_room:
        kind = Kind.INFEASIBLE if millicpu > frame.overhead_cap else Kind.INSUFFICIENT
        warnings = (Reason(code=ReasonCode.OVERHEAD_BOOKED, kind=kind, needed=millicpu, available=counts.overhead_room),)
    return EmulatorPlacement.POOL, frame.overhead, millicpu, warnings


def _float(demand: Demand, counts: Counts) -> Fit:
    """The fit of a guest without cells: everything on the shared pool."""
    request = demand.request
    answer: Fit = _build(
        Fit,
        {
            "vcpus": request.vcpus,
            "memory_mib": request.memory_mib,
            "disk_gib": request.disk_gib,
            "cells": (),
            "float_vcpus": request.floating,
            "float_set": counts.frame.shared,
            "realtime": request.realtime,
            "emulator_placement": EmulatorPlacement.FLOAT,
            "emulator": counts.frame.shared,
            "emulator_pcpu": None,
            "idle_siblings": _NONE,
            "overhead_millicpu": 0,
            "warnings": (),
        },
    )
    return answer


def _build(kind: type, fields: dict[str, Any]) -> Any:
    """A frozen value with every field given, made without the price of the dataclass's own constructor (a third of a fit)."""
    new: Any = _new(kind)
    new.__dict__.update(fields)
    return new
