"""Which guests the watch or an agent repairs when, and when it gives up. Pure; `host.repair` moves threads.

1. A guest is repaired when it has drifted for two seconds. What starts or moves a guest passes through wrong places, and is not disturbed.
2. Drift after a repair that had succeeded means that somebody undid it. The next repair waits: 10 s, then a minute.
3. After the third undone repair the guest is left alone, and a finding says who undoes it. A guest that is started anew begins anew, and so
   does one without drift for an hour. When the pools change, all guests begin anew: drift from new pools is nobody's undoing.
4. A repair that fails is tried again after 10 s, and then after twice as long each time, up to 10 minutes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Annotated, Final

from msgspec import Meta, Struct
from msgspec.structs import replace

from pinfold.core.drift import Finding, FindingCode
from pinfold.core.encoding import decoder, encode
from pinfold.core.identity import GuestId
from pinfold.core.overhead import ThreadClass

MOST_UNDONE: Final = 3
PAUSES: Final = (10.0, 60.0)
"""How long the repair after the first and after the second undone one waits."""
SETTLE_SECONDS: Final = 2.0
LONGEST_PAUSE: Final = 600.0
FORGET_SECONDS: Final = 3600.0
BY_THE_WATCH: Final = "`pinfold history --guest` shows when it happened, and a restart of the watch begins anew"
BY_AN_AGENT: Final = "`pinfold agent story` shows when it happened, and a restart of the agent begins anew"


class Drifted(Struct, frozen=True, kw_only=True):
    """A guest with drift that a repair can undo, and may. `classes` are those of its misplaced threads, '' for a definition alone.

    `undoer` says who would undo a repair.
    """

    guest_id: GuestId
    name: str
    pid: int
    classes: tuple[str, ...] = ("",)
    undoer: str = ""


class Result(Enum):
    """What became of a repair: it succeeded, it failed, or somebody undid it afterwards."""

    DONE = "done"
    FAILED = "failed"
    UNDONE = "undone"


Counts = Mapping[tuple[str, str], int]
"""How many repairs there were, by thread class ('' for a definition alone) and result."""

_WrittenCounts = tuple[tuple[str, str, Annotated[int, Meta(ge=0, le=2**53)]], ...]
_read_counts = decoder(_WrittenCounts)
_CLASSES: Final = frozenset(("", *(one.value for one in ThreadClass)))
_RESULTS: Final = frozenset(one.value for one in Result)


def counted(counts: Counts, drifted: Drifted, result: Result) -> Counts:
    """The counts after one more repair, which counts once for each class of threads that it was about.

    >>> counted({}, Drifted(guest_id="g", name="vm", pid=7, classes=("emulator", "vhost")), Result.DONE)
    {('emulator', 'done'): 1, ('vhost', 'done'): 1}
    """
    more = {(kind, result.value): counts.get((kind, result.value), 0) + 1 for kind in drifted.classes}
    return {**counts, **more}


def counts_text(counts: Counts) -> str:
    """The counts as one text, in which an agent reports them."""
    return encode(tuple((kind, result, number) for (kind, result), number in sorted(counts.items())))


def read_counts(text: str, where: str) -> Counts:
    """The counts of a text; classes and results that are not known are left out. Raises `InvalidRequest` that names `where`."""
    return {(kind, result): number for kind, result, number in _read_counts(text, where) if kind in _CLASSES and result in _RESULTS}


class Attempts(Struct, frozen=True, kw_only=True):
    """What was done about one guest's process. `stands`: the last repair succeeded, and no drift was seen since.

    `again` is the earliest moment of the next repair, `calm_since` since when there is no drift, None with drift. `pause` is how long the
    next repair waits if this one fails.
    """

    drifted: Drifted
    undone: int = 0
    pause: float = PAUSES[0]
    stands: bool = False
    again: float = 0.0
    calm_since: float | None = None

    @property
    def stopped(self) -> bool:
        """Whether the guest is left alone."""
        return self.undone >= MOST_UNDONE


Book = Mapping[str, Attempts]
"""The attempts at each guest, by its id."""


def after_sweep(book: Book, drifted: Iterable[Drifted], running: frozenset[str], now: float) -> tuple[Book, tuple[Drifted, ...]]:
    """The attempts after a sweep that saw these drifted guests, and those of them whose repair was undone since the sweep before."""
    seen = {one.guest_id: one for one in drifted}
    after: dict[str, Attempts] = {}
    undone = []
    for guest, known in book.items():
        if guest in seen or guest not in running:
            continue
        calm = known.calm_since if known.calm_since is not None else now
        if now - calm < FORGET_SECONDS:
            after[guest] = replace(known, calm_since=calm)
    for guest, one in seen.items():
        attempts = book.get(guest)
        if attempts is None or attempts.drifted.pid != one.pid:
            attempts = Attempts(drifted=one, again=now + SETTLE_SECONDS)
        elif attempts.calm_since is not None and not attempts.stands:
            attempts = replace(attempts, again=max(attempts.again, now + SETTLE_SECONDS))
        elif attempts.stands:
            number = attempts.undone + 1
            again = now + PAUSES[min(number, len(PAUSES)) - 1]
            attempts = replace(attempts, undone=number, stands=False, again=again)
            undone.append(one)
        after[guest] = replace(attempts, drifted=one, calm_since=None)
    return after, tuple(undone)


def due(book: Book, now: float) -> tuple[Drifted, ...]:
    """The guests to repair now, by name."""
    ready = (one.drifted for one in book.values() if _waits(one) and now >= one.again)
    return tuple(sorted(ready, key=lambda one: (one.name, one.guest_id)))


def next_due(book: Book) -> float:
    """When the next repair is due, for a sweep then; infinity if none is."""
    return min((one.again for one in book.values() if _waits(one)), default=float("inf"))


def _waits(one: Attempts) -> bool:
    return one.calm_since is None and not one.stopped and not one.stands


def repaired(book: Book, guest: GuestId, now: float, *, failed: bool) -> Book:
    """The attempts after a repair."""
    known = book.get(guest)
    if known is None:
        return book
    if failed:
        return {**book, guest: replace(known, pause=min(2 * known.pause, LONGEST_PAUSE), again=now + known.pause)}
    return {**book, guest: replace(known, pause=PAUSES[0], stands=True)}


def needless(book: Book, guest: GuestId, now: float) -> Book:
    """The attempts after a repair that found no drift, and did nothing. Later drift does not undo it."""
    known = book.get(guest)
    return book if known is None else {**book, guest: replace(known, calm_since=now)}


def findings(book: Book, advice: str) -> tuple[Finding, ...]:
    """A finding for each guest that is left alone, ordered by name. `advice` is `BY_THE_WATCH` or `BY_AN_AGENT`."""
    stopped = sorted((one for one in book.values() if one.stopped), key=lambda one: one.drifted.name)
    return tuple(undone_finding(one.drifted, advice) for one in stopped)


def undone_finding(drifted: Drifted, advice: str) -> Finding:
    """The finding that a guest is left alone. `advice` ends what it says about going on."""
    return Finding(
        code=FindingCode.REPAIR_UNDONE,
        guest=drifted.name,
        guest_id=drifted.guest_id,
        subject=f"{MOST_UNDONE} times",
        advice=f"what would undo a repair: {drifted.undoer}; {advice}",
    )
