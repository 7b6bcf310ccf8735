"""`Tile`: what a picture shows of one pCPU. The terminal, the SVG and the web page draw the same tiles, each in its own way. Pure.

A picture never says anything by colour alone: the pool has a letter, the owner has letters, and the class of what runs has a glyph.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Final

from msgspec import Struct

from pinfold.core.host_map import HostMap, Owner, PcpuMap, Pool
from pinfold.core.ledger import Role
from pinfold.core.overhead import ThreadClass

FREE: Final = "·"
UNKNOWN: Final = "?"
CLASH: Final = "!"
STRAY: Final = "~"
DRIFTED: Final = ">"
VHOST: Final = "h"
PROCESS: Final = "p"
"""A process of the host, among the strays."""


class Glyph(Enum):
    """The class of what a pCPU is used for. The values are the words of the legend."""

    VCPU = "a vCPU"
    EMULATOR = "emulator threads alone"
    IDLE = "kept idle beside a vCPU"
    FLOATING = "floating vCPUs"
    OVERHEAD = "overhead threads"
    CROWD = "floating vCPUs and overhead threads"
    FREE = "free"
    HOST = "the host's own"
    OFFLINE = "offline"
    UNKNOWN = "not known what runs"


class Tile(Struct, frozen=True, kw_only=True):
    """One pCPU of a picture. `pool` is `D`, `S`, `O`, `SO`, `DS` or `-`, and `R` for a retiring pCPU.

    `text` has the owner's letters, what runs, and the signs that something is wrong: `A0`, `Ae`, `A-`, `x1`, `veh`, `·`, `?`. `wrong`: two
    owners, a thread that may run elsewhere than recorded, or a pin outside its place. `stray` says whose threads may run there without
    belonging there: `Be`, or `Be+` if there are more. `vhost`: vhost threads may run there. `words` say all of it in one sentence.
    """

    pcpu: int
    pool: str
    glyph: Glyph
    text: str
    owner: str = ""
    wrong: bool = False
    stray: str = ""
    vhost: bool = False
    words: str = ""


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


def guest_letters(guests: Iterable[tuple[str, str, bool]]) -> dict[str, str]:
    """The letters of guests by key, of `(key, name, ours)`: ours are A, B, …, others x1, x2, …, both in the order of their names.

    >>> guest_letters([("id2", "web", True), ("id1", "db", True), ("stray", "stray", False)])
    {'id1': 'A', 'stray': 'x1', 'id2': 'B'}
    """
    found: dict[str, str] = {}
    ours = others = 0
    for key, _, mine in sorted(guests, key=lambda guest: (guest[1], guest[0])):
        if mine:
            found[key] = letters(ours)
            ours += 1
        else:
            others += 1
            found[key] = f"x{others}"
    return found


def in_order(text: str) -> tuple[bool, int, str]:
    """The key that sorts letters as a list shows them: A, B, …, AA, …, x1, x2, …"""
    return text.startswith("x"), len(text), text


def owners_of(chart: HostMap) -> tuple[tuple[str, str, bool], ...]:
    """`(key, name, ours)` of every guest that holds a pCPU of the map, or strays there, for `guest_letters`."""
    found = {owner.key: (owner.key, owner.name, owner.role is not Role.FOREIGN) for pcpu in chart.pcpus for owner in pcpu.owners}
    for one in chart.strays:
        if one.who.process is None:
            found.setdefault(one.who.key, (one.who.key, one.who.name, one.who.ours))
    return tuple(found.values())


def tile_of(pcpu: PcpuMap, named: Mapping[str, str]) -> Tile:
    """What a picture shows of a pCPU; `named` has the letters of guests by key."""
    pool = pool_text(pcpu)
    glyph = _glyph(pcpu)
    owner = named[pcpu.owners[0].key] if pcpu.owners else ""
    astray = bool(pcpu.owners) and (pcpu.contested or bool(pcpu.owners[0].drifted) or bool(pcpu.owners[-1].stray))
    vhost = bool(pcpu.vhost_runs) and glyph in _WITH_VHOST
    return Tile(
        pcpu=pcpu.pcpu,
        pool=pool,
        glyph=glyph,
        text=_text(pcpu, owner, glyph, VHOST * vhost),
        owner=owner,
        wrong=astray or bool(pcpu.left_by),
        stray=_stray(pcpu, named),
        vhost=vhost,
        words=_words(pcpu, glyph, vhost=vhost),
    )


def pool_text(pcpu: PcpuMap) -> str:
    """The pool of a pCPU in letters."""
    if pcpu.retiring:
        return "R"
    if pcpu.pool is Pool.DEDICATED:
        return "D"
    if pcpu.pool is Pool.EITHER:
        return "DS"
    return "-" if pcpu.pool is Pool.HOST else "S" * (pcpu.pool is Pool.SHARED) + "O" * pcpu.overhead


def _glyph(pcpu: PcpuMap) -> Glyph:
    if pcpu.owners:
        first = pcpu.owners[0]
        if pcpu.offline:
            return Glyph.OFFLINE
        if first.role is Role.IDLE_SIBLING:
            return Glyph.IDLE
        if first.role is Role.FOREIGN and first.thread_class is None:
            return Glyph.UNKNOWN
        return Glyph.VCPU if first.thread_class is ThreadClass.VCPU else Glyph.EMULATOR
    if pcpu.pool is not Pool.DEDICATED:
        if pcpu.vcpus_float and pcpu.overhead_runs:
            return Glyph.CROWD
        if pcpu.vcpus_float:
            return Glyph.FLOATING
        if pcpu.overhead_runs:
            return Glyph.OVERHEAD
        if None in (pcpu.vcpus_float, pcpu.overhead_runs):
            return Glyph.UNKNOWN
    return Glyph.HOST if pcpu.pool is Pool.HOST else Glyph.FREE


_CROWDS: Final = {Glyph.CROWD: "ve", Glyph.FLOATING: "v", Glyph.OVERHEAD: "e", Glyph.UNKNOWN: UNKNOWN}


_WITH_VHOST: Final = frozenset(Glyph) - {Glyph.VCPU, Glyph.IDLE, Glyph.OFFLINE}
"""Where vhost threads are shown. On the pCPUs of vCPUs they are no more shown than the emulator threads, whose set they share."""
_STRAYS: Final = {
    ThreadClass.VCPU: "v",
    ThreadClass.EMULATOR: "e",
    ThreadClass.IOTHREAD: "i",
    ThreadClass.VHOST: VHOST,
}


def _stray(pcpu: PcpuMap, named: Mapping[str, str]) -> str:
    if not pcpu.strays:
        return ""
    first = pcpu.strays[0]
    kind = "" if first.thread_class is None else _STRAYS.get(first.thread_class, "")
    who = PROCESS if first.process is not None else named.get(first.key, UNKNOWN) + kind
    return who + "+" * (len(pcpu.strays) > 1)


def _text(pcpu: PcpuMap, owner: str, glyph: Glyph, vhost: str) -> str:
    if not pcpu.owners:
        runs = _CROWDS.get(glyph) or (FREE if pcpu.pool in (Pool.DEDICATED, Pool.EITHER) and not vhost else "")
        return runs + vhost + DRIFTED * bool(pcpu.left_by)
    if pcpu.contested:
        return owner + CLASH
    first, last = pcpu.owners[0], pcpu.owners[-1]
    return owner + _suffix(first) + vhost + DRIFTED * bool(first.drifted) + STRAY * bool(last.stray)


def _suffix(owner: Owner) -> str:
    if owner.role is Role.FOREIGN:
        return "e" if owner.thread_class is ThreadClass.EMULATOR else ""
    if owner.role is Role.IDLE_SIBLING:
        return "-"
    return str(owner.vcpu) if owner.thread_class is ThreadClass.VCPU else "e"


def _words(pcpu: PcpuMap, glyph: Glyph, *, vhost: bool = False) -> str:
    """One sentence about a pCPU, for a tooltip and a table.

    >>> pcpu = PcpuMap(
    ...     pcpu=4, pool=Pool.DEDICATED, overhead=False, role=Role.FREE, retiring=False, contested=False, offline=False,
    ...     vcpus_float=False, overhead_runs=False, owners=(),
    ... )
    >>> _words(pcpu, Glyph.FREE)
    'free'
    """
    said = [_use(owner) for owner in pcpu.owners] or [glyph.value]
    said += ["vhost threads"] if vhost else []
    said += ["offline"] if pcpu.offline and pcpu.owners else []
    said += ["retiring: no longer dedicated"] if pcpu.retiring else []
    said += [f"threads of {name} belong here, and may run elsewhere now" for name in pcpu.left_by]
    said += [f"{one.words()} may run here, and belong{'s' if one.process is not None else ''} elsewhere" for one in pcpu.strays]
    said += [f"{pcpu.more_strays} more that belong elsewhere"] if pcpu.more_strays else []
    said += ["two owners"] if pcpu.contested and pcpu.owners else []
    return "; ".join(said)


def _use(owner: Owner) -> str:
    if owner.role is Role.IDLE_SIBLING:
        what = f"kept idle for {owner.name}"
    elif owner.thread_class is ThreadClass.VCPU:
        what = f"vCPU{'' if owner.vcpu is None else f' {owner.vcpu}'} of {owner.name}"
    elif owner.thread_class is ThreadClass.EMULATOR:
        what = f"emulator threads of {owner.name}"
    else:
        what = f"held by {owner.name}, not known by which thread"
    what += ", which may run elsewhere now" if owner.drifted else ""
    return what + (", pinned here although it belongs elsewhere" if owner.stray else "")
