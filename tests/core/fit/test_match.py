"""The matching against enumeration: the same sums, the same impossibilities."""

from __future__ import annotations

from itertools import permutations

from hypothesis import given, settings
from hypothesis import strategies as st

from pinfold.core.fit.match import cheapest, first_columns, most

Row = list[int | None]


@st.composite
def costs(draw: st.DrawFn) -> list[Row]:
    rows = draw(st.integers(1, 4))
    columns = draw(st.integers(rows, 5))
    edge = st.one_of(st.none(), st.integers(-3, 20))
    return draw(st.lists(st.lists(edge, min_size=columns, max_size=columns), min_size=rows, max_size=rows))


def total(table: list[Row], columns: tuple[int, ...]) -> int | None:
    edges = [row[column] for row, column in zip(table, columns, strict=True)]
    known = [edge for edge in edges if edge is not None]
    return sum(known) if len(known) == len(edges) else None


@settings(max_examples=400, deadline=None)
@given(costs())
def test_the_matching_is_the_cheapest_there_is(table: list[Row]) -> None:
    sums = [total(table, columns) for columns in permutations(range(len(table[0])), len(table))]
    possible = [one for one in sums if one is not None]
    answer = cheapest(table)
    if not possible:
        assert answer is None
        return
    assert answer is not None
    assert len(set(answer)) == len(answer)
    assert total(table, answer) == min(possible)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 15), min_size=1, max_size=4))
def test_most_rows_with_a_column_of_their_own(allowed: list[int]) -> None:
    best = max(sum(allowed[row] >> column & 1 for row, column in enumerate(columns)) for columns in permutations(range(4), len(allowed)))
    assert most(allowed) == best


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 4).flatmap(lambda rows: st.tuples(st.just(rows), st.lists(st.integers(0, 2**rows - 1), min_size=rows, max_size=6))))
def test_columns_in_order_make_the_cheapest_matching_by_column(given_: tuple[int, list[int]]) -> None:
    rows, masks = given_
    answer = first_columns(rows, list(enumerate(masks)))
    table: list[Row] = [[1 << column if mask >> row & 1 else None for column, mask in enumerate(masks)] for row in range(rows)]
    best = cheapest(table)
    assert (answer is None) == (best is None)
    if answer is not None and best is not None:
        assert all(masks[column] >> row & 1 for row, column in enumerate(answer))
        assert sorted(answer) == sorted(best)
