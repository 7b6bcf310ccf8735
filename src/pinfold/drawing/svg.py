"""The host map as an SVG picture: the same host gives the same text. Pure.

Colours are those of Okabe and Ito, which people with every kind of colour vision can tell apart; each pool also has a letter and each class
of thread a glyph. Text from outside is escaped, and shown on one line. The picture follows the reader's light or dark preference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from itertools import groupby
from typing import Final

from pinfold.core.drift import Finding
from pinfold.core.host_map import CellMap, CoreMap, HostMap, PcpuMap
from pinfold.core.load import HostLoad, Load
from pinfold.core.plural import count
from pinfold.core.printable import shown
from pinfold.drawing.strip import in_words, marks, sample_of_others, sample_of_waiting, strip
from pinfold.drawing.tiles import Glyph, Tile, guest_letters, in_order, owners_of, tile_of

WIDTH: Final = 960
_MARGIN: Final = 16
_TILE: Final = 48
_HEIGHT: Final = 42
_MARKS: Final = 10
"""How much higher a tile is with the marks of its load."""
_GAP: Final = 8
_LINE: Final = 20
_FRAME: Final = 6
"""How far the frame of a last-level cache is from its tiles."""
_CACHE_HEAD: Final = 17
_LONGEST: Final = 34
"""The most characters of a guest's name in the list of guests; the tooltips have all of it."""
_MOST_CHARACTERS: Final = 118
"""The most characters of one line over the whole width."""

_POOLS: Final = {
    "D": "dedicated",
    "DS": "dedicated and shared",
    "S": "shared",
    "SO": "shared and overhead",
    "O": "overhead",
    "R": "retiring: held, but no longer dedicated",
    "-": "in no pool: the host's own",
}
STYLE: Final = """
.pf text{font-family:system-ui,"DejaVu Sans",sans-serif;font-size:13px;fill:#1a1a1a}
.pf .pf-paper{fill:#ffffff}
.pf .pf-h{font-size:17px;font-weight:600}
.pf .pf-b{font-weight:600}
.pf .pf-m{fill:#555555;font-size:10px}
.pf .pf-c{font-family:ui-monospace,"DejaVu Sans Mono",monospace;font-size:11px}
.pf .pf-box{fill:#f4f4f2;stroke:#8c8c8c}
.pf .pf-frame{fill:none;stroke:#8c8c8c}
.pf .pf-g{fill:#1a1a1a;stroke:none}
.pf .pf-l{fill:none;stroke:#1a1a1a;stroke-width:1.6}
.pf .pf-D{fill:#0072b2}.pf .pf-S{fill:#009e73}.pf .pf-O{fill:#e69f00}.pf .pf-N{fill:#999999}.pf .pf-R{fill:#cc79a7}
.pf .pf-open{fill:none;stroke-width:1}
.pf .pf-oD{stroke:#0072b2}.pf .pf-oS{stroke:#009e73}.pf .pf-oO{stroke:#e69f00}.pf .pf-oN{stroke:#999999}.pf .pf-oR{stroke:#cc79a7}
.pf .pf-wrong{fill:none;stroke:#d55e00;stroke-width:3;stroke-dasharray:6 3}
.pf .pf-bar{fill:#ffffff;stroke:#8c8c8c}.pf .pf-astray{stroke:#d55e00;stroke-width:3;stroke-dasharray:6 3}
.pf .pf-used{fill:#0072b2}.pf .pf-wait,.pf .pf-beyond{fill:#a0447f}.pf .pf-others{fill:none;stroke:#1a1a1a;stroke-width:1}
.pf .pf-h0{fill:#eeeeec}.pf .pf-h1{fill:#c6dff0}.pf .pf-h2{fill:#8fc0e3}.pf .pf-h3{fill:#4a97cc}.pf .pf-h4{fill:#0072b2}
@media (prefers-color-scheme:dark){
.pf text{fill:#f2f2f2}.pf .pf-paper{fill:#16181c}.pf .pf-m{fill:#d0d0d0}.pf .pf-box{fill:#25282e;stroke:#8c8c8c}
.pf .pf-g{fill:#f2f2f2}.pf .pf-l{stroke:#f2f2f2}.pf .pf-D{fill:#56b4e9}.pf .pf-oD{stroke:#56b4e9}
.pf .pf-wrong{stroke:#ff8a3d}.pf .pf-bar{fill:#16181c}
.pf .pf-used{fill:#56b4e9}.pf .pf-wait,.pf .pf-beyond{fill:#f2a1cf}.pf .pf-others{stroke:#f2f2f2}
.pf .pf-h0{fill:#26292f}.pf .pf-h1{fill:#1f4a68}.pf .pf-h2{fill:#2a6690}.pf .pf-h3{fill:#3c88ba}.pf .pf-h4{fill:#56b4e9}
}
"""
"""The style sheet of a picture. A page that holds pictures has it in its own style sheet, because its policy forbids styles in the page."""

