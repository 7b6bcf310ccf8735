"""Our side: the engine on a host state whose claims are the scenario's, and a request compiled from the scenario's flavor."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from benchmarks.fit.scenarios import DEDICATED, SMALL_KIB, Cell, Scenario
from benchmarks.fit.timing import median_ns, serve
from pinfold.core.cpuset import CpuSet
from pinfold.core.fit.answer import Fit, FitCell, Strategy
from pinfold.core.fit.count import Counts, count_host
from pinfold.core.fit.demand import prepare
from pinfold.core.fit.engine import fit, search
from pinfold.core.fit.explain import explain
from pinfold.core.host import Claim, HostState, Ledger, Limits
from pinfold.core.identity import GuestId
from pinfold.core.pools import Pools
from pinfold.core.request.compile import compile_request
from pinfold.core.request.model import Flavor, GuestRequest
from pinfold.core.topology import HostCell, PagePool, Topology

PER_CLAIM = 4
_SMALL = Flavor(vcpus=2, memory_mib=512, extra_specs=DEDICATED)
_NEWCOMER = GuestId("00000000-0000-4000-8000-0000000000ff")


def request_of(scenario: Scenario) -> GuestRequest:
    """The flavor's request."""
    return compile_request(Flavor(vcpus=scenario.vcpus, memory_mib=scenario.memory_mib, extra_specs=scenario.extra_specs))


def state_of(scenario: Scenario) -> HostState:
    """The host, with claims that hold what the scenario says is held; Nova's totals, so that both sides have the same host."""
    cells = tuple(
        HostCell(
            id=cell.id,
            cores=tuple(CpuSet(core) for core in cell.cores),
            sockets=tuple(0 for _ in cell.cores),
            memory_mib=sum(size * total for size, total, _ in cell.pages) // 1024,
            pages=tuple(PagePool(size_kib=size, total=total) for size, total, _ in cell.pages),
        )
        for cell in scenario.cells
    )
    shared = CpuSet(pcpu for cell in scenario.cells for pcpu in cell.shared)
    dedicated = CpuSet(pcpu for cell in scenario.cells for pcpu in cell.dedicated)
    fits = [held for cell in scenario.cells for held in _held(cell)]
    return HostState(
        topology=Topology(cells=cells),
        pools=Pools(shared=shared, dedicated=dedicated, overhead=shared or None),
        limits=Limits(cpu_allocation_ratio=4.0, ram_allocation_ratio=1.0, reserved_memory_mib=0, shared_fraction=0.0),
        ledger=Ledger(claims=tuple(Claim(guest=f"00000000-0000-4000-8000-{index:012d}", fit=held) for index, held in enumerate(fits))),
    )


def _held(cell: Cell) -> list[Fit]:
    """Guests of up to four pCPUs for the pinned ones, one more for each page size and for the floating vCPUs."""
    found = []
    for first in range(0, len(cell.pinned), PER_CLAIM):
        pcpus = cell.pinned[first : first + PER_CLAIM]
        part = FitCell(guest_cell=0, host_cell=cell.id, pins=tuple(enumerate(pcpus)))
        found.append(Fit(vcpus=len(pcpus), memory_mib=0, cells=(part,), emulator=CpuSet(pcpus)))
    for size, _, used in cell.pages:
        memory = size * used // 1024
        floating = CpuSet(range(cell.floating)) if size == SMALL_KIB else CpuSet()
        if not memory and not floating:
            continue
        over = CpuSet(cell.shared) if floating else CpuSet()
        part = FitCell(guest_cell=0, host_cell=cell.id, float_vcpus=floating, float_set=over, memory_mib=memory, page_kib=size)
        found.append(Fit(vcpus=max(1, len(floating)), memory_mib=memory, cells=(part,), emulator=CpuSet(cell.shared)))
    return found


def decide(scenario: Scenario) -> dict[str, Any]:
    """Our answer: host cell and pins of each guest cell, or that it is refused and why."""
    answer = fit(request_of(scenario), state_of(scenario), Strategy.SPREAD)
    if isinstance(answer, Fit):
        return {"accepted": True, "pins": len(answer.pins), "cells": [part.host_cell for part in answer.cells]}
    return {"accepted": False, "why": answer.sentence()}


Change = Callable[[Counts], Counts]


def timed(scenario: Scenario) -> dict[str, Any]:
    """The medians of one decision on a prepared state with a compiled request: alone, with the reasons of a refusal, after one claim more
    or less, and on a state that is counted from nothing.
    """
    demand, counts = prepare(request_of(scenario)), count_host(state_of(scenario))

    def decide_on(known: Counts) -> Fit | None:
        return search(demand, known, Strategy.SPREAD)

    return {
        "ns": median_ns(lambda count: [counts] * count, decide_on),
        "explained_ns": median_ns(lambda count: [counts] * count, lambda one: decide_on(one) or explain(demand, one), 200),
        "claimed_ns": median_ns(lambda count: changes(counts, count), lambda change: decide_on(change(counts)), 200),
        "changed_ns": median_ns(lambda count: [counts.state] * count, lambda one: decide_on(count_host(one, counts.frame)), 100),
    }


def changes(counts: Counts, number: int) -> list[Change]:
    """One change so many times, as the scheduler's index makes it: a guest of two pinned vCPUs is claimed; where it finds no place, a claim
    is released. Each claim has a fit of its own, which has computed nothing yet.
    """
    found = search(prepare(compile_request(_SMALL)), counts, Strategy.SPREAD)
    if found is None:
        gone = counts.state.ledger.claims[0]
        return [lambda known: known.released(gone.guest)] * number
    claims = [Claim(guest=_NEWCOMER, fit=replace(found)) for _ in range(number)]
    return [lambda known, claim=claim: known.claimed(claim) for claim in claims]  # type: ignore[misc]


def aside(scenario: Scenario) -> dict[str, Any]:
    """What stands outside the decision: compiling the flavor, and the first decision of a request on a prepared state."""
    request, counts = request_of(scenario), count_host(state_of(scenario))
    return {
        "request": median_ns(lambda count: [scenario] * count, request_of, 200),
        "first": median_ns(lambda count: [request] * count, lambda one: search(prepare(one), counts, Strategy.SPREAD), 200),
    }


if __name__ == "__main__":
    serve({"decide": decide, "time": timed, "aside": aside}, {"python": platform.python_version()})
