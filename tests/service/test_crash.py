"""A claimer, releaser or healer that is killed at any named point leaves nothing that the next healing does not repair."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.build.hosts import report
from tests.build.requests import pinned
from tests.build.rows import add_guest, add_host, wanted
from tests.rig.promises import at_rest

from pinfold.accounting.client import Placement
from pinfold.accounting.embedded import Embedded
from pinfold.core.errors import Conflict
from pinfold.faultpoints import POINTS, fault_point
from pinfold.scheduler.model import SchedulerSettings
from pinfold.service.claims.outcome import Claimed
from pinfold.service.fleet import assemble
from pinfold.store import claims, guests, hosts, schema
from pinfold.store.database import Database
from pinfold.store.records import ClaimState

pytestmark = pytest.mark.real_placement

PATIENCE = 240.0
"""Seconds until another process is taken to hang, however slow the machine is."""

EAGER = SchedulerSettings(refresh_seconds=0, claim_seconds=0.1, late_seconds=-1)


@pytest.fixture
def placement(embedded: Embedded) -> Placement:
    return embedded.client


class Claimers:
    """A process that forks the claimers. Each would take seconds to import what this one has imported once."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.service.claimer", "serve"]
        environment = {**os.environ, "PYTHONPATH": "src:."}
        self._process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, asked: dict[str, Any]) -> int:
        """The exit status of a claimer that was asked for this."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], PATIENCE)
        assert ready, "the claimer hangs"
        return int(self._process.stdout.readline())


@cache
def _claimers() -> Claimers:
    """Those of this process. They end with it, since their standard input does."""
    return Claimers()


def killed_at(point: str, tmp_path: Path, database: Database, *arguments: str) -> None:
    """Run a claimer that dies at the point, prove that it got there, and wait until the database has rolled back its transaction."""
    log = tmp_path / "hits"
    errors = tmp_path / "errors"
    asked = {
        "arguments": [database.engine.url.render_as_string(hide_password=False), f"sqlite:///{tmp_path}/placement.db", *arguments],
        "environment": {"PINFOLD_FAULT": point, "PINFOLD_FAULT_LOG": str(log)},
        "errors": str(errors),
    }
    assert _claimers().ask(asked) == -signal.SIGKILL, errors.read_text()
    assert log.read_text().split()[0] == point
    deadline = time.monotonic() + PATIENCE
    while _others_at_work(database):
        assert time.monotonic() < deadline, "PostgreSQL does not notice that its client has died"
        time.sleep(0.01)


def let_deadlines_pass(database: Database) -> None:
    """Make every claim as late as one whose process died long ago. The claimers have a minute, so that a slow machine fails no claim."""
    with database.write() as connection:
        connection.execute(sa.update(schema.claim).values(deadline=schema.claim.c.updated))
    time.sleep(0.15)  # a guest that nobody has touched for `EAGER.claim_seconds` is interrupted


def _others_at_work(database: Database) -> bool:
    """Whether another connection has a transaction open. SQLite's locks have gone with their process; a PostgreSQL backend outlives it."""
    if not database.postgresql:
        return False
    busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL"
    with database.read() as connection:
        others = connection.execute(sa.text(f"{busy} AND pid <> pg_backend_pid() AND backend_type = 'client backend'")).scalar_one()
    return bool(others)


@pytest.mark.parametrize("point", [point for point in POINTS if point.startswith("claim.")])
def test_a_claimer_killed_anywhere_leaves_a_whole_claim_or_none(
    database: Database, placement: Placement, tmp_path: Path, point: str
) -> None:
    fleet = assemble(database, placement, EAGER)
    host = add_host(database, "c01")
    fleet.providers.sync(host)
    killed_at(point, tmp_path, database, "create", "1", "2")
    with database.read() as connection:
        (guest,) = guests.page(connection)
    let_deadlines_pass(database)
    fleet.healer.heal()
    healed = fleet.healer.heal()
    at_rest(database, placement)
    with database.read() as connection:
        held = claims.of_host(connection, host, *ClaimState)
    # On PostgreSQL a single guest is pinned by one statement, which commits by itself.
    if point == "claim.held" or (point == "claim.pinned" and database.postgresql):
        assert [claim.guest for claim in held] == [guest.id]
    else:
        assert held == ()
        assert healed.interrupted == (guest.id,)
        assert isinstance(fleet.claimer.create(wanted(guest.id, guest.request)), Claimed)
        at_rest(database, placement)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("point", [point for point in POINTS if point.startswith("claim.")])
def test_a_claimer_of_several_guests_killed_anywhere_leaves_whole_claims_or_none(
    database: Database, placement: Placement, tmp_path: Path, point: str
) -> None:
    fleet = assemble(database, placement, EAGER)
    known = [add_host(database, name) for name in ("c01", "c02")]
    for host in known:
        fleet.providers.sync(host)
    killed_at(point, tmp_path, database, "create-together", "4", "4")
    let_deadlines_pass(database)
    fleet.healer.heal()
    healed = fleet.healer.heal()
    at_rest(database, placement)
    with database.read() as connection:
        stored = guests.page(connection)
        held = [claim.guest for host in known for claim in claims.of_host(connection, host, *ClaimState)]
    assert len(stored) == 4
    # A host takes three of the four. It dies with the first host of two, which is the one of three guests or the one of one.
    assert len(held) in ((1, 3) if point == "claim.held" else (0,))
    assert set(healed.interrupted) == {guest.id for guest in stored} - set(held)


