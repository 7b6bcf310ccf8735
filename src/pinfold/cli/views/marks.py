"""The short marks for guests and pCPUs on the map, and their colours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pinfold.core.host_map import PcpuMap
from pinfold.drawing.tiles import FREE, Glyph, guest_letters, pool_text, tile_of
from pinfold.host.survey import Survey

GUEST_STYLES = ("bold cyan", "bold yellow", "bold magenta", "bold blue", "bold green", "bold bright_red")
_CROWD_STYLES = {Glyph.UNKNOWN: "bold yellow"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """The mark of one pCPU on the map: a few characters and a Rich style."""

    text: str
    style: str = ""


def guest_marks(seen: Survey) -> Mapping[str, Mark]:
    """The mark of every guest by id: ours are A, B, …, others x1, x2, …, both in the order of their names."""
    named = guest_letters((guest.id, guest.name, guest.record is not None) for guest in seen.guests)
    ours = [guest for guest, text in named.items() if not text.startswith("x")]
    styles = {guest: GUEST_STYLES[number % len(GUEST_STYLES)] for number, guest in enumerate(ours)}
    return {guest: Mark(text=text, style=styles.get(guest, "red")) for guest, text in named.items()}


def pool_mark(pcpu: PcpuMap) -> Mark:
    """The pool of a pCPU: `D` dedicated, `S` shared, `O` overhead, `SO` and `DS` both, `R` retiring, `-` the host's own."""
    text = pool_text(pcpu)
    return Mark(text=text, style="cyan" if text.startswith("D") else {"R": "bold red", "-": "dim"}.get(text, "green"))


def owner_mark(pcpu: PcpuMap, guests: Mapping[str, Mark]) -> Mark:
    """The mark of what runs on a pCPU.

    `A0` is vCPU 0 of guest A, `Ae` its emulator threads, `A-` a sibling that it keeps idle, `x1` a guest that is not ours, `x1e` the
    emulator threads of that guest on a separate pCPU, `·` a free dedicated pCPU. `!` follows if there are two owners, `>` if the thread may
    run elsewhere, `~` if a guest of Nova's is pinned there but belongs elsewhere. In the other pools it is `v` for floating vCPUs, `e`
    for overhead threads, `h` for vhost threads among them, and `?` if nobody has seen what runs.
    """
    tile = tile_of(pcpu, {guest: mark.text for guest, mark in guests.items()})
    if tile.wrong:
        return Mark(text=tile.text, style="bold white on red" if pcpu.contested else "bold yellow")
    if pcpu.owners:
        return Mark(text=tile.text, style=guests[pcpu.owners[0].key].style)
    return Mark(text=tile.text, style=_CROWD_STYLES.get(tile.glyph, "green") if tile.text not in (FREE, "") else "dim")


def stray_mark(pcpu: PcpuMap, guests: Mapping[str, Mark]) -> Mark:
    """Whose threads may run on a pCPU without belonging there, empty for nobody.

    `Be` are emulator threads of guest B, `Bv` vCPU threads, `Bi` IOThreads, `Bh` vhost threads, `B` threads of several classes, `p` is a
    process of the host. `+` follows if there are more.
    """
    return Mark(text=tile_of(pcpu, {guest: mark.text for guest, mark in guests.items()}).stray, style="bold white on red")
