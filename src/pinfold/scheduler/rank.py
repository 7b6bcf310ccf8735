"""Order hosts: a rough order of all hosts by their numbers, and an exact order of those that were fitted. Pure.

Both prefer, in this order: an overhead pool for a guest that shares it, free room in that pool, little fragmentation left behind (known
only after a fit), and a full or an empty host, as the operator configured.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pinfold.core.fit.answer import Fit, Strategy
from pinfold.core.fit.count import Counts
from pinfold.core.identity import GuestId
from pinfold.core.overhead.table import PoolState, rules
from pinfold.core.request.model import GuestRequest
from pinfold.scheduler.columns import Columns, Numbers
from pinfold.scheduler.filter import Need, booked

STEPS = 10
"""Headroom is compared in tenths of the pool: finer differences are noise that would hide fragmentation."""


_ROOM_BITS: Final = 52
_MOST_ROOM: Final = (1 << _ROOM_BITS) - 1


def rough(wanted: Need, hosts: Columns, *, packs: bool) -> Numbers:
    """A key of each row by its numbers alone; smaller is better."""
    room = hosts.column("free" if wanted.taken else "vcpu_room")
    keys: Numbers = _within(room if packs else -room, _MOST_ROOM) + _MOST_ROOM
    if wanted.overhead is not None:
        pool = has_pool(hosts)
        total = np.maximum(hosts.column("overhead_cap"), 1)
        free = hosts.column("overhead_room") - booked(wanted.overhead, hosts)
        headroom = np.where(pool, _within(free * STEPS // total, STEPS), 0)
        keys += (STEPS - headroom + 4 * STEPS * ~pool) << _ROOM_BITS + 1
    return keys


def _within(numbers: Numbers, most: int) -> Numbers:
    """The numbers, but none beyond `most` or its negative; on few rows `np.clip` takes three times as long."""
    found: Numbers = np.minimum(np.maximum(numbers, -most), most)
    return found


def has_pool(hosts: Columns) -> NDArray[np.bool_]:
    """Whether each host has an online overhead pool."""
    found: NDArray[np.bool_] = hosts.column("pool") == PoolState.ONLINE
    return found


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
        frame, left = cell.frame, taken & cell.frame.mask
        while left:
            core = frame.core_of[(left & -left).bit_length() - 1]
            broken += core & cell.free == core and core & taken != core
            left &= ~core
    return broken


def turn(guest: GuestId, length: int) -> int:
    """The row at which equal rows start. It depends on the guest, so that schedulers deciding at once do not all start with one host."""
    return -int.from_bytes(blake2b(guest.encode(), digest_size=6).digest(), "big") % max(length, 1)
