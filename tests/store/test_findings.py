"""What agents' audits found, on real databases."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa
from msgspec.structs import replace
from tests.build.rows import add_host

from pinfold.core.drift import Finding, FindingCode, Severity
from pinfold.core.drift.written import FindingsReport, findings_report, write
from pinfold.core.errors import InvalidRequest
from pinfold.store import findings, hosts
from pinfold.store.database import Database
from pinfold.store.records import HostFinding
from pinfold.store.schema import finding

PROCESS = Finding(code=FindingCode.FOREIGN_PROCESS, tid=900, thread="stress", subject="process", observed="4")
PART = Finding(code=FindingCode.POOL_PART, guest="vm", guest_id="7", subject="its overhead threads", recorded="0-1", observed="0")


def keep(database: Database, host: str, *found: Finding) -> None:
    with database.write() as connection:
        findings.keep(connection, host, findings_report(found))


def counted(database: Database, host: str | None = None) -> list[tuple[str, str, str, int]]:
    with database.read() as connection:
        found = findings.counts(connection, host)
    return [(each.host, each.count.code.value, each.count.severity.value, each.count.count) for each in found]


def test_a_report_takes_the_place_of_the_one_before_it(database: Database) -> None:
    c1, c2 = add_host(database, "c1"), add_host(database, "c2")
    with database.read() as connection:
        assert findings.reported(connection, c1) is None
        assert findings.all_reported(connection) == ()
    keep(database, c1, PART, PROCESS)
    keep(database, c2, PART)
    keep(database, c1, PROCESS, replace(PROCESS, tid=901))
    with database.read() as connection:
        assert findings.of_host(connection, c1) == (write(PROCESS), write(replace(PROCESS, tid=901)))
        first = findings.reported(connection, c1)
        assert first is not None
        assert [name for name, _ in findings.all_reported(connection)] == ["c1", "c2"]
    assert counted(database) == [("c1", "foreign-process", "drift", 2), ("c2", "pool-part", "note", 1)]
    assert counted(database, c2) == [("c2", "pool-part", "note", 1)]


def test_a_finding_has_the_time_of_the_first_report_that_had_it(database: Database) -> None:
    c1 = add_host(database, "c1")
    keep(database, c1, PART)
    with database.write() as connection:
        connection.execute(finding.update().values(since=1000.0))
    keep(database, c1, PROCESS, replace(PART, observed="0-7"))
    with database.read() as connection:
        (_, new), (_, old) = findings.aged(connection, c1)
        assert (new, old) == (findings.reported(connection, c1), 1000.0)
        assert [one.since for one in findings.page(connection, limit=9)] == [new, old]
    keep(database, c1)
    keep(database, c1, PART)
    with database.read() as connection:
        assert [since for _, since in findings.aged(connection, c1)] == [findings.reported(connection, c1)]


def test_a_report_that_repeats_the_one_before_writes_its_time_alone(database: Database) -> None:
    c1 = add_host(database, "c1")
    keep(database, c1, PART, PROCESS)
    statements: list[str] = []
    sa.event.listen(database.engine, "before_cursor_execute", lambda _c, _k, statement, *_: statements.append(statement))
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE host SET audited = 1")
    del statements[:]
    keep(database, c1, PART, PROCESS)
    writing = [statement.split()[:2] for statement in statements if statement.split()[0] in ("INSERT", "UPDATE", "DELETE")]
    assert writing == [["UPDATE", "host"]]
    with database.read() as connection:
        assert findings.of_host(connection, c1) == (write(PROCESS), write(PART))
        assert (findings.reported(connection, c1) or 0) > 1
    assert [count for *_, count in counted(database)] == [1, 1]


def test_a_page_follows_the_finding_before_it_even_if_that_is_gone(database: Database) -> None:
    c1, c2 = add_host(database, "c1"), add_host(database, "c2")
    keep(database, c2, PROCESS, PART)
    keep(database, c1, PROCESS)
    with database.read() as connection:
        whole = findings.page(connection, limit=9)
        assert tuple(replace(one, since=None) for one in whole) == (
            HostFinding(host="c1", number=0, finding=write(PROCESS)),
            HostFinding(host="c2", number=0, finding=write(PROCESS)),
            HostFinding(host="c2", number=1, finding=write(PART)),
        )
        assert findings.page(connection, limit=1, after=("c1", 0)) == whole[1:2]
        assert findings.page(connection, limit=9, after=("c1", 7)) == whole[1:]
        assert findings.page(connection, limit=9, code=FindingCode.POOL_PART) == whole[2:]
        assert findings.page(connection, limit=9, severity=Severity.DRIFT) == whole[:2]


def test_a_host_that_is_not_there_has_no_findings(database: Database) -> None:
    with pytest.raises(InvalidRequest, match="no such host"), database.write() as connection:
        findings.keep(connection, "00000000-0000-0000-0000-000000000000", FindingsReport())


def test_a_host_goes_with_its_findings(database: Database) -> None:
    c1 = add_host(database, "c1", lease_seconds=-1)
    keep(database, c1, PROCESS)
    with database.write() as connection:
        hosts.fence(connection, c1)
    with database.read() as connection:
        assert (findings.reported(connection, c1), findings.of_host(connection, c1)) == (None, ())
    keep(database, c1, PROCESS)
    with database.write() as connection:
        hosts.remove(connection, c1)
    assert counted(database) == []


def test_a_row_that_cannot_be_read_hides_no_other(database: Database) -> None:
    c1 = add_host(database, "c1")
    keep(database, c1, PROCESS, PART)
    with database.write() as connection:
        connection.execute(finding.update().where(finding.c.number == 0).values(value='{"v":2,"value":{}}'))
    with database.read() as connection:
        assert findings.of_host(connection, c1) == (write(PART),)
        assert [one.finding for one in findings.page(connection, limit=9)] == [None, write(PART)]


def test_two_reports_of_one_host_take_turns(database: Database) -> None:
    c1 = add_host(database, "c1")
    errors: list[Exception] = []

    def report(number: int) -> None:
        try:
            for _ in range(5):
                keep(database, c1, *(replace(PROCESS, tid=number) for _ in range(20)))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=report, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with database.read() as connection:
        assert len({one.tid for one in findings.of_host(connection, c1)}) == 1
        assert connection.execute(sa.select(sa.func.count()).select_from(finding)).scalar_one() == 20
