"""The pools of a host change under its guests: their claims follow, the accounts in Placement too. Real databases, a real Placement."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from msgspec import structs
from tests.build.hosts import cpus, report
from tests.build.requests import floating, pinned
from tests.rig.promises import at_rest
from tests.service.claiming import EAGER, claim_of, create, refuse, synced_hosts

from pinfold.accounting.client import Placement
from pinfold.accounting.resources import OVERHEAD, PCPU
from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import Conflict, Unavailable
from pinfold.core.fit.answer import Fit
from pinfold.core.host import HostState, Limits, OverheadRates
from pinfold.core.identity import HostId
from pinfold.core.ledger import retiring
from pinfold.core.pools import Pools
from pinfold.core.request.model import EmulatorPolicy, GuestRequest
from pinfold.service.claims.amend import TRIES, Amender, StaleError
from pinfold.service.claims.follow import Follower
from pinfold.service.fleet import Fleet, assemble
from pinfold.store import guests, host_orders, hosts
from pinfold.store.database import Database
from pinfold.store.records import ClaimRecord, GuestRecord, HostReport

pytestmark = pytest.mark.real_placement

SHARE = pinned(2, emulator=EmulatorPolicy.SHARE)
LIMITS = Limits(reserved_memory_mib=0)


def other_pools(shared: str, dedicated: str, *, overhead: str | None = None, limits: Limits = LIMITS) -> HostReport:
    pools = Pools(shared=cpus(shared), dedicated=cpus(dedicated), overhead=cpus(shared if overhead is None else overhead))
    return structs.replace(report(), pools=pools, limits=limits)


def reported(database: Database, fleet: Fleet, host: str, now: HostReport) -> None:
    """The host's agent reports, as after a SIGHUP."""
    with database.write() as connection:
        hosts.report(connection, host, now, lease_seconds=3600)
    fleet.follower.sync_and_follow_or_later(host)


