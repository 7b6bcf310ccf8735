"""Give every guest cell a host cell of its own at the lowest cost. `place` sets the costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Costs = Sequence[Sequence[int | None]]


def cheapest(costs: Costs) -> tuple[int, ...] | None:
    """A distinct column for each row with the smallest sum of `costs[row][column]`; None if there is no such matching.

    A cost of None forbids the pair. The Hungarian method with potentials, one shortest augmenting path for each row, see Kuhn (1955) and
    Jonker and Volgenant (1987): O(rows² · columns), exact for any integers. Among equal sums the lowest columns win.

    >>> cheapest([[4, 1, 3], [2, 0, 5], [3, 2, 2]])
    (1, 0, 2)
    >>> cheapest([[1, None], [1, None]]) is None
    True
    """
    columns = len(costs[0]) if costs else 0
    row_price = [0] * len(costs)
    column_price = [0] * columns
    owner = [-1] * columns
    for row in range(len(costs)):
        if not _augment(costs, row, row_price, column_price, owner):
            return None
    answer = [-1] * len(costs)
    for column, row in enumerate(owner):
        if row >= 0:
            answer[row] = column
    return tuple(answer)


def _augment(costs: Costs, start: int, row_price: list[int], column_price: list[int], owner: list[int]) -> bool:
    """Give `start` a column along the shortest augmenting path; False if there is none."""
    distance: list[int | None] = [None] * len(owner)
    before = [-1] * len(owner)
    done: list[int] = []
    reached = [False] * len(owner)
    row, travelled, last = start, 0, -1
    while True:
        for column, cost in enumerate(costs[row]):
            if cost is not None and not reached[column]:
                length = travelled + cost - row_price[row] - column_price[column]
                known = distance[column]
                if known is None or length < known:
                    distance[column] = length
                    before[column] = last
        nearest = -1
        for column, known in enumerate(distance):
            if known is not None and not reached[column] and (nearest < 0 or known < (distance[nearest] or 0)):
                nearest = column
        if nearest < 0:
            return False
        travelled = distance[nearest] or 0
        reached[nearest] = True
        last = nearest
        if owner[nearest] < 0:
            break
        done.append(nearest)
        row = owner[nearest]
    row_price[start] += travelled
    for column in done:
        change = travelled - (distance[column] or 0)
        column_price[column] -= change
        row_price[owner[column]] += change
    while last >= 0:
        previous = before[last]
        owner[last] = start if previous < 0 else owner[previous]
        last = previous
    return True


def first_columns(rows: int, columns: Iterable[tuple[int, int]]) -> tuple[int, ...] | None:
    """A distinct column for each of `rows` rows, from the earliest columns that allow it; None if there is no matching.

    `columns` holds `(column, mask of the rows that it may serve)` by preference, and is read no further than needed. If the cost of a pair
    depends only on the column, columns form a transversal matroid (Edmonds and Fulkerson, 1965), so taking each one that still matches
    gives the cheapest matching.

    >>> first_columns(2, [(7, 0b01), (5, 0b01), (3, 0b11)])
    (7, 3)
    """
    holder = [-1] * rows
    serves: dict[int, int] = {}
    empty = (1 << rows) - 1

    def serve(column: int, seen: int) -> int:
        """Give `column` a row, an empty one first, else by moving others; the rows that were tried, or -1 when it has one."""
        nonlocal empty
        direct = serves[column] & empty
        if direct:
            bit = direct & -direct
            empty ^= bit
            holder[bit.bit_length() - 1] = column
            return -1
        mask = serves[column] & ~seen
        while mask:
            bit = mask & -mask
            row = bit.bit_length() - 1
            seen = serve(holder[row], seen | bit)
            if seen < 0:
                holder[row] = column
                return -1
            mask = serves[column] & ~seen
        return seen

    for column, mask in columns:
        serves[column] = mask
        if mask and serve(column, 0) < 0 and not empty:
            return tuple(holder)
    return None


def most(allowed: Sequence[int]) -> int:
    """The largest number of rows that can each have a column of their own; `allowed[row]` is the bit mask of a row's columns.

    >>> most([0b01, 0b01, 0b11])
    2
    """
    owner: dict[int, int] = {}

    def place(row: int, seen: set[int]) -> bool:
        columns = allowed[row]
        while columns:
            column = columns & -columns
            columns ^= column
            if column not in seen:
                seen.add(column)
                if column not in owner or place(owner[column], seen):
                    owner[column] = row
                    return True
        return False

    return sum(place(row, set()) for row in range(len(allowed)))
