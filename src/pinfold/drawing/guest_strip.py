"""A guest across the host's cells: a row for each kind of thread and for memory, a column for each cell. Pure.

A box is what was observed, an outline what was recorded. A line leads only to what lies in a cell where nothing was recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Final

from msgspec import Struct

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import SeenThread
from pinfold.core.fit.answer import Fit
from pinfold.core.overhead import ThreadClass
from pinfold.core.printable import shortened, shown

_MOST_VCPUS: Final = 16
"""Of more vCPUs, those in their place share one row."""
_LABEL: Final = 150
_COLUMN: Final = 190
_ROW: Final = 30
_HEAD: Final = 26
_LONGEST: Final = 22


class StripRow(Struct, frozen=True, kw_only=True):
    """One row: the pCPUs recorded and observed, None where it is not known; or MiB of memory by cell."""

    label: str
    recorded: CpuSet | None = None
    seen: CpuSet | None = None
    recorded_mib: Mapping[int, int] = {}
    seen_mib: Mapping[int, int] | None = None
    memory: bool = False

    @property
    def wrong(self) -> bool:
        """Whether it was observed where nothing was recorded."""
        if self.memory:
            return bool(self.recorded_mib) and any(cell not in self.recorded_mib for cell in self.seen_mib or ())
        return self.recorded is not None and self.seen is not None and not self.seen <= self.recorded


class _Part(Struct, frozen=True):
    """What a row has in one cell."""

    recorded: str
    seen: str
    known: bool
    wrong: bool = False


def rows_of(fit: Fit, threads: Iterable[SeenThread], memory: Mapping[int, int] | None) -> tuple[StripRow, ...]:
    """The rows of a guest: each vCPU, the overhead threads by class, and memory. `memory` is the MiB observed by cell, None if unknown."""
    known = tuple(threads)
    vcpus = [_vcpu_row(fit, known, vcpu) for vcpu in range(fit.vcpus)]
    if len(vcpus) > _MOST_VCPUS:
        right = [row for row in vcpus if not row.wrong]
        vcpus = [row for row in vcpus if row.wrong]
        if right:
            vcpus.insert(0, _together(f"{len(right)} vCPUs", right))
    rows = [*vcpus, _class_row("emulator", ThreadClass.EMULATOR, fit.emulator, known)]
    others = [kind for kind in (ThreadClass.IOTHREAD, ThreadClass.VHOST) if any(thread.thread_class is kind for thread in known)]
    rows += [_class_row(kind.value, kind, fit.emulator, known) for kind in others]
    if fit.cells or memory:
        recorded: dict[int, int] = {}
        for cell in fit.cells:
            recorded[cell.host_cell] = recorded.get(cell.host_cell, 0) + cell.memory_mib
        rows.append(StripRow(label="memory", recorded_mib=recorded, seen_mib=memory, memory=True))
    return tuple(rows)


def local_share(row: StripRow) -> int | None:
    """How much of the observed memory lies on recorded cells, in per cent; None if that is not known.

    >>> local_share(StripRow(label="memory", recorded_mib={0: 100}, seen_mib={0: 75, 1: 25}, memory=True))
    75
    """
    if not row.seen_mib or not row.recorded_mib or not sum(row.seen_mib.values()):
        return None
    return 100 * sum(mib for cell, mib in row.seen_mib.items() if cell in row.recorded_mib) // sum(row.seen_mib.values())


def strip_words(row: StripRow, cells: Mapping[int, CpuSet]) -> tuple[tuple[str, str], ...]:
    """`(recorded, observed)` of a row in each cell, for a table."""
    return tuple((part.recorded or "-", (part.seen or "-") if part.known else "not known") for part in _parts(row, cells).values())


def guest_svg(name: str, rows: Sequence[StripRow], cells: Mapping[int, CpuSet]) -> str:
    """The picture, without its style."""
    width, height = _LABEL + _COLUMN * len(cells) + 4, _HEAD + _ROW * len(rows) + 8
    head = f'<svg xmlns="http://www.w3.org/2000/svg" class="pf" role="img" aria-label="{escape(shown(name))} across the cells" '
    parts = [head + f'viewBox="0 0 {width} {height}" width="{width}" height="{height}">']
    for column, cell in enumerate(cells):
        x = _LABEL + column * _COLUMN
        parts.append(f'<rect class="pf-box" x="{x + 2}" y="2" width="{_COLUMN - 8}" height="{height - 6}"/>')
        parts.append(f'<text class="pf-b" x="{x + 12}" y="18">cell {cell}</text>')
    for place, row in enumerate(rows):
        parts += _row(row, cells, _HEAD + place * _ROW)
    return "".join(parts) + "</svg>"


def _row(row: StripRow, cells: Mapping[int, CpuSet], y: int) -> list[str]:
    mark = "✗ " if row.wrong else ""
    parts = [f'<text x="0" y="{y + 18}"{" class=" + chr(34) + "pf-b" + chr(34) if row.wrong else ""}>{mark}{escape(row.label)}</text>']
    found = list(_parts(row, cells).values())
    home = next((column for column, part in enumerate(found) if part.recorded), None)
    for column, part in enumerate(found):
        x = _LABEL + column * _COLUMN + 10
        if part.seen and not part.recorded and home is not None:
            middle = _LABEL + home * _COLUMN + _COLUMN // 2
            parts.append(f'<path class="pf-astray" d="M{middle} {y + 13}L{x + (_COLUMN - 24) // 2} {y + 13}"/>')
    for column, part in enumerate(found):
        x = _LABEL + column * _COLUMN + 10
        if part.recorded or part.seen:
            parts.append(_box(part, x, y + 2, memory=row.memory, astray=bool(part.seen) and not part.recorded and home is not None))
    return parts


def _box(part: _Part, x: int, y: int, *, memory: bool, astray: bool) -> str:
    """What was observed in one cell; an empty outline for what was recorded and not observed."""
    width, words = _COLUMN - 24, part.seen if part.known else f"{part.recorded}?"
    missing = part.known and not part.seen
    words += f", recorded {part.recorded}" if part.wrong else ""
    kind = "pf-wrong" if astray or missing or part.wrong else "pf-open pf-o" + ("O" if memory else "D")
    text = f"{part.recorded} is not used" if missing else words
    fill = "" if missing or not part.known else f'<rect class="pf-h1" x="{x}" y="{y}" width="{width}" height="22"/>'
    frame = f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="22"/>'
    return fill + frame + f'<text x="{x + 8}" y="{y + 16}">{escape(shortened(text, _LONGEST))}</text>'


def _parts(row: StripRow, cells: Mapping[int, CpuSet]) -> dict[int, _Part]:
    """What the row has in each cell."""
    if row.memory:
        seen = row.seen_mib or {}
        return {cell: _Part(_mib(row.recorded_mib.get(cell, 0)), _mib(seen.get(cell, 0)), row.seen_mib is not None) for cell in cells}
    recorded, observed = row.recorded or CpuSet(), row.seen or CpuSet()
    return {cell: _part(recorded & cpus, observed & cpus, known=row.seen is not None) for cell, cpus in cells.items()}


def _part(recorded: CpuSet, seen: CpuSet, *, known: bool) -> _Part:
    return _Part(str(recorded), str(seen), known, bool(recorded) and not seen <= recorded)


def _mib(amount: int) -> str:
    return f"{amount:,} MiB" if amount else ""


def _vcpu_row(fit: Fit, threads: Sequence[SeenThread], vcpu: int) -> StripRow:
    pins = dict(fit.pins)
    recorded = CpuSet({pins[vcpu]}) if vcpu in pins else fit.floating
    seen = [thread.allowed for thread in threads if thread.thread_class is ThreadClass.VCPU and thread.vcpu == vcpu]
    return StripRow(label=f"vCPU {vcpu}", recorded=recorded, seen=CpuSet.union(seen) if seen else None)


def _class_row(label: str, kind: ThreadClass, recorded: CpuSet, threads: Sequence[SeenThread]) -> StripRow:
    seen = [thread.allowed for thread in threads if thread.thread_class is kind]
    return StripRow(label=label, recorded=recorded, seen=CpuSet.union(seen) if seen else None)


def _together(label: str, rows: Sequence[StripRow]) -> StripRow:
    seen = [row.seen for row in rows if row.seen is not None]
    recorded = CpuSet.union(row.recorded for row in rows if row.recorded is not None)
    return StripRow(label=label, recorded=recorded, seen=CpuSet.union(seen) if len(seen) == len(rows) else None)
