"""Claims and releases while Placement is away, slow or broken."""

from __future__ import annotations

import httpx
import pytest
from msgspec import structs
from tests.build.requests import pinned
from tests.build.rows import add_guest, add_host, wanted
from tests.rig.promises import at_rest
from tests.service.claiming import EAGER, create, synced_hosts

from pinfold.accounting.client import Placement
from pinfold.accounting.embedded import Embedded
from pinfold.core.errors import Unavailable
from pinfold.core.request.model import Flavor
from pinfold.service.claims.outcome import Claimed
from pinfold.service.fleet import assemble
from pinfold.store import claims, guests
from pinfold.store.database import Database

pytestmark = pytest.mark.real_placement


class _Faulty(httpx.BaseTransport):
    """Stands in front of the real Placement and fails the next mutating calls, before or after they reach it; all calls while `away`."""

    def __init__(self, real: httpx.BaseTransport) -> None:
        self.real = real
        self.before: list[httpx.Response | Exception] = []
        self.after: list[httpx.Response | Exception] = []
        self.away = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self.away:
            raise httpx.ConnectError("away")
        if request.method == "GET":
            return self.real.handle_request(request)
        if self.before:
            return self._fail(self.before.pop(0))
        answer = self.real.handle_request(request)
        return self._fail(self.after.pop(0)) if self.after else answer

    def _fail(self, failure: httpx.Response | Exception) -> httpx.Response:
        if isinstance(failure, Exception):
            raise failure
        return failure


@pytest.fixture
def faulty(embedded: Embedded) -> _Faulty:
    return _Faulty(httpx.WSGITransport(app=embedded.app))


def _behind(faulty: _Faulty) -> Placement:
    return Placement(httpx.Client(transport=faulty, base_url="http://placement", headers={"X-Auth-Token": "admin"}))


@pytest.mark.parametrize(
    "failure",
    [httpx.ConnectError("away"), httpx.ReadTimeout("slow"), httpx.Response(500, text="oops"), httpx.Response(503, text="busy")],
    ids=["away", "slow", "500", "503"],
)
@pytest.mark.parametrize("landed", [False, True], ids=["before it landed", "after it landed"])
def test_a_placement_that_fails_during_the_claim_leaves_nothing(
    database: Database, placement: Placement, faulty: _Faulty, failure: httpx.Response | Exception, landed: bool
) -> None:
    fleet = assemble(database, _behind(faulty), EAGER)
    synced_hosts(database, fleet, "c01")
    guest = add_guest(database, pinned(2))
    (faulty.after if landed else faulty.before).append(failure)
    with pytest.raises(Unavailable):
        fleet.claimer.create(wanted(guest, pinned(2)))
    fleet.healer.heal()
    at_rest(database, placement)
    assert isinstance(fleet.claimer.create(wanted(guest, pinned(2))), Claimed)
    at_rest(database, placement)


def test_a_conflict_in_placement_is_tried_again(database: Database, placement: Placement, faulty: _Faulty) -> None:
    fleet = assemble(database, _behind(faulty), EAGER)
    synced_hosts(database, fleet, "c01")
    body = {"errors": [{"code": "placement.concurrent_update", "detail": "again"}]}
    faulty.before += [httpx.Response(409, json=body), httpx.Response(409, json=body)]
    create(database, fleet, pinned(2))
    at_rest(database, placement)


def test_a_placement_that_fails_during_the_release_is_made_up_for(database: Database, placement: Placement, faulty: _Faulty) -> None:
    fleet = assemble(database, _behind(faulty), EAGER)
    (host,) = synced_hosts(database, fleet, "c01")
    made = create(database, fleet, pinned(2))
    faulty.before.append(httpx.ConnectError("away"))
    with pytest.raises(Unavailable):
        fleet.releaser.release(made.guest)
    with database.write() as connection:
        assert claims.owners(connection, host) == {}
        guests.remove(connection, made.guest)
    fleet.healer.heal()
    at_rest(database, placement)


def test_a_host_that_placement_does_not_know_yet_is_passed_over(database: Database, placement: Placement) -> None:
    fleet = assemble(database, placement, EAGER)
    fleet.healer.start()
    unknown = {add_host(database, name) for name in ("c01", "c02")}
    synced_hosts(database, fleet, "c03")
    for _ in range(4):
        made = create(database, fleet, pinned(2))
        assert made.name == "c03"
        assert {refused.host for refused in made.refusals} <= unknown
    fleet.healer.heal()
    at_rest(database, placement)


def test_slots_are_counted_without_a_flavor_that_names_traits_while_placement_is_away_and_with_it_afterwards(
    database: Database, faulty: _Faulty
) -> None:
    fleet = assemble(database, _behind(faulty), EAGER)
    synced_hosts(database, fleet, "c01")
    plain = Flavor(name="plain", vcpus=2, memory_mib=64, extra_specs=(("hw:cpu_policy", "dedicated"),))
    smt = structs.replace(plain, name="smt", extra_specs=(*plain.extra_specs, ("trait:HW_CPU_HYPERTHREADING", "required")))

    def counted() -> dict[str, int]:
        return {each.flavor: each.slots for each in fleet.scheduler.capacity((plain, smt)).fleet.flavors}

    assert counted() == {"plain": 7, "smt": 7}
    faulty.away = True
    assert counted() == {"plain": 7}
    faulty.away = False
    assert counted() == {"plain": 7, "smt": 7}
