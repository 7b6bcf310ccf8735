"""Many creates at once: every server ends ACTIVE or refused with reasons, and each refusal is right by the oracle. The judge watches."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.oracle.oracle import feasible
from tests.postgres import binaries
from tests.real.fleet.conftest import make_fleet
from tests.real.fleet.history import History
from tests.real.patience import until
from tests.rig.fleet import Fleet

from pinfold.store import guests
from pinfold.store.database import Database

FLAVORS: dict[str, tuple[int, dict[str, str]]] = {
    "share": (2, {"hw_cpu_policy": "dedicated", "hw_emulator_threads_policy": "share"}),
    "isolate": (1, {"hw_cpu_policy": "dedicated", "hw_emulator_threads_policy": "isolate"}),
    "cores": (1, {"hw_cpu_policy": "dedicated", "hw_cpu_thread_policy": "isolate"}),
    "pairs": (2, {"hw_cpu_policy": "dedicated", "hw_cpu_thread_policy": "require"}),
    "wide": (6, {"hw_cpu_policy": "dedicated"}),
}
SMALL = ("share", "isolate", "cores", "pairs")
ASKED = (*SMALL, *SMALL, "wide")
"""The wide ones are refused while there is room for small ones, so that hosts refuse at many revisions."""


@pytest.fixture
def crowd(
    request: pytest.FixtureRequest, lab_name: str, lab_possible: None, tmp_path_factory: pytest.TempPathFactory, probe_rom: Path
) -> Iterator[Fleet]:
    """API processes with an embedded Placement each: two on PostgreSQL with three hosts, or one on SQLite with one host."""
    sqlite = request.param == "sqlite"
    if not sqlite and binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    folder = tmp_path_factory.mktemp("crowd")
    with make_fleet(folder, lab_name, probe_rom, hosts=1 if sqlite else 3, apis=1 if sqlite else 2, apart=False, sqlite=sqlite) as made:
        made.watch()
        yield made


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("crowd", [pytest.param("postgresql", marks=pytest.mark.real_postgresql)], indirect=True)
def test_300_creates_from_8_clients_against_2_api_processes(crowd: Fleet) -> None:
    _crowd(crowd, creates=300, clients=8, least=30)


@pytest.mark.parametrize("crowd", ["sqlite"], indirect=True)
def test_60_creates_from_4_clients_against_one_process_on_sqlite(crowd: Fleet) -> None:
    _crowd(crowd, creates=60, clients=4, least=8)


def _crowd(fleet: Fleet, *, creates: int, clients: int, least: int) -> None:
    for name, (vcpus, specs) in FLAVORS.items():
        fleet.api.flavor(name, vcpus=vcpus, ram=16, **specs)
    failures, history = [], History(fleet.database)

    def ask(client: int) -> None:
        service = fleet.service(fleet.apis[client % len(fleet.apis)])
        try:
            for number in range(client, creates, clients):
                service.create(f"crowd-{number}", ASKED[number % len(ASKED)])
        except Exception as error:
            failures.append(f"client {client}: {error}")

    threads = [threading.Thread(target=ask, args=(client,)) for client in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    servers = until(lambda: _all_ended(fleet.api.servers()), "every server is ACTIVE or refused", seconds=600, pause=1.0)
    counts = Counter(server["status"] for server in servers)
    print(f"{creates} creates from {clients} clients: {dict(counts)}")
    assert len(servers) == creates and counts["ACTIVE"] >= least and counts["ERROR"]
    fleet.await_rest()
    _refusals_are_right(fleet, history, servers)
    found = fleet.verdict()
    assert found["most_running"] == counts["ACTIVE"]
    fleet.api.delete_others()
    fleet.await_rest()
    print(f"the judge: {fleet.verdict()}")


def _all_ended(servers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The servers, once nothing is under way with any of them. (A host may count as down for a moment on a busy machine.)"""
    return servers if all(_ended(server) for server in servers) else []


def _ended(server: dict[str, Any]) -> bool:
    return server["status"] in ("ACTIVE", "ERROR") and server["OS-EXT-STS:task_state"] is None


def _refusals_are_right(fleet: Fleet, history: History, servers: list[dict[str, Any]]) -> None:
    """Each refused guest fits no host as that host was at the revision that the refusal names."""
    database = Database(fleet.database)
    try:
        with database.read() as connection:
            records = {guest.id: guest for guest in guests.page(connection)}
            states = history.read(connection)
    finally:
        database.close()
    known: dict[tuple[Any, str, int], bool] = {}
    passing: list[str] = []
    for server in servers:
        if server["status"] != "ERROR":
            continue
        told = fleet.api.placement(server["id"])["refusals"]
        assert {refusal["host"] for refusal in told} == {host.name for host in fleet.hosts}, told
        for refusal in told:
            key = (records[server["id"]].request, refusal["host"], refusal["revision"])
            if key not in known:
                known[key] = feasible(key[0], states[key[1:]])
            if known[key]:
                passing.append(f"{server['name']} was refused by {refusal}, but fits it at that revision")
    revisions = {key[1:] for key in known}
    print(f"{len(known)} refusals checked by the oracle, at {len(revisions)} revisions of {len(fleet.hosts)} hosts")
    assert not passing, passing
    assert len(revisions) >= len(fleet.hosts)
