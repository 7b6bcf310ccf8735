"""A guest with several claims, each with a role: no pCPU has two owners, and its allocation is the sum of what they consume."""

from __future__ import annotations

import shutil
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from tests.build.hosts import report
from tests.build.requests import pinned
from tests.build.rows import add_guest, add_host, wanted
from tests.rig.promises import at_rest
from tests.service.claiming import EAGER, create, refuse, synced_hosts

from pinfold.accounting.client import Placement
from pinfold.accounting.embedded import Embedded, EmbeddedPlacement, load, unload
from pinfold.accounting.resources import PCPU, union
from pinfold.core.errors import Conflict, InvalidRequest
from pinfold.core.host import Limits
from pinfold.core.request.model import EmulatorPolicy
from pinfold.service.claims.outcome import Claimed
from pinfold.service.fleet import Fleet, assemble
from pinfold.store import claims, guests, hosts
from pinfold.store.database import Database
from pinfold.store.records import ClaimRecord, ClaimRole, ClaimState

pytestmark = pytest.mark.real_placement
INCOMING, OUTGOING = ClaimRole.INCOMING, ClaimRole.OUTGOING


def _claims(database: Database, guest: str) -> dict[ClaimRole, ClaimRecord]:
    with database.read() as connection:
        return {found.role: found for found in claims.all_live(connection, guest)}


def _as(database: Database, fleet: Fleet, made: Claimed, role: ClaimRole, host: str) -> Claimed:
    """Another claim of the same guest, on that host."""
    with database.read() as connection:
        request = guests.get(connection, made.guest).request
    outcome = fleet.claimer.create(wanted(made.guest, request, role=role, hosts=frozenset({host})))
    assert isinstance(outcome, Claimed), outcome
    return outcome


def test_a_guest_holds_one_claim_of_each_role_on_one_host_or_several(database: Database, fleet: Fleet, placement: Placement) -> None:
    first, second = synced_hosts(database, fleet, "c01", "c02")
    made = create(database, fleet, pinned(3), hosts=frozenset({first}))
    coming = _as(database, fleet, made, INCOMING, second)
    leaving = _as(database, fleet, made, OUTGOING, first)
    assert leaving.fit.taken.isdisjoint(made.fit.taken)
    found = placement.allocation(made.guest)
    assert found is not None
    assert {host: dict(consumed)[PCPU] for host, consumed in found.providers} == {first: 6, second: 3}
    at_rest(database, placement)
    with pytest.raises(Conflict, match="has a claim already"):
        _as(database, fleet, made, INCOMING, first)
    at_rest(database, placement)
    with database.read() as connection:
        guest = guests.get(connection, made.guest)
        assert guest.host == first, "only the claim by which it runs says where it is"
        assert [held.id for _, held in guests.orders(connection, first)] == [made.claim]
        assert guests.orders(connection, second) == ()
        (ledger,) = hosts.ledgers(connection, (first,))
    assert [claim.id for claim in ledger.state.ledger.claims] == sorted([made.claim, leaving.claim])

    fleet.releaser.release(made.guest, claim=leaving.claim)
    at_rest(database, placement)
    assert {role: claim.id for role, claim in _claims(database, made.guest).items()} == {
        ClaimRole.RUNS: made.claim,
        INCOMING: coming.claim,
    }
    fleet.releaser.release(made.guest)
    at_rest(database, placement)
    assert _claims(database, made.guest) == {} and placement.allocation(made.guest) is None


def test_a_refused_claim_leaves_the_others_of_its_guest(database: Database, fleet: Fleet, placement: Placement) -> None:
    first, second = synced_hosts(database, fleet, "c01", "c02")
    made = create(database, fleet, pinned(3), hosts=frozenset({first}))
    for _ in range(4):
        fleet.claimer.create(wanted(add_guest(database, pinned(3)), pinned(3), hosts=frozenset({second})))
    refused = fleet.claimer.create(wanted(made.guest, pinned(8), role=INCOMING, hosts=frozenset({second})))
    assert not isinstance(refused, Claimed)
    assert set(_claims(database, made.guest)) == {ClaimRole.RUNS}
    at_rest(database, placement)
    assert refuse(database, fleet, pinned(20)).refusals


def test_a_healer_restores_what_the_claims_of_a_guest_need_together(database: Database, fleet: Fleet, placement: Placement) -> None:
    first, second = synced_hosts(database, fleet, "c01", "c02")
    made = create(database, fleet, pinned(2), hosts=frozenset({first}))
    _as(database, fleet, made, INCOMING, second)
    found = placement.allocation(made.guest)
    assert found is not None
    placement.allocate(made.guest, found.providers[:1], generation=found.generation)
    assert fleet.healer.heal().restored == 1
    at_rest(database, placement)
    assert fleet.healer.heal().restored == 0


