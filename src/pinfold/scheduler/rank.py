"""Order hosts: a rough order of all hosts that passed the filter, by their numbers, and an exact order of those that were fitted. Pure.

Both prefer, in this order: an overhead pool for a guest that shares it, free room in that pool, little fragmentation left behind (known
only after a fit), and a full or an empty host, as the operator configured.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from pinfold.core.fit.answer import Fit, Strategy
from pinfold.core.fit.count import Counts
from pinfold.core.identity import GuestId
from pinfold.core.overhead.table import PoolState, rules
from pinfold.core.request.model import GuestRequest
from pinfold.scheduler.filter import Mask, Need, booked
from pinfold.scheduler.index import View
from pinfold.scheduler.place_losses import NOWHERE

STEPS = 10
"""Headroom is compared in tenths of the pool: finer differences are noise that would hide fragmentation."""


def rough(wanted: Need, view: View, left: Mask, strategy: Strategy, guest: GuestId) -> NDArray[np.intp]:
    """The remaining rows, best first by their numbers. Equal rows start at a position that depends on the guest, so that many schedulers
    deciding at once do not all start with the same host.
    """
    rows = np.flatnonzero(left)
    if not len(rows):
        return rows
    room = view.column("vcpu_room" if not wanted.taken else "free")[rows]
    keys = [(rows + _turn(guest)) % len(view.entries), room if strategy is Strategy.PACK else -room]
    if wanted.demand.asks_pool:
        pool = view.column("pool")[rows] == PoolState.ONLINE
        total = np.maximum(view.column("overhead_cap")[rows], 1)
        free = view.column("overhead_room")[rows] - booked(wanted, view)[rows]
        keys += [-np.where(pool, np.clip(free * STEPS // total, -STEPS, STEPS), 0), ~pool]
    return rows[np.lexsort(keys)]


def least(keys: NDArray[np.int64], wanted: Need, view: View, left: Mask, guest: GuestId, most: int) -> NDArray[np.intp]:
    """The remaining rows with the smallest keys of a `LossTable`, at most `most`, the best first; a host with an online overhead pool
    before one without, for a guest that shares it. Equal rows start at a position that depends on the guest.
    """
    rows = np.flatnonzero(left & (keys != NOWHERE))
    if wanted.demand.asks_pool and len(rows):
        online = view.column("pool")[rows] == PoolState.ONLINE
        rows = rows[online] if online.any() else rows
    found = keys[rows]
    if len(rows) > most:
        border = np.partition(found, most - 1)[most - 1]
        kept = found <= border
        rows, found = rows[kept], found[kept]
    turned = (rows + _turn(guest)) % max(len(view.entries), 1)
    return rows[np.lexsort((turned, found))][:most]


def score(request: GuestRequest, counts: Counts, fit: Fit, strategy: Strategy) -> tuple[int, ...]:
    """The rank of one fitted host; lower is better. Deterministic; `choose` breaks ties."""
    capacity = counts.frame.pool.capacity
    headroom = 0
    if fit.overhead_millicpu and capacity:
        headroom = max(-STEPS, (counts.overhead_room - fit.overhead_millicpu) * STEPS // capacity)
    if request.cells:
        left = counts.free.bit_count() - len(fit.taken)
    else:
        left = counts.vcpu_room - fit.floating_count
    lacks_pool = fit.emulator_placement is not rules(request.emulator_policy)[PoolState.ONLINE].placement
    return (int(lacks_pool), -headroom, broken_cores(counts, fit), left if strategy is Strategy.PACK else -left)


def broken_cores(counts: Counts, fit: Fit) -> int:
    """How many whole cores the fit breaks without using all of their threads."""
    taken = fit.taken.mask
    broken = 0
    for cell in counts.cells:
        for threads in cell.wholes:
            used = sum(taken >> pcpu & 1 for pcpu in threads)
            broken += 0 < used < len(threads)
    return broken


def _turn(guest: GuestId) -> int:
    return int.from_bytes(blake2b(guest.encode(), digest_size=6).digest(), "big")
