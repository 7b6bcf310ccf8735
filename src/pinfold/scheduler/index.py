"""`Index`: the state of every host in memory, and the columns of numbers for `filter` and `rank`. `refresh` reads it from the store.

The index keeps each host's counts. There is one row of `columns` per host; it is rewritten when the host's state changes. The table of
losses, the rankings and the remembered fits follow those changes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Final, TypeVar

import numpy as np
from msgspec import Struct, structs

from pinfold.core.errors import Conflict
from pinfold.core.fit.answer import Strategy
from pinfold.core.fit.count import Counts, Frame, count_host
from pinfold.core.fit.demand import Demand
from pinfold.core.host import Claim, HostState, Ledger
from pinfold.core.host_features import queues
from pinfold.core.identity import ClaimId, GuestId, HostId
from pinfold.scheduler.columns import COLUMNS, Columns, Numbers, numbers
from pinfold.scheduler.guest_kinds import GuestKind, GuestKinds
from pinfold.scheduler.loss import LossTable, Shapes
from pinfold.scheduler.rankings import Order, Ranking, Rankings
from pinfold.store.host_news import HostNews
from pinfold.store.records import ClaimRecord, HostLedger, HostMark

T = TypeVar("T")

MOST_UNPACKED: Final = 10_000
"""The claims of so many hosts, those that changed last, are kept as they are; those of the others are packed."""


class Entry(Struct, frozen=True, kw_only=True, eq=False):
    """One host, counted. `state.traits` is empty: when a request names traits, Placement is asked.

    With `any_cell` the operator has set no preference among host cells: the table of losses decides before `strategy`.
    """

    id: HostId
    name: str
    counts: Counts
    strategy: Strategy = Strategy.PACK
    any_cell: bool = False
    up: bool = True
    disabled: bool = False
    disabled_reason: str = ""
    fenced: bool = False
    processor_refused: str = ""
    networks: frozenset[str] = frozenset()
    features: frozenset[str] = frozenset()

    @property
    def state(self) -> HostState:
        """The host's state, which was counted."""
        return self.counts.state

    @property
    def open(self) -> bool:
        """Whether the host takes new guests at all."""
        return self.up and not self.disabled and not self.fenced and not self.processor_refused


class View(Struct, frozen=True, eq=False):
    """The index at one moment: the hosts and their numbers by row. Change neither."""

    entries: Sequence[Entry]
    columns: Columns
    losses: LossTable
    """Up to date; for `least-loss`."""
    rankings: Rankings

    def ranking(self, kind: GuestKind, order: Order) -> Ranking:
        """All rows in the order in which to try them for such a guest."""
        return self.rankings.find(kind, order, self.columns, self.losses)


