"""`valid`: the clauses of `0001-what-fits` that a returned fit breaks on a host. Whether another fit exists is in `oracle`."""

from __future__ import annotations

from tests.oracle.enumeration import host_allows, page_works, shared_works
from tests.oracle.room import CellRoom, Room, read

from pinfold.core.fit.answer import EmulatorPlacement, Fit, FitCell
from pinfold.core.host import HostState
from pinfold.core.reasons import ReasonCode
from pinfold.core.request.model import CpuPolicy, EmulatorPolicy, GuestCell, GuestRequest, ThreadPolicy


def valid(request: GuestRequest, state: HostState, fit: Fit) -> list[str]:
    """The sentences of what is wrong with the fit; empty when it is a valid placement of the request on the host."""
    room = read(state)
    wrong = []
    if not host_allows(request, room):
        wrong.append("the host's lines, traits, disk or overhead pool do not allow the guest at all")
    wrong += [
        f"{name} is {getattr(fit, name)}, asked {getattr(request, name)}"
        for name in ("vcpus", "memory_mib", "disk_gib", "realtime")
        if getattr(fit, name) != getattr(request, name)
    ]
    if request.cells:
        wrong += _cells(request, room, fit)
    else:
        wrong += _no_cells(request, room, fit)
    if not wrong:
        wrong += _pcpus(request, room, fit) + emulator_wrongs(request, room, fit) + _idle(request, state, fit)
    return wrong + _booking(request, room, fit)


def _no_cells(request: GuestRequest, room: Room, fit: Fit) -> list[str]:
    wrong = []
    if fit.cells:
        wrong.append("a guest without cells got cells")
    if frozenset(fit.float_vcpus) != frozenset(range(request.vcpus)) or frozenset(fit.float_set) != room.shared:
        wrong.append(f"vCPUs {fit.float_vcpus} float over {fit.float_set}, all of them should over the shared pool")
    return wrong


def _cells(request: GuestRequest, room: Room, fit: Fit) -> list[str]:
    wrong = []
    if fit.float_vcpus or fit.float_set:
        wrong.append("a guest with cells floats over the host")
    if [part.guest_cell for part in fit.cells] != [guest.id for guest in request.cells]:
        return [*wrong, f"guest cells are {[part.guest_cell for part in fit.cells]}"]
    cells = {cell.id: cell for cell in room.cells}
    if len({part.host_cell for part in fit.cells}) != len(fit.cells) or any(part.host_cell not in cells for part in fit.cells):
        return [*wrong, f"host cells {[part.host_cell for part in fit.cells]} are not distinct cells of the host"]
    strict = 0
    for guest, part in zip(request.cells, fit.cells, strict=True):
        cell = cells[part.host_cell]
        wrong += [f"guest cell {guest.id} on host cell {cell.id}: {text}" for text in _cell(request, room, guest, part, cell)]
        strict += part.memory_mib if any(page.small and page.size_kib == part.page_kib for page in cell.pages) else 0
    if strict and strict > room.small_memory:
        wrong.append(f"{strict} MiB of strict small-page memory, the host's line has {room.small_memory}")
    return wrong


def _cell(request: GuestRequest, room: Room, guest: GuestCell, part: FitCell, cell: CellRoom) -> list[str]:
    wrong = []
    if [vcpu for vcpu, _ in part.pins] != sorted(guest.dedicated):
        wrong.append(f"pins are of vCPUs {[vcpu for vcpu, _ in part.pins]}, dedicated are {guest.dedicated}")
    if part.float_vcpus != guest.shared or frozenset(part.float_set) != (cell.shared if guest.shared else frozenset()):
        wrong.append(f"vCPUs {part.float_vcpus} float over {part.float_set}")
    if not shared_works(guest, cell, room):
        wrong.append("the cell's shared pCPUs do not take its floating vCPUs")
    works = [page.size_kib for page in cell.pages if page_works(request, guest, page)]
    if part.memory_mib != guest.memory_mib:
        wrong.append(f"memory is {part.memory_mib} MiB, asked {guest.memory_mib}")
    if not works or part.page_kib != max(works):
        wrong.append(f"page size is {part.page_kib} KiB, those that work are {works}")
    return wrong


