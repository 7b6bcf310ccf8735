"""Store hosts: registration, reports, leases, orders, and a host's state with its claims. `claims` stores the steps of a claim.

Every function takes a connection of `Database.read` or `Database.write`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from msgspec import Struct

from pinfold.core.encoding import decoder, encode
from pinfold.core.errors import Conflict, InvalidRequest
from pinfold.core.identity import HostId
from pinfold.core.pools import PoolOrder
from pinfold.core.repin.progress import Progress
from pinfold.store import claims, findings, history, host_rows, repairs, tombstones
from pinfold.store.database import EpochNow, in_term, tell
from pinfold.store.records import PROCESSOR_REFUSED, ClaimRecord, ClaimState, HostLedger, HostMark, HostRecord, HostReport
from pinfold.store.schema import host
from pinfold.store.unreadable import read_or

_read_pool_order = decoder(PoolOrder)

_UP = in_term(host.c.heard, host.c.lease_until).label("up")
_COLUMNS = (*host.c, _UP)
# Built once, because every create uses them: SQLAlchemy takes longer to build an expression than SQLite to execute it.
_OPEN = sa.and_(_UP.element, host.c.disabled.is_(False), host.c.fenced.is_(False))
_MARKED: dict[str, Any] = {"updated": EpochNow(), "marked": EpochNow()}
_NEXT: dict[str, Any] = {"revision": host.c.revision + 1, "orders": host.c.orders + 1, **_MARKED}


def advance_from(revision: sa.ColumnElement[int]) -> sa.Update:
    """The statement that counts up the revision of the host that is bound to `host_id`, if it has this one and takes guests."""
    return host.update().where(host.c.id == sa.bindparam("host_id"), host.c.revision == revision, _OPEN).values(_NEXT)


ADVANCE = advance_from(sa.bindparam("decided_on"))
ADVANCE_NEWEST = host.update().where(host.c.id == sa.bindparam("host_id"), _OPEN).values(_NEXT).returning(host.c.revision)
_ADVANCE_DISABLED_TOO = (
    host.update()
    .where(host.c.id == sa.bindparam("host_id"), host.c.revision == sa.bindparam("decided_on"), _UP.element, host.c.fenced.is_(False))
    .values(_NEXT)
)
_MARK = (host.c.id, host.c.revision, _UP, host.c.disabled, host.c.disabled_reason, host.c.fenced, host.c.marked)
_MARKS = sa.select(*_MARK).order_by(host.c.id)
_MARKS_SINCE = sa.select(*_MARK).where(host.c.marked >= sa.bindparam("since"))
"""Not ordered by id: SQLite would read all rows in that order."""
_MARKS_SINCE_AND_DOWN = sa.select(*_MARK).where(sa.or_(host.c.marked >= sa.bindparam("since"), ~_UP.element))
_OUTLINES = sa.select(host.c.id, host.c.name, _UP, host.c.disabled, host.c.disabled_reason, host.c.fenced, host.c.updated)
_REPORTED = sa.select(*host_rows.REPORTED, host.c.report_digest).where(host.c.id == sa.bindparam("host_id"))
_LOCKED = sa.select(*_COLUMNS).where(host.c.id == sa.bindparam("host_id")).with_for_update(of=host)
_RENEWED: dict[str, Any] = {
    "heard": EpochNow(),
    "lease_until": EpochNow() + sa.bindparam("lease_seconds", type_=sa.Double()),
    "fenced": False,
    "updated": EpochNow(),
    "marked": sa.case((sa.and_(_UP.element, host.c.fenced.is_(False)), host.c.marked), else_=EpochNow()),
}
_RENEW = host.update().where(host.c.id == sa.bindparam("host_id")).values(_RENEWED)
_RENEW_AND_READ = _RENEW.returning(host.c.name, host.c.revision, host.c.orders, *_REPORTED.selected_columns)
_NAMED = sa.select(*_COLUMNS).where(host.c.id.in_(sa.bindparam("ids", expanding=True))).order_by(host.c.name)


def register(
    connection: sa.Connection, *, host_id: HostId, name: str, report: HostReport, token_hash: str, lease_seconds: float
) -> HostRecord:
    """Store a new host, up for its first lease. `id` is a UUID, and becomes the id of its resource provider.

    Raises `Conflict` when the id or the name exists, `InvalidRequest` for an impossible host.
    """
    taken = connection.execute(sa.select(host.c.id).where(sa.or_(host.c.id == host_id, host.c.name == name))).first()
    if taken is not None:
        raise Conflict(f"host {name!r}: the name or the id {host_id} is registered already")
    try:
        connection.execute(
            host.insert().values(
                id=host_id,
                name=name,
                revision=1,
                orders=1,
                **host_rows.report_columns(report),
                disabled=False,
                disabled_reason="",
                fenced=False,
                token_hash=token_hash,
                heard=EpochNow(),
                lease_until=EpochNow() + lease_seconds,
                created=EpochNow(),
                **_MARKED,
            )
        )
    except sa.exc.IntegrityError as error:
        raise Conflict(f"host {name!r}: the name or the id {host_id} is registered already") from error
    tell(connection, f"host:{host_id}")
    return get(connection, host_id)


class Heard(Struct, frozen=True, kw_only=True):
    """A host after its agent was heard: `report` is the digest of its stored report. `changed` says that the revision was raised just now,
    `was_up` that the host was up before.
    """

    name: str
    revision: int
    orders: int
    report: str
    changed: bool = False
    was_up: bool = True


def report(connection: sa.Connection, host_id: HostId, report: HostReport, *, lease_seconds: float) -> Heard:
    """Store an agent's report of its host, and extend its lease as `heartbeat` does. The revision is one higher if anything on which a fit
    depends has changed.

    Raises `InvalidRequest` when the host is unknown, or for an impossible host.
    """
    row = connection.execute(_LOCKED, {"host_id": host_id}).mappings().first()
    if row is None:
        raise InvalidRequest(f"host {host_id}: no such host")
    columns = host_rows.report_columns(report)
    changed = any(row[key] != value for key, value in columns.items() if key != "facts")
    if row["facts"] != columns["facts"]:
        before = dict(read_or(host_rows.read_pairs, row["facts"], f"host {host_id}: facts", ()))
        changed = changed or before.get(PROCESSOR_REFUSED, "") != report.processor_refused
    revision, digest = int(row["revision"]) + changed, host_rows.digest(columns)
    renew = _RENEW
    if changed or row["facts"] != columns["facts"] or row["report_digest"] != digest:
        renew = renew.values(**columns, report_digest=digest, revision=revision, **(_MARKED if changed else {}))
    connection.execute(renew, {"host_id": host_id, "lease_seconds": lease_seconds})
    if changed:
        tell(connection, f"host:{host_id}")
    return Heard(name=row["name"], revision=revision, orders=row["orders"], report=digest, changed=changed, was_up=bool(row["up"]))


def report_digest(connection: sa.Connection, host_id: HostId) -> str:
    """A digest of the stored report, different for every other report; it is stored beside it. Raises `InvalidRequest` when there is no
    host.
    """
    row = connection.execute(_REPORTED, {"host_id": host_id}).mappings().first()
    if row is None:
        raise InvalidRequest(f"host {host_id}: no such host")
    return _stored_digest(connection, host_id, row)


def _stored_digest(connection: sa.Connection, host_id: HostId, row: sa.RowMapping) -> str:
    digest = host_rows.digest(row)
    if row["report_digest"] != digest:
        connection.execute(host.update().where(host.c.id == host_id).values(report_digest=digest))
    return digest


def heartbeat(connection: sa.Connection, host_id: HostId, lease_seconds: float) -> Heard:
    """Extend the lease by the database's clock, and unfence a fenced host, because it is alive. Raises `InvalidRequest` when it is
    unknown.
    """
    row = connection.execute(_RENEW_AND_READ, {"host_id": host_id, "lease_seconds": lease_seconds}).mappings().first()
    if row is None:
        raise InvalidRequest(f"host {host_id}: no such host")
    return Heard(name=row["name"], revision=row["revision"], orders=row["orders"], report=_stored_digest(connection, host_id, row))


def expire(connection: sa.Connection, host_id: HostId) -> None:
    """End the lease now, after the agent's goodbye."""
    connection.execute(host.update().where(host.c.id == host_id).values(lease_until=host.c.heard, **_MARKED))
    tell(connection, f"host:{host_id}")