class Index:
    """Safe to share between threads: every method is one step. The order of rows has no meaning."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[HostId, int] = {}
        self._entries: list[Entry] = []
        self._numbers: Numbers = np.zeros((0, COLUMNS), dtype=np.int64)
        self._losses = LossTable(Shapes(version=0, shapes=()))
        self._changed: set[int] = set()
        self._unpacked: OrderedDict[HostId, None] = OrderedDict()
        self._rankings = Rankings()
        self.kinds = GuestKinds()

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, entries: Iterable[Entry]) -> None:
        """Add hosts, or replace what is known about them."""
        with self._lock:
            for entry in entries:
                self._put(entry)

    def weigh(self, shapes: Shapes) -> None:
        """Use these as the fleet's common shapes from now on."""
        with self._lock:
            self._losses = LossTable(shapes)
            self._rankings = Rankings()
            self._changed = set(range(len(self._entries)))

    def drop(self, hosts: Iterable[HostId]) -> None:
        """Forget hosts."""
        with self._lock:
            for host in hosts:
                row = self._rows.pop(host, None)
                if row is None:
                    continue
                self._unpacked.pop(host, None)
                last = len(self._entries) - 1
                if row != last:
                    self._entries[row] = self._entries[last]
                    self._numbers[row] = self._numbers[last]
                    self._rows[self._entries[row].id] = row
                self._entries.pop()
                self._note(row)

    def get(self, host: HostId) -> Entry | None:
        """The entry of one host, or None."""
        with self._lock:
            row = self._rows.get(host)
            return None if row is None else self._entries[row]

    def claimed(self, host: HostId, claim: Claim, revision: int) -> None:
        """Add a held claim that made the host's revision `revision`. If the index missed other changes, it learns this one by `refresh`."""
        self._change(host, revision, lambda counts: counts.claimed(claim))

    def claimed_all(self, host: HostId, claims: Sequence[Claim], revision: int) -> None:
        """The same for several claims that were made at once."""
        self._change(host, revision, lambda counts: counts.claimed_all(claims).at(revision))

    def followed(self, host: HostId, held: Sequence[tuple[int, Claim]], revision: int) -> None:
        """The same for claims that others made before it: `held` are claims with the revisions that they made, one each, the last of them
        `revision`. Those that the index has already are left out.
        """
        with self._lock:
            row = self._rows.get(host)
            if row is None:
                return
            now = self._entries[row].state.revision
            missed = [claim for made, claim in held if made > now]
            if missed and now + len(missed) == revision:
                self._step(row, lambda counts: counts.claimed_all(missed))

    def catch_up(self, host: HostId, news: HostNews) -> Entry | None:
        """Take over the claims that made the host's newest revisions. Returns the host at the revision of the news, or later; None if
        something else than new claims came between, or the host is unknown: then the host is to be read again.
        """
        with self._lock:
            row = self._rows.get(host)
            if row is None:
                return None
            entry = self._entries[row]
            if entry.state.revision >= news.revision:
                return entry
            missed = [one for one in news.held if one.revision > entry.state.revision]
            # A claim that has been amended since was held at an earlier revision than it has.
            if any(one.held != one.revision for one in missed):
                return None
            if {one.revision for one in missed} != set(range(entry.state.revision + 1, news.revision + 1)):
                return None
            counts = _with(entry.counts, missed)
            if counts is None:
                return None
            self._put(structs.replace(entry, counts=counts.at(news.revision)))
            return self._entries[row]

    def released(self, host: HostId, guest: GuestId, claim: ClaimId | None, revision: int) -> None:
        """Remove the pins of a released claim, under the same condition."""
        self._change(host, revision, lambda counts: counts.released(guest, claim))

    def look(self, see: Callable[[View], T]) -> T:
        """Return what `see` makes of the index now. The view is valid until `see` returns, which must be soon; entries may be kept."""
        with self._lock:
            if self._changed:
                self._losses.renew(self._entries, self._changed)
                self._changed.clear()
            return see(View(self._entries, Columns(self._numbers[: len(self._entries)]), self._losses, self._rankings))

    def cell(self, host: Entry, demand: Demand) -> int:
        """The host cell in which a host, which may differ from what the index has of it, loses least by a guest with a `shape_key`: a
        position, -1 for a guest of several cells or one that the host does not take.
        """

        def see(view: View) -> int:
            view.losses.find(demand)
            return view.losses.key(host, demand)[1]

        return self.look(see)

    def without(self, marks: Iterable[HostMark]) -> frozenset[HostId]:
        """The hosts that have none of the marks."""
        marked = {mark.id for mark in marks}
        with self._lock:
            return frozenset(self._rows.keys() - marked)

    def stale(self, marks: Iterable[HostMark]) -> frozenset[HostId]:
        """Compare with marks of the store: returns the hosts to read anew. It takes over at once what a mark itself says (up, disabled)."""
        reread: set[HostId] = set()
        with self._lock:
            rows, entries = self._rows, self._entries
            # Without a call for each host: this is most of what a look costs.
            for mark in marks:
                host = mark.id
                row = rows.get(host)
                if row is None:
                    reread.add(host)
                    continue
                entry = entries[row]
                if entry.counts.state.revision != mark.revision:
                    reread.add(host)
                if (
                    entry.up is not mark.up
                    or entry.disabled is not mark.disabled
                    or entry.fenced is not mark.fenced
                    or entry.disabled_reason != mark.disabled_reason
                ):
                    changed = {"up": mark.up, "disabled": mark.disabled, "disabled_reason": mark.disabled_reason, "fenced": mark.fenced}
                    self._put(structs.replace(entry, **changed))
            return frozenset(reread)

    def _change(self, host: HostId, revision: int, step: Callable[[Counts], Counts]) -> None:
        with self._lock:
            row = self._rows.get(host)
            if row is not None and self._entries[row].state.revision == revision - 1:
                self._step(row, step)

    def _step(self, row: int, step: Callable[[Counts], Counts]) -> None:
        entry = self._entries[row]
        try:
            counts = step(entry.counts)
        except Conflict:  # the index has missed something else, and learns it by `refresh`
            return
        self._put(structs.replace(entry, counts=counts))

    def _put(self, entry: Entry) -> None:
        row = self._rows.get(entry.id)
        if row is None:
            row = len(self._entries)
            if row == len(self._numbers):
                grown: Numbers = np.zeros((max(16, 2 * row), COLUMNS), dtype=np.int64)
                grown[:row] = self._numbers
                self._numbers = grown
            self._entries.append(entry)
            self._rows[entry.id] = row
        elif entry.state.revision < self._entries[row].state.revision:
            return
        else:
            self._entries[row] = entry
        self._numbers[row] = numbers(entry)
        self._note(row)
        self._unpacked[entry.id] = None
        self._unpacked.move_to_end(entry.id)
        if len(self._unpacked) > MOST_UNPACKED:
            self._pack(self._unpacked.popitem(last=False)[0])

    def _pack(self, host: HostId) -> None:
        row = self._rows[host]
        entry = self._entries[row]
        self._entries[row] = structs.replace(entry, counts=entry.counts.at_rest())

    def _note(self, row: int) -> None:
        self._changed.add(row)
        self._rankings.changed(row, len(self._entries))


