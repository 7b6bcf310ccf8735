"""Choose the pCPU of an isolated emulator beside the vCPUs of one guest cell. `place` chooses that guest cell."""

from __future__ import annotations

from functools import reduce
from operator import or_

from pinfold.core.errors import InvariantViolation
from pinfold.core.fit import cores
from pinfold.core.fit.count import CellCounts, Threads
from pinfold.core.fit.demand import CellDemand
from pinfold.core.plural import count


def choose(cell: CellCounts, guest: CellDemand, required: bool, isolated: bool) -> tuple[Threads, int]:
    """Choose the pCPUs of the cell's vCPUs, in the order of `guest.vcpus`, and the emulator's pCPU.

    1. With thread policy `isolate`, give each a whole core, the emulator's last.
    2. Otherwise choose the vCPUs' pCPUs by thread policy, then the emulator's from the rest, on a broken core if possible.
    3. If only siblings of realtime vCPUs are left, choose the vCPUs' pCPUs again around each core that could carry the emulator.
    """
    pins = guest.pins
    if isolated:
        all_pcpus = cores.isolate(cell, pins + 1)
        return all_pcpus[:pins], all_pcpus[pins]
    pcpus = cores.choose(cell, pins, required, False) if pins else ()
    emulator = _beside(cell, guest, pcpus, guest.realtime)
    if emulator is not None:
        return pcpus, emulator
    again = _choose_again(cell, guest, required)
    if again is not None:
        return again
    emulator = _beside(cell, guest, pcpus, 0)
    if emulator is None:
        raise InvariantViolation(f"cell {cell.frame.id} was counted to hold {count(pins, 'vCPU')} and an emulator pCPU, and does not")
    return pcpus, emulator


def _beside(cell: CellCounts, guest: CellDemand, pcpus: Threads, realtime: int) -> int | None:
    """A free pCPU that is neither in `pcpus` nor a sibling of a vCPU in `realtime`: on a broken core first, then the lowest."""
    cores_of = cell.frame.core_of
    avoid = 0
    broken = reduce(or_, map(cores_of.__getitem__, pcpus), (cell.known_shape or cell.shape).broken)
    if realtime:
        for vcpu, pcpu in zip(guest.vcpus, pcpus, strict=True):
            if realtime >> vcpu & 1:
                avoid |= cores_of[pcpu]
    left = cell.free & ~cores.mask(pcpus) & ~avoid
    best = left & broken or left
    return (best & -best).bit_length() - 1 if best else None


def _choose_again(cell: CellCounts, guest: CellDemand, required: bool) -> tuple[Threads, int] | None:
    """Pins and emulator with no realtime vCPU on the emulator's core; None if there is no such choice.

    The emulator's core gives as few other threads as possible to vCPUs, and none to realtime ones.
    The order is: cores that need fewer vCPUs, then broken cores, then the lowest.
    """
    ordinary = [vcpu for vcpu in guest.vcpus if not guest.realtime >> vcpu & 1]
    pins = len(guest.vcpus)
    candidates: list[tuple[int, bool, int, Threads]] = []
    free_cores = [(core, True) for core in cell.shape.wholes] + [(core, False) for core in cell.shape.brokens]
    usable = cell.shape.n_paired if required else cell.n_free
    for core, whole in free_cores:
        mine = len(core) if not required or len(core) > 1 else 0
        forced = max(pins - (usable - mine), 0)
        if forced <= min(mine, len(core) - 1, len(ordinary)):
            candidates.append((forced, whole, core[0], core))
    if not candidates:
        return None
    forced, _, _, core = min(candidates)
    least = 2 if required else 1
    wholes = [other for other in cell.shape.wholes if other != core and len(other) >= least]
    brokens = [other for other in cell.shape.brokens if other != core and len(other) >= least]
    others = cores.fill(cell, wholes, brokens, pins - forced)
    beside = dict(zip(ordinary[:forced], core[1 : 1 + forced], strict=True))
    rest = iter(others)
    return tuple([beside[vcpu] if vcpu in beside else next(rest) for vcpu in guest.vcpus]), core[0]
