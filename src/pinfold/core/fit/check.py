"""Check a fit against the rules of `docs/design/0001-what-fits.md`, in two ways that share no code.

`holds` works on bit masks, and checks each answer of the engine. `violations` works on the host's state, and names each broken rule in a
sentence."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from pinfold.core.cpuset import CpuSet
from pinfold.core.fit.answer import Fit, FitCell
from pinfold.core.fit.count import CellCounts, Counts
from pinfold.core.fit.demand import Demand
from pinfold.core.host import HostState, exact
from pinfold.core.overhead import table
from pinfold.core.overhead.booking import PoolBooking, book, free_millicpu
from pinfold.core.overhead.pool import floating_pcpus, pool_of
from pinfold.core.plural import Count
from pinfold.core.reasons import ReasonCode
from pinfold.core.request.model import GuestCell, GuestRequest, PageKind, ThreadPolicy


def holds(demand: Demand, counts: Counts, fit: Fit) -> bool:
    """Whether a fit of the engine is valid by masks and counts. It reads only the answer, not the search."""
    frame, cells, fit_cells = counts.frame, counts.cells, fit.cells
    position_of = frame.position_of
    emulator_pcpu, idle = fit.emulator_pcpu, fit.idle_siblings.mask
    if len(fit_cells) != demand.n_cells or (emulator_pcpu is None) is (demand.own_pcpus > 0):
        return False
    taken = small = 0
    hosts: list[CellCounts] = []
    guests = demand.cells
    for position, cell in enumerate(fit_cells):  # `zip` takes longer than the rest of a small guest
        guest = guests[position]
        host = cells[position_of[cell.host_cell]]
        if host in hosts:
            return False
        hosts.append(host)
        mask = 0
        pins = cell.pins
        for _, pcpu in pins:
            mask |= 1 << pcpu
        if mask & ~host.free or len(pins) != guest.pins:
            return False
        taken |= mask
        if guest.floats and (
            guest.floats > host.shared_room or guest.floats > host.frame.n_shared or cell.float_set is not host.frame.shared
        ):
            return False
        if cell.page_kib == host.frame.small_kib:
            memory_mib = cell.memory_mib
            if memory_mib > host.small_free_mib:
                return False
            small += memory_mib
        elif not _pages_suffice(cell, host):
            return False
    threads = not demand.required_threads or _paired(hosts, fit)
    if not threads or taken.bit_count() != demand.pins or (small and small > counts.strict_room_mib):
        return False
    if emulator_pcpu is not None:
        mask = 1 << emulator_pcpu
        if taken & mask or not any(mask & host.free for host in hosts):
            return False
        taken |= mask
    if idle != (_siblings(hosts, fit) & ~taken if demand.isolated_threads else 0) or not fit.emulator.mask:
        return False
    return not demand.floating or demand.floating <= counts.vcpu_room


def _pages_suffice(cell: FitCell, host: CellCounts) -> bool:
    need, wanted = cell.memory_mib * 1024, cell.page_kib
    for size, free in host.huge:
        if size == wanted:
            return need % size == 0 and need <= size * free
    return False


def _paired(hosts: list[CellCounts], fit: Fit) -> bool:
    """Whether every vCPU's pCPU has another free dedicated thread on its core."""
    for position, cell in enumerate(fit.cells):
        host = hosts[position]
        core_of, free = host.frame.core_of, host.free
        for _, pcpu in cell.pins:
            if (core_of[pcpu] & free).bit_count() < 2:
                return False
    return True


def _siblings(hosts: list[CellCounts], fit: Fit) -> int:
    """The cores of the fit's pCPUs as a mask; -1 if one of them carries two of these pCPUs, or is not wholly free."""
    cores, own = 0, fit.emulator_pcpu
    for position, cell in enumerate(fit.cells):
        host = hosts[position]
        core_of, used = host.frame.core_of, ~host.free
        pcpus = [pcpu for _, pcpu in cell.pins]
        if own in core_of:
            pcpus.append(own)
        for pcpu in pcpus:
            core = core_of[pcpu]
            if core & (used | cores):
                return -1
            cores |= core
    return cores


def violations(request: GuestRequest, state: HostState, fit: Fit) -> tuple[str, ...]:
    """Every rule of docs/design/0001-what-fits.md that `fit` breaks, one sentence each; empty for a valid placement.

    It uses only the host state and shares neither counts nor search with the engine. Preferences are not rules.
    """
    return tuple(
        sentence
        for rule in (_of_shape, _of_pcpus, _of_threads, _of_floating, _of_memory, _of_emulator, _of_host)
        for sentence in rule(request, state, fit)
    )


