"""Tables of CSV files: rows by column, and sentences about columns and values that are wrong. What the columns mean, `inputs` says."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Final

from pinfold.core.errors import InvalidRequest
from pinfold.core.plural import count, listed
from pinfold.core.printable import quoted

MAX_ROWS: Final = 200_000
_SHOWN: Final = 12
"""So many columns are named in a sentence."""
_BYTE_ORDER_MARK: Final = "\ufeff"
"""With which Excel begins a CSV file in UTF-8."""

Row = Mapping[str | None, object]
"""The values of a row by column; those that no column has are under None."""


def read_table(text: str, name: str) -> tuple[Sequence[str], Iterator[tuple[str, Row]]]:
    """The columns of the first line, and each row with where it stands. Raises `InvalidRequest`, also while rows are read."""
    if not text.removeprefix(_BYTE_ORDER_MARK).strip():
        raise InvalidRequest(f"{name} is empty")
    reader = csv.DictReader(io.StringIO(text.removeprefix(_BYTE_ORDER_MARK)))
    try:
        columns = tuple(reader.fieldnames or ())
    except csv.Error as error:
        raise InvalidRequest(f"{name}, line 1: {error}") from error
    return columns, _rows(reader, name, columns)


def _rows(reader: csv.DictReader[str], name: str, columns: Sequence[str]) -> Iterator[tuple[str, Row]]:
    number = 0
    try:
        for number, row in enumerate(reader, start=1):
            if number > MAX_ROWS:
                raise InvalidRequest(f"{name} has more than {MAX_ROWS:,} rows")
            where = f"{name}, line {reader.line_num}"
            more = row.get(None)
            if more:
                raise InvalidRequest(
                    f"{where} has {len(columns) + len(more)} values, and the first line names {count(len(columns), 'column')}"
                )
            yield where, row
    except csv.Error as error:
        raise InvalidRequest(f"{name}, line {reader.line_num}: {error}") from error
    if not number:
        raise InvalidRequest(f"{name} has no rows below its first line")


def lacks_column(columns: Sequence[str], name: str, *lacking: str) -> InvalidRequest:
    """The error that none of these columns is there; it says which ones are.

    >>> str(lacks_column(("vcpu", "memory_gib"), "r.csv", "vcpus"))
    "r.csv: the first line names no column vcpus; it names 'vcpu' and 'memory_gib'"
    """
    return InvalidRequest(f"{name}: the first line names no column {listed(lacking, 'or')}; it names {_names(columns)}", key=lacking[0])


def refuse_twice(columns: Sequence[str], name: str, known: Sequence[str]) -> None:
    """Raise `InvalidRequest` if one of the known columns is named twice: only one of the two could count.

    >>> refuse_twice(("vcpus", "memory_gib", "vcpus"), "r.csv", ("vcpus",))
    Traceback (most recent call last):
    ...
    pinfold.core.errors.InvalidRequest: r.csv: the first line names the column vcpus twice
    """
    for column in known:
        if columns.count(column) > 1:
            raise InvalidRequest(f"{name}: the first line names the column {column} twice", key=column)


def ignored(columns: Sequence[str], name: str, known: Sequence[str]) -> tuple[str, ...]:
    """A warning about the columns that are none of the known ones, with the one that may be meant; none if there is no such column.

    >>> ignored(("vcpus", "guest_cell", "group"), "r.csv", ("vcpus", "guest_cells"))
    ("r.csv: the columns 'guest_cell' and 'group' are ignored; perhaps guest_cells is meant",)
    """
    others = [column for column in columns if column not in known]
    if not others:
        return ()
    missing = [column for column in known if column not in columns]
    meant = dict.fromkeys(near[0] for column in others if (near := get_close_matches(column, missing, n=1, cutoff=0.8)))
    said = f"the columns {_names(others)} are" if len(others) > 1 else f"the column {_names(others)} is"
    return (f"{name}: {said} ignored" + (f"; perhaps {listed(list(meant))} is meant" if meant else ""),)


def number_of(row: Row, column: str, where: str, *, most: int, least: int = 1) -> int:
    """The whole number in a column of a row. Raises `InvalidRequest`."""
    text = str(row.get(column) or "")
    if not (text.isascii() and text.isdigit() and len(text) <= 12 and least <= int(text) <= most):
        raise InvalidRequest(f"{where}: {column} is {text[:40]!r}, a whole number from {least} to {most} is allowed", key=column)
    return int(text)


def _names(columns: Sequence[str]) -> str:
    more = len(columns) - _SHOWN
    return listed([*(quoted(column) for column in columns[:_SHOWN]), *([f"{more:,} more"] if more > 0 else [])])
