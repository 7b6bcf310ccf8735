"""Choose a host cell for each guest cell, and the guest cell that carries an isolated emulator. `cores` chooses pCPUs.

Take the cheapest distinct host cells by PACK or SPREAD. If their pages would exceed the host's limit of small memory, take those with the
least small memory. With an isolated emulator, try each kind of guest cell that may carry it: guest cell 0 first, then the cheapest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pinfold.core.fit.answer import Strategy
from pinfold.core.fit.count import CellCounts, Counts
from pinfold.core.fit.demand import CellNeed, Demand
from pinfold.core.fit.match import cheapest, first_columns
from pinfold.core.fit.room import page_for, takes

Seat = tuple[int, CellCounts, int]
"""One guest cell on a host cell: the position and the counts of that, and the page size in KiB."""

Placed = tuple[tuple[Seat, ...], int]
"""The seat of each guest cell, and the position of the guest cell that carries an isolated emulator (-1 for none)."""

RowKind = tuple[int, int]
"""The matching treats two guest cells as equal if this is equal: the kind, and 1 if the cell carries the emulator."""

Edges = list[tuple[int, int] | None]
"""For each host cell `(cost, small memory in MiB)`, or None if it does not take the guest cell."""


def place(demand: Demand, counts: Counts, strategy: Strategy, first: int = -1) -> Placed | None:
    """Host cells for the guest cells, and the carrier of the emulator; None where no placement exists.

    For equal guest cells the host cell at position `first` comes before those that the strategy prefers.
    """
    if demand.n_cells > len(counts.cells):
        return None
    if not demand.one_kind:
        found = _place_unequal(demand, counts, strategy)
        return None if found is None else (_seats(demand, found[0]), found[1])
    # For guest cells of one kind the cheapest matching is the first host cells in the order of preference.
    need = demand.kinds[0]
    order = counts.order(strategy, need.pins > 0)
    if first >= 0:
        order = (counts.cells[first], *[cell for cell in order if cell.frame.position != first])
    placed = _first_cells(demand, need, order)
    if placed is None or demand.only_small_pages or not _overdraws(_small_of(placed, need), counts):
        return placed
    lightest = _lightest_equal(demand, order)
    return None if lightest is None or _overdraws(lightest[1], counts) else lightest[0]


def _place_unequal(demand: Demand, counts: Counts, strategy: Strategy) -> tuple[tuple[CellCounts, ...], int] | None:
    """The host cells for guest cells of several kinds, and the carrier, as `Placed`."""
    if not demand.own_pcpus:
        found = _match(demand, counts, strategy, -1)
        return None if found is None else (found[0], -1)
    carrier, *others = carriers(demand)
    found = _match(demand, counts, strategy, carrier)
    if found is not None:
        return found[0], carrier
    if _match(demand, counts, strategy, -1) is None:
        return None
    best: tuple[int, int, tuple[CellCounts, ...]] | None = None
    for carrier in others:
        found = _match(demand, counts, strategy, carrier)
        if found is not None and (best is None or found[1] < best[0]):
            best = found[1], carrier, found[0]
    return None if best is None else (best[2], best[1])


def _seats(demand: Demand, cells: tuple[CellCounts, ...]) -> tuple[Seat, ...]:
    """The seats of the guest cells on these host cells, which take them."""
    kinds, only_small = demand.kinds, demand.only_small_pages
    seats: list[Seat] = []
    for position, guest in enumerate(demand.cells):
        cell = cells[position]
        page_kib = cell.frame.small_kib if only_small else page_for(cell, kinds[guest.kind], demand)
        seats.append((cell.frame.position, cell, page_kib))
    return (*seats,)


def _small_of(placed: Placed, need: CellNeed) -> int:
    """The memory in MiB on small pages of guest cells with that need."""
    return sum([need.memory_mib for _, cell, page_kib in placed[0] if page_kib == cell.frame.small_kib])


def _lightest_equal(demand: Demand, order: tuple[CellCounts, ...]) -> tuple[Placed, int] | None:
    """The placement of guest cells of one kind with the least memory on small pages, and that memory in MiB."""
    need = demand.kinds[0]
    placed = _first_cells(demand, need, tuple(sorted(order, key=lambda cell: page_for(cell, need, demand) == cell.frame.small_kib)))
    if placed is None:
        return None
    return placed, _small_of(placed, need)


def _first_cells(demand: Demand, need: CellNeed, order: Sequence[CellCounts]) -> Placed | None:
    """The first host cells that take a guest cell each, one of them with the emulator where it is isolated."""
    left, own = demand.n_cells, demand.own_pcpus
    if left == 1:
        for cell in order:
            if takes(cell, need, own, demand) and (page_kib := page_for(cell, need, demand)):
                return ((cell.frame.position, cell, page_kib),), own - 1
        return None
    waits = own > 0
    carrier: Seat | None = None
    chosen: list[Seat] = []
    for cell in order:
        if takes(cell, need, 0, demand) and (page_kib := page_for(cell, need, demand)):
            seat = cell.frame.position, cell, page_kib
            if waits and takes(cell, need, own, demand):
                carrier, waits = seat, False
            elif waits and left == 1:
                continue
            chosen.append(seat)
            left -= 1
            if not left:
                break
    else:
        return None
    chosen.sort()
    if carrier is not None:
        chosen.remove(carrier)
        chosen.insert(0, carrier)
    return (*chosen,), (-1 if carrier is None else 0)


def carriers(demand: Demand) -> list[int]:
    """The guest cells to try as the emulator's carrier: the first of each kind; [-1] if none is needed."""
    if not demand.own_pcpus:
        return [-1]
    first: dict[int, int] = {}
    for position, cell in enumerate(demand.cells):
        first.setdefault(cell.kind, position)
    return list(first.values())


