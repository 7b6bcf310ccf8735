"""Store what agents' audits found: the last report of each host, a row for each finding, and their numbers by code and severity.

Every function takes a connection of `Database.read` or `Database.write`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from pinfold.core.drift import FindingCode, Severity
from pinfold.core.drift.written import FindingCount, FindingsReport, WrittenFinding, finding_key
from pinfold.core.encoding import decoder, encode
from pinfold.core.errors import InvalidRequest
from pinfold.core.identity import HostId
from pinfold.store.database import EpochNow
from pinfold.store.records import HostCount, HostFinding
from pinfold.store.schema import finding, finding_count, host
from pinfold.store.unreadable import read_or

_read_finding = decoder(WrittenFinding)

# Built once, because every agent reports again and again: SQLAlchemy takes longer to build a statement than SQLite to execute it.
_AUDITED: Final = host.update().where(host.c.id == sa.bindparam("host_id")).values(audited=EpochNow()).returning(host.c.audited)
_FINDINGS: Final = sa.select(finding).where(finding.c.host == sa.bindparam("host_id")).order_by(finding.c.number)
_COUNTS: Final = sa.select(finding_count.c.code, finding_count.c.severity, finding_count.c.count).where(
    finding_count.c.host == sa.bindparam("host_id")
)


def keep(connection: sa.Connection, host_id: HostId, report: FindingsReport) -> None:
    """Store an agent's report in place of the one before it. A finding that was in that one keeps its time.

    Most reports repeat the one before: then only the time of the report is written. Raises `InvalidRequest` when there is no such host.
    """
    # This locks the host's row first, so that two reports of one host take turns.
    now = connection.execute(_AUDITED, {"host_id": host_id}).scalar_one_or_none()
    if now is None:
        raise InvalidRequest(f"host {host_id}: no such host")
    before = connection.execute(_FINDINGS, {"host_id": host_id}).all()
    values = [encode(one) for one in report.findings]
    if values != [row.value for row in before]:
        known = {finding_key(read): row.since for row in before if (read := _read(row._mapping)) is not None}
        rows = [
            {
                "host": host_id,
                "number": number,
                "code": one.code.value,
                "severity": one.severity.value,
                "value": value,
                "since": known.get(finding_key(one), now),
            }
            for number, (one, value) in enumerate(zip(report.findings, values, strict=True))
        ]
        _replace(connection, finding, host_id, rows)
    counts = [{"host": host_id, "code": each.code.value, "severity": each.severity.value, "count": each.count} for each in report.counts]
    counted = {tuple(row) for row in connection.execute(_COUNTS, {"host_id": host_id})}
    if counted != {(each["code"], each["severity"], each["count"]) for each in counts}:
        _replace(connection, finding_count, host_id, counts)


def forget(connection: sa.Connection, host_id: HostId) -> None:
    """Delete a host's report: the host is gone, or has no power."""
    _delete(connection, host_id)
    connection.execute(host.update().where(host.c.id == host_id).values(audited=None))


def reported(connection: sa.Connection, host_id: HostId) -> float | None:
    """When the host's agent last reported what an audit found, in seconds since the epoch by the database's clock; None for never."""
    found: float | None = connection.execute(sa.select(host.c.audited).where(host.c.id == host_id)).scalar_one_or_none()
    return found


def all_reported(connection: sa.Connection) -> tuple[tuple[str, float], ...]:
    """`(host name, time)` of each host whose agent has reported, by name."""
    rows = connection.execute(sa.select(host.c.name, host.c.audited).where(host.c.audited.is_not(None)).order_by(host.c.name))
    return tuple((row[0], row[1]) for row in rows)


def of_host(connection: sa.Connection, host_id: HostId) -> tuple[WrittenFinding, ...]:
    """The findings of a host, in the order of its report."""
    return tuple(one for one, _ in aged(connection, host_id))


def aged(connection: sa.Connection, host_id: HostId) -> tuple[tuple[WrittenFinding, float | None], ...]:
    """The findings of a host with the time since when each report has had it, in seconds since the epoch; None if it is not known."""
    rows = connection.execute(sa.select(finding).where(finding.c.host == host_id).order_by(finding.c.number)).mappings()
    return tuple((read, row["since"]) for row in rows if (read := _read(row)) is not None)


