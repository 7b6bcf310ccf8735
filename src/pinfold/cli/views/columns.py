"""The table of every list: columns that share the width of the screen, so that each cell is shown whole.

Which rows and titles a table has, the views decide.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.table import Table

_GAP: Final = 2


class Columns:
    """Rows below a line of titles. A cell that is wider than its column is folded; no column and no letter is lost.

    The columns in `whole` are folded last: numbers, units and states that would be hard to read on two lines. `right` are aligned to the
    right. Without `titled` there is no line of titles.
    """

    def __init__(self, *titles: str, whole: Collection[str] = (), right: Collection[str] = (), titled: bool = True) -> None:
        self._titles = titles
        self._whole = whole
        self._right = right
        self._titled = titled
        self._rows: list[Sequence[RenderableType]] = []

    def add_row(self, *cells: RenderableType) -> None:
        """Add one row with a cell for each title."""
        self._rows.append(cells)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterable[RenderableType]:
        needs = self._needs(console, options)
        room = options.max_width
        gaps = len(needs) - 1
        gap = _GAP if sum(least for least, _ in needs) + _GAP * gaps <= room else 1 if len(needs) + gaps <= room else 0
        widths = column_widths(needs, room - gap * gaps)
        table = Table(box=None, pad_edge=False, header_style="dim", show_header=self._titled, padding=(0, gap, 0, 0))
        for title, width in zip(self._titles, widths, strict=True):
            table.add_column(title, justify="right" if title in self._right else "left", overflow="fold", width=width)
        for row in self._rows:
            table.add_row(*row)
        yield table

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        needs = self._needs(console, options)
        gaps = _GAP * (len(needs) - 1)
        return Measurement(len(needs), sum(natural for _, natural in needs) + gaps).with_maximum(options.max_width)

    def _needs(self, console: Console, options: ConsoleOptions) -> list[tuple[int, int]]:
        """For each column the width of its longest word, and of its longest cell."""
        needs = []
        wide = options.update(max_width=1_000_000)
        for place, title in enumerate(self._titles):
            cells = [Measurement.get(console, wide, cell) for cell in (title, *(row[place] for row in self._rows))]
            word, natural = max(cell.minimum for cell in cells), max(cell.maximum for cell in cells)
            needs.append((natural if title in self._whole else word, natural))
        return needs


def column_widths(needs: Sequence[tuple[int, int]], room: int) -> list[int]:
    """The width of each column, at least 1, so that all fit into `room` together. `needs` are `(least, natural)` widths. Pure.

    1. Every column is as wide as its content where there is room for all.
    2. Otherwise the widest become narrower first, but none narrower than its least width.
    3. If even the least widths do not fit, the widest of these become narrower first.

    >>> column_widths([(5, 5), (6, 20)], 40), column_widths([(5, 5), (6, 20)], 16), column_widths([(5, 5), (36, 36)], 30)
    ([5, 20], [5, 11], [5, 25])
    """
    naturals = [max(natural, 1) for _, natural in needs]
    least = [min(max(word, 1), natural) for (word, _), natural in zip(needs, naturals, strict=True)]
    floors = least if sum(least) <= room else [1] * len(needs)
    tops = naturals if sum(least) <= room else least
    widths = list(tops)
    while sum(widths) > room:
        wider = [place for place, width in enumerate(widths) if width > floors[place]]
        if not wider:
            break
        widths[max(wider, key=lambda place: widths[place])] -= 1
    return widths
