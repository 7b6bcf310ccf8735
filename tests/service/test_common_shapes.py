"""The fleet's common shapes: counted from the guests once a minute, the same on every replica, and named by each claim."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from tests.build.requests import pinned
from tests.build.rows import add_guest, add_host, wanted

from pinfold.accounting.client import Placement
from pinfold.core.errors import Conflict
from pinfold.core.fit.demand import prepare
from pinfold.core.request.model import EmulatorPolicy, Flavor, GuestRequest
from pinfold.scheduler.common_shapes import CommonShapes, difference, weighed
from pinfold.scheduler.index import Index
from pinfold.scheduler.model import HostStrategy, SchedulerSettings
from pinfold.service.claims.outcome import Claimed
from pinfold.service.fleet import assemble
from pinfold.store import claims, flavors, guests, shapes
from pinfold.store.database import Database
from pinfold.store.records import FlavorRecord
from pinfold.store.schema import common_shapes, guest
from pinfold.store.shapes import CommonShape

NOW = SchedulerSettings(strategy=HostStrategy.LEAST_LOSS, refresh_seconds=0.0, traits_seconds=0.0, count_seconds=0.0)


def version(index: Index) -> int:
    return index.look(lambda view: view.losses.version)


def weights(database: Database) -> dict[int, float]:
    with database.read() as connection:
        found = shapes.latest(connection)
    assert found is not None
    return {shape.key.pins: round(shape.weight, 3) for shape in weighed(found.shapes, 1).shapes}


def test_guests_are_counted_and_a_version_lasts_while_the_weights_do(database: Database) -> None:
    for number in range(8):
        add_guest(database, pinned(2), f"small-{number}")
    add_guest(database, pinned(4), "large")
    index = Index()
    looking = CommonShapes(database, index, NOW)
    looking.look()
    assert (version(index), weights(database)) == (1, {2: 0.667, 4: 0.333})
    looking.look()
    assert version(index) == 1
    for number in range(4):
        add_guest(database, pinned(8), f"huge-{number}")
    looking.look()
    assert (version(index), weights(database)) == (2, {8: 0.842, 2: 0.105, 4: 0.053})


def test_within_a_minute_nobody_counts_again_and_every_replica_has_the_same_version(database: Database) -> None:
    add_guest(database, pinned(2))
    settings = SchedulerSettings(strategy=HostStrategy.LEAST_LOSS, refresh_seconds=0.0, count_seconds=60.0)
    ours, theirs = Index(), Index()
    CommonShapes(database, ours, settings).look()
    for number in range(4):
        add_guest(database, pinned(8), f"huge-{number}")
    CommonShapes(database, theirs, settings).look()
    assert version(ours) == version(theirs) == 1
    assert weights(database) == {2: 1.0}


def test_deleted_guests_and_versions_of_long_ago_do_not_count(database: Database) -> None:
    kept, gone = add_guest(database, pinned(2)), add_guest(database, pinned(8), "gone")
    with database.write() as connection:
        guests.remove(connection, gone)
        shapes.put(connection, 2, ())
        shapes.put(connection, 1500, ())
        assert [row.version for row in connection.execute(sa.select(common_shapes.c.version))] == [1500]
    index = Index()
    CommonShapes(database, index, NOW).look()
    assert (version(index), weights(database)) == (1501, {2: 1.0})
    assert kept


def test_of_two_processes_that_count_at_once_one_stores(database: Database) -> None:
    with database.write() as connection:
        shapes.put(connection, 1, ())
    with pytest.raises(Conflict, match="version 1 of the common shapes exists already"), database.write() as connection:
        shapes.put(connection, 1, (CommonShape(request=pinned(2), often=1),))
    with database.read() as connection:
        found = shapes.latest(connection)
    assert found is not None
    assert (found.version, found.shapes) == (1, ())


def test_another_strategy_reads_and_writes_nothing(database: Database) -> None:
    add_guest(database, pinned(2))
    index = Index()
    CommonShapes(database, index, SchedulerSettings(strategy=HostStrategy.SPREAD, refresh_seconds=0.0, count_seconds=0.0)).look()
    assert version(index) == 0
    with database.read() as connection:
        assert shapes.latest(connection) is None


@pytest.mark.parametrize(
    ("settings", "recorded"), [(NOW, 1), (SchedulerSettings(strategy=HostStrategy.SPREAD), 0)], ids=["least-loss", "spread"]
)
def test_a_claim_names_the_version_of_its_decision(
    database: Database, placement: Placement, settings: SchedulerSettings, recorded: int
) -> None:
    fleet = assemble(database, placement, settings)
    fleet.healer.start()
    host = add_host(database, "c1")
    fleet.providers.sync(host)
    request = pinned(2)
    guest = add_guest(database, request)
    assert isinstance(fleet.claimer.create(wanted(guest, request)), Claimed)
    with database.read() as connection:
        claim = claims.live(connection, guest)
    assert claim is not None
    assert claim.shapes == recorded


def test_the_difference_of_weights_and_requests_that_are_refused() -> None:
    small, large = CommonShape(request=pinned(2), often=4), CommonShape(request=pinned(4), often=1)
    refused = CommonShape(request=GuestRequest(vcpus=2, memory_mib=64, emulator_policy=EmulatorPolicy.SHARE), often=9)
    assert difference(weighed([small, large], 1), weighed([small, large, refused], 2)) == 0
    assert difference(weighed([small], 1), weighed([large], 2)) == 2
    assert [shape.demand for shape in weighed([small], 1).shapes] == [prepare(pinned(2))]


def test_a_stored_text_that_cannot_be_read_is_left_out(database: Database) -> None:
    add_guest(database, pinned(2), "good")
    bad = add_guest(database, pinned(4), "bad")
    with database.write() as connection:
        connection.execute(guest.update().where(guest.c.id == bad).values(request='{"v":1,"value":{"vcpus":-1}}'))
    index = Index()
    CommonShapes(database, index, NOW).look()
    assert (version(index), weights(database)) == (1, {2: 1.0})
    with database.write() as connection:
        connection.execute(common_shapes.update().values(value='{"v":1,"value":[{"request":"of a later pinfold"}]}'))
    CommonShapes(database, index, NOW).look()
    assert weights(database) == {2: 1.0}


def test_each_flavor_counts_as_one_guest_so_that_an_empty_fleet_keeps_room_for_it(database: Database) -> None:
    pinned_specs = (("hw:cpu_policy", "dedicated"),)
    with database.write() as connection:
        for vcpus in (2, 8):
            flavor = Flavor(vcpus=vcpus, memory_mib=512, name=f"f{vcpus}", extra_specs=pinned_specs)
            flavors.create(connection, FlavorRecord(id=f"f{vcpus}", flavor=flavor))
        broken = Flavor(vcpus=2, memory_mib=512, name="broken", extra_specs=(("hw:emulator_threads_policy", "share"),))
        flavors.create(connection, FlavorRecord(id="broken", flavor=broken))
    CommonShapes(database, Index(), NOW).look()
    assert weights(database) == {2: 0.059, 8: 0.941}