BANDS: Final = {"D": "D", "DS": "DS", "S": "S", "SO": "SO", "O": "O", "R": "R", "-": "N"}
"""The colours of a pool's band, side by side."""


def host_svg(
    chart: HostMap,
    *,
    guests: Sequence[tuple[str, str, bool]] = (),
    drift: Sequence[Finding] = (),
    notice: str = "",
    load: HostLoad | None = None,
    styled: bool = True,
) -> str:
    """The picture of a host.

    `guests` are `(key, name, ours)` of guests to name beside those that hold pCPUs. `drift` is listed with its repairs. `notice` is a
    sentence about the whole picture, such as that the host is silent. `load` adds how long each pCPU's owner waited in the last minute and
    what others ran there. Without `styled` the page around it has `STYLE`.
    """
    known = {guest[0]: guest for guest in (*owners_of(chart), *guests)}
    named = guest_letters(known.values())
    page = _Page()
    page.text(chart.host or "this host", "pf-h")
    cores = sum(len(cell.cores) for cell in chart.cells)
    caches = f"{count(len(chart.caches), 'last-level cache')}, " if chart.caches else ""
    page.text(f"{count(len(chart.cells), 'cell')}, {caches}{count(cores, 'core')}, {count(len(chart.pcpus), 'pCPU')}; {_free(chart)}")
    if notice:
        page.text(notice, "pf-b")
    _overhead(page, chart, load)
    tiles: list[Tile] = []
    siblings = max((len(core.pcpus) for cell in chart.cells for core in cell.cores), default=1)
    for cell in chart.cells:
        tiles += _cell(page, cell, named, siblings, load)
    if chart.offline:
        page.text("offline, but held", "pf-b")
        tiles += _row(page, [(pcpu,) for pcpu in chart.offline], named, 1, None)
    _legend(page, tiles, load)
    _guests(page, [(named[key], name) for key, name, _ in known.values()])
    _drift(page, drift)
    return page.svg(f"Host map of {chart.host or 'this host'}", styled=styled)


class _Page:
    """The picture while it grows downwards; `y` is where the next part begins."""

    def __init__(self) -> None:
        self.y = _MARGIN
        self._parts: list[str] = []

    def add(self, part: str) -> None:
        self._parts.append(part)

    def text(self, words: str, style: str = "", x: int = _MARGIN, *, advance: int = _LINE) -> None:
        """One line of text, cut where it is longer than the picture is wide."""
        self.add(f'<text x="{x}" y="{self.y + 14}"{_class(style)}>{_safe(_cut(words, _MOST_CHARACTERS))}</text>')
        self.y += advance

    def svg(self, label: str, *, styled: bool) -> str:
        height = self.y + _MARGIN
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="pf" role="img" aria-label="{_safe(label)}" '
            f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">'
        )
        style = f"<style>{STYLE}</style>" if styled else ""
        paper = f'<rect class="pf-paper" width="{WIDTH}" height="{height}"/>'
        return "\n".join([head + style, paper, *self._parts, "</svg>"]) + "\n"


def _free(chart: HostMap) -> str:
    dedicated = sum(cell.dedicated for cell in chart.cells)
    floating = "floating vCPUs are not known" if chart.floating_vcpus is None else count(chart.floating_vcpus, "floating vCPU")
    return f"{chart.dedicated_free} of {count(dedicated, 'dedicated pCPU')} free, {floating}"


def _overhead(page: _Page, chart: HostMap, load: HostLoad | None) -> None:
    """How much of the overhead pool is booked and, where it is known, used and waited for: as a strip and in words."""
    booking = chart.overhead
    if booking is None:
        page.text("no overhead pool: policy share floats over the guest's own pCPUs")
        return
    booked, total = booking.booked_millicpu, booking.total_millicpu
    words = f"overhead pool {booking.pool or 'without pCPUs'}: {booked:,} of {total:,} millicpu booked by {count(booking.guests, 'guest')}"
    measured = None if load is None else load.pools.get("overhead")
    page.text(words + ("" if measured is None else f"; last minute: {in_words(measured)} of one pCPU"))
    page.add(strip(_MARGIN, page.y, WIDTH - 2 * _MARGIN, booked=booked, total=total, measured=measured))
    page.y += 18 if measured is None else 24


