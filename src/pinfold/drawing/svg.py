"""The host map as an SVG picture: the same host gives the same text. Pure.

Colours are those of Okabe and Ito, which people with every kind of colour vision can tell apart; each pool also has a letter and each class
of thread a glyph. Text from outside is escaped, and shown on one line. The picture follows the reader's light or dark preference.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from html import escape
from itertools import groupby
from typing import Final

from pinfold.core.drift import Finding
from pinfold.core.host_map import CellMap, CoreMap, HostMap, PcpuMap
from pinfold.core.load import HostLoad, Load
from pinfold.core.plural import count
from pinfold.core.printable import shortened, shown
from pinfold.drawing.fold import FOLD_BEYOND, fold_words, folded
from pinfold.drawing.strip import in_words, marks, sample_of_others, sample_of_waiting, strip
from pinfold.drawing.tiles import Glyph, Tile, guest_letters, in_order, owners_of, tile_of

WIDTH: Final = 960
_MARGIN: Final = 16
_TILE: Final = 48
_HEIGHT: Final = 42
_MARKS: Final = 10
"""How much higher a tile is with the marks of its load."""
_BAND: Final = 14
"""How much higher a tile is on a host with strays: the band that names them."""
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
.pf .pf-stray{fill:#a83c00}.pf .pf-on{fill:#ffffff}.pf .pf-sw{fill:#ffffff;font-size:11px;font-weight:700}
.pf .pf-bar{fill:#ffffff;stroke:#8c8c8c}.pf .pf-astray{stroke:#d55e00;stroke-width:3;stroke-dasharray:6 3}
.pf .pf-used{fill:#0072b2}.pf .pf-wait,.pf .pf-beyond{fill:#a0447f}.pf .pf-others{fill:none;stroke:#1a1a1a;stroke-width:1}
.pf .pf-h0{fill:#eeeeec}.pf .pf-h1{fill:#c6dff0}.pf .pf-h2{fill:#8fc0e3}.pf .pf-h3{fill:#4a97cc}.pf .pf-h4{fill:#0072b2}
@media (prefers-color-scheme:dark){
.pf text{fill:#f2f2f2}.pf .pf-paper{fill:#16181c}.pf .pf-m{fill:#d0d0d0}.pf .pf-box{fill:#25282e;stroke:#8c8c8c}
.pf .pf-g{fill:#f2f2f2}.pf .pf-l{stroke:#f2f2f2}.pf .pf-D{fill:#56b4e9}.pf .pf-oD{stroke:#56b4e9}
.pf .pf-wrong{stroke:#ff8a3d}.pf .pf-stray{fill:#ff9d5c}.pf .pf-on,.pf .pf-sw{fill:#16181c}.pf .pf-bar{fill:#16181c}
.pf .pf-used{fill:#56b4e9}.pf .pf-wait,.pf .pf-beyond{fill:#f2a1cf}.pf .pf-others{stroke:#f2f2f2}
.pf .pf-h0{fill:#26292f}.pf .pf-h1{fill:#1f4a68}.pf .pf-h2{fill:#2a6690}.pf .pf-h3{fill:#3c88ba}.pf .pf-h4{fill:#56b4e9}
}
"""
"""The style sheet of a picture. A page that holds pictures has it in its own style sheet, because its policy forbids styles in the page."""

_STRAYS: Final = "a stray's band: the letters of its guest, then e emulator, v vCPU, i IOThreads, h vhost; p is a process of the host"
BANDS: Final = {"D": "D", "DS": "DS", "S": "S", "SO": "SO", "O": "O", "R": "R", "-": "N"}
"""The colours of a pool's band, side by side."""