def test_a_running_guest_follows_and_its_agent_is_told(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    made, floats = create(database, fleet, SHARE), create(database, fleet, floating(2))
    before = claim_of(database, made.guest)
    with database.read() as connection:
        count = host_orders.parts(connection, host).count
    reported(database, fleet, host, other_pools("0,8-9", "1-7,10-15"))
    after = claim_of(database, made.guest)
    assert (after.id, after.held, after.fit.pins) == (before.id, before.held, before.fit.pins)
    assert after.revision > before.revision and after.fit.emulator == cpus("0,8-9")
    assert claim_of(database, floats.guest).fit.float_set == cpus("0,8-9")
    with database.read() as connection:
        assert host_orders.parts(connection, host).count > count
        assert {held.id: held.fit for _, held in guests.orders(connection, host)}[after.id] == after.fit
    assert dict(placement.inventories(host)[1])[OVERHEAD].total == 1500
    at_rest(database, placement)
    fleet.follower.sync_and_follow_or_later(host)
    assert claim_of(database, made.guest) == after, "nothing is left to do"


def test_pcpus_that_retire_stay_in_the_inventory_until_their_guest_goes(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    made = create(database, fleet, pinned(4, emulator=EmulatorPolicy.SHARE))
    taken = made.fit.taken
    left = report().topology.online - taken - cpus("0-1")
    reported(database, fleet, host, other_pools("0-1", str(left)))
    with database.read() as connection:
        (found,) = hosts.ledgers(connection, (host,))
    assert retiring(found.state) == taken and claim_of(database, made.guest).fit == made.fit
    inventory = dict(placement.inventories(host)[1])[PCPU]
    assert inventory.total - inventory.reserved == len(left | taken)
    assert dict(placement.usages(host))[PCPU] == len(taken), "free is what new guests can have"
    more = [create(database, fleet, pinned(2)) for _ in range(len(left) // 2)]
    assert not any(one.fit.taken & taken for one in more), "no new pins on retiring pCPUs"
    refuse(database, fleet, pinned(1))
    at_rest(database, placement)
    fleet.releaser.release(made.guest)
    fleet.providers.sync(host)
    assert dict(placement.inventories(host)[1])[PCPU].total == len(left)


def test_a_dedicated_pool_that_grows_is_there_at_once(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    reported(database, fleet, host, other_pools("0-3", "4-5"))
    made = create(database, fleet, SHARE)
    refuse(database, fleet, SHARE)
    reported(database, fleet, host, other_pools("0-1", "2-5"))
    assert claim_of(database, made.guest).fit.emulator == cpus("0-1")
    assert create(database, fleet, SHARE).fit.taken == cpus("2-3")
    at_rest(database, placement)


def test_an_offline_pcpu_is_the_same_case(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    made = create(database, fleet, SHARE)
    lost = made.fit.taken.first
    whole = report()
    cells = tuple(
        structs.replace(cell, cores=tuple(core - CpuSet.of(0, lost) for core in cell.cores if core - CpuSet.of(0, lost)))
        for cell in whole.topology.cells
    )
    cells = tuple(structs.replace(cell, sockets=cell.sockets[: len(cell.cores)]) for cell in cells)
    topology = structs.replace(whole.topology, cells=cells, offline=CpuSet.of(0, lost))
    pools = Pools(shared=cpus("1"), dedicated=whole.pools.dedicated - CpuSet.of(lost), overhead=cpus("1"))
    reported(database, fleet, host, structs.replace(whole, topology=topology, pools=pools))
    after = claim_of(database, made.guest).fit
    assert (after.emulator, after.taken) == (cpus("1"), made.fit.taken)
    assert dict(placement.inventories(host)[1])[PCPU].total == 14
    at_rest(database, placement)


def test_a_pool_that_is_booked_beyond_its_new_size_still_takes_its_guests(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    reported(database, fleet, host, other_pools("0-1", "2-15", limits=structs.replace(LIMITS, rates=OverheadRates(guest=400))))
    made = [create(database, fleet, SHARE) for _ in range(2)]
    refuse(database, fleet, SHARE)
    tight = structs.replace(LIMITS, rates=OverheadRates(guest=500))
    reported(database, fleet, host, other_pools("0", "1-15", limits=tight))
    found = [claim_of(database, one.guest) for one in made]
    assert [claim.fit.emulator for claim in found] == [cpus("0")] * 2
    assert [claim.fit.overhead_millicpu for claim in found] == [404, 404], "they run already"
    at_rest(database, placement)


def test_booking_follows_the_rates_of_today_where_threads_move(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    made = create(database, fleet, SHARE)
    dear = structs.replace(LIMITS, rates=OverheadRates(guest=100))
    reported(database, fleet, host, structs.replace(report(), limits=dear))
    assert claim_of(database, made.guest).fit == made.fit, "its threads do not move"
    reported(database, fleet, host, other_pools("0-2", "3-15", limits=dear))
    assert dict(placement.usages(host))[OVERHEAD] == claim_of(database, made.guest).fit.overhead_millicpu == 104
    at_rest(database, placement)


def test_a_guest_that_cannot_follow_is_named_and_the_others_follow(
    database: Database, fleet: Fleet, placement: Placement, caplog: pytest.LogCaptureFixture
) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    floats, made = create(database, fleet, floating(1)), create(database, fleet, SHARE)
    with caplog.at_level(logging.WARNING):
        reported(database, fleet, host, other_pools("", "1-15", overhead="0"))
    assert f"guest {floats.guest}: its threads stay where they are: no shared pool is configured" in caplog.text
    assert claim_of(database, floats.guest).fit == floats.fit
    assert claim_of(database, made.guest).fit.emulator == cpus("0")
    at_rest(database, placement)


def test_the_healer_goes_on_where_a_service_died_and_waits_for_a_host_that_is_away(database: Database, placement: Placement) -> None:
    fleet = assemble(database, placement, EAGER)
    fleet.healer.start()
    (host,) = synced_hosts(database, fleet, "c01")
    made = create(database, fleet, SHARE)
    with database.write() as connection:
        hosts.report(connection, host, other_pools("0-3", "4-15"), lease_seconds=3600)
        hosts.expire(connection, host)
    fleet.healer.heal()
    assert claim_of(database, made.guest).fit == made.fit
    with database.write() as connection:
        hosts.heartbeat(connection, host, 3600)
    fleet.healer.heal()
    assert claim_of(database, made.guest).fit.emulator == cpus("0-3")
    at_rest(database, placement)


class _Away(Placement):
    """A Placement that does not answer."""

    def inventories(self, *_: object) -> object:  # type: ignore[override]
        raise Unavailable("Placement is away")


def test_threads_follow_while_placement_is_away(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    made = create(database, fleet, SHARE)
    alone = assemble(database, _Away(placement._http), EAGER)
    reported(database, alone, host, other_pools("0-3", "4-15"))
    assert alone.providers.behind and claim_of(database, made.guest).fit.emulator == cpus("0-3")
    fleet.providers.sync(host)
    at_rest(database, placement)


def test_a_request_without_threads_to_move_changes_nothing(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    requests: list[GuestRequest] = [pinned(2), pinned(2, emulator=EmulatorPolicy.ISOLATE)]
    made = [create(database, fleet, request) for request in requests]
    reported(database, fleet, host, other_pools("0-3", "4-15"))
    assert [claim_of(database, one.guest).fit for one in made] == [one.fit for one in made]
    at_rest(database, placement)


def test_a_guest_without_its_allocation_is_healed_and_follows_and_the_others_do_not_wait_for_it(
    database: Database, fleet: Fleet, placement: Placement
) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    made = sorted((create(database, fleet, SHARE) for _ in range(2)), key=lambda one: one.guest)
    lost = placement.allocation(made[0].guest)
    assert lost is not None
    placement.empty(lost)
    dearer = structs.replace(LIMITS, rates=OverheadRates(guest=100))
    reported(database, fleet, host, other_pools("0,8-9", "1-7,10-15", limits=dearer))
    assert [claim_of(database, one.guest).fit.emulator == cpus("0,8-9") for one in made] == [False, True]
    fleet.healer.heal()
    assert claim_of(database, made[0].guest).fit.emulator == cpus("0,8-9")
    at_rest(database, placement)


def test_a_decision_on_a_host_of_before_leaves_the_newer_amounts_in_placement(
    database: Database, fleet: Fleet, placement: Placement
) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    made = create(database, fleet, SHARE)
    claim = claim_of(database, made.guest)
    with database.read() as connection:
        (ledger,) = hosts.ledgers(connection, (host,))
    reported(database, fleet, host, other_pools("0,8-9", "1-7,10-15", limits=structs.replace(LIMITS, rates=OverheadRates(guest=100))))
    newer = placement.allocation(made.guest)
    assert newer is not None
    amender = Amender(database, placement, fleet.scheduler)
    with pytest.raises(StaleError):
        amender.amend(claim, ledger.state, structs.replace(claim.fit, overhead_millicpu=500), lambda *_: None, moved=False)
    found = placement.allocation(made.guest)
    assert found is not None
    assert found.providers == newer.providers
    at_rest(database, placement)


def test_a_host_is_read_once_for_all_guests_that_follow(
    database: Database, fleet: Fleet, placement: Placement, monkeypatch: pytest.MonkeyPatch
) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    made = [create(database, fleet, pinned(1, emulator=EmulatorPolicy.SHARE)) for _ in range(3)]
    read, orders = [], guests.orders

    def counted(connection: sa.Connection, host_id: HostId) -> tuple[tuple[GuestRecord, ClaimRecord], ...]:
        read.append(host_id)
        return orders(connection, host_id)

    monkeypatch.setattr(guests, "orders", counted)
    reported(database, fleet, host, other_pools("0,8-9", "1-7,10-15"))
    assert len(read) == 1
    assert [claim_of(database, one.guest).fit.emulator for one in made] == [cpus("0,8-9")] * 3
    at_rest(database, placement)


class _Crowded(Amender):
    """Somebody else changes the host after each claim is amended, and with `before` also just before it."""

    def __init__(self, database: Database, placement: Placement, fleet: Fleet, *, before: bool) -> None:
        super().__init__(database, placement, fleet.scheduler)
        self._before = before

    def amend(self, claim: ClaimRecord, host: HostState, fit: Fit, then: Callable[[sa.Connection, int], None], *, moved: bool) -> HostState:
        if self._before:
            self._change(claim.host)
        amended = super().amend(claim, host, fit, then, moved=moved)
        self._change(claim.host)
        return amended

    def _change(self, host: HostId) -> None:
        with self._database.write() as connection:
            hosts.bump(connection, host, ledger=True)


def test_guests_follow_one_after_another_on_a_host_that_keeps_changing(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    made = [create(database, fleet, pinned(1, emulator=EmulatorPolicy.SHARE)) for _ in range(TRIES + 1)]
    with database.write() as connection:
        hosts.report(connection, host, other_pools("0,8-9", "1-7,10-15"), lease_seconds=3600)
    Follower(database, _Crowded(database, placement, fleet, before=False), fleet.providers).follow(host)
    assert [claim_of(database, one.guest).fit.emulator for one in made] == [cpus("0,8-9")] * len(made)
    at_rest(database, placement)


def test_guests_wait_for_the_healer_if_the_host_changes_before_each_try(database: Database, fleet: Fleet, placement: Placement) -> None:
    (host,) = synced_hosts(database, fleet, "c01")
    made = create(database, fleet, SHARE)
    with database.write() as connection:
        hosts.report(connection, host, other_pools("0,8-9", "1-7,10-15"), lease_seconds=3600)
    crowded = Follower(database, _Crowded(database, placement, fleet, before=True), fleet.providers)
    with pytest.raises(Conflict, match=f"changed {TRIES} times"):
        crowded.follow(host)
    assert claim_of(database, made.guest).fit == made.fit
    fleet.healer.heal()
    assert claim_of(database, made.guest).fit.emulator == cpus("0,8-9")
    at_rest(database, placement)
