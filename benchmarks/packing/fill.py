"""Fill the fleet with the requests of a trace: by the scheduler's own decisions, and by plain rules to compare with."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.packing.traces import HostCells, Shape, demand, entries, hosts
from pinfold.core.fit.answer import NoFit, Strategy
from pinfold.core.host import Claim
from pinfold.core.identity import GuestId
from pinfold.scheduler.decide import Conditions, decide, fit_on
from pinfold.scheduler.index import Index
from pinfold.scheduler.loss import Shapes, shapes_of
from pinfold.scheduler.model import HostStrategy, SchedulerSettings
from pinfold.service.claims.amend import TRIES

_ANYWHERE: Final = Conditions()
RENEWED: Final = 250
"""After so many requests the common shapes are those of all requests until then."""
REFRESHED: Final = 16
"""After so many requests all replicas have read what the others claimed: half a second at about 30 requests a second."""


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


def by_scheduler(
    asked: Sequence[Shape], settings: SchedulerSettings, cells: Strategy | None = None, *, replicas: int = 1, offered: bool = True
) -> Filled:
    """Every request is decided by `scheduler.decide` and claimed, as API processes do it.

    `cells` is the operator's preference among host cells, None for none. With several `replicas` they take requests in turns, and each
    learns the claims of the others after `REFRESHED` requests, or for one host when a claim there fails because another was faster. Then it
    decides again, as `service.claims.claim` does.
    With `offered` every shape is a flavor of the service from the start, else the scheduler knows what was requested so far.
    """
    fleet, tally = _Fleet(cells, replicas), _Tally()
    full: set[Shape] = set()
    seen: Counter[Shape] = Counter(set(asked) if offered else ())
    for number, shape in enumerate(asked):
        if settings.strategy is HostStrategy.LEAST_LOSS and number % RENEWED == 0:
            fleet.weigh(shapes_of([(demand(one), often) for one, often in seen.items()], number))
        if number % REFRESHED == 0:
            fleet.refresh()
        seen[shape] += 1
        # Nothing is ever released, so a shape that was refused once is refused for good.
        placed = shape not in full and fleet.place(number, shape, settings)
        if not placed:
            full.add(shape)
        tally.add(shape, placed)
    return tally.filled()


class _Fleet:
    """The hosts as the store has them, and an index of each replica."""

    def __init__(self, cells: Strategy | None, replicas: int) -> None:
        self._store = Index()
        self._store.put(entries(cells))
        self._indexes = [Index() for _ in range(replicas)] if replicas > 1 else [self._store]
        for index in self._indexes:
            index.put(entries(cells))

    def weigh(self, shapes: Shapes) -> None:
        for index in self._indexes:
            index.weigh(shapes)

    def refresh(self) -> None:
        """Every replica reads the hosts that changed."""
        stored = self._store.look(lambda view: {entry.id: entry for entry in view.entries})
        for index in self._indexes:
            known = index.look(lambda view: {entry.id: entry.state.revision for entry in view.entries})
            index.put([entry for host, entry in stored.items() if entry.state.revision != known[host]])

    def place(self, number: int, shape: Shape, settings: SchedulerSettings) -> bool:
        """Whether the replica whose turn it is claimed a place. A replica that finds none reads the hosts again and looks once more."""
        guest = GuestId(str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))))
        index = self._indexes[number % len(self._indexes)]
        fresh = len(self._indexes) == 1
        overtaken = 0
        while True:
            candidates = decide(index, guest, demand(shape), _ANYWHERE, settings)
            if not candidates and fresh:
                return False
            if not candidates:
                self.refresh()
                fresh = True
                continue
            found = candidates[0]
            stored = self._store.get(found.host)
            assert stored is not None
            fit, revision = found.fit, stored.state.revision
            if revision != found.revision:
                index.put([stored])
                overtaken += 1
                answer = fit_on(stored, demand(shape))
                if overtaken <= TRIES or isinstance(answer, NoFit):
                    continue
                fit = answer
            for one in {id(each): each for each in (self._store, index)}.values():
                one.claimed(found.host, Claim(guest=guest, fit=fit), revision + 1)
            return True


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
