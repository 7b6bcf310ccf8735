"""The map of a host in text: sockets, cells, last-level caches, cores with siblings side by side, pools, owners, a legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from rich.console import RenderableType
from rich.text import Text

from pinfold.cli.views.columns import Columns
from pinfold.cli.views.marks import Mark, guest_marks, owner_mark, pool_mark, stray_mark
from pinfold.cli.views.phrases import foreign_words, guest_cell, mib_of, short_emulator_words, vcpu_words
from pinfold.cli.views.proof import findings_lines
from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Finding
from pinfold.core.host_map import CellMap, CoreMap, HostMap, PcpuMap
from pinfold.core.ledger import Role
from pinfold.core.load import HostLoad, pcpu_sentences
from pinfold.core.overhead import ThreadClass
from pinfold.core.plural import count, page_words
from pinfold.drawing.fold import FOLD_BEYOND, fold_words, folded
from pinfold.drawing.tiles import CLASH, DRIFTED, FREE, STRAY, UNKNOWN, VHOST
from pinfold.host.survey import Survey

_LABEL = 7


def host_map_view(
    seen: Survey,
    chart: HostMap,
    width: int,
    drift: Sequence[Finding] = (),
    load: HostLoad | None = None,
    since: Sequence[float | None] = (),
) -> list[RenderableType]:
    """The map for a screen `width` columns wide, with what was waited for in the last minute, and below it the drift with its repairs.

    `since` has the times at which the drift was first reported, where that is known. Pure.
    """
    guests = guest_marks(seen)
    pcpus = [pcpu for cell in chart.cells for core in cell.cores for pcpu in core.pcpus]
    owners = {pcpu.pcpu: owner_mark(pcpu, guests) for pcpu in pcpus}
    strays = {pcpu.pcpu: stray_mark(pcpu, guests) for pcpu in pcpus}
    rows = _Rows(owners, strays, width, fold=len(pcpus) > FOLD_BEYOND)
    lines: list[RenderableType] = [*host_head(seen, chart), Text()]
    for sockets, cells in groupby(chart.cells, key=_sockets):
        if sockets:
            lines.append(Text(f"{'socket' if len(sockets) == 1 else 'sockets'} {', '.join(map(str, sockets))}", style="bold"))
        for cell in cells:
            lines += [_cell_head(cell), *rows.of(cell), Text()]
    lines += _held_offline(seen, chart)
    if guests:
        lines += [_guests(seen, guests), Text()]
    if load is not None:
        lines += [*(Text(sentence) for sentence in pcpu_sentences(load)), Text()]
    lines += _legend(pcpus, owners, width)
    if drift:
        lines += [Text(), Text(f"{count(len(drift), 'place')} drifted:", style="bold red"), *findings_lines(drift, since)]
    return lines


def _held_offline(seen: Survey, chart: HostMap) -> list[RenderableType]:
    """The offline pCPUs that guests hold. If Nova switches pCPUs off, those of a stopped guest are off on purpose."""
    running = {guest.id for guest in seen.guests if guest.active}
    lines: list[RenderableType] = []
    resting = [pcpu for pcpu in chart.offline if pcpu.pcpu in seen.switched_off and running.isdisjoint(owner.key for owner in pcpu.owners)]
    for words, style, pcpus in (
        ("offline, but held", "bold red", [pcpu for pcpu in chart.offline if pcpu not in resting]),
        ("switched off, and held by stopped guests", "dim", resting),
    ):
        if pcpus:
            held = ", ".join(f"{pcpu.pcpu} ({', '.join(owner.name for owner in pcpu.owners)})" for pcpu in pcpus)
            lines += [Text(f"{words}: {held}", style=style), Text()]
    return lines


def host_head(seen: Survey, chart: HostMap) -> list[RenderableType]:
    """The host's parts, and its pools with what is free in them."""
    topology = seen.state.topology
    sockets = {core.socket for cell in chart.cells for core in cell.cores} - {None}
    cores = sum(len(cell.cores) for cell in chart.cells)
    smt = f" of {topology.threads_per_core} threads" if topology.threads_per_core > 1 else ""
    parts = [count(len(sockets), "socket")] if sockets else []
    parts += [count(len(chart.cells), "cell")]
    parts += [count(len(chart.caches), "last-level cache")] if chart.caches else []
    parts += [count(cores, "core") + smt, count(len(topology.online), "pCPU")]
    head = Text.assemble((chart.host or "this host", "bold"), f": {', '.join(parts)}")
    if topology.offline:
        head.append(f", offline {topology.offline}", style="dim")
    return [head, _pools(seen, chart)]


