"""The short marks for guests and pCPUs on the map, and their colours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pinfold.core.host_map import Owner, PcpuMap, Pool
from pinfold.core.ledger import Role
from pinfold.core.overhead import ThreadClass
from pinfold.host.survey import Survey

GUEST_STYLES = ("bold cyan", "bold yellow", "bold magenta", "bold blue", "bold green", "bold bright_red")
FREE = "·"
CLASH = "!"
STRAY = "~"
DRIFTED = ">"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """The mark of one pCPU on the map: a few characters and a Rich style."""

    text: str
    style: str = ""


def letters(position: int) -> str:
    """The mark of the guest at that position: A to Z, then AA, AB and so on.

    >>> letters(0), letters(25), letters(26), letters(27)
    ('A', 'Z', 'AA', 'AB')
    """
    text = ""
    position += 1
    while position:
        position, digit = divmod(position - 1, 26)
        text = chr(ord("A") + digit) + text
    return text


def guest_marks(seen: Survey) -> Mapping[str, Mark]:
    """The mark of every guest by id: ours are A, B, …, others x1, x2, …, both in the order of their names."""
    marks: dict[str, Mark] = {}
    ours = others = 0
    for guest in sorted(seen.guests, key=lambda guest: guest.name):
        if guest.record is not None:
            marks[guest.id] = Mark(text=letters(ours), style=GUEST_STYLES[ours % len(GUEST_STYLES)])
            ours += 1
        else:
            others += 1
            marks[guest.id] = Mark(text=f"x{others}", style="red")
    return marks


def pool_mark(pcpu: PcpuMap) -> Mark:
    """The pool of a pCPU: `D` dedicated, `S` shared, `O` overhead, `SO` and `DS` both, `R` retiring, `-` the host's own."""
    if pcpu.retiring:
        return Mark(text="R", style="bold red")
    if pcpu.pool in (Pool.DEDICATED, Pool.EITHER):
        return Mark(text="DS" if pcpu.pool is Pool.EITHER else "D", style="cyan")
    if pcpu.pool is Pool.HOST:
        return Mark(text="-", style="dim")
    return Mark(text="S" * (pcpu.pool is Pool.SHARED) + "O" * pcpu.overhead, style="green")


def owner_mark(pcpu: PcpuMap, guests: Mapping[str, Mark]) -> Mark:
    """The mark of what runs on a pCPU.

    `A0` is vCPU 0 of guest A, `Ae` its emulator threads, `A-` a sibling that it keeps idle, `x1` a guest that is not ours, `x1e` the
    emulator threads of that guest on a separate pCPU, `·` a free dedicated pCPU. `!` follows if there are two owners, `>` if the thread may
    run elsewhere, `~` if a guest of Nova's is pinned there but belongs elsewhere. In the other pools it is `v` for floating vCPUs and `e`
    for overhead threads.
    """
    if pcpu.contested and pcpu.owners:
        return Mark(text=guests[pcpu.owners[0].key].text + CLASH, style="bold white on red")
    if pcpu.owners:
        guest = guests[pcpu.owners[0].key]
        astray = DRIFTED * bool(pcpu.owners[0].drifted) + STRAY * bool(pcpu.owners[-1].stray)
        return Mark(text=guest.text + _suffix(pcpu.owners[0]) + astray, style="bold yellow" if astray else guest.style)
    crowd = "v" * bool(pcpu.vcpus_float) + "e" * bool(pcpu.overhead_runs)
    if crowd and pcpu.pool is not Pool.DEDICATED:
        return Mark(text=crowd, style="green")
    return Mark(text=FREE if pcpu.pool in (Pool.DEDICATED, Pool.EITHER) else "", style="dim")


def _suffix(use: Owner) -> str:
    if use.role is Role.FOREIGN:
        return "e" if use.thread_class is ThreadClass.EMULATOR else ""
    if use.role is Role.IDLE_SIBLING:
        return "-"
    return str(use.vcpu) if use.thread_class is ThreadClass.VCPU else "e"