def end_leases_to_come(connection: sa.Connection) -> int:
    """End every lease that begins further ahead than its length, and return how many.

    The clock was set back since, and a host that died meanwhile would count as up again when the clock gets there. A live host extends its
    lease with its next heartbeat.
    """
    term = host.c.lease_until - host.c.heard
    ended = {"lease_until": host.c.heard, "marked": EpochNow()}
    return connection.execute(host.update().where(term > 0, host.c.heard - EpochNow() >= term).values(ended)).rowcount


def disable(connection: sa.Connection, host_id: HostId, reason: str = "") -> None:
    """Take no new guests on the host."""
    _set(connection, host_id, disabled=True, disabled_reason=reason, **_MARKED)


def enable(connection: sa.Connection, host_id: HostId) -> None:
    """Take new guests on the host again."""
    _set(connection, host_id, disabled=False, disabled_reason="", **_MARKED)


def fence(connection: sa.Connection, host_id: HostId) -> None:
    """Record an operator's word that the host is powered off. Raises `Conflict` while its lease runs, `InvalidRequest` when it is
    unknown.
    """
    # Use one statement: a heartbeat may arrive between a read and a write.
    done = connection.execute(host.update().where(host.c.id == host_id, ~_UP.element).values(fenced=True, **_MARKED))
    if done.rowcount != 1:
        get(connection, host_id)
        raise Conflict(f"host {host_id} is up: its agent spoke within the lease; power it off first")
    findings.forget(connection, host_id)
    tell(connection, f"host:{host_id}")


