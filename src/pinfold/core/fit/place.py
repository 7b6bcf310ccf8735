"""Which host cell each guest cell gets, and which guest cell carries an isolated emulator. Choosing pCPUs does not belong here.

The cheapest distinct host cells by PACK or SPREAD; where their pages would overdraw the host's line of small memory, those with the least
small memory. With an isolated emulator once per kind of guest cell that may carry it: guest cell 0 first, then the cheapest.
"""

from __future__ import annotations

from pinfold.core.fit.count import CellCounts, Counts
from pinfold.core.fit.demand import CellNeed, Demand
from pinfold.core.fit.match import cheapest
from pinfold.core.fit.model import Strategy
from pinfold.core.fit.room import page_for, takes

Placed = tuple[tuple[CellCounts, ...], int]
"""The host cell of each guest cell, and the position of the guest cell that carries an isolated emulator (-1 for none)."""

Edges = list[tuple[int, int] | None]
"""For each host cell `(cost, small memory in MiB)`, None where it does not take the guest cell."""


def place(demand: Demand, counts: Counts, strategy: Strategy) -> Placed | None:
    """Host cells for the guest cells, and the carrier of the emulator; None where no placement exists."""
    if len(demand.cells) > len(counts.cells):
        return None
    if demand.one_kind:
        return _place_equal(demand, counts, strategy)
    if not demand.isolates_emulator:
        found = _match(demand, counts, strategy, -1)
        return None if found is None else (found[0], -1)
    first, *others = carriers(demand)
    found = _match(demand, counts, strategy, first)
    if found is not None:
        return found[0], first
    best: tuple[int, int, tuple[CellCounts, ...]] | None = None
    for carrier in others:
        found = _match(demand, counts, strategy, carrier)
        if found is not None and (best is None or found[1] < best[0]):
            best = found[1], carrier, found[0]
    return None if best is None else (best[2], best[1])


def _place_equal(demand: Demand, counts: Counts, strategy: Strategy) -> Placed | None:
    """The same for guest cells of one kind, where the cheapest matching is the first host cells in the order of preference."""
    need = demand.kinds[0]
    order = counts.order(strategy, need.pins > 0)
    placed = _first_cells(demand, need, order)
    if placed is None or demand.only_small_pages:
        return placed
    small = sum([need.memory_mib for cell in placed[0] if page_for(cell, need, demand) == cell.frame.small_kib])
    if not _overdraws(small, counts):
        return placed
    order = tuple(sorted(order, key=lambda cell: page_for(cell, need, demand) == cell.frame.small_kib))
    placed = _first_cells(demand, need, order)
    if placed is None:
        return None
    small = sum([need.memory_mib for cell in placed[0] if page_for(cell, need, demand) == cell.frame.small_kib])
    return None if _overdraws(small, counts) else placed


def _first_cells(demand: Demand, need: CellNeed, order: tuple[CellCounts, ...]) -> Placed | None:
    """The first host cells that take a guest cell each, one of them with the emulator where it is isolated."""
    left = len(demand.cells)
    waits = demand.isolates_emulator
    carrier: CellCounts | None = None
    chosen: list[CellCounts] = []
    for cell in order:
        if takes(cell, need, 0, demand) and page_for(cell, need, demand):
            if waits and takes(cell, need, 1, demand):
                carrier, waits = cell, False
            elif waits and left == 1:
                continue
            chosen.append(cell)
            left -= 1
            if not left:
                break
    else:
        return None
    if len(chosen) > 1:
        chosen.sort(key=lambda cell: (cell is not carrier, cell.frame.position))
    return tuple(chosen), (-1 if carrier is None else 0)


def carriers(demand: Demand) -> list[int]:
    """The guest cells that are worth trying as the emulator's carrier: the first of each kind; [-1] where none is needed."""
    if not demand.isolates_emulator:
        return [-1]
    first: dict[int, int] = {}
    for position, cell in enumerate(demand.cells):
        first.setdefault(cell.kind, position)
    return list(first.values())


