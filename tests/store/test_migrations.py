"""Databases of an earlier pinfold: what the migrations make of their rows, also when the process is killed among them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.postgres import PostgreSQL
from tests.replay import adapter, families

from pinfold.core.fit.written import Refusal
from pinfold.store import claims, guests, hosts, tombstones
from pinfold.store.database import Database, upgrade
from pinfold.store.guest_filter import GuestFilter
from pinfold.store.records import ClaimRole, ClaimState, FailedStart, Fault

PATIENCE = 240.0
"""Seconds until another process is taken to hang, however slow the machine is."""


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.real_postgresql)])
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], str]:
    """Makes a recorded database with the tables of revision 0002, a fresh one each time; returns its address."""
    if request.param == "sqlite":
        return lambda: families.recorded_sqlite(tmp_path_factory.mktemp("recorded"))
    server: PostgreSQL = request.getfixturevalue("postgresql")
    return lambda: families.recorded_postgresql(server.create_database())


def test_what_the_scheduler_kept_among_the_details_is_in_columns(recorded: Callable[[], str]) -> None:
    database = Database(recorded())
    kept = (
        '{"v":1,"value":[["failed_on:00000000-0000-4000-8000-000000000001","c02: the start failed: no such image: x"],["flavor_id","f"],'
        '["member_of","a,b"],["only_on","00000000-0000-4000-8000-000000000002"],["refused","7 c03: cell 0: too small\\n9 c04: disabled"]]}'
    )
    with database.write() as connection:
        connection.execute(sa.text("UPDATE guest SET details = :kept WHERE name = 'running'"), {"kept": kept})
    upgrade(database)
    with database.read() as connection:
        found = {guest.name: guest for guest in guests.page(connection, GuestFilter(deleted=None))}
    running, moved, plain = found["running"], found["moved"], found["nowhere"]
    assert running.details == (("flavor_id", "f"),)
    assert (running.only_on, running.member_of) == ("00000000-0000-4000-8000-000000000002", frozenset({"a", "b"}))
    assert running.failed_on == (
        FailedStart(host="00000000-0000-4000-8000-000000000001", name="c02", sentence="the start failed: no such image: x"),
    )
    assert running.refusals == (
        Refusal(host="c03", revision=7, sentence="cell 0: too small"),
        Refusal(host="c04", revision=9, sentence="disabled"),
    )
    assert moved.moved is not None and moved.moved.host == "c3" and moved.moved.because
    assert (plain.only_on, plain.member_of, plain.failed_on, plain.refusals, plain.moved) == ("", frozenset(), (), (), None)
    database.close()


def test_the_sentences_of_a_fault_are_refusals_without_reasons(recorded: Callable[[], str]) -> None:
    database = Database(recorded())
    kept = (
        '{"v":1,"value":{"code":500,"message":"No host takes the guest","created":1795841504.5,'
        '"reasons":[["c03","cell 0: too small"],["c04","the start failed: QEMU ended"]],"revisions":[["c03",7]]}}'
    )
    with database.write() as connection:
        connection.execute(sa.text("UPDATE guest SET fault = :kept WHERE name = 'running'"), {"kept": kept})
    upgrade(database)
    with database.read() as connection:
        found = {guest.name: guest for guest in guests.page(connection, GuestFilter(deleted=None))}
    assert found["running"].fault == Fault(
        code=500,
        message="No host takes the guest",
        created=1795841504.5,
        refusals=(
            Refusal(host="c03", revision=7, sentence="cell 0: too small"),
            Refusal(host="c04", sentence="the start failed: QEMU ended"),
        ),
    )
    database.close()


def test_every_claim_has_a_role_and_the_revision_by_which_earlier_agents_know_it(recorded: Callable[[], str]) -> None:
    database = Database(recorded())
    upgrade(database)
    with database.read() as connection:
        found = [claim for host in hosts.all(connection) for claim in claims.of_host(connection, host.id, *ClaimState)]
        stones = [stone for host in hosts.all(connection) for stone in tombstones.of_host(connection, host.id)]
    assert found and {claim.role for claim in found} == {ClaimRole.RUNS}
    assert all(claim.held == claim.revision and len(claim.id) == 36 for claim in found)
    assert stones and {stone.claim for stone in stones} == {None}
    database.close()


def test_an_upgrade_that_is_killed_anywhere_changes_nothing_and_succeeds_the_next_time(recorded: Callable[[], str]) -> None:
    counted, earlier = _upgrade(recorded()), recorded()
    assert counted.returncode == 0, counted.stderr
    statements, untouched = int(counted.stdout), _tables(earlier)
    for last in sorted({statements // 4, statements // 2, 3 * statements // 4, statements}):
        died = _upgrade(earlier, str(last))
        assert died.returncode == -signal.SIGKILL, (last, statements, died.stderr)
        assert _tables(earlier) == untouched
    done = _upgrade(earlier)
    assert done.returncode == 0, done.stderr
    assert _tables(earlier)["alembic_version"] != untouched["alembic_version"]
    assert adapter.read_database(earlier)


def _upgrade(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.store.migrating", url, *arguments]
    environment = {**os.environ, "PYTHONPATH": "src:."}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)


def _tables(url: str) -> dict[str, list[tuple[object, ...]]]:
    """Every table with its columns' names and all rows."""
    database = Database(url)
    with database.read() as connection:
        found = {}
        for name in sorted(sa.inspect(connection).get_table_names()):
            rows = connection.execute(sa.text(f'SELECT * FROM "{name}"'))
            found[name] = [tuple(rows.keys()), *sorted((tuple(row) for row in rows), key=repr)]
    database.close()
    return found


def test_the_newest_revision_has_the_highest_number() -> None:
    from alembic.script import ScriptDirectory

    folder = resources.files("pinfold.store") / "migrations"
    numbers = [each.name.partition("_")[0] for each in (folder / "versions").iterdir() if each.name[0].isdigit()]
    assert ScriptDirectory(str(folder)).get_current_head() == max(numbers)


def test_a_start_on_the_newest_tables_loads_no_alembic(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/pinfold.db"
    database = Database(url)
    upgrade(database)
    database.close()
    script = (
        f"import sys; from pinfold.store.database import Database, upgrade; upgrade(Database({url!r})); print('alembic' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n", told