def replace_token(connection: sa.Connection, host_id: HostId, token_hash: str) -> None:
    """Store the hash of the agent's new token."""
    _set(connection, host_id, token_hash=token_hash)


def token_hash(connection: sa.Connection, host_id: HostId) -> str:
    """The hash of the agent's token. Raises `InvalidRequest` when there is no such host."""
    found = connection.execute(sa.select(host.c.token_hash).where(host.c.id == host_id)).scalar_one_or_none()
    if found is None:
        raise InvalidRequest(f"host {host_id}: no such host")
    return str(found)


def remove(connection: sa.Connection, host_id: HostId) -> None:
    """Delete a host that holds no claim. Raises `Conflict` when it holds one, `InvalidRequest` when there is no such host."""
    name = get(connection, host_id).name
    if claims.of_host(connection, host_id, *ClaimState):
        raise Conflict(f"host {name} still has claims")
    tombstones.forget(connection, host_id)
    findings.forget(connection, host_id)
    history.forget(connection, host_id)
    repairs.forget(connection, host_id)
    try:
        done = connection.execute(host.delete().where(host.c.id == host_id))
    except sa.exc.IntegrityError as error:
        raise Conflict(f"host {name} is still named by guests or aggregates") from error
    if done.rowcount != 1:
        raise InvalidRequest(f"host {name}: no such host")
    tell(connection, f"host:{host_id}")


def get(connection: sa.Connection, host_id: HostId) -> HostRecord:
    """One host. Raises `InvalidRequest` when there is none."""
    found = _select(connection, host.c.id == host_id)
    if not found:
        raise InvalidRequest(f"host {host_id}: no such host")
    return found[0]