def test_a_rebook_changes_only_the_claim_by_which_the_guest_runs(database: Database, fleet: Fleet, placement: Placement) -> None:
    share = pinned(2, emulator=EmulatorPolicy.SHARE)
    first, second = synced_hosts(database, fleet, "c01", "c02")
    made = create(database, fleet, share, hosts=frozenset({first}))
    coming = _as(database, fleet, made, INCOMING, second)
    with database.write() as connection:
        hosts.report(connection, first, report(limits=Limits(reserved_memory_mib=0, shared_fraction=0.9)), lease_seconds=3600)
        hosts.report(connection, first, report(limits=Limits(reserved_memory_mib=0, shared_fraction=0.0)), lease_seconds=3600)
    fleet.rebooker.rebook(made.guest)
    fleet.providers.sync(first)
    now = _claims(database, made.guest)
    assert now[INCOMING].amounts == dict(union([(second, now[INCOMING].amounts)]))[second] and now[INCOMING].id == coming.claim
    assert now[ClaimRole.RUNS].amounts != now[INCOMING].amounts
    at_rest(database, placement)


# -- the property ---------------------------------------------------------------------------------------------------------------------


class Roles(RuleBasedStateMachine):
    """Claims of every role, made, booked anew, released and healed in any order."""

    tables: Path

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        folder = Path(self.stack.enter_context(TemporaryDirectory()))
        for name in ("pinfold.db", "placement.db"):
            shutil.copy(self.tables / name, folder / name)
        embedded: Embedded = load(EmbeddedPlacement(url=f"sqlite:///{folder}/placement.db"))
        self.stack.callback(unload)
        self.database, self.placement = Database(f"sqlite:///{folder}/pinfold.db"), embedded.client
        self.stack.callback(self.database.close)
        self.fleet = assemble(self.database, self.placement, EAGER)
        self.fleet.healer.start()
        self.hosts: list[str] = []
        self.guests: list[str] = []

    @initialize()
    def two_hosts_and_two_guests(self) -> None:
        self.hosts = [add_host(self.database, name, report(cells=1, cores=3)) for name in ("c01", "c02")]
        for host in self.hosts:
            self.fleet.providers.sync(host)
        self.guests = [add_guest(self.database, pinned(size, emulator=EmulatorPolicy.SHARE)) for size in (1, 2)]

    @rule(guest=st.integers(0, 1), role=st.sampled_from(ClaimRole), host=st.integers(0, 1))
    def claim(self, guest: int, role: ClaimRole, host: int) -> None:
        before = _claims(self.database, self.guests[guest])
        request = pinned(guest + 1, emulator=EmulatorPolicy.SHARE)
        search = wanted(self.guests[guest], request, role=role, hosts=frozenset({self.hosts[host]}))
        try:
            outcome = self.fleet.claimer.create(search)
        except Conflict:
            assert role in before
            return
        after = _claims(self.database, self.guests[guest])
        assert after.keys() == before.keys() | ({role} if isinstance(outcome, Claimed) else set())
        assert all(after[kept] == before[kept] for kept in before)

    @rule(guest=st.integers(0, 1), role=st.sampled_from(ClaimRole))
    def release(self, guest: int, role: ClaimRole) -> None:
        before = _claims(self.database, self.guests[guest])
        if role in before:
            self.fleet.releaser.release(self.guests[guest], claim=before.pop(role).id)
        assert _claims(self.database, self.guests[guest]) == before

    @rule(guest=st.integers(0, 1), fraction=st.sampled_from((0.0, 0.5)))
    def rebook(self, guest: int, fraction: float) -> None:
        changed = report(cells=1, cores=3, limits=Limits(reserved_memory_mib=0, shared_fraction=fraction))
        with self.database.write() as connection:
            hosts.report(connection, self.hosts[0], changed, lease_seconds=3600)
        with suppress(Conflict, InvalidRequest):
            self.fleet.rebooker.rebook(self.guests[guest])
        self.fleet.providers.sync(self.hosts[0])

    @rule(guest=st.integers(0, 1))
    def lose_an_allocation(self, guest: int) -> None:
        found = self.placement.allocation(self.guests[guest])
        if found is not None:
            self.placement.empty(found)
            self.fleet.healer.heal()

    @invariant()
    def ledger_and_placement_agree(self) -> None:
        at_rest(self.database, self.placement)
        for guest in self.guests:
            found, held = self.placement.allocation(guest), _claims(self.database, guest)
            assert all(claim.state is ClaimState.HELD for claim in held.values())
            assert union((claim.host, claim.amounts) for claim in held.values()) == (() if found is None else found.providers)

    def teardown(self) -> None:
        self.stack.close()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("examples", [6, pytest.param(60, marks=pytest.mark.slow)])
def test_several_claims_of_a_guest_keep_the_invariant(sqlite_file: Path, placement_file: Path, tmp_path: Path, examples: int) -> None:
    shutil.copy(sqlite_file, tmp_path / "pinfold.db")
    shutil.copy(placement_file, tmp_path / "placement.db")
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        type("Roles", (Roles,), {"tables": tmp_path}),
        settings=settings(max_examples=examples, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)),
    )
