"""The rules that every fit obeys on any host. A fit from a record may break them. `check` compares a fit with a host."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from pinfold.core.bounds import MAX_AMOUNT, MAX_CELL, MAX_CPU, MAX_GUEST_CELLS, MAX_PAGE_KIB
from pinfold.core.cpuset import CpuSet
from pinfold.core.fit.answer import EmulatorPlacement, Fit, FitCell
from pinfold.core.plural import count


def broken(fit: Fit) -> str:
    """The first rule that the fit breaks, as the predicate of a sentence about it; '' if it breaks none.

    >>> broken(Fit(vcpus=1, memory_mib=64, float_vcpus=CpuSet.of(0), float_set=CpuSet.of(4), emulator=CpuSet.of(4)))
    ''
    >>> broken(Fit(vcpus=2, memory_mib=64, float_vcpus=CpuSet.of(0), float_set=CpuSet.of(4), emulator=CpuSet.of(4)))
    'does not place each of 2 vCPUs exactly once'
    """
    return next((wrong for rule in (_amounts, _cells, _vcpus, _pcpus, _overhead) for wrong in rule(fit)), "")


def _amounts(fit: Fit) -> Iterator[str]:
    if not 1 <= fit.vcpus <= MAX_CPU + 1:
        yield f"has {fit.vcpus} vCPUs, 1 to {MAX_CPU + 1} are allowed"
    for name in ("memory_mib", "disk_gib", "overhead_millicpu"):
        if not 0 <= getattr(fit, name) <= MAX_AMOUNT:
            yield f"has {name} {getattr(fit, name)}, 0 to {MAX_AMOUNT} are allowed"


def _cells(fit: Fit) -> Iterator[str]:
    if len(fit.cells) > MAX_GUEST_CELLS:
        yield f"has {len(fit.cells)} guest cells, at most {MAX_GUEST_CELLS} are allowed"
    if any(one.guest_cell >= other.guest_cell for one, other in pairwise(fit.cells)):
        yield "does not list its guest cells once each, in ascending order"
    hosts = [cell.host_cell for cell in fit.cells]
    if len(set(hosts)) != len(hosts):
        yield "puts two guest cells on one host cell"
    for cell in fit.cells:
        yield from _cell(cell)
    if fit.cells and sum(cell.memory_mib for cell in fit.cells) != fit.memory_mib:
        yield f"has {fit.memory_mib} MiB of memory, and its cells have another sum"


def _cell(cell: FitCell) -> Iterator[str]:
    if not 0 <= cell.guest_cell < MAX_GUEST_CELLS or not 0 <= cell.host_cell <= MAX_CELL:
        yield f"puts guest cell {cell.guest_cell} on host cell {cell.host_cell}, which cannot be"
    if not 1 <= cell.page_kib <= MAX_PAGE_KIB:
        yield f"gives guest cell {cell.guest_cell} pages of {cell.page_kib} KiB, 1 to {MAX_PAGE_KIB} are allowed"
    elif cell.memory_mib < 0 or cell.memory_mib * 1024 % cell.page_kib:
        yield f"gives guest cell {cell.guest_cell} {cell.memory_mib} MiB, which is no whole number of pages of {cell.page_kib} KiB"
    if not cell.pins and not cell.float_vcpus:
        yield f"gives guest cell {cell.guest_cell} no vCPU"


def _vcpus(fit: Fit) -> Iterator[str]:
    """Check that every vCPU has exactly one place."""
    placed = sorted([vcpu for vcpu, _ in fit.pins] + [vcpu for cell in fit.cells for vcpu in cell.float_vcpus] + list(fit.float_vcpus))
    if len(placed) != fit.vcpus or placed != list(range(len(placed))):
        yield f"does not place each of {count(fit.vcpus, 'vCPU')} exactly once"
    if (fit.float_vcpus and not fit.float_set) or any(cell.float_vcpus and not cell.float_set for cell in fit.cells):
        yield "has vCPUs that float over no pCPU"
    astray = fit.realtime - CpuSet(vcpu for vcpu, _ in fit.pins)
    if astray:
        yield f"makes vCPU {astray.first} realtime, which is not pinned"


def _pcpus(fit: Fit) -> Iterator[str]:
    """Check that no pCPU serves the guest twice, and that the emulator threads have pCPUs that agree with their placement."""
    pcpus = [pcpu for _, pcpu in fit.pins]
    beyond = [pcpu for pcpu in (*pcpus, fit.emulator_pcpu or 0) if not 0 <= pcpu <= MAX_CPU]
    if beyond:
        yield f"names pCPU {beyond[0]}, 0 to {MAX_CPU} are allowed"
        return
    pins, own = CpuSet(pcpus), CpuSet() if fit.emulator_pcpu is None else CpuSet.of(fit.emulator_pcpu)
    if len(pins) != len(pcpus):
        yield "pins two vCPUs to one pCPU"
    if not fit.emulator:
        yield "gives the emulator threads no pCPU"
    isolated = fit.emulator_placement is EmulatorPlacement.ISOLATED
    if isolated != bool(own) or (isolated and fit.emulator != own):
        yield "does not say whether the emulator threads have a pCPU of their own"
    twice = (pins & own) | (pins & fit.idle_siblings) | (own & fit.idle_siblings)
    if twice:
        yield f"gives pCPU {twice} to two of its own"


def _overhead(fit: Fit) -> Iterator[str]:
    """Check that what is booked by cell is booked on the guest's host cells, once each, and adds up."""
    cells = [cell for cell, _ in fit.overhead_cells]
    if cells and (fit.emulator_placement is not EmulatorPlacement.POOL or cells != sorted(set(cells))):
        yield "does not book the overhead pool's cells once each, in ascending order"
    if not set(cells) <= {cell.host_cell for cell in fit.cells}:
        yield "books the overhead pool on a cell where the guest has no vCPU"
    amounts = [millicpu for _, millicpu in fit.overhead_cells]
    if cells and (min(amounts) < 0 or sum(amounts) != fit.overhead_millicpu):
        yield f"books {fit.overhead_millicpu} millicpu, and by cell another sum"