@pytest.mark.parametrize("point", [point for point in POINTS if point.startswith("claim.")])
def test_a_claimer_of_many_guests_killed_anywhere_leaves_each_host_whole(
    database: Database, placement: Placement, tmp_path: Path, point: str
) -> None:
    fleet = assemble(database, placement, EAGER)
    known = [add_host(database, name) for name in ("c01", "c02", "c03")]
    for host in known:
        fleet.providers.sync(host)
    killed_at(point, tmp_path, database, "create-together", "21", "2")
    let_deadlines_pass(database)
    fleet.healer.heal()
    healed = fleet.healer.heal()
    at_rest(database, placement)
    with database.read() as connection:
        stored = {guest.id for guest in guests.page(connection)}
        held = [[claim.guest for claim in claims.of_host(connection, host, *ClaimState)] for host in known]
    assert len(stored) == 21
    assert all(len(one) in (0, 7) for one in held)  # a host takes seven
    assert any(held) or point != "claim.held"
    assert set(healed.interrupted) == stored.difference(*held)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("point", [point for point in POINTS if point.startswith("release.")])
def test_a_releaser_killed_anywhere_leaves_nothing_behind(database: Database, placement: Placement, tmp_path: Path, point: str) -> None:
    fleet = assemble(database, placement, EAGER)
    host = add_host(database, "c01")
    fleet.providers.sync(host)
    made = fleet.claimer.create(wanted(add_guest(database, pinned(2)), pinned(2)))
    assert isinstance(made, Claimed)
    killed_at(point, tmp_path, database, "release", made.guest)
    fleet.healer.heal()
    at_rest(database, placement)
    fleet.releaser.release(made.guest)
    at_rest(database, placement)
    with database.read() as connection:
        assert claims.of_host(connection, host, *ClaimState) == ()
    assert placement.provider_allocations(host) == ()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("point", [point for point in POINTS if point.startswith("heal.")])
def test_a_healer_killed_anywhere_is_finished_by_the_next(database: Database, placement: Placement, tmp_path: Path, point: str) -> None:
    fleet = assemble(database, placement, EAGER)
    host = add_host(database, "c01")
    fleet.providers.sync(host)
    killed_at("claim.allocated", tmp_path, database, "create", "1", "2")
    let_deadlines_pass(database)
    (tmp_path / "hits").unlink()
    killed_at(point, tmp_path, database, "heal")
    fleet.healer.heal()
    at_rest(database, placement)
    with database.read() as connection:
        assert claims.of_host(connection, host, *ClaimState) == ()


def test_a_provider_that_was_half_made_is_finished(database: Database, placement: Placement, tmp_path: Path) -> None:
    fleet = assemble(database, placement, EAGER)
    host = add_host(database, "c01")
    killed_at("provider.inventoried", tmp_path, database, "sync", host)
    assert fleet.healer.heal().synced == 1
    assert "CUSTOM_OVERHEAD_POOL" in placement.traits(host)[1]


def test_a_claimer_that_slept_through_its_deadline_gets_nothing(database: Database, placement: Placement, tmp_path: Path) -> None:
    """It is stopped after its allocation; its claim is abandoned and emptied; then it continues, and its transaction must fail."""
    fleet = assemble(database, placement, EAGER)
    host = add_host(database, "c01")
    fleet.providers.sync(host)
    url = database.engine.url.render_as_string(hide_password=False)
    log = tmp_path / "hits"
    sleeper = subprocess.Popen(
        [sys.executable, "-m", "tests.service.claimer", url, f"sqlite:///{tmp_path}/placement.db", "create", "1", "2"],
        env={**os.environ, "PINFOLD_FAULT": "claim.allocated:stop", "PINFOLD_FAULT_LOG": str(log), "PYTHONPATH": "src:."},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while not log.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        let_deadlines_pass(database)
        assert fleet.healer.heal().abandoned == 1
        at_rest(database, placement)
        other = fleet.claimer.create(wanted(add_guest(database, pinned(8)), pinned(8)))
        assert isinstance(other, Claimed)
    finally:
        sleeper.send_signal(signal.SIGCONT)
        said, _ = sleeper.communicate(timeout=PATIENCE)
    assert "Conflict" in said
    at_rest(database, placement)


@pytest.mark.real_postgresql
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_host_is_never_advanced_twice_from_one_revision(database: Database) -> None:
    host = add_host(database, "c01", report())
    with database.write() as first:
        hosts.advance(first, host, 1)
    with pytest.raises(Conflict), database.write() as second:
        hosts.advance(second, host, 1)


def test_fault_points_are_inert_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for point in POINTS:
        fault_point(point)
    monkeypatch.setenv("PINFOLD_FAULT", "another.point")
    for point in POINTS:
        fault_point(point)
    monkeypatch.setenv("PINFOLD_FAULT", "claim.held:explode")
    with pytest.raises(ValueError, match="explode"):
        fault_point("claim.held")
    monkeypatch.setenv("PINFOLD_FAULT", "claim.held:kill:99")
    fault_point("claim.held")