def find(connection: sa.Connection, name: str) -> HostRecord | None:
    """The host of that name, or None."""
    found = _select(connection, host.c.name == name)
    return found[0] if found else None


def all(connection: sa.Connection) -> tuple[HostRecord, ...]:  # noqa: A001
    """Every host, ordered by name."""
    return _select(connection, sa.true())


def count(connection: sa.Connection) -> int:
    """How many hosts there are."""
    return int(connection.execute(sa.select(sa.func.count()).select_from(host)).scalar_one())


class HostOutline(Struct, frozen=True, kw_only=True):
    """A host without what its agent reported: enough for most listings, and cheap even for ten thousand hosts."""

    id: HostId
    name: str
    up: bool
    disabled: bool
    disabled_reason: str
    fenced: bool
    updated: float


def outlines(connection: sa.Connection, ids: Iterable[HostId] | None = None) -> tuple[HostOutline, ...]:
    """Those hosts (all of them for None) in outline, ordered by name."""
    query = _OUTLINES if ids is None else _OUTLINES.where(host.c.id.in_(sorted(set(ids))))
    return tuple(
        [
            HostOutline(
                id=host_id, name=name, up=bool(up), disabled=bool(disabled), disabled_reason=reason, fenced=bool(fenced), updated=updated
            )
            for host_id, name, up, disabled, reason, fenced, updated in connection.execute(query.order_by(host.c.name))
        ]
    )


def some(connection: sa.Connection, ids: Iterable[HostId]) -> tuple[HostRecord, ...]:
    """Those hosts, ordered by name."""
    return _records(connection.execute(_NAMED, {"ids": sorted(set(ids))}))


def fact_of_each(connection: sa.Connection, name: str) -> dict[HostId, str]:
    """The fact of that name of each host whose agent tells one. Facts that nobody can read are none."""
    query = sa.select(host.c.id, host.c.facts).where(host.c.facts.contains(f'"{name}"', autoescape=True))
    told = {host_id: dict(read_or(host_rows.read_pairs, text, f"host {host_id}: facts", ())) for host_id, text in connection.execute(query)}
    return {host_id: facts[name] for host_id, facts in told.items() if name in facts}


def marks(connection: sa.Connection) -> tuple[HostMark, ...]:
    """The mark of every host, which shows whether the host changed, ordered by id."""
    return _marks(connection.execute(_MARKS).all())


def marks_since(connection: sa.Connection, since: float, *, down: bool = False) -> tuple[HostMark, ...]:
    """The marks that have changed since that time, which `HostMark.marked` tells, in no order. With `down`, those of all hosts that are
    down as well: a lease that ends by itself changes no row.
    """
    return _marks(connection.execute(_MARKS_SINCE_AND_DOWN if down else _MARKS_SINCE, {"since": since}).all())


def _marks(rows: Iterable[Any]) -> tuple[HostMark, ...]:
    return tuple(
        [
            HostMark(
                id=host_id,
                revision=revision,
                up=bool(up),
                disabled=bool(disabled),
                disabled_reason=reason,
                fenced=bool(fenced),
                marked=marked,
            )
            for host_id, revision, up, disabled, reason, fenced, marked in rows
        ]
    )


def ledgers(connection: sa.Connection, ids: Iterable[HostId] | None = None) -> tuple[HostLedger, ...]:
    """Those hosts (all of them for None) with their held claims, ordered by name.

    The connection must come from `Database.read`, which sees one instant, unless the caller has locked the host's row.
    """
    wanted = None if ids is None else sorted(set(ids))
    records = all(connection) if wanted is None else some(connection, wanted)
    held: dict[HostId, list[ClaimRecord]] = {record.id: [] for record in records}
    for record in claims.held(connection, wanted):
        if record.host in held:
            held[record.host].append(record)
    return tuple(HostLedger(record=record, state=host_rows.state(record, held[record.id])) for record in records)


