"""Where one line of a picture stands for many cores: on a large host, a long run of cores that nobody holds and that look alike. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import groupby
from typing import Final

from pinfold.core.cpuset import CpuSet
from pinfold.core.host_map import CoreMap
from pinfold.core.plural import count

FOLD_BEYOND: Final = 128
"""A host with more pCPUs is folded."""


def folded(cores: Iterable[CoreMap], room: int, looks: Callable[[CoreMap], Hashable]) -> list[tuple[bool, list[CoreMap]]]:
    """The cores in order, cut where one line stands for many: `(in one line, cores)`.

    One line stands for more cores than a row has room for, of which nobody holds a pCPU, and of which `looks` says the same.
    """
    parts: list[tuple[bool, list[CoreMap]]] = []

    def key(core: CoreMap) -> Hashable:
        return None if any(pcpu.owners for pcpu in core.pcpus) else (looks(core),)

    for alike, run in groupby(cores, key=key):
        found = list(run)
        fold = alike is not None and len(found) > room
        if parts and not fold and not parts[-1][0]:
            parts[-1][1].extend(found)
        else:
            parts.append((fold, found))
    return parts


def fold_words(cores: Sequence[CoreMap]) -> str:
    """Which cores one line stands for."""
    caches = len({core.cache for core in cores})
    where = f" in {caches} last-level caches" if caches > 1 else ""
    return f"{count(len(cores), 'core')} alike{where}: pCPUs {CpuSet(pcpu.pcpu for core in cores for pcpu in core.pcpus)}"