def drift_on(connection: sa.Connection, hosts: Iterable[HostId], *, limit: int) -> dict[HostId, tuple[WrittenFinding, ...]]:
    """The findings that break a promise on those hosts, `limit` at most."""
    chosen = sa.select(finding).where(finding.c.host.in_(tuple(hosts)), finding.c.severity == Severity.DRIFT.value)
    found: dict[HostId, tuple[WrittenFinding, ...]] = {}
    for row in connection.execute(chosen.order_by(finding.c.host, finding.c.number).limit(limit)).mappings():
        if (read := _read(row)) is not None:
            found[HostId(row["host"])] = (*found.get(HostId(row["host"]), ()), read)
    return found


def page(
    connection: sa.Connection,
    *,
    after: tuple[str, int] | None = None,
    limit: int,
    code: FindingCode | None = None,
    severity: Severity | None = None,
) -> tuple[HostFinding, ...]:
    """At most `limit` findings of all hosts, by the host's name and the place in its report, after the one with that name and place."""
    chosen = sa.select(host.c.name, finding).join(host, host.c.id == finding.c.host).order_by(host.c.name, finding.c.number).limit(limit)
    if after is not None:
        name, number = after
        chosen = chosen.where(sa.or_(host.c.name > name, sa.and_(host.c.name == name, finding.c.number > number)))
    if code is not None:
        chosen = chosen.where(finding.c.code == code.value)
    if severity is not None:
        chosen = chosen.where(finding.c.severity == severity.value)
    rows = connection.execute(chosen).mappings()
    return tuple(HostFinding(host=row["name"], number=row["number"], finding=_read(row), since=row["since"]) for row in rows)


def counts(connection: sa.Connection, host_id: HostId | None = None) -> tuple[HostCount, ...]:
    """How many findings each host has, or one host, by the host's name, code and severity. Findings that a report leaves out count too."""
    chosen = sa.select(host.c.name, finding_count).join(host, host.c.id == finding_count.c.host)
    if host_id is not None:
        chosen = chosen.where(host.c.id == host_id)
    rows = connection.execute(chosen.order_by(host.c.name, finding_count.c.code, finding_count.c.severity)).mappings()
    return tuple(HostCount(host=row["name"], count=each) for row in rows for each in _count(row))


def drift_of_hosts(connection: sa.Connection) -> dict[HostId, int]:
    """How many findings of each host break a promise. Hosts whose agent has not reported are left out."""
    number = sa.func.coalesce(sa.func.sum(finding_count.c.count), 0)
    drift = sa.and_(finding_count.c.host == host.c.id, finding_count.c.severity == Severity.DRIFT.value)
    chosen = sa.select(host.c.id, number).join(finding_count, drift, isouter=True)
    rows = connection.execute(chosen.where(host.c.audited.is_not(None)).group_by(host.c.id))
    return {HostId(row[0]): int(row[1]) for row in rows}


def _replace(connection: sa.Connection, table: sa.Table, host_id: HostId, rows: Sequence[Mapping[str, Any]]) -> None:
    connection.execute(table.delete().where(table.c.host == host_id))
    if rows:
        connection.execute(table.insert(), rows)


def _delete(connection: sa.Connection, host_id: HostId) -> None:
    for table in (finding, finding_count):
        connection.execute(table.delete().where(table.c.host == host_id))


def _read(row: Any) -> WrittenFinding | None:
    """The finding of a row; None, with a line in the log, if it cannot be read. The agent's next report replaces it."""
    return read_or(_read_finding, row["value"], f"finding {row['number']} of host {row['host']}", None)


def _count(row: Any) -> Iterable[FindingCount]:
    """The count of a row; nothing for a code that this pinfold does not know."""
    if row["code"] in {code.value for code in FindingCode}:
        yield FindingCount(code=FindingCode(row["code"]), severity=Severity(row["severity"]), count=row["count"])
