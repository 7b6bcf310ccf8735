"""The map of a host in text: cells, cores with siblings side by side, pools, owners, a legend. Surveying a host does not belong here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from pinfold.cli.views.marks import Mark, letters, owner_marks, pool_marks, style_of
from pinfold.cli.views.words import count, emulator_words, mib, vcpu_words
from pinfold.core.cpuset import CpuSet
from pinfold.core.fit.model import EmulatorPlacement
from pinfold.core.ledger import HostState
from pinfold.core.topology import HostCell, Topology

_LABEL = 7
_LEGEND = (
    ("A0", "vCPU 0 of guest A"),
    ("Ae", "its emulator threads"),
    ("A-", "a sibling that it keeps idle"),
    ("x1", "a guest that is not ours"),
    ("v", "floating vCPUs"),
    ("e", "overhead threads of guests"),
    ("·", "free dedicated pCPU"),
    ("!", "two owners"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestLine:
    """What the legend says of one guest beside its fit: its name, its state, and the flavor's name where it is known."""

    name: str
    state: str = ""
    flavor: str = ""


def host_map(state: HostState, guests: Mapping[str, GuestLine], width: int) -> list[RenderableType]:
    """The map for a screen `width` columns wide; guests are lettered in the ledger's order. Pure."""
    owners, pools = owner_marks(state), pool_marks(state)
    lines: list[RenderableType] = [*_head(state), Text()]
    cell_width = max([2, *(len(mark.text) for mark in owners.values()), *(len(str(cpu)) for cpu in owners)])
    socket: tuple[int, ...] | None = None
    for cell in state.topology.cells:
        sockets = tuple(sorted(set(cell.sockets)))
        if sockets != socket:
            socket = sockets
            lines.append(
                Text(f"{'sockets' if len(sockets) > 1 else 'socket'} {', '.join(map(str, sockets))}", style="bold") if sockets else Text()
            )
        lines.append(_cell_head(state, cell))
        lines.extend(_cell_rows(cell, owners, pools, cell_width, width))
        lines.append(Text())
    if state.ledger.claims or state.ledger.foreign:
        lines += [_guests(state, guests), Text()]
    lines.extend(_legend(owners, width))
    return lines


def _head(state: HostState) -> list[RenderableType]:
    topology = state.topology
    sockets = sockets_of(topology)
    cores = sum(len(cell.cores) for cell in topology.cells)
    smt = f" of {topology.threads_per_core} threads" if topology.threads_per_core > 1 else ""
    cells, online = count(len(topology.cells), "cell"), count(len(topology.online), "pCPU")
    shape = f"{count(len(sockets), 'socket')}, {cells}, {count(cores, 'core')}{smt}, {online}"
    head = Text.assemble((state.name or "this host", "bold"), f": {shape}")
    if topology.offline:
        head.append(f", offline {topology.offline}", style="dim")
    return [head, _pools(state)]


def _pools(state: HostState) -> Table:
    pools, claims = state.pools, [claim.fit for claim in state.ledger.claims]
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(overflow="fold")
    free = pools.dedicated - taken(state)
    table.add_row(
        Text.assemble(("D", "cyan"), " dedicated"), _or_none(pools.dedicated), f"{len(free)} of {count(len(pools.dedicated), 'pCPU')} free"
    )
    floating = sum(fit.floating_count for fit in claims)
    table.add_row(
        Text.assemble(("S", "green"), " shared"),
        _or_none(pools.shared),
        f"{count(len(pools.shared), 'pCPU')}, {count(floating, 'floating vCPU')}",
    )
    if pools.overhead is not None:
        where = "the shared pool" if pools.overhead == pools.shared else _or_none(pools.overhead)
        users = sum(fit.emulator_placement is EmulatorPlacement.POOL for fit in claims)
        booked = sum(fit.overhead_millicpu for fit in claims)
        table.add_row(Text.assemble(("O", "green"), " overhead"), where, f"threads of {count(users, 'guest')}, {booked:,} millicpu booked")
    else:
        table.add_row(Text.assemble(("O", "green"), " overhead"), "none", "policy share floats over the guest's own pCPUs")
    rest = state.topology.online - pools.dedicated - pools.shared - (pools.overhead or CpuSet())
    if rest:
        table.add_row(Text.assemble(("-", "dim"), " the host's"), str(rest), count(len(rest), "pCPU"))
    return table