def beside(entry: Entry, intended: Iterable[ClaimRecord]) -> tuple[Entry, tuple[ClaimRecord, ...]]:
    """The host at the same revision as if the claims that others intend there were held, and these claims. One that fits there no more is
    left out.
    """
    wanted = tuple(intended)
    together = _with(entry.counts, wanted)
    if together is not None:
        return structs.replace(entry, counts=together.at(entry.state.revision)), wanted
    counts, kept = entry.counts, []
    for one in wanted:
        counts_with = _with(counts, (one,))
        if counts_with is not None:
            counts = counts_with
            kept.append(one)
    return structs.replace(entry, counts=counts.at(entry.state.revision)), tuple(kept)


def _with(counts: Counts, claims: Iterable[ClaimRecord]) -> Counts | None:
    """The counts with these claims; None if one of them cannot be there."""
    try:
        return counts.claimed_all([Claim(guest=one.guest, fit=one.fit, id=one.id) for one in claims])
    except Conflict:
        return None


def entry(found: HostLedger) -> Entry:
    """The entry of a host from the store."""
    record = found.record
    return Entry(
        id=record.id,
        name=record.name,
        counts=counts_of(found.state),
        strategy=record.report.strategy,
        any_cell=record.report.any_cell,
        up=record.up,
        disabled=record.disabled,
        disabled_reason=record.disabled_reason,
        fenced=record.fenced,
        processor_refused=record.report.processor_refused,
        networks=frozenset(network.name for network in record.report.networks),
        features=frozenset((*record.report.features, *(queues(one.name) for one in record.report.networks if one.has_queues))),
    )


_MOST_FRAMES: Final = 1024
_framing: Final = threading.Lock()
_frames: Final[dict[tuple[object, ...], tuple[tuple[object, ...], Frame]]] = {}
"""Frames by the identity of what they are made of; that is kept with each, so that no other value gets its identity."""


def counts_of(state: HostState) -> Counts:
    """Count a host. Hosts that are alike share the frame: a fleet has many of them."""
    # The store reads equal texts once, so hosts that are alike have the same parts. To compare these by value takes longer than to count.
    parts = (state.topology, state.pools, state.limits)
    key = (*map(id, parts), state.disk_gib, state.traits)
    known = _frames.get(key)
    if known is None:
        found = parts, _frame(structs.replace(state, ledger=Ledger(), revision=0, name=""))
        with _framing:
            if len(_frames) >= _MOST_FRAMES:
                _frames.clear()
            known = _frames[key] = found
    return count_host(state, known[1])


@lru_cache(maxsize=256)
def _frame(bare: HostState) -> Frame:
    return Frame(bare)