def _cell(page: _Page, cell: CellMap, named: Mapping[str, str], siblings: int, load: HostLoad | None) -> list[Tile]:
    page.y += 6
    free = f", {cell.dedicated_free} of {cell.dedicated} dedicated free" if cell.dedicated else ""
    memory = f", {cell.memory_free_mib:,} of {cell.memory_mib:,} MiB free"
    tiles: list[Tile] = []
    parts = [(socket, list(cores)) for socket, cores in groupby(cell.cores, key=lambda core: core.socket)]
    for number, (socket, cores) in enumerate(parts or [(None, [])]):
        where = ("" if socket is None else f"socket {socket}, ") + f"cell {cell.id}"
        page.text(where + (free + memory if number == 0 else ""), "pf-b")
        if len(cell.caches) > 1:
            tiles += _caches(page, cores, named, siblings, load)
        else:
            tiles += _row(page, [core.pcpus for core in cores], named, siblings, load)
    return tiles


def _caches(page: _Page, cores: Sequence[CoreMap], named: Mapping[str, str], siblings: int, load: HostLoad | None) -> list[Tile]:
    """The cores in a frame for each last-level cache, as many side by side as fit."""
    groups = [list(found) for _, found in groupby(sorted(cores, key=lambda core: core.cache or 0), key=lambda core: core.cache)]
    groups.sort(key=lambda found: found[0].siblings.first)
    step, room = siblings * _TILE + _GAP, WIDTH - 2 * _MARGIN
    per_row = min(max(map(len, groups)), max(1, (room - 2 * _FRAME + _GAP) // step))
    width = per_row * step - _GAP + 2 * _FRAME
    beside = max(1, (room + _GAP) // (width + _GAP))
    tiles: list[Tile] = []
    for start in range(0, len(groups), beside):
        top = bottom = page.y
        for column, found in enumerate(groups[start : start + beside]):
            x, page.y = _MARGIN + column * (width + _GAP), top + _CACHE_HEAD
            tiles += _row(page, [core.pcpus for core in found], named, siblings, load, x=x + _FRAME, per_row=per_row)
            bottom = max(bottom, page.y)
            page.add(f'<text class="pf-m" x="{x + _FRAME}" y="{top + 11}">last-level cache {found[0].cache}</text>')
            page.add(f'<rect class="pf-frame" x="{x}" y="{top}" width="{width}" height="{page.y - top - _GAP}" rx="3"/>')
        page.y = bottom
    return tiles


def _row(
    page: _Page,
    cores: Sequence[Sequence[PcpuMap]],
    named: Mapping[str, str],
    siblings: int,
    load: HostLoad | None,
    *,
    x: int = _MARGIN,
    per_row: int = 0,
) -> list[Tile]:
    """The cores from `x` on in rows of equal length, or of `per_row`; siblings touch each other."""
    if not cores:
        page.text("no pCPUs", "pf-m")
        return []
    step = siblings * _TILE + _GAP
    room = max(1, (WIDTH - 2 * _MARGIN + _GAP) // step)
    per_row = per_row or -(-len(cores) // -(-len(cores) // room))
    height = _HEIGHT + (0 if load is None else _MARKS)
    tiles: list[Tile] = []
    for place, core in enumerate(cores):
        row, column = divmod(place, per_row)
        for number, pcpu in enumerate(core):
            tile = tile_of(pcpu, named)
            tiles.append(tile)
            measured = None if load is None else load.pcpus.get(tile.pcpu, Load())
            page.add(_tile(tile, measured, x + column * step + number * _TILE, page.y + row * (height + _GAP)))
    page.y += -(-len(cores) // per_row) * (height + _GAP) + 4
    return tiles


def _tile(tile: Tile, load: Load | None, x: int, y: int) -> str:
    words = f"pCPU {tile.pcpu}, {_POOLS[tile.pool]}: {tile.words}" + ("" if load is None else f"; {in_words(load)}")
    height = _HEIGHT + (0 if load is None else _MARKS)
    parts = [
        f"<g><title>{_safe(words)}</title>",
        f'<rect class="pf-box" x="{x}" y="{y}" width="{_TILE}" height="{height}"/>',
        _band(tile.pool, _TILE, 5, x, y),
        f'<text class="pf-m" x="{x + 6}" y="{y + 17}">{tile.pcpu}</text>',
        f'<text class="pf-m" x="{x + _TILE - 6}" y="{y + 17}" text-anchor="end">{tile.pool}</text>',
        _glyph(tile.glyph, x + 6, y + 24),
    ]
    if tile.owner:
        fitted = f' textLength="{_TILE - 25}" lengthAdjust="spacingAndGlyphs"' if len(tile.text) > 2 else ""
        parts.append(f'<text class="pf-b" x="{x + 19}" y="{y + 34}"{fitted}>{_safe(tile.text)}</text>')
    if load is not None:
        parts.append(marks(load, x + 5, y + _HEIGHT - 3, _TILE - 10))
    if tile.wrong:
        parts.append(f'<rect class="pf-wrong" x="{x + 2}" y="{y + 7}" width="{_TILE - 4}" height="{height - 9}"/>')
    return "".join(parts) + "</g>"


def _glyph(glyph: Glyph, x: int, y: int) -> str:
    """The glyph of a class in a square of 10 by 10."""
    wave = f'<path class="pf-l" d="M{x} {y + 6}q2.5 -5 5 0t5 0"/>'
    match glyph:
        case Glyph.VCPU:
            return f'<rect class="pf-g" x="{x}" y="{y}" width="10" height="10"/>'
        case Glyph.EMULATOR:
            return f'<path class="pf-g" d="M{x + 5} {y - 1}l6 6l-6 6l-6 -6z"/>'
        case Glyph.IDLE:
            return f'<path class="pf-l" d="M{x} {y + 5}h10"/>'
        case Glyph.FLOATING:
            return wave
        case Glyph.OVERHEAD:
            return f'<circle class="pf-g" cx="{x + 5}" cy="{y + 5}" r="5"/>'
        case Glyph.CROWD:
            return wave + f'<circle class="pf-g" cx="{x + 18}" cy="{y + 5}" r="5"/>'
        case Glyph.FREE:
            return f'<circle class="pf-l" cx="{x + 5}" cy="{y + 5}" r="3"/>'
        case Glyph.HOST:
            return f'<path class="pf-l" d="M{x} {y + 1}h10M{x} {y + 5}h10M{x} {y + 9}h10"/>'
        case Glyph.OFFLINE:
            return f'<path class="pf-l" d="M{x} {y}l10 10M{x + 10} {y}l-10 10"/>'
        case Glyph.UNKNOWN:
            return f'<text class="pf-b" x="{x}" y="{y + 10}">?</text>'


def _legend(page: _Page, tiles: Sequence[Tile], load: HostLoad | None) -> None:
    """The pools and glyphs that the picture has."""
    pools = [
        (partial(_band, pool, 14, 10), f"{pool} {words}") for pool, words in _POOLS.items() if any(tile.pool == pool for tile in tiles)
    ]
    signs: list[tuple[Callable[[int, int], str], str]] = [
        (partial(_glyph, glyph), glyph.value) for glyph in Glyph if any(tile.glyph is glyph for tile in tiles)
    ]
    if any(tile.wrong for tile in tiles):
        signs.append((_outline, "drift: not where it should be"))
    if load is not None:
        signs.append((sample_of_waiting, "waited; full width: all the time"))
        signs.append((sample_of_others, "others than its owner ran there"))
    _signs(page, "pools, by their letters in the right corner", pools)
    _signs(page, "what runs there", signs)


def _signs(page: _Page, title: str, signs: Sequence[tuple[Callable[[int, int], str], str]]) -> None:
    """A part of the legend, three signs in a row."""
    if not signs:
        return
    page.y += 6
    page.text(title, "pf-b")
    for start in range(0, len(signs), 3):
        for column, (draw, words) in enumerate(signs[start : start + 3]):
            x = _MARGIN + column * 310
            page.add(draw(x, page.y + 4))
            page.text(words, x=x + 34, advance=0)
        page.y += _LINE


def _band(pool: str, width: int, height: int, x: int, y: int) -> str:
    """The colours of a pool side by side."""
    bands = BANDS[pool]
    part = width // len(bands)
    return "".join(
        f'<rect class="pf-{band}" x="{x + at * part}" y="{y}" width="{part}" height="{height}"/>' for at, band in enumerate(bands)
    )


def _outline(x: int, y: int) -> str:
    return f'<rect class="pf-wrong" x="{x}" y="{y - 1}" width="22" height="12"/>'


def _guests(page: _Page, guests: Sequence[tuple[str, str]]) -> None:
    """Which guest has which letters, three in a row."""
    if not guests:
        return
    page.y += 6
    page.text("guests, by their letters beside the sign", "pf-b")
    ordered = sorted(guests, key=lambda guest: in_order(guest[0]))
    for start in range(0, len(ordered), 3):
        for column, (letters, name) in enumerate(ordered[start : start + 3]):
            x = _MARGIN + column * 310
            page.text(letters, "pf-b", x, advance=0)
            page.text(_cut(name, _LONGEST), x=x + 34, advance=0)
        page.y += _LINE


def _drift(page: _Page, drift: Sequence[Finding]) -> None:
    """Each finding with what undoes it."""
    if not drift:
        return
    page.y += 6
    page.text(f"{count(len(drift), 'finding')} of drift", "pf-b")
    for finding in drift:
        page.text(f"✗ {finding.sentence()}")
        if finding.repair or finding.advice:
            page.text(finding.repair or finding.advice, "pf-c", _MARGIN + 14)


def _class(style: str) -> str:
    return f' class="{style}"' if style else ""


def _safe(text: str) -> str:
    """Text from outside on one line, as it may stand in XML."""
    return escape(shown(text))


def _cut(text: str, most: int) -> str:
    """The text, cut to a number of characters."""
    text = shown(text)
    return text if len(text) <= most else text[: most - 1] + "…"