def _pcpus(request: GuestRequest, room: Room, fit: Fit) -> list[str]:
    """Pins free, distinct, of their cells, and as the thread policy says; clause 6."""
    wrong = []
    cells = {cell.id: cell for cell in room.cells}
    everything = [pcpu for part in fit.cells for _, pcpu in part.pins]
    if len(set(everything)) != len(everything):
        wrong.append(f"a pCPU carries two vCPUs: {sorted(everything)}")
    thread = ThreadPolicy.PREFER if request.cpu_policy is CpuPolicy.SHARED else request.thread_policy
    for part in fit.cells:
        cell = cells[part.host_cell]
        mine = frozenset(pcpu for _, pcpu in part.pins)
        if not mine <= cell.free:
            wrong.append(f"pCPUs {sorted(mine - cell.free)} are not free dedicated pCPUs of cell {cell.id}")
        for core in cell.cores:
            here = core & mine
            if here and thread is ThreadPolicy.REQUIRE and len(core & cell.free) < 2:
                wrong.append(f"pCPU {sorted(here)} is on a core with one free pCPU")
            if here and thread is ThreadPolicy.ISOLATE and (len(here) > 1 or not core <= cell.free):
                wrong.append(f"core {sorted(core)} is not whole for one vCPU")
    return wrong


def floating_wrongs(request: GuestRequest, room: Room, fit: Fit) -> list[str]:
    """Clauses 1 and 7 for a guest that runs already: what its floating vCPUs float over, whatever its pins are."""
    if not request.cells:
        return _no_cells(request, room, fit)
    cells = {cell.id: cell for cell in room.cells}
    expected = [cells[part.host_cell].shared if guest.shared else frozenset() for guest, part in zip(request.cells, fit.cells, strict=True)]
    return [
        f"vCPUs {part.float_vcpus} float over {part.float_set}, should over {sorted(over)}"
        for part, over in zip(fit.cells, expected, strict=True)
        if frozenset(part.float_set) != over
    ]


def emulator_wrongs(request: GuestRequest, room: Room, fit: Fit) -> list[str]:
    """Clauses 4 and 10 to 12."""
    placement, where = _expected_placement(request, room), frozenset(fit.emulator)
    wrong = []
    if fit.emulator_placement is not placement:
        return [f"emulator placement is {fit.emulator_placement}, should be {placement}"]
    if not where:
        wrong.append("the emulator set is empty")
    if placement is EmulatorPlacement.ISOLATED:
        return wrong + _isolated(request, room, fit)
    if fit.emulator_pcpu is not None:
        wrong.append(f"emulator pCPU {fit.emulator_pcpu} without ISOLATED")
    if placement is EmulatorPlacement.POOL:
        expected = local_overhead(request, room, fit)[0] or room.overhead or frozenset()
    elif not request.cells:
        expected = room.shared
    else:
        expected = frozenset(pcpu for part in fit.cells for vcpu, pcpu in part.pins if vcpu not in request.realtime)
        expected |= frozenset(pcpu for part in fit.cells if part.float_vcpus for pcpu in part.float_set)
    if where != expected:
        wrong.append(f"emulator threads on {sorted(where)}, should be {sorted(expected)}")
    return wrong


def _expected_placement(request: GuestRequest, room: Room) -> EmulatorPlacement:
    if request.emulator_policy is EmulatorPolicy.ISOLATE:
        return EmulatorPlacement.ISOLATED
    if request.emulator_policy is EmulatorPolicy.SHARE and room.overhead is not None:
        return EmulatorPlacement.POOL
    return EmulatorPlacement.FLOAT


