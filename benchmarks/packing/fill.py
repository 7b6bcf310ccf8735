"""Fill the fleet with the requests of a trace: by the scheduler's own decisions, and by plain rules to compare with."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.packing.traces import HostCells, Shape, demand, entries, hosts
from pinfold.core.fit.answer import Strategy
from pinfold.core.host import Claim
from pinfold.core.identity import GuestId
from pinfold.scheduler.decide import Conditions, decide
from pinfold.scheduler.index import Index
from pinfold.scheduler.loss import shapes_of
from pinfold.scheduler.model import HostStrategy, SchedulerSettings

_ANYWHERE: Final = Conditions()
RENEWED: Final = 250
"""After so many requests the common shapes are those of all requests until then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """What one run placed. `first` are the vCPUs that were placed when the first request was refused."""

    first: int
    vcpus: int
    refused: int
    pcpus_left: int
    memory_left_gib: int


class _Tally:
    def __init__(self) -> None:
        self.first: int | None = None
        self.vcpus = self.refused = self.memory_gib = 0

    def add(self, shape: Shape, placed: bool) -> None:
        if placed:
            self.vcpus += shape.vcpus
            self.memory_gib += shape.memory_gib
            return
        self.refused += 1
        if self.first is None:
            self.first = self.vcpus

    def filled(self) -> Filled:
        pcpus, memory = (sum(cell[what] for host in hosts() for cell in host) for what in (0, 1))
        return Filled(
            first=self.vcpus if self.first is None else self.first,
            vcpus=self.vcpus,
            refused=self.refused,
            pcpus_left=pcpus - self.vcpus,
            memory_left_gib=memory - self.memory_gib,
        )


def by_scheduler(asked: Sequence[Shape], settings: SchedulerSettings, cells: Strategy | None = Strategy.PACK) -> Filled:
    """Every request is decided by `scheduler.decide` and claimed in its index, as one API process does it.

    `cells` is the operator's preference among host cells, None for none.
    """
    index, tally = Index(), _Tally()
    index.put(entries(cells))
    full: set[Shape] = set()
    seen: Counter[Shape] = Counter()
    for number, shape in enumerate(asked):
        if settings.strategy is HostStrategy.LEAST_LOSS and number % RENEWED == 0:
            index.weigh(shapes_of([(demand(one), often) for one, often in seen.items()], number))
        seen[shape] += 1
        # Nothing is ever released, so a shape that was refused once is refused for good.
        guest = GuestId(str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))))
        candidates = () if shape in full else decide(index, guest, demand(shape), _ANYWHERE, settings)
        if candidates:
            best = candidates[0]
            index.claimed(best.host, Claim(guest=guest, fit=best.fit), best.revision + 1)
        else:
            full.add(shape)
        tally.add(shape, bool(candidates))
    return tally.filled()


Cells = list[list[int]]
Rule = Callable[[Cells], tuple[int, ...]]
"""Orders the places on hosts: smaller goes first. It sees what is free in the host cells that the guest would use."""


def first_fit(_: Cells) -> tuple[int, ...]:
    """Hosts and cells in the order of the file."""
    return ()


def least_pcpus(cells: Cells) -> tuple[int, ...]:
    """Best fit by pCPUs."""
    return (sum(pcpus for pcpus, _ in cells),)


def least_memory(cells: Cells) -> tuple[int, ...]:
    """Best fit by memory."""
    return (sum(memory for _, memory in cells),)


def most_pcpus(cells: Cells) -> tuple[int, ...]:
    """Spread by pCPUs."""
    return (-sum(pcpus for pcpus, _ in cells),)


def by_rule(asked: Sequence[Shape], rule: Rule) -> Filled:
    """Every request goes to the place that the rule puts first; equal places in the order of the file."""
    fleet, tally = [[[*cell] for cell in host] for host in hosts()], _Tally()
    full: set[Shape] = set()
    for shape in asked:
        place = None if shape in full else _place(fleet, shape, rule)
        if place is None:
            full.add(shape)
        else:
            for cell in place:
                cell[0] -= shape.vcpus // shape.cells
                cell[1] -= shape.memory_gib // shape.cells
        tally.add(shape, place is not None)
    return tally.filled()


def _place(fleet: Sequence[Cells], shape: Shape, rule: Rule) -> Cells | None:
    pins, memory = shape.vcpus // shape.cells, shape.memory_gib // shape.cells
    best: tuple[tuple[int, ...], Cells] | None = None
    for host in fleet:
        taking = [cell for cell in host if cell[0] >= pins and cell[1] >= memory]
        for place in [[cell] for cell in taking] if shape.cells == 1 else [taking] if len(taking) == shape.cells else []:
            if rule is first_fit:
                return place
            key = rule(place)
            if best is None or key < best[0]:
                best = key, place
    return None if best is None else best[1]


def bound(asked: Sequence[Shape]) -> int:
    """No way of placing reaches more vCPUs: the fleet as one large host, and requests that may be split."""
    free: list[HostCells] = hosts()
    pcpus, memory = (sum(cell[what] for host in free for cell in host) for what in (0, 1))
    vcpus = 0.0
    left = float(memory)
    for shape in sorted(asked, key=lambda shape: shape.memory_gib / shape.vcpus):
        part = min(1.0, left / shape.memory_gib)
        vcpus += part * shape.vcpus
        left -= part * shape.memory_gib
    return int(min(vcpus, pcpus))
