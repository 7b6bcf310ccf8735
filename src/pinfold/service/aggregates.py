"""What operators do with aggregates: named sets of hosts. Each is also an aggregate in Placement, and may define an availability zone."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

import sqlalchemy as sa

from pinfold.core.errors import Conflict, NotFound, not_found
from pinfold.core.identity import HostId
from pinfold.service.providers import Providers
from pinfold.store import aggregates, hosts
from pinfold.store.database import Database
from pinfold.store.records import AggregateRecord, HostRecord

ZONE_KEY: Final = "availability_zone"
"""The key in an aggregate's metadata that names its zone."""
_LARGEST: Final = 0x7FFFFFFF


class Aggregates:
    """The service's aggregates. Safe to share between threads. Every method raises `NotFound` for an aggregate that does not exist."""

    def __init__(self, database: Database, providers: Providers) -> None:
        self._database = database
        self._providers = providers

    def create(self, name: str, zone: str | None) -> AggregateRecord:
        """Make an aggregate without hosts. Raises `Conflict` when its name exists."""
        with self._database.write() as connection:
            return aggregates.create(connection, uuid=str(uuid.uuid4()), name=name, metadata=((ZONE_KEY, zone),) if zone else ())

    def edit(self, aggregate_id: int, *, name: str | None, zone: str | None) -> None:
        """Change the name or the availability zone; None leaves it unchanged. Raises `Conflict` when a host is in another zone."""
        with self._changing(aggregate_id) as (connection, before):
            metadata = dict(before.metadata) | ({ZONE_KEY: zone} if zone else {})
            _one_zone(connection, before.id, before.hosts, metadata.get(ZONE_KEY))
            aggregates.edit(connection, aggregate_id, name=name, metadata=tuple(sorted(metadata.items())))

    def set_metadata(self, aggregate_id: int, change: dict[str, str | None]) -> None:
        """Set metadata; None removes a key. Raises `Conflict` when a host is in another zone."""
        with self._changing(aggregate_id) as (connection, before):
            merged: dict[str, str | None] = {**dict(before.metadata), **change}
            kept = tuple(sorted((key, value) for key, value in merged.items() if value is not None))
            _one_zone(connection, before.id, before.hosts, dict(kept).get(ZONE_KEY))
            aggregates.edit(connection, aggregate_id, metadata=kept)

    def remove(self, aggregate_id: int) -> None:
        """Forget an aggregate. Raises `Conflict` while it has hosts."""
        with self._changing(aggregate_id) as (connection, before):
            if before.hosts:
                raise Conflict(f"Cannot delete aggregate {aggregate_id}: it is not empty")
            aggregates.remove(connection, aggregate_id)

    def add_host(self, aggregate_id: int, name: str) -> None:
        """Add a host, by name. While Placement is away, its aggregates follow later. Raises `Conflict` for a member."""
        with self._changing(aggregate_id) as (connection, before):
            host = _host(connection, name)
            if host.id in before.hosts:
                raise Conflict(f"Aggregate {before.id} already has host {name}.")
            _one_zone(connection, before.id, (host.id,), dict(before.metadata).get(ZONE_KEY))
            aggregates.add_host(connection, before.id, host.id)
        self._providers.sync_or_later(host.id)

    def remove_host(self, aggregate_id: int, name: str) -> None:
        """Remove a host, by name. While Placement is away, its aggregates follow later."""
        with self._changing(aggregate_id) as (connection, before):
            host = _host(connection, name)
            if host.id not in before.hosts:
                raise NotFound(f"Aggregate {before.id} has no host {name}.")
            aggregates.remove_host(connection, before.id, host.id)
        self._providers.sync_or_later(host.id)

    @contextmanager
    def _changing(self, aggregate_id: int) -> Iterator[tuple[sa.Connection, AggregateRecord]]:
        """Begin a transaction that locks the aggregate, and read the aggregate in it."""
        with self._database.write() as connection:
            aggregates.hold(connection)
            yield connection, get(connection, aggregate_id)


def get(connection: sa.Connection, aggregate_id: int) -> AggregateRecord:
    """One aggregate. Raises `NotFound`, also for a number that no aggregate can have."""
    found = aggregates.find(connection, aggregate_id) if 0 < aggregate_id <= _LARGEST else None
    if found is None:
        raise not_found("Aggregate", aggregate_id)
    return found


def zones(groups: Iterable[AggregateRecord]) -> dict[str, str]:
    """The zone of each host that is in one, by host id. A host is in at most one."""
    return {host: zone for group in groups for host in group.hosts if (zone := dict(group.metadata).get(ZONE_KEY))}


def _host(connection: sa.Connection, name: str) -> HostRecord:
    host = hosts.find(connection, name)
    if host is None:
        raise not_found("Compute host", name)
    return host


def _one_zone(connection: sa.Connection, aggregate_id: int, members: tuple[HostId, ...], zone: str | None) -> None:
    """Raise `Conflict` when one of the hosts is in another zone by another aggregate."""
    others = zones(group for group in aggregates.all(connection) if group.id != aggregate_id)
    for host in members:
        if zone is not None and others.get(host, zone) != zone:
            name = hosts.get(connection, host).name
            raise Conflict(f"Host {name} is in the availability zone {others[host]} already; it cannot be in {zone} as well.")