def _cell_head(state: HostState, cell: HostCell) -> Text:
    line = Text.assemble((f"cell {cell.id}", "bold"))
    dedicated = cell.cpus & state.pools.dedicated
    line.append(f": {count(len(cell.cpus), 'pCPU')}")
    if dedicated:
        line.append(f", {len(dedicated - taken(state))} of {len(dedicated)} dedicated free")
    line.append(f", {mib(cell.memory_mib)}")
    for pages in cell.pages[1:]:
        if pages.total:
            line.append(f", {count(pages.total, 'page')} of {mib(pages.size_kib // 1024)}")
    return line


def _cell_rows(cell: HostCell, owners: Mapping[int, Mark], pools: Mapping[int, Mark], cell_width: int, width: int) -> list[Text]:
    if not cell.cores:
        return [Text("  no pCPUs", style="dim")]
    siblings = max(len(core) for core in cell.cores)
    room = max(1, (width - _LABEL) // (1 + siblings * (cell_width + 1)))
    rows = -(-len(cell.cores) // room)
    per_row = -(-len(cell.cores) // rows)
    lines: list[Text] = []
    for start in range(0, len(cell.cores), per_row):
        cores = cell.cores[start : start + per_row]
        lines.append(_row("pCPU", cores, {cpu: Mark(text=str(cpu)) for core in cores for cpu in core}, cell_width, siblings))
        lines.append(_row("pool", cores, pools, cell_width, siblings))
        lines.append(_row("runs", cores, owners, cell_width, siblings))
        if start + per_row < len(cell.cores):
            lines.append(Text())
    return lines


def _row(label: str, cores: tuple[CpuSet, ...], marks: Mapping[int, Mark], cell_width: int, siblings: int) -> Text:
    line = Text(f"  {label:<{_LABEL - 2}}", style="dim" if label == "pool" else "")
    for core in cores:
        line.append("│", style="dim")
        for cpu in core:
            mark = marks[cpu]
            line.append(" " * (cell_width + 1 - len(mark.text)))
            line.append(mark.text, style=mark.style)
        line.append(" " * ((siblings - len(core)) * (cell_width + 1)))
    return line


def _guests(state: HostState, guests: Mapping[str, GuestLine]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for title in ("", "guest", "state", "vCPUs on", "emulator threads on", "flavor"):
        table.add_column(title, overflow="fold")
    for position, claim in enumerate(state.ledger.claims):
        guest = guests.get(claim.guest, GuestLine(name=claim.guest))
        table.add_row(
            Text(letters(position), style=style_of(position)),
            guest.name,
            guest.state,
            vcpu_words(claim.fit),
            emulator_words(claim.fit),
            guest.flavor,
        )
    for position, foreign in enumerate(state.ledger.foreign):
        where = str(foreign.cpus) if foreign.cpus else "floats"
        table.add_row(Text(f"x{position + 1}", style="red"), foreign.name, "not ours", where, "", "")
    return table


def _legend(owners: Mapping[int, Mark], width: int) -> list[Text]:
    shown = "".join(mark.text for mark in owners.values())
    present = [(sign, words) for sign, words in _LEGEND if _is_present(sign, shown)]
    lines: list[Text] = []
    for sign, words in present:
        entry = Text.assemble((sign, "bold"), f" {words}")
        if lines and len(lines[-1]) + 3 + len(entry) <= width:
            lines[-1].append("   ").append_text(entry)
        else:
            lines.append(entry)
    return lines


def _is_present(sign: str, shown: str) -> bool:
    if sign in ("A0", "Ae", "A-"):
        kind = {"A0": str.isdigit, "Ae": lambda c: c == "e", "A-": lambda c: c == "-"}[sign]
        return any(a.isupper() and kind(b) for a, b in pairwise(shown))
    return (sign[0] if sign[0] in "xve" else sign) in shown


def _or_none(cpus: CpuSet) -> str:
    return str(cpus) or "none"


def taken(state: HostState) -> CpuSet:
    """Every pCPU that belongs to one guest, ours or not."""
    mask = 0
    for claim in state.ledger.claims:
        mask |= claim.fit.taken.mask
    for foreign in state.ledger.foreign:
        mask |= foreign.cpus.mask
    return CpuSet.from_mask(mask)


def sockets_of(topology: Topology) -> CpuSet:
    """The socket ids of a host."""
    return CpuSet(socket for cell in topology.cells for socket in cell.sockets)
