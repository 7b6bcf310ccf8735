"""What a row of the table of hosts holds: its columns from a report, and the host with its state from its columns. `hosts` stores them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa
from msgspec import UNSET, UnsetType

from pinfold.core.cpuset import CpuSet
from pinfold.core.encoding import decoder, encode
from pinfold.core.errors import InvalidRequest
from pinfold.core.fit.answer import Strategy
from pinfold.core.host import Claim, Foreign, HostState, Ledger, Limits
from pinfold.core.host_features import Features
from pinfold.core.networks import HostNetworks, check_networks
from pinfold.core.pools import Pools
from pinfold.core.processor_traits import TraitNames
from pinfold.core.repin.progress import ON_THE_WAY, Progress, between
from pinfold.core.sanity import check_host
from pinfold.core.topology import Topology
from pinfold.store.records import NOTHING, ClaimRecord, HostRecord, HostReport, Pairs
from pinfold.store.schema import host
from pinfold.store.unreadable import log_once, read_or

_read_topology = decoder(Topology)
_read_limits = decoder(Limits)
_read_pools = decoder(Pools)
_read_repin = decoder(Progress)
_read_foreign = decoder(tuple[Foreign, ...])
read_pairs = decoder(Pairs)
_read_networks = decoder(HostNetworks)
_read_features = decoder(Features)
_read_traits = decoder(TraitNames)

_ANY_CELL = "any"
"""In the column `host.strategy`: the operator has set no preference among host cells."""
REPORTED: Final = (
    host.c.topology,
    host.c.pools,
    host.c.limits,
    host.c.foreigners,
    host.c.strategy,
    host.c.disk_gib,
    host.c.facts,
    host.c.networks,
    host.c.features,
    host.c.processor_traits,
)
"""The columns of a report."""
_REPORTED_NAMES: Final = tuple(column.name for column in REPORTED)


def report_columns(report: HostReport) -> dict[str, Any]:
    """The columns of a report. Raises `InvalidRequest` for an impossible host."""
    check_host(report.topology, report.pools, report.limits, report.foreign, report.disk_gib)
    check_networks(report.networks)
    return {
        "topology": encode(report.topology),
        "pools": encode(report.pools),
        "limits": encode(report.limits),
        "foreigners": encode(report.foreign),
        "strategy": _ANY_CELL if report.any_cell else report.strategy.value,
        "disk_gib": report.disk_gib,
        "facts": encode(report.facts),
        "networks": encode(report.networks) if report.networks else "",
        "features": encode(report.features) if report.features else "",
        "processor_traits": None if isinstance(report.processor_traits, UnsetType) else encode(report.processor_traits),
    }


def digest(columns: Mapping[Any, Any]) -> str:
    """A digest of the columns of a report, different for every other report."""
    return hashlib.sha256(json.dumps([columns[name] for name in _REPORTED_NAMES]).encode()).hexdigest()


@lru_cache(maxsize=256)
def _topology(text: str) -> Topology:
    return _read_topology(text, "host.topology")


@lru_cache(maxsize=256)
def _limits(text: str) -> Limits:
    return _read_limits(text, "host.limits")


@lru_cache(maxsize=256)
def read_networks(text: str, where: str = "host.networks") -> HostNetworks:
    """What the column `host.networks` holds. Raises `InvalidRequest` that names `where`."""
    return _read_networks(text, where) if text else ()


@lru_cache(maxsize=256)
def _features(text: str) -> Features:
    return _read_features(text, "host.features") if text else ()


@lru_cache(maxsize=256)
def _processor_traits(text: str | None) -> TraitNames | UnsetType:
    return UNSET if text is None else _read_traits(text, "host.processor_traits")


@lru_cache(maxsize=256)
def _pools(text: str) -> Pools:
    return _read_pools(text, "host.pools")


@lru_cache(maxsize=64)
def repin(text: str, where: str) -> Progress | None:
    """What the column `host.repin` holds. Raises `InvalidRequest` that names `where`."""
    return _read_repin(text, where)


def _reported(row: sa.RowMapping) -> HostReport:
    """What the agent reported of its host; `NOTHING` if it cannot be read, until the agent's next report."""
    where = f"host {row['name']}"
    try:
        return HostReport(
            topology=_topology(row["topology"]),
            pools=_pools(row["pools"]),
            limits=_limits(row["limits"]),
            foreign=_read_foreign(row["foreigners"], where),
            strategy=Strategy.SPREAD if row["strategy"] == _ANY_CELL else Strategy(row["strategy"]),
            any_cell=row["strategy"] == _ANY_CELL,
            disk_gib=row["disk_gib"],
            facts=read_or(read_pairs, row["facts"], f"{where}: facts", ()),
            networks=read_networks(row["networks"]),
            features=_features(row["features"]),
            processor_traits=_processor_traits(row["processor_traits"]),
        )
    except InvalidRequest as error:
        log_once(f"host {row['name']}: what its agent told cannot be read ({error}); it takes no guests until the agent tells it again")
        return NOTHING


def record(row: sa.RowMapping) -> HostRecord:
    """The host of a row, which also says whether the host is `up`."""
    return HostRecord(
        id=row["id"],
        name=row["name"],
        revision=row["revision"],
        orders=row["orders"],
        report=_reported(row),
        up=bool(row["up"]),
        lease_until=row["lease_until"],
        disabled=bool(row["disabled"]),
        disabled_reason=row["disabled_reason"],
        fenced=bool(row["fenced"]),
        created=row["created"],
        updated=row["updated"],
        repin=read_or(repin, row["repin"], f"host {row['name']}: repin", None) if row["repin"] else None,
    )


def state(record: HostRecord, held: list[ClaimRecord]) -> HostState:
    """The host's state with its held claims."""
    recorded = tuple(Claim(guest=one.guest, fit=one.fit, id=one.id) for one in sorted(held, key=lambda one: (one.guest, one.id)))
    reported = record.report
    foreign = reported.foreign
    if left := between(record.repin, CpuSet.union(one.fit.taken for one in held)):
        foreign = tuple(sorted((*foreign, Foreign(name=ON_THE_WAY, cpus=left)), key=lambda other: other.name))
    return HostState(
        topology=reported.topology,
        pools=reported.pools,
        limits=reported.limits,
        ledger=Ledger(claims=recorded, foreign=foreign),
        disk_gib=reported.disk_gib,
        revision=record.revision,
        name=record.name,
    )
