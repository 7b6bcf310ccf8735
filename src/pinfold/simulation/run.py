"""Run a plan: each guest is decided by `scheduler.decide` and claimed in its index, as one API process does it. Nothing is stored."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator
from random import Random
from typing import Final

from pinfold.core.fit.capacity import StrandedPcpus, stranded
from pinfold.core.fit.slots import Resource, free_slots
from pinfold.core.host import Claim
from pinfold.core.identity import GuestId, HostId
from pinfold.scheduler.decide import Conditions, decide
from pinfold.scheduler.index import Entry, Index
from pinfold.scheduler.loss import shapes_of
from pinfold.scheduler.model import HostStrategy, SchedulerSettings
from pinfold.simulation.exclusions import Exclusions, exclusions, warnings
from pinfold.simulation.fleet import demand, entries
from pinfold.simulation.model import ChurnSample, Filled, GuestMix, GuestShape, Plan, SettingResult, SimulationResult
from pinfold.simulation.sentences import sentences, setting_text

_ANYWHERE: Final = Conditions()
_SAMPLES: Final = 20
_SAMPLED_HOSTS: Final = 500
_NOTICED: Final = 100
"""After so many requests the caller hears how far it is."""

Notice = Callable[[str, int, int], None]
"""Hears which part is at work, how far it is, and of how many: pCPUs while a setting's fleet is filled, arrivals and departures then."""


def simulate(plan: Plan, notice: Notice | None = None) -> SimulationResult:
    """Every setting on a fresh fleet with the same requests. The same plan gives the same result. Raises `InvalidRequest`."""
    left_out = exclusions(plan)
    results = tuple(_Run(plan, one, notice).result() for one in left_out)
    distinct = tuple(dict.fromkeys(plan.mix.shapes))
    return SimulationResult(
        hosts=plan.fleet.hosts,
        mix=plan.mix.name,
        shapes=tuple(shape.text() for shape in distinct),
        strategy=plan.strategy,
        seed=plan.seed,
        results=results,
        sentences=sentences(results, distinct),
        warnings=(*plan.fleet.warnings, *plan.mix.warnings, *warnings(plan, left_out)),
    )


class _Guest:
    """A guest that runs. `own` are the pCPUs that its emulator owns."""

    __slots__ = ("host", "id", "own", "shape")

    def __init__(self, host: HostId, guest: GuestId, shape: GuestShape, own: int) -> None:
        self.host, self.id, self.shape, self.own = host, guest, shape, own


