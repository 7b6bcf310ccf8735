"""The last hour of a host as a heat map: a row for each pCPU, or for each guest and class, and time from left to right. Pure.

Work is a shade; waiting is a bar that rises from the bottom of the cell. A gap is a time in which nobody measured. `table` has the same
as words.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from msgspec import Struct

from pinfold.core.history import HostHistory, PcpuHistory, Series, mean
from pinfold.core.overhead import ThreadClass
from pinfold.core.printable import shown
from pinfold.drawing.strip import LEAST_MARK

MOST_ROWS: Final = 64
"""The most rows of one heat map: those that waited longest."""
_COLUMNS: Final = 60
_LABEL: Final = 210
_CELL: Final = 12
_ROW: Final = 16
_HEAD: Final = 20
_WIDTH: Final = _LABEL + _COLUMNS * _CELL + 12
_LONGEST: Final = 26
_SHADES: Final = (50, 250, 500, 800)
"""From how many millicpu on a cell has the next shade."""


class HeatRow(Struct, frozen=True, kw_only=True):
    """One row: means by column, oldest first, None where nobody measured. `peak` is the longest waiting of a column."""

    label: str
    work: tuple[int | None, ...]
    wait: tuple[int | None, ...]
    mean_work: int | None
    mean_wait: int | None
    peak: int


class HeatMap(Struct, frozen=True, kw_only=True):
    """The rows in their order, those left out, and when each column ends, in seconds since the epoch."""

    rows: tuple[HeatRow, ...]
    left_out: int
    ends: tuple[float, ...]


def by_pcpu(history: HostHistory) -> HeatMap:
    """A row for each pCPU, by number; if there are too many, those that waited longest."""
    return _heat(history, [(f"pCPU {row.pcpu}", _of_pcpu(row)) for row in history.pcpus])


def by_guest(history: HostHistory) -> HeatMap:
    """A row for each guest and class of threads, by name; if there are too many, those that waited longest."""
    ordered = sorted(
        history.guests, key=lambda row: (row.name, row.guest, row.thread_class is not ThreadClass.VCPU, row.thread_class.value)
    )
    return _heat(
        history, [(f"{shown(row.name)[:_LONGEST]} {row.thread_class.value}", (row.work_millicpu, row.wait_millicpu)) for row in ordered]
    )


def heat_svg(heat: HeatMap, label: str, times: Sequence[str]) -> str:
    """The picture, without its style. `times` are the words beneath the first, the middle and the last column."""
    height = _HEAD + len(heat.rows) * _ROW + 24
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="pf pf-heat" role="img" aria-label="{escape(label)}" '
            f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}">'
        )
    ]
    for place, row in enumerate(heat.rows):
        y = _HEAD + place * _ROW
        parts.append(f'<text x="0" y="{y + 12}">{escape(row.label)}</text>')
        parts += _cells(row, y)
    bottom = _HEAD + len(heat.rows) * _ROW + 14
    for words, x, anchor in zip(
        times, (_LABEL, _LABEL + _COLUMNS * _CELL // 2, _LABEL + _COLUMNS * _CELL), ("start", "middle", "end"), strict=True
    ):
        parts.append(f'<text class="pf-m" x="{x}" y="{bottom}" text-anchor="{anchor}">{escape(words)}</text>')
    return "".join([*parts, *_legend(), "</svg>"])


def _heat(history: HostHistory, rows: Sequence[tuple[str, tuple[Series, Series]]]) -> HeatMap:
    columns = _columns(history)
    made = [_row(label, series, history.seconds, columns) for label, series in rows]
    kept = sorted(range(len(made)), key=lambda place: (-(made[place].mean_wait or 0), -(made[place].mean_work or 0), place))[:MOST_ROWS]
    return HeatMap(
        rows=tuple(made[place] for place in sorted(kept)),
        left_out=len(made) - len(kept),
        ends=tuple(history.ends[part[-1]] if part else 0.0 for part in columns),
    )


def _columns(history: HostHistory) -> list[list[int]]:
    """The places of the samples in each minute of the last hour."""
    columns: list[list[int]] = [[] for _ in range(_COLUMNS)]
    for place, end in enumerate(history.ends):
        back = int((history.ends[-1] - end) // 60)
        if 0 <= back < _COLUMNS:
            columns[_COLUMNS - 1 - back].append(place)
    return columns


def _row(label: str, series: tuple[Series, Series], seconds: Sequence[float], columns: Sequence[Sequence[int]]) -> HeatRow:
    work, wait = (tuple(_mean(each, seconds, part) for part in columns) for each in series)
    return HeatRow(
        label=label,
        work=work,
        wait=wait,
        mean_work=mean(series[0], seconds),
        mean_wait=mean(series[1], seconds),
        peak=max((amount for amount in wait if amount is not None), default=0),
    )


def _mean(series: Series, seconds: Sequence[float], places: Sequence[int]) -> int | None:
    return mean([series[place] for place in places], [seconds[place] for place in places])


def _of_pcpu(row: PcpuHistory) -> tuple[Series, Series]:
    return row.work_millicpu, row.wait_millicpu


def _cells(row: HeatRow, y: int) -> list[str]:
    """The cells of a row: a path for each shade, and one for the bars of waiting."""
    paths: dict[str, list[str]] = {}
    for place, (work, wait) in enumerate(zip(row.work, row.wait, strict=True)):
        x = _LABEL + place * _CELL
        if work is None:
            continue
        shade = sum(work >= least for least in _SHADES)
        paths.setdefault(f"pf-h{shade}", []).append(f"M{x} {y}h{_CELL - 1}v{_ROW - 2}h-{_CELL - 1}z")
        if wait is not None and wait >= LEAST_MARK:
            high = min(_ROW - 2, max(1, (_ROW - 2) * wait // 1000))
            paths.setdefault("pf-wait", []).append(f"M{x + 3} {y + _ROW - 2 - high}h{_CELL - 7}v{high}h-{_CELL - 7}z")
    return [f'<path class="{kind}" d="{"".join(paths[kind])}"/>' for kind in sorted(paths)]


def _legend() -> list[str]:
    """The shades and the bar, above the rows."""
    parts, x = [], _LABEL
    for shade, words in enumerate(("work: below 5 %", "from 5 %", "from 25 %", "from 50 %", "from 80 %")):
        parts.append(
            f'<rect class="pf-h{shade}" x="{x}" y="2" width="11" height="12"/><text class="pf-m" x="{x + 15}" y="12">{words}</text>'
        )
        x += 104 if shade == 0 else 76
    parts.append(f'<rect class="pf-wait" x="{x + 12}" y="2" width="5" height="12"/>')
    parts.append(f'<text class="pf-m" x="{x + 22}" y="12">waited, from 5 %; full height: all of the time</text>')
    return parts