def host_svg(
    chart: HostMap,
    *,
    guests: Sequence[tuple[str, str, bool]] = (),
    drift: Sequence[Finding] = (),
    notice: str = "",
    load: HostLoad | None = None,
    since: Sequence[str | None] = (),
    styled: bool = True,
) -> str:
    """The picture of a host.

    `guests` are `(key, name, ours)` of guests to name beside those that hold pCPUs. `drift` is listed with its repairs, and with the
    moments of `since`, at which it was first reported. `notice` is a sentence about the whole picture, such as that the host is silent.
    `load` adds how long each pCPU's owner waited in the last minute and what others ran there. Without `styled` the page around it has
    `STYLE`.
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
    rows = _Rows(page, chart, named, load)
    for cell in chart.cells:
        tiles += rows.cell(cell)
    if chart.offline:
        page.text("offline, but held", "pf-b")
        tiles += rows.row([(pcpu,) for pcpu in chart.offline])
    _legend(page, tiles, load)
    _guests(page, [(named[key], name) for key, name, _ in known.values()])
    _drift(page, drift, since or (None,) * len(drift))
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
    for part in booking.parts:
        booked, total = part.booked_millicpu, part.total_millicpu
        page.text(f"of it on cell {part.cell}, pCPUs {part.pool}: {booked:,} of {total:,} millicpu booked")
        page.add(strip(_MARGIN, page.y, WIDTH - 2 * _MARGIN, booked=booked, total=total))
        page.y += 18


class _Rows:
    """The tiles of a host in rows; `height` is that of every tile of it."""

    def __init__(self, page: _Page, chart: HostMap, named: Mapping[str, str], load: HostLoad | None) -> None:
        self._page, self._named, self._load = page, named, load
        self._siblings = max((len(core.pcpus) for cell in chart.cells for core in cell.cores), default=1)
        self._fold = len(chart.pcpus) > FOLD_BEYOND
        self._height = _HEIGHT + (0 if load is None else _MARKS) + (_BAND if chart.strays else 0)

    def cell(self, cell: CellMap) -> list[Tile]:
        """The cores of a cell, by socket."""
        page = self._page
        page.y += 6
        free = f", {cell.dedicated_free} of {cell.dedicated} dedicated free" if cell.dedicated else ""
        memory = f", {cell.memory_free_mib:,} of {cell.memory_mib:,} MiB free"
        tiles: list[Tile] = []
        parts = [(socket, list(cores)) for socket, cores in groupby(cell.cores, key=lambda core: core.socket)]
        for number, (socket, cores) in enumerate(parts or [(None, [])]):
            where = ("" if socket is None else f"socket {socket}, ") + f"cell {cell.id}"
            page.text(where + (free + memory if number == 0 else ""), "pf-b")
            for alike, some in folded(cores, self._room(), self._looks) if self._fold else [(False, cores)]:
                if alike:
                    tiles += self._one_for_all(some)
                elif len(cell.caches) > 1:
                    tiles += self._caches(some)
                else:
                    tiles += self.row([core.pcpus for core in some])
        return tiles

    def _room(self) -> int:
        """How many cores a row has room for."""
        return max(1, (WIDTH - 2 * _MARGIN + _GAP) // (self._siblings * _TILE + _GAP))

    def _looks(self, core: CoreMap) -> Hashable:
        """What is seen of a core, but for the numbers of its pCPUs."""
        tiles = [tile_of(pcpu, self._named) for pcpu in core.pcpus]
        return tuple(
            (tile.pool, tile.text, tile.stray, tile.glyph, tile.wrong, marks(self._of(tile.pcpu) or Load(), 0, 0, _TILE)) for tile in tiles
        )

    def _of(self, cpu: int) -> Load | None:
        return None if self._load is None else self._load.pcpus.get(cpu, Load())

    def _one_for_all(self, cores: Sequence[CoreMap]) -> list[Tile]:
        """One core for many that are alike, and which they are."""
        top = self._page.y
        tiles = self.row([cores[0].pcpus])
        bottom, self._page.y = self._page.y, top + self._height // 2 - 10
        self._page.text(fold_words(cores), x=_MARGIN + self._siblings * _TILE + 2 * _GAP)
        self._page.y = bottom
        return tiles

    def _caches(self, cores: Sequence[CoreMap]) -> list[Tile]:
        """The cores in a frame for each last-level cache, as many side by side as fit."""
        page = self._page
        groups = [list(found) for _, found in groupby(sorted(cores, key=lambda core: core.cache or 0), key=lambda core: core.cache)]
        groups.sort(key=lambda found: found[0].siblings.first)
        step, room = self._siblings * _TILE + _GAP, WIDTH - 2 * _MARGIN
        per_row = min(max(map(len, groups)), max(1, (room - 2 * _FRAME + _GAP) // step))
        width = per_row * step - _GAP + 2 * _FRAME
        beside = max(1, (room + _GAP) // (width + _GAP))
        tiles: list[Tile] = []
        for start in range(0, len(groups), beside):
            top = bottom = page.y
            for column, found in enumerate(groups[start : start + beside]):
                x, page.y = _MARGIN + column * (width + _GAP), top + _CACHE_HEAD
                tiles += self.row([core.pcpus for core in found], x=x + _FRAME, per_row=per_row)
                bottom = max(bottom, page.y)
                page.add(f'<text class="pf-m" x="{x + _FRAME}" y="{top + 11}">last-level cache {found[0].cache}</text>')
                page.add(f'<rect class="pf-frame" x="{x}" y="{top}" width="{width}" height="{page.y - top - _GAP}" rx="3"/>')
            page.y = bottom
        return tiles

    def row(self, cores: Sequence[Sequence[PcpuMap]], *, x: int = _MARGIN, per_row: int = 0) -> list[Tile]:
        """The cores from `x` on in rows of equal length, or of `per_row`; siblings touch each other."""
        page = self._page
        if not cores:
            page.text("no pCPUs", "pf-m")
            return []
        step = max(map(len, cores)) * _TILE + _GAP if len(cores) == 1 else self._siblings * _TILE + _GAP
        room = self._room()
        per_row = per_row or -(-len(cores) // -(-len(cores) // room))
        tiles: list[Tile] = []
        for place, core in enumerate(cores):
            row, column = divmod(place, per_row)
            for number, pcpu in enumerate(core):
                tile = tile_of(pcpu, self._named)
                tiles.append(tile)
                page.add(self._tile(tile, x + column * step + number * _TILE, page.y + row * (self._height + _GAP)))
        page.y += -(-len(cores) // per_row) * (self._height + _GAP) + 4
        return tiles

    def _tile(self, tile: Tile, x: int, y: int) -> str:
        load, height = self._of(tile.pcpu), self._height
        words = f"pCPU {tile.pcpu}, {_POOLS[tile.pool]}: {tile.words}" + ("" if load is None else f"; {in_words(load)}")
        parts = [
            f"<g><title>{_safe(words)}</title>",
            f'<rect class="pf-box" x="{x}" y="{y}" width="{_TILE}" height="{height}"/>',
            _band(tile.pool, _TILE, 5, x, y),
            f'<text class="pf-m" x="{x + 6}" y="{y + 17}">{tile.pcpu}</text>',
            f'<text class="pf-m" x="{x + _TILE - 6}" y="{y + 17}" text-anchor="end">{tile.pool}</text>',
            _glyph(tile.glyph, x + 6, y + 24),
        ]
        if tile.vhost:
            parts.append(_vhost(x + 31, y + 24))
        if tile.owner:
            fitted = f' textLength="{_TILE - 25}" lengthAdjust="spacingAndGlyphs"' if len(tile.text) > 2 else ""
            parts.append(f'<text class="pf-b" x="{x + 19}" y="{y + 34}"{fitted}>{_safe(tile.text)}</text>')
        if load is not None:
            parts.append(marks(load, x + 5, y + _HEIGHT - 3, _TILE - 10))
        if tile.stray:
            parts.append(_stray(tile.stray, x, y + height - _BAND, _TILE))
        if tile.wrong:
            less = _BAND if tile.stray else 0
            parts.append(f'<rect class="pf-wrong" x="{x + 2}" y="{y + 7}" width="{_TILE - 4}" height="{height - 9 - less}"/>')
        return "".join(parts) + "</g>"


def _stray(words: str, x: int, y: int, width: int) -> str:
    """The band at the foot of a tile that names whose threads are there without belonging there."""
    return (
        f'<rect class="pf-stray" x="{x}" y="{y}" width="{width}" height="{_BAND}"/>'
        f'<path class="pf-on" d="M{x + 5} {y + 7}l5 -4v8z"/><text class="pf-sw" x="{x + 13}" y="{y + 11}">{_safe(words)}</text>'
    )


def _vhost(x: int, y: int) -> str:
    """The glyph of vhost threads in a square of 10 by 10."""
    return f'<path class="pf-l" d="M{x + 1} {y + 9.5}l4 -8.5l4 8.5z"/>'


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
    if any(tile.vhost for tile in tiles):
        signs.append((_vhost, "vhost threads"))
    if any(tile.wrong for tile in tiles):
        signs.append((_outline, "drift: not where it should be"))
    if strayed := sorted({tile.stray for tile in tiles if tile.stray}, key=in_order):
        signs.append((partial(_sample_of_strays, strayed[0]), "strays: may run there, belong elsewhere"))
    if load is not None:
        signs.append((sample_of_waiting, "waited; full width: all the time"))
        signs.append((sample_of_others, "others than its owner ran there"))
    _signs(page, "pools, by their letters in the right corner", pools)
    _signs(page, "what runs there", signs)
    if any(tile.stray for tile in tiles):
        page.text(_STRAYS)


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


def _sample_of_strays(letters: str, x: int, y: int) -> str:
    return _stray(letters[:2], x, y - 2, 28)


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


def _drift(page: _Page, drift: Sequence[Finding], since: Sequence[str | None]) -> None:
    """Each finding with what undoes it, and since when it is reported."""
    if not drift:
        return
    page.y += 6
    page.text(f"{count(len(drift), 'finding')} of drift", "pf-b")
    for finding, when in zip(drift, since, strict=True):
        page.text(f"✗ {finding.sentence()}")
        if when is not None:
            page.text(f"first reported at {when}", x=_MARGIN + 14)
        if finding.repair or finding.advice:
            page.text(finding.repair or finding.advice, "pf-c", _MARGIN + 14)


def _class(style: str) -> str:
    return f' class="{style}"' if style else ""


def _safe(text: str) -> str:
    """Text from outside on one line, as it may stand in XML."""
    return escape(shown(text))


def _cut(text: str, most: int) -> str:
    """The text, cut to a number of characters."""
    return shortened(shown(text), most)