def _match(demand: Demand, counts: Counts, strategy: Strategy, carrier: int) -> tuple[tuple[CellCounts, ...], int] | None:
    """The cheapest distinct host cells that take the guest cells, and their cost; None where there are none."""
    edges, kinds = _rows(demand, counts, strategy, carrier)
    answer = cheapest([[None if edge is None else edge[0] for edge in row] for row in edges])
    if answer is None:
        return None
    if not demand.only_small_pages and _overdraws(_small_mib(edges, answer), counts):
        answer = _lightest(edges)
        if answer is None or _overdraws(_small_mib(edges, answer), counts):
            return None
    answer = _ordered(answer, kinds)
    cost = sum(edge[0] for row, column in zip(edges, answer, strict=True) if (edge := row[column]) is not None)
    return tuple([counts.cells[column] for column in answer]), cost


def least_small_mib(demand: Demand, counts: Counts, carrier: int) -> int | None:
    """The least small-page memory that any placement takes, the host's line apart; None where there is no placement."""
    if len(demand.cells) > len(counts.cells):
        return None
    edges, _ = _rows(demand, counts, Strategy.PACK, carrier)
    answer = _lightest(edges)
    return None if answer is None else _small_mib(edges, answer)


def _rows(demand: Demand, counts: Counts, strategy: Strategy, carrier: int) -> tuple[list[Edges], list[tuple[int, bool]]]:
    """The edges of each guest cell, and what makes two guest cells the same: the kind, and whether it carries the emulator."""
    kinds = [(cell.kind, position == carrier) for position, cell in enumerate(demand.cells)]
    rows = {kind: _edges(demand, demand.kinds[kind[0]], kind[1], counts, strategy) for kind in dict.fromkeys(kinds)}
    return [rows[kind] for kind in kinds], kinds


def _lightest(edges: list[Edges]) -> tuple[int, ...] | None:
    """The matching with the least small memory, and among those the cheapest."""
    heavy = 1 + sum(max((edge[0] for edge in row if edge is not None), default=0) for row in edges)
    return cheapest([[None if edge is None else edge[1] * heavy + edge[0] for edge in row] for row in edges])


def _edges(demand: Demand, need: CellNeed, carries: bool, counts: Counts, strategy: Strategy) -> Edges:
    """The edges of one kind of guest cell.

    The cost is the number of free pCPUs (or shared room), for SPREAD what is missing to the largest, and then the cell's position:
    a sum of costs compares first by pCPUs, then by the set of cells.
    """
    pins = need.pins + carries > 0
    width = len(counts.cells)
    room = [cell.n_free if pins else cell.shared_room for cell in counts.cells]
    top = max(room)
    edges: Edges = []
    for position, cell in enumerate(counts.cells):
        page = page_for(cell, need, demand) if takes(cell, need, int(carries), demand) else 0
        if page:
            first = room[position] if strategy is Strategy.PACK else top - room[position]
            edges.append(((first << width) + (1 << position), need.memory_mib if page == cell.frame.small_kib else 0))
        else:
            edges.append(None)
    return edges


def _small_mib(edges: list[Edges], answer: tuple[int, ...]) -> int:
    return sum(edge[1] for row, column in zip(edges, answer, strict=True) if (edge := row[column]) is not None)


def _overdraws(small_mib: int, counts: Counts) -> bool:
    """Whether the host's line of small memory refuses so much; it does not concern a guest that takes none."""
    return small_mib > 0 and small_mib > counts.strict_room_mib


def _ordered(answer: tuple[int, ...], keys: list[tuple[int, bool]]) -> tuple[int, ...]:
    """The same matching with the host cells of equal guest cells ascending."""
    rest: dict[tuple[int, bool], list[int]] = {}
    for key, column in zip(keys, answer, strict=True):
        rest.setdefault(key, []).append(column)
    for columns in rest.values():
        columns.sort(reverse=True)
    return tuple([rest[key].pop() for key in keys])
