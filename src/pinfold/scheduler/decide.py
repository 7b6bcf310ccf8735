"""Turn a request into hosts worth claiming (filter, fit the best, rank, choose), and give the reasons of the other hosts. It claims
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heapreplace
from types import MappingProxyType
from typing import Final

from msgspec.structs import replace

from pinfold.core.fit import explain as why
from pinfold.core.fit.answer import Fit, NoFit, Strategy
from pinfold.core.fit.demand import Demand
from pinfold.core.fit.engine import search
from pinfold.core.host import Claim
from pinfold.core.identity import GuestId, HostId
from pinfold.core.reasons import Kind, Reason, ReasonCode
from pinfold.core.request.model import GuestRequest
from pinfold.scheduler.choose import Scored, choose
from pinfold.scheduler.guest_kinds import GuestKind
from pinfold.scheduler.index import Entry, Index, View
from pinfold.scheduler.loss import LossTable, Shapes, shape_key
from pinfold.scheduler.model import Candidate, HostRefusal, HostStrategy, Preview, SchedulerSettings
from pinfold.scheduler.rank import score, turn
from pinfold.scheduler.rankings import Order

EXPLAINED: Final = 500
"""The most hosts whose reasons a refusal by the fleet gives."""

_PASSING: Final = (ReasonCode.STALE, ReasonCode.PLACEMENT)
"""The reasons that say that others are claiming on the host at the same moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What a host must be besides having room, as sets of host ids read from Placement just before.

    `required` and `forbidden` are `(trait, the hosts that have it)`, `aggregates` what the host's aggregates must say, in words, and the
    hosts whose aggregates do. The host must offer all `networks` and `features`, by its own report. Hosts outside
    `hosts` or in `exclude` are not considered.
    """

    hosts: frozenset[HostId] | None = None
    exclude: frozenset[HostId] = frozenset()
    required: tuple[tuple[str, frozenset[str]], ...] = ()
    forbidden: tuple[tuple[str, frozenset[str]], ...] = ()
    networks: frozenset[str] = frozenset()
    aggregates: tuple[tuple[str, frozenset[HostId]], ...] = ()
    features: frozenset[str] = frozenset()

    def considers(self, host: HostId) -> bool:
        """Whether the host is considered."""
        return host not in self.exclude and (self.hosts is None or host in self.hosts)

    def reasons(self, entry: Entry) -> tuple[Reason, ...]:
        """The required traits, the networks, aggregates and features that the host lacks, and the forbidden traits that it has."""
        absent = (
            Reason(code=ReasonCode.MISSING_NETWORK, kind=Kind.INFEASIBLE, detail=name) for name in sorted(self.networks - entry.networks)
        )
        outside = (
            Reason(code=ReasonCode.AGGREGATE_METADATA, kind=Kind.INFEASIBLE, detail=words)
            for words, meeting in self.aggregates
            if entry.id not in meeting
        )
        lacking = (
            Reason(code=ReasonCode.MISSING_FEATURE, kind=Kind.INFEASIBLE, detail=name) for name in sorted(self.features - entry.features)
        )
        return (*self.trait_reasons(entry.id), *absent, *outside, *lacking)

    def trait_reasons(self, host: HostId) -> tuple[Reason, ...]:
        """The required traits that the host lacks, and the forbidden ones that it has."""
        missing = [(ReasonCode.MISSING_TRAIT, trait) for trait, having in self.required if host not in having]
        unwanted = [(ReasonCode.FORBIDDEN_TRAIT, trait) for trait, having in self.forbidden if host in having]
        return tuple(Reason(code=code, kind=Kind.INFEASIBLE, detail=trait) for code, trait in (*missing, *unwanted))

    @property
    def anywhere(self) -> bool:
        """Whether every host passes."""
        return self.hosts is None and not any((self.exclude, self.required, self.forbidden, self.networks, self.aggregates, self.features))


def untrait(request: GuestRequest) -> GuestRequest:
    """The request without its traits, on which `Conditions` decides: host states in the index carry no traits."""
    if not request.traits_required and not request.traits_forbidden:
        return request
    return replace(request, traits_required=frozenset(), traits_forbidden=frozenset())


NOTHING_BESIDE: Final[Mapping[HostId, Entry]] = MappingProxyType({})


def decide(
    index: Index,
    guest: GuestId,
    demand: Demand,
    conditions: Conditions,
    settings: SchedulerSettings,
    beside: Mapping[HostId, Entry] = NOTHING_BESIDE,
) -> tuple[Candidate, ...]:
    """The best hosts for a request without traits, in the order in which to try them; empty if no host in this index takes the guest now.

    `beside` are hosts to decide on instead of what the index has of them: with the claims that others intend there (`index.beside`).

    1. The ranking has the hosts that may have room, in a rough order.
    2. They are fitted in that order until there are `tried` fits, or until there is one fit and as many hosts have refused.
    3. The fits are scored; one of the top few comes first.
    """
    if decides_by_loss(demand, settings):
        return _least(index, guest, demand, conditions, settings, beside)
    kind = index.kinds.of(demand)
    order = _order(demand, settings)

    def find(limit: int) -> list[Entry]:
        found = index.look(lambda view: [view.entries[row] for row in _rows(view, order, guest, kind, conditions, limit)])
        return [beside.get(entry.id, entry) for entry in found] if beside else found

    tries, few = _Tries(kind, settings), 2 * settings.tried
    first = find(few)
    tries.add(first)
    if not tries.scored and len(first) == few:
        tries.add([entry for entry in find(len(index)) if entry.id not in tries.refused])
    return choose(guest, tries.scored, settings.top)


def decide_many(
    index: Index, guests: Sequence[GuestId], demand: Demand, conditions: Conditions, settings: SchedulerSettings
) -> list[Candidate]:
    """A host for each of several guests that are alike, decided one after another as if those before were claimed; fewer if room ends.

    A guest changes one host. So as many of the best hosts as there are guests suffice, and they are decided on apart from the index.
    """
    if decides_by_loss(demand, settings):
        return _many_by_loss(index, guests, demand, conditions, settings)
    order, kind, most = _order(demand, settings), index.kinds.of(demand), len(guests) + max(settings.top, settings.tried)

    def see(view: View) -> tuple[Shapes, list[Entry]]:
        return view.losses.common, [view.entries[row] for row in _rows(view, order, guests[0], kind, conditions, most)]

    shapes, entries = index.look(see)
    few = Index()
    few.put(entries)
    few.weigh(shapes)
    known = {entry.id: entry.state.revision for entry in entries}
    chosen: list[Candidate] = []
    for guest in guests:
        found = decide(few, guest, demand, Conditions(), settings)
        if not found:
            break
        best = found[0]
        few.claimed(best.host, Claim(guest=guest, fit=best.fit), best.revision + 1)
        chosen.append(replace(best, revision=known[best.host]))
    return chosen


def _many_by_loss(
    index: Index, guests: Sequence[GuestId], demand: Demand, conditions: Conditions, settings: SchedulerSettings
) -> list[Candidate]:
    """As `decide_many`, by the table of losses: of equally good hosts the one that took the guest before, so that few hosts take part."""
    kind, most = index.kinds.of(demand), len(guests) + settings.tried

    def see(view: View) -> tuple[LossTable, list[tuple[int, int, int, Entry]]]:
        rows = _rows(view, Order.LOSS, guests[0], kind, conditions, most)
        keys, cells = view.losses.find(demand)
        return view.losses, [(int(keys[row]), place, int(cells[row]), view.entries[row]) for place, row in enumerate(rows)]

    losses, hosts = index.look(see)
    revisions = [entry.state.revision for *_, entry in hosts]
    chosen: list[Candidate] = []
    for _ in guests:
        # The hosts are a heap. Only the one that takes a guest has another key afterwards.
        while hosts and (taken := _taken(kind, *hosts[0][2:])) is None:
            heappop(hosts)
        if not hosts or taken is None:
            break
        place, (fit, entry) = hosts[0][1], taken
        chosen.append(replace(_candidate(entry, fit, losses.version), revision=revisions[place]))
        key, cell = _key_of(index, losses, demand, entry)
        heapreplace(hosts, (key, place, cell, entry))
    return chosen


def _taken(kind: GuestKind, cell: int, entry: Entry) -> tuple[Fit, Entry] | None:
    """The fit of such a guest on the host, and the host with it; None where it does not fit."""
    step = kind.step(entry.counts, entry.strategy, cell)
    return None if step is None else (step[0], replace(entry, counts=step[1]))


def _key_of(index: Index, losses: LossTable, demand: Demand, entry: Entry) -> tuple[int, int]:
    """The key and the host cell of a host that differs from what the index has of it."""

    def see(_: View) -> tuple[int, int]:
        losses.find(demand)
        return losses.key(entry, demand)

    return index.look(see)


def following(index: Index, demand: Demand, best: Candidate, most: int) -> tuple[Fit, ...]:
    """The fits that such guests get on the candidate's host one after another, the candidate's own first; at most `most`, and fewer if the
    host has no room for more or has changed. Who is decided when others like it have just gone there gets a later one.

    They go to the candidate's host cell for as long as it takes them: whether others would lose less by another one is not asked anew.
    """
    entry, kind = index.get(best.host), index.kinds.of(demand)
    if entry is None or entry.state.revision != best.revision:
        return (best.fit,)
    counts = entry.counts
    fits: list[Fit] = []
    cell = counts.frame.position_of.get(best.fit.cells[0].host_cell, -1) if len(best.fit.cells) == 1 else -1
    while len(fits) < most:
        step = kind.step(counts, entry.strategy, cell)
        if step is None or (not fits and step[0] != best.fit):
            break
        fits.append(step[0])
        counts = step[1]
    return tuple(fits) or (best.fit,)


def _order(demand: Demand, settings: SchedulerSettings) -> Order:
    return Order.FULL if preference(settings.strategy, demand) is Strategy.PACK else Order.EMPTY


def decides_by_loss(demand: Demand, settings: SchedulerSettings) -> bool:
    """Whether the table of losses decides for the guest."""
    return settings.strategy is HostStrategy.LEAST_LOSS and shape_key(demand) is not None


def _rows(view: View, order: Order, guest: GuestId, kind: GuestKind, conditions: Conditions, most: int) -> list[int]:
    """The rows of the hosts that may be considered and are worth a try, at most `most`, the best first."""

    def passes(row: int) -> bool:
        return conditions.considers(view.entries[row].id) and not conditions.reasons(view.entries[row])

    ranking = view.ranking(kind, order)
    return ranking.best(most, turn(guest, len(view.entries)), None if conditions.anywhere else passes)


def preference(strategy: HostStrategy, demand: Demand) -> Strategy:
    """Whether a guest without a place in the table of losses goes to full or empty hosts: with LEAST_LOSS, pinned ones to full hosts."""
    if strategy is HostStrategy.LEAST_LOSS:
        return Strategy.PACK if demand.pins else Strategy.SPREAD
    return Strategy.PACK if strategy is HostStrategy.PACK else Strategy.SPREAD


def _least(
    index: Index, guest: GuestId, demand: Demand, conditions: Conditions, settings: SchedulerSettings, beside: Mapping[HostId, Entry]
) -> tuple[Candidate, ...]:
    """The hosts that lose least, at most `top` of them. The table is exact but for traits and the overhead pool's state, so hardly any
    of them refuses.
    """
    kind = index.kinds.of(demand)

    def find(most: int) -> tuple[int, list[tuple[Entry, int]]]:
        def see(view: View) -> tuple[int, list[tuple[Entry, int]]]:
            rows = _rows(view, Order.LOSS, guest, kind, conditions, most)
            keys, cells = view.losses.find(demand)
            if not beside:
                return view.losses.version, [(view.entries[row], int(cells[row])) for row in rows]
            known = [(int(keys[row]), view.entries[row], int(cells[row])) for row in rows]
            return view.losses.version, _again(view.losses, demand, known, beside)

        return index.look(see)

    for most in (settings.top + len(beside), len(index)):
        found: list[Candidate] = []
        version, places = find(most)
        for entry, cell in places:
            fit = kind.search(entry.counts, entry.strategy, cell)
            if fit is not None:
                found.append(_candidate(entry, fit, version))
            if len(found) == settings.top:
                break
        if found:
            return tuple(found)
        if len(places) < most:  # no host is left
            break
    return ()


def _again(
    losses: LossTable, demand: Demand, known: Iterable[tuple[int, Entry, int]], beside: Mapping[HostId, Entry]
) -> list[tuple[Entry, int]]:
    """These hosts with their cells, by the key of what they are beside others; equal ones in the order that they had."""
    found = []
    for key, entry, cell in known:
        other = beside.get(entry.id)
        found.append((key, entry, cell) if other is None else _place(losses, demand, other))
    found.sort(key=lambda one: one[0])
    return [(entry, cell) for _, entry, cell in found]


def _place(losses: LossTable, demand: Demand, entry: Entry) -> tuple[int, Entry, int]:
    key, cell = losses.key(entry, demand)
    return key, entry, cell


def _candidate(entry: Entry, fit: Fit, version: int = 0) -> Candidate:
    return Candidate(host=entry.id, name=entry.name, revision=entry.state.revision, fit=fit, shapes=version)


class _Tries:
    """The hosts that were fitted for one guest: those that take it with their scores, and those that refused."""

    def __init__(self, kind: GuestKind, settings: SchedulerSettings) -> None:
        self._kind, self._tried = kind, settings.tried
        self._prefers = preference(settings.strategy, kind.demand)
        self.scored: list[Scored] = []
        self.refused: set[HostId] = set()

    def add(self, entries: Iterable[Entry]) -> None:
        """Fit these in their order until there are enough."""
        tried = self._tried
        for entry in entries:
            if len(self.scored) >= tried or (self.scored and len(self.scored) + len(self.refused) >= 2 * tried):
                return
            found = self._kind.scored(entry.counts, entry.strategy, self._prefers)
            if found is None:
                self.refused.add(entry.id)
            else:
                fit, rank = found
                self.scored.append((rank, _candidate(entry, fit)))


def explain(index: Index, demand: Demand, conditions: Conditions, known: dict[HostId, HostRefusal]) -> tuple[tuple[HostRefusal, ...], int]:
    """Why each considered host refuses, by name, at most `EXPLAINED` of them; and how many hosts are considered.

    `known` refusals, met while trying, are kept, except those that only say that others were faster: if the host has no room by now, the
    reason says what it lacks. A host that got room meanwhile says that it changed.
    """
    entries = index.look(lambda view: sorted(view.entries, key=lambda entry: (entry.name, entry.id)))
    considered = [entry for entry in entries if conditions.considers(entry.id)]
    found = []
    for entry in considered[:EXPLAINED]:
        told = known.get(entry.id) or closed(entry, conditions)
        if told is None or all(reason.code in _PASSING for reason in told.no_fit.reasons):
            answer = fit_on(entry, demand)
            if isinstance(answer, NoFit):
                told = refusal(entry, answer)
        found.append(told or refusal(entry, _changed()))
    return tuple(found), len(considered)


def closed(entry: Entry, conditions: Conditions) -> HostRefusal | None:
    """Why a host takes no guest, or not this one, however much room it has; None if there is no such reason."""
    if not entry.up or entry.fenced:
        reasons: tuple[Reason, ...] = (Reason(code=ReasonCode.HOST_DOWN, kind=Kind.INSUFFICIENT),)
    elif entry.disabled:
        detail = f": {entry.disabled_reason}" if entry.disabled_reason else ""
        reasons = (Reason(code=ReasonCode.HOST_DISABLED, kind=Kind.INSUFFICIENT, detail=detail),)
    elif entry.processor_refused:
        reasons = (Reason(code=ReasonCode.PROCESSOR, kind=Kind.INFEASIBLE, detail=entry.processor_refused),)
    else:
        reasons = conditions.reasons(entry)
    return refusal(entry, NoFit(reasons=reasons)) if reasons else None


def refusal(entry: Entry, answer: NoFit) -> HostRefusal:
    """The refusal of one host at the revision of the decision."""
    return HostRefusal(host=entry.id, name=entry.name, revision=entry.state.revision, no_fit=answer)


def _places(index: Index, demand: Demand, settings: SchedulerSettings) -> dict[HostId, tuple[int, int]]:
    """For `least-loss` the key of each host and the position of its host cell; nothing for a guest that the table does not describe."""
    if not decides_by_loss(demand, settings):
        return {}

    def see(view: View) -> dict[HostId, tuple[int, int]]:
        keys, cells = view.losses.find(demand)
        return {entry.id: (int(keys[row]), int(cells[row])) for row, entry in enumerate(view.entries)}

    return index.look(see)


def fit_on(entry: Entry, demand: Demand, first: int = -1) -> Fit | NoFit:
    """The fit on one host, or its reasons. `first` is the position of the preferred host cell."""
    return search(demand, entry.counts, entry.strategy, first) or NoFit(reasons=why.explain(demand, entry.counts))


def _changed() -> NoFit:
    """The reason of a host where room became free between the decision and its explanation."""
    return NoFit(reasons=(Reason(code=ReasonCode.STALE, kind=Kind.INSUFFICIENT, needed=1),))


def preview(index: Index, demand: Demand, conditions: Conditions, settings: SchedulerSettings) -> Preview:
    """Every host that takes the guest, by score and name; and the refusals of all others, by name."""
    places = _places(index, demand, settings)
    entries = index.look(lambda view: sorted(view.entries, key=lambda entry: (entry.name, entry.id)))
    scored: list[Scored] = []
    refusals = []
    for entry in entries:
        if not conditions.considers(entry.id):
            continue
        told = closed(entry, conditions)
        if told is not None:
            refusals.append(told)
            continue
        key, cell = places.get(entry.id, (0, -1))
        answer = fit_on(entry, demand, cell)
        if isinstance(answer, NoFit):
            refusals.append(refusal(entry, answer))
        else:
            lacks_pool, *others = score(demand.request, entry.counts, answer, preference(settings.strategy, demand))
            scored.append(((lacks_pool, key, *others), _candidate(entry, answer)))
    ordered = sorted(scored, key=lambda one: (one[0], one[1].name, one[1].host))
    return Preview(candidates=tuple(found for _, found in ordered), refusals=tuple(refusals))