def _isolated(request: GuestRequest, room: Room, fit: Fit) -> list[str]:
    pcpu = fit.emulator_pcpu
    if pcpu is None or set(fit.emulator) != {pcpu}:
        return [f"ISOLATED on {fit.emulator} with emulator pCPU {pcpu}"]
    used = {part.host_cell for part in fit.cells}
    cell = next((cell for cell in room.cells if cell.id in used and pcpu in cell.free), None)
    if cell is None:
        return [f"emulator pCPU {pcpu} is no free dedicated pCPU of the guest's host cells"]
    if pcpu in fit.pinned:
        return [f"emulator pCPU {pcpu} carries a vCPU too"]
    core = next(core for core in cell.cores if pcpu in core)
    if request.thread_policy is ThreadPolicy.ISOLATE and (not core <= cell.free or core & frozenset(fit.pinned)):
        return [f"emulator pCPU {pcpu} has no whole core of its own"]
    return []


def _idle(request: GuestRequest, state: HostState, fit: Fit) -> list[str]:
    """Idle siblings are those of `isolate`, and no others."""
    expected: set[int] = set()
    if request.thread_policy is ThreadPolicy.ISOLATE:
        own = set(fit.pinned) | ({fit.emulator_pcpu} if fit.emulator_pcpu is not None else set())
        expected = {sibling for pcpu in own for sibling in state.topology.siblings[pcpu]} - own
    return [] if set(fit.idle_siblings) == expected else [f"idle siblings are {fit.idle_siblings}, should be {sorted(expected)}"]


def local_overhead(request: GuestRequest, room: Room, fit: Fit) -> tuple[frozenset[int], tuple[tuple[int, int], ...], list[int]]:
    """Clause 11 with `prefer_local`: pCPUs and millicpu by cell where the guest runs on its cells' parts, and the cells that lack room."""
    vcpus = {part.host_cell: len(part.pins) + len(part.float_vcpus) for part in fit.cells}
    parts = sorted((cell for cell in room.cells if cell.id in vcpus and cell.overhead), key=lambda cell: cell.id)
    if not room.local or not parts or request.emulator_policy is not EmulatorPolicy.SHARE:
        return frozenset(), (), []
    amount = room.overhead_of(request)
    amounts = {cell.id: amount * vcpus[cell.id] // sum(vcpus[other.id] for other in parts) for cell in parts}
    amounts[parts[0].id] += amount - sum(amounts.values())
    full = [cell.id for cell in parts if room.books_overhead() and cell.overhead_booked + amounts[cell.id] > room.part_capacity(cell)]
    if full:
        return frozenset(), (), full
    return frozenset(pcpu for cell in parts for pcpu in cell.overhead), tuple(amounts.items()), []


def _booking(request: GuestRequest, room: Room, fit: Fit) -> list[str]:
    """Clause 11: the amounts, and the warnings of a pool booked beyond its capacity and of parts that lack room."""
    pooled = request.emulator_policy is EmulatorPolicy.SHARE and room.overhead is not None
    amount = room.overhead_of(request) if pooled else 0
    _, by_cell, full = local_overhead(request, room, fit)
    wrong = [] if fit.overhead_millicpu == amount else [f"books {fit.overhead_millicpu} millicpu, should be {amount}"]
    if fit.overhead_cells != by_cell:
        wrong.append(f"books {fit.overhead_cells} by cell, should be {by_cell}")
    over = pooled and room.books_overhead() and room.overhead_booked + amount > room.overhead_capacity()
    expected = [(ReasonCode.OVERHEAD_BOOKED, None)] * over + [(ReasonCode.OVERHEAD_CELL_BOOKED, cell) for cell in full]
    warned = [(warning.code, warning.cell) for warning in fit.warnings]
    return wrong if warned == expected else [*wrong, f"warnings are {fit.warnings}, should be {expected}"]
