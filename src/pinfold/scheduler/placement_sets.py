"""`PlacementSets`: which hosts have a trait or are in an aggregate, according to Placement, at most a few seconds old.

What the metadata of aggregates says is read from the store, because Placement knows aggregates without it.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable

from pinfold.accounting.client import Placement
from pinfold.core.errors import InvalidRequest
from pinfold.core.host_features import needed, queues
from pinfold.core.identity import HostId
from pinfold.core.reasons import Kind, Reason, ReasonCode
from pinfold.core.request.aggregate_specs import AggregateSpec, met, values_of
from pinfold.scheduler.decide import Conditions
from pinfold.scheduler.model import HostSearch
from pinfold.store import aggregates
from pinfold.store.database import Database

_Key = tuple[str, frozenset[str]]


class PlacementSets:
    """Asks Placement only for the traits and aggregates that requests name. Safe to share between threads."""

    def __init__(self, placement: Placement, database: Database, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._placement = placement
        self._database = database
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[_Key, tuple[float, frozenset[HostId]]] = {}

    def conditions(self, wanted: HostSearch) -> Conditions:
        """What a host must be for that guest. Raises `Unavailable` when Placement must be asked and is away."""
        request = wanted.request
        hosts = wanted.hosts
        if wanted.member_of:
            members = self._ask("member_of", wanted.member_of)
            hosts = members if hosts is None else hosts & members
        return Conditions(
            hosts=hosts,
            exclude=wanted.exclude,
            networks=wanted.networks,
            required=tuple((trait, self._having(trait)) for trait in sorted(request.traits_required)),
            forbidden=tuple((trait, self._having(trait)) for trait in sorted(request.traits_forbidden)),
            aggregates=self._meeting(wanted.aggregates),
            features=needed(request) | (frozenset(map(queues, wanted.networks)) if request.queues > 1 else frozenset()),
        )

    def lost(self, wanted: HostSearch, host: HostId) -> tuple[Reason, ...]:
        """Why one host, checked again just before the claim, no longer meets the request. It asks only about what the request names."""
        request = wanted.request
        try:
            if wanted.member_of and wanted.member_of.isdisjoint(self._placement.aggregates(host)[1]):
                return (Reason(code=ReasonCode.AGGREGATE, kind=Kind.INSUFFICIENT),)
            if not request.traits_required and not request.traits_forbidden:
                return ()
            found = self._placement.traits(host)[1]
        except InvalidRequest as error:
            # A missing provider has no room; the healer creates it.
            return (Reason(code=ReasonCode.PLACEMENT, kind=Kind.INSUFFICIENT, detail=str(error)),)
        having = frozenset({host})
        return Conditions(
            required=tuple((trait, having if trait in found else frozenset()) for trait in sorted(request.traits_required)),
            forbidden=tuple((trait, having if trait in found else frozenset()) for trait in sorted(request.traits_forbidden)),
        ).trait_reasons(host)

    def forget(self) -> None:
        """Ask again next time."""
        with self._lock:
            self._known.clear()

    def _meeting(self, asked: tuple[AggregateSpec, ...]) -> tuple[tuple[str, frozenset[HostId]], ...]:
        """Each spec in words, and the hosts whose aggregates meet it."""
        if not asked:
            return ()
        metadata: dict[HostId, list[tuple[str, str]]] = defaultdict(list)
        with self._database.read() as connection:
            for group in aggregates.all(connection):
                for host in group.hosts:
                    metadata[host].extend(group.metadata)
        values = {host: values_of(pairs) for host, pairs in metadata.items()}
        return tuple((spec.describe(), frozenset(host for host, known in values.items() if met(spec, known))) for spec in asked)

    def _having(self, trait: str) -> frozenset[HostId]:
        return self._ask("trait", frozenset({trait}))

    def _ask(self, kind: str, names: frozenset[str]) -> frozenset[HostId]:
        key = (kind, names)
        now = self._clock()
        with self._lock:
            known = self._known.get(key)
        if known is not None and now - known[0] < self._seconds:
            return known[1]
        found = self._placement.providers_in(names) if kind == "member_of" else self._placement.providers_with(next(iter(names)))
        having = frozenset(map(HostId, found))  # a host's provider has its id
        with self._lock:
            fresh = {other: kept for other, kept in self._known.items() if now - kept[0] < self._seconds}
            self._known = {**fresh, key: (now, having)}
        return having