def _pools(seen: Survey, chart: HostMap) -> Columns:
    pools = seen.state.pools
    table = Columns("", "", "", titled=False)
    free = f"{chart.dedicated_free} of {count(len(pools.dedicated), 'pCPU')} free"
    if seen.switched_off:
        free += f", {seen.switched_off} switched off until a guest needs them"
    table.add_row(Text.assemble(("D", "cyan"), " dedicated"), _or_none(pools.dedicated), free)
    floating = "unknown floating vCPUs" if chart.floating_vcpus is None else count(chart.floating_vcpus, "floating vCPU")
    kept = f", {seen.reserved_pcpus} kept for the host" if seen.reserved_pcpus else ""
    words = f"{count(len(pools.shared), 'pCPU')}{kept}, {floating}"
    table.add_row(Text.assemble(("S", "green"), " shared"), _or_none(pools.shared), words)
    booking = chart.overhead
    if booking is None:
        table.add_row(Text.assemble(("O", "green"), " overhead"), "none", "policy share floats over the guest's own pCPUs")
    else:
        where = "the shared pool" if booking.pool == pools.shared else _or_none(booking.pool)
        booked = f"{booking.booked_millicpu:,} of {booking.total_millicpu:,} millicpu booked by {count(booking.guests, 'guest')}"
        booked += f"; {count(booking.others, 'guest')} of others" if booking.others else ""
        table.add_row(Text.assemble(("O", "green"), " overhead"), where, booked)
        for part in booking.parts:
            words = f"{part.booked_millicpu:,} of {part.total_millicpu:,} millicpu booked"
            table.add_row(f"  of it, cell {part.cell}", str(part.pool), words)
    rest = seen.state.topology.online - pools.dedicated - pools.shared - (pools.overhead or CpuSet())
    if rest:
        table.add_row(Text.assemble(("-", "dim"), " the host's"), str(rest), count(len(rest), "pCPU"))
    return table


def _cell_head(cell: CellMap) -> Text:
    line = Text.assemble((f"cell {cell.id}", "bold"), f": {count(sum(len(core.pcpus) for core in cell.cores), 'pCPU')}")
    if cell.dedicated:
        line.append(f", {cell.dedicated_free} of {cell.dedicated} dedicated free")
    line.append(f", {mib_of(cell.memory_free_mib, cell.memory_mib)} free")
    for pages in cell.huge_pages:
        line.append(f", {pages.free:,} of {count(pages.total, 'page')} of {page_words(pages.size_kib)} free")
    return line