def advance(connection: sa.Connection, host_id: HostId, revision: int, *, also_disabled: bool = False) -> int:
    """Count one change of the host's ledger, decided on `revision`, and one order for its agent. Returns the new revision.

    Raises `Conflict` when the host has another revision by now, or takes no guests any more: it is down, fenced, or disabled (unless
    `also_disabled`, for a guest that it has already).
    """
    done = connection.execute(_ADVANCE_DISABLED_TOO if also_disabled else ADVANCE, {"host_id": host_id, "decided_on": revision})
    if done.rowcount != 1:
        raise Conflict(f"host {host_id} is not at revision {revision} any more, or takes no guests any more")
    tell(connection, f"host:{host_id}")
    return revision + 1


def advance_newest(connection: sa.Connection, host_id: HostId) -> int:
    """As `advance`, whatever revision the host has by now; its row stays locked. Raises `Conflict` when it takes no guests any more."""
    if (made := connection.execute(ADVANCE_NEWEST, {"host_id": host_id}).scalar_one_or_none()) is None:
        raise Conflict(f"host {host_id} takes no guests any more")
    tell(connection, f"host:{host_id}")
    return int(made)


def bump(connection: sa.Connection, host_id: HostId, *, ledger: bool) -> int:
    """Count one order for the host's agent, and with `ledger` one change of its ledger. Returns the revision; the row stays locked."""
    values: dict[str, Any] = {"orders": host.c.orders + 1, "updated": EpochNow()}
    if ledger:
        values |= {"revision": host.c.revision + 1, **_MARKED}
    done = connection.execute(host.update().where(host.c.id == host_id).values(values).returning(host.c.revision)).scalar_one_or_none()
    if done is None:
        raise InvalidRequest(f"host {host_id}: no such host")
    tell(connection, f"host:{host_id}")
    return int(done)


def order_pools(connection: sa.Connection, host_id: HostId, wanted: PoolOrder | None) -> None:
    """Store the pools that the host's agent is to use, None for those of its own files, and count one order for it."""
    _set(connection, host_id, pool_order="" if wanted is None else encode(wanted), orders=host.c.orders + 1)


def pool_order(connection: sa.Connection, host_id: HostId) -> PoolOrder | None:
    """The pools that the host's agent is to use, None for those of its own files. Raises `InvalidRequest` when there is no such host."""
    found = connection.execute(sa.select(host.c.pool_order).where(host.c.id == host_id)).scalar_one_or_none()
    if found is None:
        raise InvalidRequest(f"host {host_id}: no such host")
    return read_pool_order(found)


def read_pool_order(text: str) -> PoolOrder | None:
    """The order that a host's row has, None for none."""
    return _read_pool_order(text, "host.pool_order") if text else None


def repin(connection: sa.Connection, host_id: HostId, *, lock: bool = False) -> Progress | None:
    """How far the last re-pin of the host's guests is, None for none; with `lock`, the host's row stays locked."""
    query = sa.select(host.c.repin).where(host.c.id == host_id)
    found = connection.execute(query.with_for_update() if lock else query).scalar_one_or_none()
    return read_or(host_rows.repin, found, f"host {host_id}: repin", None) if found else None


def keep_repin(connection: sa.Connection, host_id: HostId, progress: Progress) -> None:
    """Store how far a re-pin of the host's guests is."""
    _set(connection, host_id, repin=encode(progress))


def _set(connection: sa.Connection, host_id: HostId, **values: Any) -> None:
    if connection.execute(host.update().where(host.c.id == host_id).values({"updated": EpochNow(), **values})).rowcount != 1:
        raise InvalidRequest(f"host {host_id}: no such host")
    tell(connection, f"host:{host_id}")


def _select(connection: sa.Connection, condition: Any) -> tuple[HostRecord, ...]:
    return _records(connection.execute(sa.select(*_COLUMNS).where(condition).order_by(host.c.name)))


def _records(found: sa.CursorResult[Any]) -> tuple[HostRecord, ...]:
    return tuple(host_rows.record(row) for row in found.mappings())