class _Run:
    """One setting. Requests, names and departures have random numbers apart, so that all settings see the same requests."""

    def __init__(self, plan: Plan, left_out: Exclusions, notice: Notice | None) -> None:
        self._plan, self._setting, self._notice, self._left_out = plan, left_out.setting, notice, left_out
        setting = self._setting
        self._names, self._random = Random(f"{plan.seed} names"), Random(f"{plan.seed} departures")
        self._scheduler = SchedulerSettings(strategy=plan.strategy)
        self._index = Index()
        self._index.put(entries(plan.fleet, setting.pool_pcpus))
        self._shapes = tuple(shape for shape in dict.fromkeys(plan.mix.shapes) if not left_out.leaves_out(shape))
        if plan.strategy is HostStrategy.LEAST_LOSS:
            often = {shape: sum(one.weight for one in plan.mix.shapes if one == shape) for shape in self._shapes}
            self._index.weigh(shapes_of([(demand(one, setting.policy), max(1, round(times))) for one, times in often.items()], 1))
        self._dedicated = sum(entry.counts.frame.dedicated.bit_count() for entry in self._entries())
        self._guests: list[_Guest] = []
        self._vcpus = self._own = 0

    def result(self) -> SettingResult:
        """Fill the fleet, count what is left, then let guests come and go."""
        first = self._fill()
        full, own = self._now(), self._own
        free, causes = self._stranded()
        return SettingResult(
            setting=self._setting,
            hosts=self._plan.fleet.hosts - len(self._left_out.hosts),
            dedicated_pcpus=self._dedicated,
            first=first,
            full=full,
            emulator_pcpus=own,
            free_pcpus=free,
            stranded=causes,
            left_out=self._left_out.shapes,
            churn=tuple(self._churn()) if self._plan.churn and self._guests else (),
        )

    def _entries(self) -> list[Entry]:
        return self._index.look(lambda view: list(view.entries))

    def _now(self) -> Filled:
        return Filled(guests=len(self._guests), vcpus=self._vcpus)

    def _fill(self) -> Filled:
        """Place guests until no shape fits; returns the state at the first refusal. Nothing ends, so a refused shape is not asked again."""
        first: Filled | None = None
        full = self._never()
        part = setting_text(self._setting)
        self._tell(part, 0, self._dedicated)
        for number, shape in enumerate(drawn(self._plan.mix, Random(f"{self._plan.seed} requests"), full), start=1):
            if not self._place(shape):
                full.add(shape)
                first = first or self._now()
            if number % _NOTICED == 0:
                self._tell(part, self._vcpus + self._own, self._dedicated)
        self._tell(part, self._dedicated, self._dedicated)
        return first or self._now()

    def _never(self) -> set[GuestShape]:
        """The shapes that are never asked for."""
        return {one.shape for one in self._left_out.shapes}

    def _place(self, shape: GuestShape) -> bool:
        guest = GuestId(str(uuid.UUID(int=self._names.getrandbits(128))))
        found = decide(self._index, guest, demand(shape, self._setting.policy), _ANYWHERE, self._scheduler)
        if not found:
            return False
        best = found[0]
        self._index.claimed(best.host, Claim(guest=guest, fit=best.fit), best.revision + 1)
        own = int(best.fit.emulator_pcpu is not None)
        self._guests.append(_Guest(best.host, guest, shape, own))
        self._vcpus += shape.vcpus
        self._own += own
        return True

    def _end_one(self) -> None:
        """End a random guest."""
        place = self._random.randrange(len(self._guests))
        self._guests[place], self._guests[-1] = self._guests[-1], self._guests[place]
        gone = self._guests.pop()
        entry = self._index.get(gone.host)
        assert entry is not None
        self._index.released(gone.host, gone.id, None, entry.state.revision + 1)
        self._vcpus -= gone.shape.vcpus
        self._own -= gone.own

    def _tell(self, part: str, done: int, of: int) -> None:
        if self._notice is not None:
            self._notice(part, done, of)

    def _stranded(self) -> tuple[int, tuple[StrandedPcpus, ...]]:
        """The free pCPUs of all hosts, and why the mix cannot use them."""
        demands = [demand(shape, self._setting.policy) for shape in self._shapes or dict.fromkeys(self._plan.mix.shapes)]
        free, causes = 0, dict.fromkeys(Resource, 0)
        for entry in self._entries():
            free += entry.counts.free.bit_count()
            for lost in stranded(entry.counts, demands):
                causes[lost.cause] += lost.pcpus
        return free, tuple(StrandedPcpus(cause=cause, pcpus=pcpus) for cause, pcpus in causes.items() if pcpus)

    def _churn(self) -> Iterator[ChurnSample]:
        """Random guests end until `load` is left; then one arrives whenever there is room below it, else one ends."""
        target, refused = int(self._vcpus * self._plan.load), 0
        while self._guests and self._vcpus > target:
            self._end_one()
        requests = drawn(self._plan.mix, Random(f"{self._plan.seed} arrivals"), self._never())
        yield self._sample(0, refused)
        every, part = max(1, self._plan.churn // _SAMPLES), f"{setting_text(self._setting)}, arrivals and departures"
        for event in range(1, self._plan.churn + 1):
            if self._vcpus > target and self._guests:
                self._end_one()
            elif not self._place(next(requests)):
                refused += 1
                if self._guests:
                    self._end_one()
            if event % _NOTICED == 0 or event == self._plan.churn:
                self._tell(part, event, self._plan.churn)
            if event % every == 0:
                yield self._sample(event, refused)

    def _sample(self, events: int, refused: int) -> ChurnSample:
        largest = max(self._shapes, key=lambda shape: (shape.vcpus, shape.memory_mib))
        wanted = demand(largest, self._setting.policy)
        free = usable = 0
        known = sorted(self._entries(), key=lambda entry: entry.name)
        for entry in known[:: max(1, len(known) // _SAMPLED_HOSTS)][:_SAMPLED_HOSTS]:
            free += entry.counts.free.bit_count()
            usable += free_slots(wanted, entry.counts) * (wanted.pins + wanted.own_pcpus)
        return ChurnSample(events=events, vcpus=self._vcpus, refused=refused, free_pcpus=free, usable_pcpus=usable)


def drawn(mix: GuestMix, random: Random, full: set[GuestShape]) -> Iterator[GuestShape]:
    """The shapes to ask for, without those in `full`, to which the caller adds; ends when all are in it."""
    distinct = set(mix.shapes)
    if mix.ordered:
        for shape in itertools.cycle(mix.shapes):
            if not distinct - full:
                return
            if shape not in full:
                yield shape
    weights = [shape.weight for shape in mix.shapes]
    while distinct - full:
        shape = random.choices(mix.shapes, weights)[0]
        if shape not in full:
            yield shape