class _Rows:
    """The rows of every cell in one layout: cores side by side, every pCPU in a column of the same width.

    The cores of a cell with several last-level caches are grouped by cache, and a cache starts in the row of another only if both fit.
    With `fold`, cores in a row that are alike and that no guest holds are one line, if they would need more than one row. The row of
    strays is there only where some are.
    """

    def __init__(self, owners: Mapping[int, Mark], strays: Mapping[int, Mark], width: int, *, fold: bool) -> None:
        self._owners = owners
        self._strays = strays
        self._width = width
        self._fold = fold
        self._column = 1 + max([2, *(max(len(mark.text), len(strays[cpu].text), len(str(cpu))) for cpu, mark in owners.items())])

    def of(self, cell: CellMap) -> list[Text]:
        if not cell.cores:
            return [Text("  no pCPUs", style="dim")]
        siblings = max(len(core.pcpus) for core in cell.cores)
        room = max(1, (self._width - _LABEL) // (1 + siblings * self._column))
        lines: list[Text] = []
        for in_one, cores in self._parts(cell, room):
            lines += [Text()] if lines else []
            lines += [self._line_of(cores)] if in_one else self._drawn(cores, room, siblings, grouped=len(cell.caches) > 1)
        return lines

    def _parts(self, cell: CellMap, room: int) -> list[tuple[bool, list[CoreMap]]]:
        """The cores of a cell in order, cut where one line stands for many: `(in one line, cores)`."""
        cores = [core for _, found in cell.caches for core in found]
        return folded(cores, room, self._looks) if self._fold else [(False, cores)]

    def _looks(self, core: CoreMap) -> tuple[tuple[str, str, str], ...]:
        return tuple((pool_mark(pcpu).text, self._owners[pcpu.pcpu].text, self._strays[pcpu.pcpu].text) for pcpu in core.pcpus)

    def _line_of(self, cores: Sequence[CoreMap]) -> Text:
        first = cores[0].pcpus[0]
        line = Text(f"  {fold_words(cores)}, pool ").append_text(Text(pool_mark(first).text, style=pool_mark(first).style))
        for words, mark in ((", runs ", self._owners[first.pcpu]), (", stray ", self._strays[first.pcpu])):
            if mark.text:
                line.append(words).append(mark.text, style=mark.style)
        return line

    def _drawn(self, drawn: Sequence[CoreMap], room: int, siblings: int, *, grouped: bool) -> list[Text]:
        lines: list[Text] = []
        for caches in _in_rows(drawn, room, grouped=grouped):
            cores = [core for group in caches for core in group]
            starts = CpuSet(group[0].siblings.first for group in caches) if grouped else CpuSet()
            lines += [Text()] if lines else []
            if grouped:
                lines.append(self._caches(caches, siblings))
            for label, marks in (
                ("pCPU", [[Mark(text=str(pcpu.pcpu)) for pcpu in core.pcpus] for core in cores]),
                ("pool", [[pool_mark(pcpu) for pcpu in core.pcpus] for core in cores]),
                ("runs", [[self._owners[pcpu.pcpu] for pcpu in core.pcpus] for core in cores]),
                ("stray", [[self._strays[pcpu.pcpu] for pcpu in core.pcpus] for core in cores]),
            ):
                if label != "stray" or any(mark.text for group in marks for mark in group):
                    lines.append(self._row(label, cores, marks, siblings, starts))
        return lines

    def _caches(self, caches: Sequence[Sequence[CoreMap]], siblings: int) -> Text:
        """The ids of the last-level caches, above their first core."""
        line = Text(f"  {'cache':<{_LABEL - 2}}")
        for group in caches:
            room = len(group) * (siblings * self._column + 1) - 1
            line.append("║", style="dim").append(f" {group[0].cache}"[:room].ljust(room))
        return line

    def _row(self, label: str, cores: Sequence[CoreMap], marks: Sequence[Sequence[Mark]], siblings: int, starts: CpuSet) -> Text:
        """One line; a cache starts before the cores whose lowest pCPU is in `starts`."""
        line = Text(f"  {label:<{_LABEL - 2}}")
        for core, group in zip(cores, marks, strict=True):
            line.append("║" if core.siblings.first in starts else "│", style="dim")
            for mark in group:
                line.append(" " * (self._column - len(mark.text))).append(mark.text, style=mark.style)
            line.append(" " * ((siblings - len(core.pcpus)) * self._column))
        return line


def _in_rows(drawn: Sequence[CoreMap], room: int, *, grouped: bool) -> list[list[list[CoreMap]]]:
    """The cores in rows of at most `room`, each row a list of groups: one group, or those of its last-level caches.

    Caches share a row if all that do fit; one with more cores than a row has takes several rows of equal length.
    """
    groups = [list(cores) for _, cores in groupby(drawn, key=lambda core: core.cache)] if grouped else [list(drawn)]
    together = max(1, room // max(map(len, groups)))
    rows: list[list[list[CoreMap]]] = []
    for start in range(0, len(groups), together):
        caches = groups[start : start + together]
        if len(caches) > 1 or len(caches[0]) <= room:
            rows.append(caches)
            continue
        per_row = -(-len(caches[0]) // -(-len(caches[0]) // room))
        rows += [[caches[0][first : first + per_row]] for first in range(0, len(caches[0]), per_row)]
    return rows


def _guests(seen: Survey, marks: Mapping[str, Mark]) -> Columns:
    table = Columns("", "guest", "state", "vCPUs on", "emulator threads on", "flavor", whole=("", "state"))
    for guest in sorted(seen.guests, key=lambda guest: (guest.record is None, guest.name)):
        mark = Text(marks[guest.id].text, style=marks[guest.id].style)
        if guest.record is not None:
            fit = guest.record.fit
            table.add_row(mark, guest_cell(guest), guest.state.value, vcpu_words(fit), short_emulator_words(fit), guest.record.flavor)
        else:
            flavor = guest.nova.flavor if guest.nova is not None else ""
            where = foreign_words(seen, guest)
            table.add_row(mark, guest_cell(guest), guest.state.value, *where, flavor)
    return table


_STRAYS = (
    ("Bv", "vCPU threads of guest B", "", ThreadClass.VCPU, False),
    ("Be", "emulator threads of guest B", "", ThreadClass.EMULATOR, False),
    ("Bi", "IOThreads of guest B", "", ThreadClass.IOTHREAD, False),
    ("Bh", "vhost threads of guest B", "", ThreadClass.VHOST, False),
    ("B", "threads of guest B", "", None, False),
    ("p", "a process of the host", "s", None, True),
)
"""The signs of strays: sign, words, the ending of their verb, thread class, and whether it is a process."""


def _legend(pcpus: Sequence[PcpuMap], owners: Mapping[int, Mark], width: int) -> list[Text]:
    uses = [use for pcpu in pcpus for use in pcpu.owners]
    texts = {mark.text for mark in owners.values()}
    strays = {(one.thread_class, one.process is not None) for pcpu in pcpus for one in pcpu.strays}
    drifted = any(use.drifted for use in uses) or any(pcpu.left_by for pcpu in pcpus)
    entries = (
        ("A0", "vCPU 0 of guest A", any(use.role is Role.VCPU for use in uses)),
        ("Ae", "its emulator threads", any(use.thread_class is ThreadClass.EMULATOR and use.role is Role.EMULATOR for use in uses)),
        ("A-", "a sibling that it keeps idle", any(use.role is Role.IDLE_SIBLING for use in uses)),
        ("x1", "a guest that is not ours", any(use.role is Role.FOREIGN for use in uses)),
        ("x1e", "its emulator threads", any(use.role is Role.FOREIGN and use.thread_class is ThreadClass.EMULATOR for use in uses)),
        ("v", "floating vCPUs", bool(texts & {"v", "ve", "v>", "ve>", "vh", "veh", "vh>", "veh>"})),
        ("e", "overhead threads of guests", bool(texts & {"e", "ve", "e>", "ve>", "eh", "veh", "eh>", "veh>"})),
        (VHOST, "their vhost threads", any(pcpu.vhost_runs and VHOST in owners[pcpu.pcpu].text for pcpu in pcpus)),
        (FREE, "free", FREE in texts),
        (UNKNOWN, "nobody has seen what runs there", UNKNOWN in texts),
        (CLASH, "two owners: see pinfold audit", any(pcpu.contested and pcpu.owners for pcpu in pcpus)),
        (DRIFTED, "recorded here, but may run elsewhere: see pinfold audit", drifted),
        (STRAY, "pinned here, but belongs elsewhere: see pinfold audit", any(use.stray for use in uses)),
        *(
            (sign, f"in the row stray: {words}, which may run there and belong{s} elsewhere", (kind, process) in strays)
            for sign, words, s, kind, process in _STRAYS
        ),
        ("R", "retiring: held, but no longer dedicated", any(pcpu.retiring for pcpu in pcpus)),
    )
    lines: list[Text] = []
    for sign, words, present in entries:
        entry = Text.assemble((sign, "bold"), f" {words}")
        if present and lines and len(lines[-1]) + 3 + len(entry) <= width:
            lines[-1].append("   ").append_text(entry)
        elif present:
            lines.append(entry)
    return lines


def _sockets(cell: CellMap) -> tuple[int, ...]:
    return tuple(sorted({core.socket for core in cell.cores if core.socket is not None}))


def _or_none(cpus: CpuSet) -> str:
    return str(cpus) or "none"
