"""Join free siblings: empty a core by moving what runs there to free threads of other cores of the same host cell.

With cores of t threads and F free threads on broken cores, n cores can be emptied exactly if n * t <= F and n of the cores hold nothing
but what may move: what must move off them is what they lack of t free threads, and the free threads that they have themselves are no
targets any more. So the cores with the fewest threads come first, then those with the fewest moves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct

from pinfold.core.fit.answer import Fit
from pinfold.core.fit.count import CellCounts, Counts
from pinfold.core.identity import GuestId
from pinfold.core.repin.fits import carriers, repinned, unwelcome
from pinfold.core.request.model import GuestRequest, ThreadPolicy


class Join(Struct, frozen=True):
    """One core to empty: for each guest that leaves it, which of its pCPUs it exchanges for which."""

    exchanges: tuple[tuple[GuestId, tuple[tuple[int, int], ...]], ...]


Movable = Mapping[int, GuestId]
"""A pCPU -> the guest that may leave it."""


def joins(counts: Counts, requests: Mapping[GuestId, GuestRequest]) -> tuple[Join, ...]:
    """The cores that can be emptied, cell by cell, those with the fewest moves first. All can be carried out, or any part of them. Pure.

    Only guests of thread policy `prefer` are moved: with `isolate` a guest has whole cores, with `require` each vCPU needs two threads.
    """
    fits = {claim.guest: claim.fit for claim in counts.state.ledger.claims}
    asked = {guest: request for guest, request in requests.items() if request.thread_policy is ThreadPolicy.PREFER and guest in fits}
    return tuple(join for cell in counts.cells for join in _of_cell(cell, counts, {guest: fits[guest] for guest in asked}))


def _of_cell(cell: CellCounts, counts: Counts, fits: Mapping[GuestId, Fit]) -> Iterator[Join]:
    movable = {pcpu: guest for guest, fit in fits.items() for pcpu in carriers(fit, cell.frame.id, counts.state.topology.cell_of)}
    chosen = _chosen(cell, counts.frame.dedicated, movable)
    emptied = 0
    for core, _ in chosen:
        emptied |= core
    free = cell.shape.broken & ~emptied  # a whole core is not broken to make another one whole
    online, moved = counts.state.topology.online, dict(fits)
    for _, taken in chosen:
        exchanges: dict[GuestId, list[tuple[int, int]]] = {}
        left, after = free, dict(moved)
        for pcpu in taken:
            guest = movable[pcpu]
            target = _target(cell, after[guest], pcpu, left, counts.frame.dedicated)
            if target is None:
                break
            left &= ~(1 << target)
            after[guest] = repinned(after[guest], {pcpu: target}, after[guest].idle_siblings, online)
            exchanges.setdefault(guest, []).append((pcpu, target))
        else:
            free, moved = left, after
            yield Join(tuple((guest, tuple(pairs)) for guest, pairs in sorted(exchanges.items())))


def _chosen(cell: CellCounts, dedicated: int, movable: Movable) -> list[tuple[int, tuple[int, ...]]]:
    """`(core as a mask, its taken pCPUs)` of the cores to empty."""
    room = sum(map(len, cell.shape.brokens))
    candidates = []
    for core, threads in cell.frame.cores:
        taken = tuple(pcpu for pcpu in threads if not cell.free >> pcpu & 1)
        if taken and not core & ~dedicated and all(pcpu in movable for pcpu in taken):
            candidates.append((len(threads), len(taken), core, taken))
    chosen = []
    for size, _, core, taken in sorted(candidates, key=lambda one: (one[0], one[1], one[3])):
        if size <= room:
            room -= size
            chosen.append((core, taken))
    return chosen


def _target(cell: CellCounts, fit: Fit, pcpu: int, free: int, dedicated: int) -> int | None:
    """The free pCPU that suits what runs on `pcpu` best: beside the guest's own vCPUs, then on a core that is dedicated as a whole, then
    on the fullest core, then the lowest; None if there is no suitable one.
    """
    avoided = unwelcome(fit, pcpu, cell)
    own = fit.taken.mask & ~(1 << pcpu)
    best = None
    for core, threads in cell.frame.cores:
        left = core & free & ~avoided
        if left:
            first = next(thread for thread in threads if left >> thread & 1)
            key = (not core & own, core & ~dedicated != 0, (core & free).bit_count(), first)
            best = key if best is None else min(best, key)
    return None if best is None else best[3]
