"""Store the presence of many hosts' agents at once: leases that are renewed by polls, and what a waiting agent is to hear of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from msgspec import Struct

from pinfold.core.identity import HostId
from pinfold.store.database import DIALECTS, EpochNow, in_term, pairs
from pinfold.store.schema import host


class Standing(Struct, frozen=True, kw_only=True):
    """What an agent is let in by, and waits for: the digest of its token, and the count of its orders."""

    token_hash: str
    orders: int


def _renewal(dialect: str) -> sa.UpdateBase:
    """Set when each lease began and ends by the age of its sign of life; the sign itself is the beginning."""
    sign = pairs("signs", dialect).alias("sign")
    began = EpochNow() - sa.cast(sign.c.value, sa.Double())
    return (
        host.update()
        .where(host.c.id == sign.c.key, *_unlocked(dialect))
        .where(in_term(host.c.heard, host.c.lease_until), host.c.fenced.is_(False), host.c.heard < began)
        .values(heard=began, lease_until=began + sa.bindparam("seconds", type_=sa.Double()), updated=EpochNow())
        .returning(host.c.id, host.c.report_digest)
    )


def _unlocked(dialect: str) -> tuple[sa.ColumnElement[bool], ...]:
    """A row that is locked is passed over: processes that renew in different orders would otherwise wait for each other.

    SQLite locks no rows, and looking for them would take three times as long as all the rest.
    """
    if dialect == "sqlite":
        return ()
    other, named = host.alias("other"), pairs("signs", dialect).alias("named")
    free = sa.select(other.c.id).where(other.c.id.in_(sa.select(named.c.key))).with_for_update(of=other, skip_locked=True)
    return (host.c.id.in_(free),)


def _audits(dialect: str) -> sa.UpdateBase:
    """Set the time of each host's last report of findings by the age of an audit that found the same."""
    audit = pairs("audits", dialect).alias("audit")
    ended = EpochNow() - sa.cast(audit.c.value, sa.Double())
    return host.update().where(host.c.id == audit.c.key, host.c.audited < ended).values(audited=ended).returning(host.c.id)


def _standings(dialect: str) -> sa.Select[Any]:
    named = pairs("ids", dialect).alias("named")
    return sa.select(host.c.id, host.c.token_hash, host.c.orders).where(host.c.id.in_(sa.select(named.c.key)))


def _changes(dialect: str) -> sa.Select[Any]:
    """The hosts of which the database has another standing than a text says, in the form of `_text`, and those that are gone."""
    known = pairs("known", dialect).alias("known")
    there = sa.cast(host.c.orders, sa.Text) + " " + host.c.token_hash
    joined = known.outerjoin(host, host.c.id == known.c.key)
    return sa.select(known.c.key).select_from(joined).where(sa.or_(host.c.id.is_(None), there != sa.cast(known.c.value, sa.Text)))


def _text(standing: Standing) -> str:
    return f"{standing.orders} {standing.token_hash}"


# Built once, because they are executed every second: building takes longer than executing.
_RENEWALS = {dialect: _renewal(dialect) for dialect in DIALECTS}
_AUDITS = {dialect: _audits(dialect) for dialect in DIALECTS}
_STANDINGS = {dialect: _standings(dialect) for dialect in DIALECTS}
_CHANGES = {dialect: _changes(dialect) for dialect in DIALECTS}


def renew(connection: sa.Connection, signs: Mapping[HostId, float], lease_seconds: float) -> dict[HostId, str]:
    """Let each lease run `lease_seconds` from its host's sign of life, which was so many seconds ago. Returns the renewed hosts, each with
    the digest of its stored report, '' if that is not known.

    A lease that has run out, a fenced host and a later sign of life stay as they are: only a heartbeat or a report, which an agent sends
    after it has looked at its host, brings a host back. Left out are also hosts that another transaction is changing at this moment.
    """
    rows = connection.execute(_RENEWALS[connection.dialect.name], {"signs": json.dumps(dict(signs)), "seconds": lease_seconds})
    return {HostId(row[0]): str(row[1]) for row in rows}


def note_audits(connection: sa.Connection, ages: Mapping[HostId, float]) -> frozenset[HostId]:
    """Note of each host that an audit so many seconds ago found what is stored. Returns the hosts of which it was noted.

    Left out are hosts that have no report of findings, or a later one. Call it only for hosts that `renew` has renewed: it has their rows.
    """
    if not ages:
        return frozenset()
    return frozenset(HostId(row[0]) for row in connection.execute(_AUDITS[connection.dialect.name], {"audits": json.dumps(dict(ages))}))


def standings(connection: sa.Connection, ids: Iterable[HostId]) -> dict[HostId, Standing]:
    """The standing of each of these hosts that exists."""
    named = json.dumps(dict.fromkeys(ids, 0))
    rows = connection.execute(_STANDINGS[connection.dialect.name], {"ids": named})
    return {HostId(row[0]): Standing(token_hash=row[1], orders=row[2]) for row in rows}


def changes(connection: sa.Connection, known: Mapping[HostId, Standing]) -> frozenset[HostId]:
    """Which of these hosts are gone or have another standing by now. Where hardly any has, it takes a fraction of what `standings` does."""
    if not known:
        return frozenset()
    texts = json.dumps({host: _text(standing) for host, standing in known.items()})
    return frozenset(HostId(row[0]) for row in connection.execute(_CHANGES[connection.dialect.name], {"known": texts}))
