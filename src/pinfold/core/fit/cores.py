"""Choose the pCPUs of one host cell for a guest cell's vCPUs, by thread policy. `count` has checked that there are enough.

The answers list pCPUs core by core, each core's threads ascending, so that consecutive vCPUs become siblings.
"""

from __future__ import annotations

from collections.abc import Iterable

from pinfold.core.fit.count import CellCounts, Threads


def choose(cell: CellCounts, pins: int, required: bool, isolated: bool) -> Threads:  # keywords double the price of a call
    """Choose `pins` free pCPUs of the cell by thread policy; with `isolated`, the first thread of as many whole cores.

    The caller has checked that there are enough. If all whole cores have one size, the usual answer of `fill` is a slice of their threads.
    """
    if isolated:
        return isolate(cell, pins)
    shape = cell.known_shape or cell.shape
    row = shape.whole_threads
    if pins <= shape.n_plain:
        return row[:pins]
    size = shape.whole_size
    if size > (1 if required else 0) and pins - 1 <= len(row):
        rest = pins % size
        no_brokens = shape.n_paired == len(row) if required else not shape.brokens
        if pins <= len(row) and (not rest or no_brokens):
            return row[:pins]
        if rest == 1 and shape.brokens and not required:
            return tuple(sorted((*row[: pins - 1], min(shape.brokens, key=len)[0]), key=cell.frame.rank.__getitem__))
    if required:
        return fill(cell, [core for core in shape.wholes if len(core) > 1], [core for core in shape.brokens if len(core) > 1], pins)
    return fill(cell, shape.wholes, shape.brokens, pins)


def fill(cell: CellCounts, wholes: Iterable[Threads], brokens: Iterable[Threads], pins: int) -> Threads:
    """Choose `pins` pCPUs of the given cores: fill whole cores first, then use broken ones, and break a whole core last.

    1. Take whole cores, larger ones first, as long as the guest fills them.
    2. Take the rest from broken cores: the smallest that holds all of it, else the largest, repeatedly.
    3. Take what is still missing from the smallest remaining whole core that suffices.
    """
    chosen: list[int] = []
    left: list[Threads] = []
    for core in sorted(wholes, key=len, reverse=True):
        if len(core) <= pins - len(chosen):
            chosen += core
        else:
            left.append(core)
    for rest in (list(brokens), left):
        while len(chosen) < pins and rest:
            need = pins - len(chosen)
            core = min(rest, key=lambda core: (len(core) < need, len(core) if len(core) >= need else -len(core)))
            rest.remove(core)
            chosen += core[:need]
    rank = cell.frame.rank
    chosen.sort(key=rank.__getitem__)
    return tuple(chosen)


def isolate(cell: CellCounts, cores: int) -> Threads:
    """The first thread of `cores` whole cores: those with the fewest siblings first, then by lowest pCPU."""
    shape = cell.known_shape or cell.shape
    if shape.whole_size:
        return shape.whole_threads[: cores * shape.whole_size : shape.whole_size]
    return tuple(sorted(core[0] for core in sorted(shape.wholes, key=len)[:cores]))


def mask(pcpus: Threads) -> int:
    """The pCPUs as a mask."""
    found = 0
    for pcpu in pcpus:
        found |= 1 << pcpu
    return found


def siblings(cell: CellCounts, pcpus: Threads) -> int:
    """The other threads of the pCPUs' cores, as a mask: what thread policy `isolate` keeps empty."""
    cores = cell.frame.core_of
    mask = own = 0
    for pcpu in pcpus:
        mask |= cores[pcpu]
        own |= 1 << pcpu
    return mask & ~own