def _of_shape(request: GuestRequest, state: HostState, fit: Fit) -> Iterator[str]:
    if (fit.vcpus, fit.memory_mib, fit.disk_gib, fit.realtime) != (request.vcpus, request.memory_mib, request.disk_gib, request.realtime):
        yield "the fit is not the size of the request"
    asked = [(cell.id, tuple(cell.dedicated), cell.shared, cell.memory_mib) for cell in request.cells]
    given = [(cell.guest_cell, tuple(vcpu for vcpu, _ in cell.pins), cell.float_vcpus, cell.memory_mib) for cell in fit.cells]
    if asked != given:
        yield "the guest cells are not those of the request"
    if not request.cells and (fit.float_vcpus != request.floating or fit.float_set != state.pools.shared or not fit.float_set):
        yield "a guest without cells does not float over the whole shared pool"
    host_cells = [cell.host_cell for cell in fit.cells]
    if len(set(host_cells)) != len(host_cells):
        yield "two guest cells are on one host cell"
    for host_cell in set(host_cells) - {cell.id for cell in state.topology.cells}:
        yield f"there is no host cell {host_cell}"


def _free(state: HostState) -> int:
    free = state.pools.dedicated.mask & state.topology.online.mask
    for claim in state.ledger.claims:
        free &= ~claim.fit.taken.mask
    for foreign in state.ledger.foreign:
        free &= ~foreign.cpus.mask
    return free


def _of_pcpus(_request: GuestRequest, state: HostState, fit: Fit) -> Iterator[str]:
    free = _free(state)
    owned = [pcpu for _, pcpu in fit.pins]
    if fit.emulator_pcpu is not None:
        owned.append(fit.emulator_pcpu)
    owned += fit.idle_siblings
    for pcpu in sorted({pcpu for pcpu in owned if owned.count(pcpu) > 1}):
        yield f"pCPU {pcpu} is given twice"
    for pcpu in owned:
        if not free >> pcpu & 1:
            yield f"pCPU {pcpu} is not a free dedicated pCPU"
    for cell in fit.cells:
        for vcpu, pcpu in cell.pins:
            if state.topology.cell_of.get(pcpu) != cell.host_cell:
                yield f"vCPU {vcpu} is on pCPU {pcpu}, which is not in cell {cell.host_cell}"


def _of_threads(request: GuestRequest, state: HostState, fit: Fit) -> Iterator[str]:
    free = _free(state)
    siblings = state.topology.siblings
    carried = [pcpu for _, pcpu in fit.pins]
    if request.thread_policy is ThreadPolicy.REQUIRE:
        for pcpu in carried:
            if pcpu in siblings and (siblings[pcpu].mask & free).bit_count() < 2:
                yield f"pCPU {pcpu} has no other free dedicated thread on its core"
    idle = 0
    if request.thread_policy is ThreadPolicy.ISOLATE:
        if fit.emulator_pcpu is not None:
            carried.append(fit.emulator_pcpu)
        for pcpu in carried:
            core = siblings[pcpu].mask if pcpu in siblings else 1 << pcpu
            idle |= core & ~(1 << pcpu)
            if core & ~free:
                yield f"the core of pCPU {pcpu} is not wholly free"
    if fit.idle_siblings.mask != idle:
        yield f"the idle siblings are {fit.idle_siblings}, not the siblings of isolated pCPUs"


def _effective_ratio(state: HostState) -> Fraction:
    shared = len(state.pools.shared)
    return exact(state.limits.cpu_allocation_ratio) * floating_pcpus(state.pools, state.limits) / shared if shared else Fraction(0)


def _of_floating(_request: GuestRequest, state: HostState, fit: Fit) -> Iterator[str]:
    ratio = _effective_ratio(state)
    claimed = [claim.fit for claim in state.ledger.claims]
    total = sum(other.floating_count for other in claimed) + fit.floating_count
    if fit.floating_count and total > len(state.pools.shared) * ratio:
        yield f"the host has {Count(total):floating vCPU}, more than the shared pool holds"
    for cell in fit.cells:
        if not cell.float_vcpus:
            continue
        part = state.pools.shared & state.topology.cell(cell.host_cell).cpus
        bound = sum(len(other.float_vcpus) for one in (*claimed, fit) for other in one.cells if other.host_cell == cell.host_cell)
        if cell.float_set != part:
            yield f"guest cell {cell.guest_cell} does not float over its host cell's part of the shared pool"
        if len(cell.float_vcpus) > len(part):
            yield f"guest cell {cell.guest_cell} competes with itself for {Count(len(part)):shared pCPU}"
        if bound > len(part) * ratio:
            yield f"cell {cell.host_cell} has {Count(bound):floating vCPU}, more than its shared pCPUs hold"


