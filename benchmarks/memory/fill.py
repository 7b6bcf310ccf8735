"""A filled fleet in a store and its Placement, without a hypervisor: hosts, guests, claims, allocations. Measuring does not belong here."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from random import Random

import httpx

from benchmarks.schedule.fleet import ASKS, SHAPES, crowded, empty, filled
from pinfold.accounting.client import DEFAULT_OWNER, MICROVERSION
from pinfold.accounting.embedded import EmbeddedPlacement, Wsgi, load, unload
from pinfold.accounting.placement_responses import CONSUMER_TYPE
from pinfold.accounting.resources import amounts
from pinfold.api.agent.tokens import make_token
from pinfold.core.host import HostState
from pinfold.core.request.model import Flavor
from pinfold.service.fleet import assemble
from pinfold.store import claims, flavors, guests, hosts
from pinfold.store.claim_rows import IntendedClaim
from pinfold.store.database import Database, upgrade
from pinfold.store.records import FlavorRecord, HostReport, NewGuest

SHARES = (0.0, 0.1, 0.2, 0.3, 0.4)
REQUEST = ASKS[1].demand.request
SPECS = (("hw:cpu_policy", "dedicated"), ("hw:emulator_threads_policy", "share"))
FLAVOR = Flavor(vcpus=REQUEST.vcpus, memory_mib=REQUEST.memory_mib, name="bench", extra_specs=SPECS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """What was made: for each host's agent its token and the count of orders it has heard of, and how many guests there are."""

    agents: tuple[tuple[str, int], ...]
    guests: int


def fill(database_url: str, placement_url: str, count: int, seed: int = 1, *, guests_each: Sequence[int] = ()) -> Filled:
    """Make tables, a flavor and `count` hosts of all shapes: empty to four tenths full, or each with one of these numbers of guests."""
    database, rng = Database(database_url), Random(seed)
    upgrade(database)
    embedded = load(EmbeddedPlacement(url=placement_url))
    fleet = assemble(database, embedded.client)
    fleet.healer.start()
    with database.write() as connection:
        flavors.create(connection, FlavorRecord(id="bench", flavor=FLAVOR))
    agents, made, known = [], 0, False
    for number in range(count):
        state = empty(rng.choice(SHAPES))
        host = str(uuid.uuid4())
        token, digest = make_token(host)
        report = HostReport(topology=state.topology, pools=state.pools, limits=state.limits, disk_gib=1000)
        with database.write() as connection:
            hosts.register(connection, host_id=host, name=f"c{number:04}", report=report, token_hash=digest, lease_seconds=86400)
        fleet.providers.sync(host)
        full = crowded(state, rng.choice(guests_each), rng) if guests_each else filled(state, rng.choice(SHARES), rng)
        if known:
            _copy_allocations(placement_url, host, full)
        else:
            known = _allocate(embedded.app, host, full)
        _store(database, host, full)
        agents.append((token, 1 + len(full.ledger.claims)))
        made += len(full.ledger.claims)
        if (number + 1) % 100 == 0:
            print(f"{number + 1} hosts, {made} guests", flush=True)
    database.close()
    unload()
    return Filled(agents=tuple(agents), guests=made)


def _allocate(app: Wsgi, host: str, full: HostState) -> bool:
    """The allocations of all of the host's guests in one request; whether it has guests."""
    if not full.ledger.claims:
        return False
    owner = {
        "project_id": DEFAULT_OWNER.project,
        "user_id": DEFAULT_OWNER.user,
        "consumer_type": CONSUMER_TYPE,
        "consumer_generation": None,
    }
    body = {claim.guest: {"allocations": {host: {"resources": dict(amounts(claim.fit, full))}}, **owner} for claim in full.ledger.claims}
    with httpx.Client(transport=httpx.WSGITransport(app=app), base_url="http://placement.embedded") as http:
        headers = {"X-Auth-Token": "admin", "OpenStack-API-Version": MICROVERSION}
        http.post("/allocations", json=body, headers=headers).raise_for_status()
    return True


def _copy_allocations(url: str, host: str, full: HostState) -> None:
    """The rows that Placement would write for the host's guests, like those of an earlier host. A request takes 15 ms for each guest."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), timeout=60)) as connection, connection:
        classes = dict(connection.execute("SELECT name, id FROM resource_classes"))
        (provider,) = connection.execute("SELECT id FROM resource_providers WHERE uuid = ?", (host,)).fetchone()
        connection.executemany(
            "INSERT INTO consumers (created_at, updated_at, uuid, project_id, user_id, generation, consumer_type_id)"
            " SELECT created_at, updated_at, ?, project_id, user_id, generation, consumer_type_id FROM consumers LIMIT 1",
            [(claim.guest,) for claim in full.ledger.claims],
        )
        connection.executemany(
            "INSERT INTO allocations (created_at, resource_provider_id, consumer_id, resource_class_id, used)"
            " VALUES (datetime('now'), ?, ?, ?, ?)",
            [(provider, claim.guest, classes[name], used) for claim in full.ledger.claims for name, used in amounts(claim.fit, full)],
        )


def _store(database: Database, host: str, full: HostState) -> None:
    """The host's guests with their claims, in one transaction."""
    with database.write() as connection:
        for revision, claim in enumerate(full.ledger.claims, start=1):
            claim_id = str(uuid.uuid4())
            guests.create(connection, NewGuest(id=claim.guest, name=f"vm-{claim.guest[:8]}", flavor=FLAVOR, request=REQUEST))
            booked = amounts(claim.fit, full)
            intended = IntendedClaim(id=claim_id, guest=claim.guest, host=host, amounts=booked, fit=claim.fit)
            claims.intend(connection, intended, seconds=60)
            made = hosts.advance(connection, host, revision)
            claims.hold(connection, claim_id, guest=claim.guest, host=host, fit=claim.fit, revision=made)
            guests.place(connection, claim.guest, host)