def _match(demand: Demand, counts: Counts, strategy: Strategy, carrier: int) -> tuple[tuple[CellCounts, ...], int] | None:
    """The cheapest distinct host cells that take the guest cells, and their cost; None where there are none."""
    kinds = _row_kinds(demand, carrier)
    pinning = {demand.kinds[kind].pins + carries > 0 for kind, carries in kinds}
    if len(pinning) == 1:
        answer = _match_by_cell(demand, counts.order(strategy, pinning.pop()), kinds)
        if answer is None:
            return None
        small = 0 if demand.only_small_pages else sum(_small_mib(demand, counts, answer))
        if not _overdraws(small, counts):
            return _matched(counts, strategy, answer, kinds)
    edges = _rows(demand, counts, strategy, kinds)
    answer = cheapest([[None if edge is None else edge[0] for edge in row] for row in edges])
    if answer is not None and not demand.only_small_pages and _overdraws(sum(_small_mib(demand, counts, answer)), counts):
        answer = _lightest(edges)
        if answer is not None and _overdraws(sum(_small_mib(demand, counts, answer)), counts):
            return None
    return None if answer is None else _matched(counts, strategy, answer, kinds)


def _match_by_cell(demand: Demand, order: tuple[CellCounts, ...], kinds: list[RowKind]) -> tuple[int, ...] | None:
    """The same if the cost of a pair depends only on the host cell: all guest cells pin, or none does."""
    rows: dict[RowKind, int] = {}
    for row, kind in enumerate(kinds):
        rows[kind] = rows.get(kind, 0) | 1 << row
    needs = [(demand.kinds[kind], carries, guests) for (kind, carries), guests in rows.items()]
    return first_columns(len(kinds), _columns(demand, order, needs))