def _of_memory(request: GuestRequest, state: HostState, fit: Fit) -> Iterator[str]:
    small = {cell.id: cell.small_page_kib for cell in state.topology.cells}
    for cell, asked in zip(fit.cells, request.cells, strict=False):
        yield from _of_pages(request, state, cell, asked)
    strict = any(cell.page_kib == small.get(cell.host_cell) for cell in fit.cells)
    if fit.cells and not strict:
        return
    limits, foreign = state.limits, state.ledger.foreign
    fits = [*(claim.fit for claim in state.ledger.claims), fit]
    total = sum(cell.pages[0].size_kib * cell.pages[0].total for cell in state.topology.cells if cell.pages)
    held = sum(page.count * page.size_kib for other in foreign for page in other.pages if small.get(page.cell) == page.size_kib)
    held += sum(page.count * page.size_kib for page in limits.reserved_pages if small.get(page.cell) == page.size_kib)
    mib = limits.reserved_memory_mib + sum(other.memory_mib for other in foreign)
    mib += sum(cell.memory_mib for one in fits for cell in one.cells if cell.page_kib == small.get(cell.host_cell))
    floating = sum(one.memory_mib for one in fits if not one.cells) / exact(limits.ram_allocation_ratio)
    if mib + floating + Fraction(held, 1024) > Fraction(total, 1024):
        yield f"the host's small-page memory of {total // 1024} MiB is overdrawn"


def _of_pages(request: GuestRequest, state: HostState, cell: FitCell, asked: GuestCell) -> Iterator[str]:
    host = next((one for one in state.topology.cells if one.id == cell.host_cell), None)
    size = cell.page_kib
    total = next((page.total for page in host.pages if page.size_kib == size), None) if host else None
    if host is None or total is None:
        yield f"cell {cell.host_cell} has no pages of {size} KiB"
        return
    small = size == host.small_page_kib
    kind = request.page.kind
    if (
        (kind is PageKind.EXPLICIT and size != request.page.size_kib)
        or (kind is PageKind.SMALL and not small)
        or (kind is PageKind.LARGE and small)
    ):
        yield f"guest cell {cell.guest_cell} asked for other pages than {size} KiB"
    if asked.memory_mib * 1024 % size:
        yield f"guest cell {cell.guest_cell} is no whole number of pages of {size} KiB"
    taken = sum(page.count for page in state.limits.reserved_pages if (page.cell, page.size_kib) == (host.id, size))
    taken += sum(page.count for other in state.ledger.foreign for page in other.pages if (page.cell, page.size_kib) == (host.id, size))
    for claim in state.ledger.claims:
        for other in claim.fit.cells:
            if (other.host_cell, other.page_kib) == (host.id, size):
                taken += other.memory_mib * 1024 // size
    if cell.memory_mib * 1024 > (total - taken) * size:
        yield f"cell {cell.host_cell} has {Count(total - taken):free page} of {size} KiB, {cell.memory_mib * 1024 // size} needed"


def _of_emulator(request: GuestRequest, state: HostState, fit: Fit) -> Iterator[str]:
    rule = table.rule(request.emulator_policy, state.pools.overhead)
    own = fit.float_set.mask
    for cell in fit.cells:
        own |= cell.float_set.mask
        for vcpu, pcpu in cell.pins:
            if vcpu not in request.realtime:
                own |= 1 << pcpu
    alone = CpuSet() if fit.emulator_pcpu is None else CpuSet.of(fit.emulator_pcpu)
    pool = pool_of(state)
    booked = book(request, pool, free_millicpu(state), fit.cells, state.ledger) if rule.books else PoolBooking(pool.cpus, 0, ())
    expected = table.pcpus(rule.placement, booked.cpus, CpuSet.from_mask(own), alone)
    if rule.own_pcpus and state.topology.cell_of.get(alone.first if alone else -1) not in {cell.host_cell for cell in fit.cells}:
        yield "the isolated emulator has no pCPU in a cell of the guest"
    if not rule.own_pcpus and fit.emulator_pcpu is not None:
        yield "an emulator pCPU was given that nobody asked for"
    if fit.emulator_placement is not rule.placement or fit.emulator != expected or not expected:
        yield f"the emulator threads are on {fit.emulator} ({fit.emulator_placement.value}), against the policy"
    yield from _of_booking(state, fit, booked)


def _of_booking(state: HostState, fit: Fit, right: PoolBooking) -> Iterator[str]:
    if fit.overhead_millicpu != right.millicpu:
        yield f"the fit books {fit.overhead_millicpu} millicpu, the rates say {right.millicpu}"
    if fit.overhead_cells != right.cells:
        yield f"the fit books {fit.overhead_cells} by cell, the rates say {right.cells}"
    if pool_of(state).enforces and any(warning.code is ReasonCode.OVERHEAD_BOOKED for warning in right.warnings):
        yield f"the overhead pool has {free_millicpu(state)} millicpu free, {right.millicpu} are booked"
    if fit.warnings != right.warnings:
        yield "the warning about a booked overhead pool is missing" if right.warnings else "there is a warning about nothing"


def _of_host(request: GuestRequest, state: HostState, fit: Fit) -> Iterator[str]:
    for trait in sorted(request.traits_required - state.traits):
        yield f"the host lacks the trait {trait}"
    for trait in sorted(request.traits_forbidden & state.traits):
        yield f"the host has the forbidden trait {trait}"
    if state.disk_gib is not None:
        used = state.limits.reserved_disk_gib + sum(claim.fit.disk_gib for claim in state.ledger.claims) + fit.disk_gib
        if used > state.disk_gib * exact(state.limits.disk_allocation_ratio):
            yield f"{used} GiB of disk are promised, more than the host has"
