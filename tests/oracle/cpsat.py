"""What fits, by OR-tools CP-SAT over single pCPUs: for hosts too large to try everything. Preferences do not belong here."""

from __future__ import annotations

from ortools.sat.python import cp_model
from tests.oracle.enumeration import host_allows, page_works, shared_works
from tests.oracle.room import Room

from pinfold.core.request.model import CpuPolicy, EmulatorPolicy, GuestRequest, ThreadPolicy


def feasible_in(request: GuestRequest, room: Room) -> bool:
    """Whether any placement exists. Raises `RuntimeError` where the solver gives up.

    Variables: `sits[g, h]` guest cell g on host cell h; `paged[g, h, s]` on pages of size s; `vcpu[c]` and `emulator[c]` on free pCPU c.
    """
    if not host_allows(request, room):
        return False
    if not request.cells:
        return True
    model = cp_model.CpModel()
    sits, strict = _sitting(model, request, room)
    if strict:
        model.add(sum(strict) <= max(0, room.small_memory // 1))  # an overfull line still takes guests that add nothing to it
    isolated = request.emulator_policy is EmulatorPolicy.ISOLATE
    thread = ThreadPolicy.PREFER if request.cpu_policy is CpuPolicy.SHARED else request.thread_policy
    emulators: list[cp_model.IntVar] = []
    for h, cell in enumerate(room.cells):
        vcpu = {pcpu: model.new_bool_var(f"v{pcpu}") for pcpu in cell.free}
        emulator = {pcpu: model.new_bool_var(f"e{pcpu}") for pcpu in cell.free} if isolated else {}
        model.add(sum(vcpu.values()) == sum(len(guest.dedicated) * sits[g, h] for g, guest in enumerate(request.cells)))
        used = sum(sits[g, h] for g in range(len(request.cells)))
        for pcpu, carries in emulator.items():
            model.add(carries <= used)
            model.add(carries + vcpu[pcpu] <= 1)
        emulators.extend(emulator.values())
        for core in cell.cores:
            free = core & cell.free
            if thread is ThreadPolicy.REQUIRE and len(free) < 2:
                model.add(sum(vcpu[pcpu] for pcpu in free) == 0)
            if thread is ThreadPolicy.ISOLATE:
                on_core = [var for vars_ in (vcpu, emulator) for pcpu, var in vars_.items() if pcpu in core]
                model.add(sum(on_core) <= (1 if free == core else 0))
    if isolated:
        model.add(sum(emulators) == 1)
    return _solve(model)


def _sitting(
    model: cp_model.CpModel, request: GuestRequest, room: Room
) -> tuple[dict[tuple[int, int], cp_model.IntVar], list[cp_model.LinearExpr]]:
    """The variables of who sits where, and the terms of strict small-page memory in MiB."""
    sits = {}
    strict: list[cp_model.LinearExpr] = []
    for g, guest in enumerate(request.cells):
        for h, cell in enumerate(room.cells):
            var = sits[g, h] = model.new_bool_var(f"g{g}h{h}")
            paged = []
            for page in cell.pages:
                if page_works(request, guest, page):
                    size = model.new_bool_var(f"g{g}h{h}p{page.size_kib}")
                    paged.append(size)
                    if page.small and guest.memory_mib:
                        strict.append(guest.memory_mib * size)
            model.add(sum(paged) == var)
            if not shared_works(guest, cell, room):
                model.add(var == 0)
        model.add(sum(sits[g, h] for h in range(len(room.cells))) == 1)
    for h in range(len(room.cells)):
        model.add(sum(sits[g, h] for g in range(len(request.cells))) <= 1)
    return sits, strict


def _solve(model: cp_model.CpModel) -> bool:
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.max_time_in_seconds = 60
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE, cp_model.INFEASIBLE):
        raise RuntimeError(f"CP-SAT gave up: {solver.status_name(status)}")
    return status != cp_model.INFEASIBLE