def _columns(demand: Demand, order: tuple[CellCounts, ...], needs: list[tuple[CellNeed, int, int]]) -> Iterator[tuple[int, int]]:
    """The position of each host cell and the mask of the guest cells that it takes; one by one, because the first few often suffice."""
    for cell in order:
        mask = 0
        for need, carries, guests in needs:
            if takes(cell, need, carries, demand) and page_for(cell, need, demand):
                mask |= guests
        yield cell.frame.position, mask


def _matched(counts: Counts, strategy: Strategy, answer: tuple[int, ...], kinds: list[RowKind]) -> tuple[tuple[CellCounts, ...], int]:
    """The host cells of a matching, those of equal guest cells ascending, and their cost."""
    rest: dict[RowKind, list[int]] = {}
    for kind, column in zip(kinds, answer, strict=True):
        rest.setdefault(kind, []).append(column)
    for columns in rest.values():
        columns.sort(reverse=True)
    cells = tuple([counts.cells[rest[kind].pop()] for kind in kinds])
    free = sum([cell.n_free for cell in cells])
    return cells, free if strategy is Strategy.PACK else -free


def least_small_mib(demand: Demand, counts: Counts, carrier: int) -> int | None:
    """The least small-page memory that any placement takes, the host's line apart; None where there is no placement."""
    if demand.one_kind:
        lightest = _lightest_equal(demand, counts.cells)
        return None if lightest is None else lightest[1]
    kinds = _row_kinds(demand, carrier)
    answer = _lightest(_rows(demand, counts, Strategy.PACK, kinds))
    return None if answer is None else sum(_small_mib(demand, counts, answer))


def _row_kinds(demand: Demand, carrier: int) -> list[RowKind]:
    return [(cell.kind, 1 if position == carrier else 0) for position, cell in enumerate(demand.cells)]


def _rows(demand: Demand, counts: Counts, strategy: Strategy, kinds: list[RowKind]) -> list[Edges]:
    rows = {kind: _edges(demand, demand.kinds[kind[0]], kind[1], counts, strategy) for kind in dict.fromkeys(kinds)}
    return [rows[kind] for kind in kinds]


def _lightest(edges: list[Edges]) -> tuple[int, ...] | None:
    """The cheapest of the matchings with the least small memory."""
    heavy = 1 + sum(max((edge[0] for edge in row if edge is not None), default=0) for row in edges)
    return cheapest([[None if edge is None else edge[1] * heavy + edge[0] for edge in row] for row in edges])


def _edges(demand: Demand, need: CellNeed, carries: int, counts: Counts, strategy: Strategy) -> Edges:
    """The edges of one kind of guest cell.

    The cost is the number of free pCPUs (or shared room) and then the cell's position. SPREAD uses the largest number minus the cell's.
    A sum of costs compares first by pCPUs, then by the set of cells.
    """
    pins = need.pins + carries > 0
    width = len(counts.cells)
    room = [cell.n_free if pins else cell.shared_room for cell in counts.cells]
    top = max(room)
    edges: Edges = []
    for position, cell in enumerate(counts.cells):
        page = page_for(cell, need, demand) if takes(cell, need, carries, demand) else 0
        if page:
            first = room[position] if strategy is Strategy.PACK else top - room[position]
            edges.append(((first << width) + (1 << position), need.memory_mib if page == cell.frame.small_kib else 0))
        else:
            edges.append(None)
    return edges


def _small_mib(demand: Demand, counts: Counts, answer: tuple[int, ...]) -> list[int]:
    """The small-page memory of each guest cell in a matching."""
    cells = [counts.cells[column] for column in answer]
    needs = [demand.kinds[guest.kind] for guest in demand.cells]
    small = [page_for(cell, need, demand) == cell.frame.small_kib for cell, need in zip(cells, needs, strict=True)]
    return [need.memory_mib for need, is_small in zip(needs, small, strict=True) if is_small]


def _overdraws(small_mib: int, counts: Counts) -> bool:
    """Whether the host's line of small memory refuses so much; it does not concern a guest that takes none."""
    return small_mib > 0 and small_mib > counts.strict_room_mib
