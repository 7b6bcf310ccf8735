"""Hosts, guests, flavors and aggregates on real databases."""

from __future__ import annotations

import os
import resource
import threading
import time
import uuid

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from msgspec import structs
from tests.build.hosts import report
from tests.build.requests import pinned
from tests.build.rows import add_guest, add_host
from tests.postgres import PostgreSQL

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import Conflict, InvalidRequest, Unavailable
from pinfold.core.fit.written import Refusal
from pinfold.core.host import Foreign
from pinfold.core.identity import ClaimId
from pinfold.core.networks import HostNetwork, NetworkKind
from pinfold.core.reasons import Kind, Reason, ReasonCode
from pinfold.core.request.model import Flavor
from pinfold.store import aggregates, flavors, guests, host_orders, hosts, tombstones
from pinfold.store.database import Database, tell, upgrade
from pinfold.store.guest_filter import GuestFilter
from pinfold.store.records import Desired, Fault, FlavorRecord, NewGuest, Observed, Tombstone
from pinfold.store.schema import metadata

PATIENCE = 120.0
"""Seconds until what must happen is taken never to happen, however slow the machine is."""

NOWHERE = "00000000-0000-0000-0000-000000000000"


def test_the_migrations_make_the_tables_that_the_schema_names(database: Database) -> None:
    upgrade(database)
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_tables_of_a_later_pinfold_are_refused_and_stay_as_they_are(database: Database) -> None:
    with database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(InvalidRequest, match="of a later pinfold: its tables have revision 9999, this pinfold knows 0001 to "):
        upgrade(database)
    with database.read() as connection:
        assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one() == "9999"


def test_a_host_comes_back_as_it_was_registered(database: Database) -> None:
    reported = structs.replace(report(), facts=(("hypervisor", "QEMU"),), foreign=(Foreign(name="x", cpus=CpuSet.of(4)),))
    host = add_host(database, "c01", reported)
    with database.read() as connection:
        found = hosts.get(connection, host)
        assert hosts.find(connection, "c01") == found
        assert hosts.find(connection, "c02") is None
        assert hosts.all(connection) == (found,)
        (ledger,) = hosts.ledgers(connection)
    assert (found.name, found.revision, found.up, found.disabled) == ("c01", 1, True, False)
    assert found.report == reported
    assert ledger.state.ledger.foreign == reported.foreign
    assert ledger.state.revision == 1
    with pytest.raises(Conflict, match="c01"):
        add_host(database, "c01")
    with database.read() as connection, pytest.raises(InvalidRequest, match="no such host"):
        hosts.get(connection, NOWHERE)


def test_a_report_raises_the_revision_only_when_a_fit_would_notice(database: Database) -> None:
    host = add_host(database, "c01")
    with database.write() as connection:
        assert hosts.report(connection, host, report(), lease_seconds=3600).revision == 1
        assert hosts.report(connection, host, structs.replace(report(), facts=(("agent", "2"),)), lease_seconds=3600).revision == 1
        assert hosts.report(connection, host, report(shared="0-3"), lease_seconds=3600).revision == 2
        assert hosts.get(connection, host).report == report(shared="0-3")


def test_every_part_of_a_report_counts_in_its_digest(database: Database) -> None:
    first = report()
    host = add_host(database, "c01", first)
    others = (
        report(cells=1),
        report(shared="0-3"),
        structs.replace(first, limits=structs.replace(first.limits, ram_allocation_ratio=1.25)),
        structs.replace(first, foreign=(Foreign(name="x", cpus=CpuSet.of(4)),)),
        structs.replace(first, strategy=next(one for one in type(first.strategy) if one is not first.strategy)),
        structs.replace(first, any_cell=True),
        structs.replace(first, disk_gib=77),
        structs.replace(first, facts=(("agent", "2"),)),
        structs.replace(first, networks=(HostNetwork(name="lan", kind=NetworkKind.USER),)),
        structs.replace(first, features=("the machine q35",)),
        structs.replace(first, processor_traits=("HW_CPU_X86_AVX2",)),
    )
    digests = []
    for told in (first, *others, first):
        with database.write() as connection:
            digests.append(hosts.report(connection, host, told, lease_seconds=3600).report)
            assert hosts.report_digest(connection, host) == digests[-1] == hosts.heartbeat(connection, host, 60).report
    assert len(set(digests)) == len(structs.fields(first)) + 1
    assert digests[0] == digests[-1]
    with database.read() as connection, pytest.raises(InvalidRequest, match="no such host"):
        hosts.report_digest(connection, NOWHERE)


def test_a_lease_is_kept_by_the_databases_clock(database: Database) -> None:
    host = add_host(database, "c01", lease_seconds=60)
    with database.read() as connection:
        assert hosts.get(connection, host).up
        assert hosts.marks(connection)[0].up
    with database.write() as connection:
        hosts.heartbeat(connection, host, 0.01)
    time.sleep(0.05)
    with database.read() as connection:
        assert not hosts.get(connection, host).up
        assert not hosts.marks(connection)[0].up
    with database.write() as connection:
        hosts.fence(connection, host)
        assert hosts.get(connection, host).fenced
        hosts.heartbeat(connection, host, 60)
    with database.write() as connection:
        assert hosts.get(connection, host).up
        assert not hosts.get(connection, host).fenced
        with pytest.raises(Conflict, match="is up"):
            hosts.fence(connection, host)
        hosts.expire(connection, host)
        assert not hosts.get(connection, host).up


def test_a_host_whose_agent_is_just_speaking_is_not_fenced(database: Database) -> None:
    host = add_host(database, "c01", lease_seconds=-1)
    raised: list[Exception] = []

    def fence() -> None:
        try:
            with database.write() as connection:
                hosts.fence(connection, host)
        except Conflict as error:
            raised.append(error)

    fencer = threading.Thread(target=fence)
    with database.write() as connection:
        hosts.heartbeat(connection, host, 60)
        fencer.start()
        time.sleep(0.3)
    fencer.join()
    with database.read() as connection:
        assert not hosts.get(connection, host).fenced
    assert "is up" in str(raised[0])
    with database.write() as connection, pytest.raises(InvalidRequest, match="no such host"):
        hosts.fence(connection, NOWHERE)


def test_a_host_is_advanced_only_from_the_revision_that_was_decided_on(database: Database) -> None:
    host = add_host(database, "c01")
    with database.write() as connection:
        assert hosts.advance(connection, host, 1) == 2
    with database.write() as connection, pytest.raises(Conflict, match="revision 1"):
        hosts.advance(connection, host, 1)
    with database.read() as connection:
        assert host_orders.parts(connection, host).count == 2


def test_tombstones_remember_each_claim_at_its_latest_revision_and_are_forgotten(database: Database) -> None:
    host, guest = add_host(database, "c01"), str(uuid.uuid4())
    first, second = (ClaimId(str(uuid.UUID(int=number))) for number in (1, 2))
    stones = (
        Tombstone(guest=guest, revision=2),
        Tombstone(guest=guest, revision=5, claim=first),
        Tombstone(guest=guest, revision=4, claim=second),
    )
    with database.write() as connection:
        for stone in (structs.replace(stones[1], revision=3), *stones):
            tombstones.bury(connection, host, stone)
        assert tombstones.of_host(connection, host) == stones
        hosts.bump(connection, host, ledger=True)
        tombstones.forget_old(connection, older_than_seconds=3600, changes=0)
        tombstones.forget_old(connection, older_than_seconds=-1, changes=1)
        assert tombstones.of_host(connection, host)
        tombstones.forget_old(connection, older_than_seconds=-1, changes=0)
        assert not tombstones.of_host(connection, host)


def test_a_host_that_nothing_names_is_removed(database: Database) -> None:
    host = add_host(database, "c01")
    with database.write() as connection:
        hosts.disable(connection, host, "broken fan")
        assert hosts.get(connection, host).disabled_reason == "broken fan"
        hosts.enable(connection, host)
        hosts.replace_token(connection, host, "hash")
        assert hosts.token_hash(connection, host) == "hash"
        hosts.remove(connection, host)
        assert hosts.all(connection) == ()


def test_a_guest_lives_and_is_deleted(database: Database) -> None:
    host, guest = add_host(database, "c01"), add_guest(database, pinned(2))
    with database.write() as connection:
        made = guests.get(connection, guest)
        assert (made.task, made.desired, made.observed, made.host) == ("scheduling", Desired.RUNNING, Observed.UNSEEN, None)
        assert made.request == pinned(2)
        guests.place(connection, guest, host)
        seen = guests.observe(connection, guest, Observed.RUNNING, host=host, booted=1, report="{}")
        assert (seen.task, seen.observed, seen.booted, seen.report) == ("", Observed.RUNNING, 1, "{}")
        assert seen.launched is not None
        before = host_orders.parts(connection, host).count
        asked = guests.want(connection, guest, Desired.STOPPED, task="stopping", revision=seen.revision)
        assert host_orders.parts(connection, host).count == before + 1
        assert guests.want(connection, guest, Desired.RUNNING, task="rebooting", reboot=True).boots == 2
    with database.write() as connection, pytest.raises(Conflict):
        guests.want(connection, guest, Desired.STOPPED, task="stopping", revision=asked.revision)
    with database.write() as connection, pytest.raises(Conflict):
        guests.observe(connection, guest, Observed.STOPPED, host=NOWHERE)
    with database.write() as connection:
        guests.want(connection, guest, Desired.ABSENT, task="deleting")
        guests.remove(connection, guest)
        gone = guests.get(connection, guest)
        assert gone.deleted is not None
        assert guests.page(connection) == ()
        assert guests.page(connection, GuestFilter(deleted=True)) == (gone,)
        assert guests.purge(connection, 3600) == 0
        assert guests.purge(connection, -1) == 1
        assert guests.find(connection, guest) is None


def test_a_guest_that_is_wanted_absent_stays_so(database: Database) -> None:
    guest = add_guest(database, pinned(2))
    with database.write() as connection:
        guests.want(connection, guest, Desired.ABSENT, task="deleting")
        assert [found.id for found in guests.unclaimed(connection)] == [guest]
    with database.write() as connection, pytest.raises(Conflict):
        guests.want(connection, guest, Desired.RUNNING, task="starting")
    with database.write() as connection, pytest.raises(Conflict):
        guests.place(connection, guest, add_host_in(connection))


def add_host_in(connection: sa.Connection) -> str:
    host = str(uuid.uuid4())
    hosts.register(connection, host_id=host, name="other", report=report(), token_hash="", lease_seconds=60)
    return host


def test_a_fault_keeps_every_hosts_reason(database: Database) -> None:
    guest = add_guest(database, pinned(2))
    reason = Reason(code=ReasonCode.HOST_DOWN, kind=Kind.INSUFFICIENT)
    refusals = (Refusal(host="c01", revision=7, kind=Kind.INSUFFICIENT, reasons=(reason,)), Refusal(host="c02", sentence="QEMU ended"))
    fault = Fault(code=500, message="No host takes the guest", refusals=refusals)
    with database.write() as connection:
        guests.fail(connection, guest, fault)
        found = guests.get(connection, guest)
        assert found.task == ""
        assert found.fault is not None
        assert found.fault.refusals == refusals
        assert found.fault.created == pytest.approx(found.updated, abs=PATIENCE)
        assert guests.page(connection, GuestFilter(failed=False)) == ()
        guests.mend(connection, guest)
        assert guests.get(connection, guest).fault is None


def test_guests_are_listed_newest_first_page_by_page(database: Database) -> None:
    made = [add_guest(database, pinned(1), name=f"vm{index}%") for index in range(5)]
    with database.read() as connection:
        first = guests.page(connection, limit=2)
        second = guests.page(connection, limit=2, marker=first[-1].id)
        last = guests.page(connection, marker=second[-1].id)
        newest_first = sorted(((guests.get(connection, guest).created, guest) for guest in made), reverse=True)
        assert [found.id for found in (*first, *second, *last)] == [guest for _, guest in newest_first]
        assert [found.id for found in guests.page(connection, GuestFilter(name=lambda name: name == "vm3%"))] == [made[3]]
        odd = GuestFilter(name=lambda name: name in ("vm1%", "vm3%"))
        assert {found.id for found in guests.page(connection, odd)} == {made[1], made[3]}
        (newest,) = guests.page(connection, odd, limit=1)
        (older,) = guests.page(connection, odd, limit=1, marker=newest.id)
        assert [found.id for found in guests.page(connection, odd)] == [newest.id, older.id]
        assert len(guests.page(connection, GuestFilter(ids=tuple(made[:2])))) == 2
        assert guests.page(connection, GuestFilter(task="spawning")) == ()
        assert guests.names(connection, made[:1]) == {made[0]: "vm0%"}
        with pytest.raises(InvalidRequest, match="marker"):
            guests.page(connection, marker=NOWHERE)


def test_what_the_user_calls_a_guest_can_be_changed(database: Database) -> None:
    guest = add_guest(database, pinned(1))
    with database.write() as connection:
        changed = guests.edit(connection, guest, name="web", description="front", metadata=(("a", "b"),), details=(("k", "v"),))
    assert (changed.name, changed.description, changed.metadata, changed.details) == ("web", "front", (("a", "b"),), (("k", "v"),))


def test_a_guest_exists_once(database: Database) -> None:
    guest = add_guest(database, pinned(1))
    new = NewGuest(id=guest, name="vm", flavor=Flavor(vcpus=1, memory_mib=1), request=pinned(1))
    with pytest.raises(Conflict), database.write() as connection:
        guests.create(connection, new)


def test_flavors_keep_their_extra_specs(database: Database) -> None:
    size = Flavor(vcpus=4, memory_mib=2048, disk_gib=1, extra_specs=(("hw:cpu_policy", "dedicated"),), name="rt.share")
    with database.write() as connection:
        made = flavors.create(connection, FlavorRecord(id="1", flavor=size, details=(("swap", "0"),)))
        assert made.flavor == size
        assert flavors.named(connection, "rt.share") == made
        flavors.set_extra_specs(connection, "1", (("hw:cpu_policy", "shared"), ("a", "b")))
        found = flavors.find(connection, "1")
        assert found is not None
        assert found.flavor.extra_specs == (("a", "b"), ("hw:cpu_policy", "shared"))
        assert flavors.remove_extra_spec(connection, "1", "a")
        assert not flavors.remove_extra_spec(connection, "1", "a")
        assert flavors.describe(connection, "1", "for trading")
        assert flavors.all(connection, public=False) == ()
        assert len(flavors.all(connection)) == 1
    with database.write() as connection, pytest.raises(Conflict, match=r"rt\.share"):
        flavors.create(connection, FlavorRecord(id="2", flavor=size))
    with database.write() as connection:
        assert flavors.remove(connection, "1")
        assert not flavors.remove(connection, "1")
        assert flavors.find(connection, "1") is None


def test_aggregates_hold_hosts(database: Database) -> None:
    host = add_host(database, "c01")
    with database.write() as connection:
        made = aggregates.create(connection, uuid=str(uuid.uuid4()), name="fast")
        assert aggregates.add_host(connection, made.id, host).hosts == (host,)
        assert aggregates.edit(connection, made.id, name="slow", metadata=(("k", "v"),)).metadata == (("k", "v"),)
        assert [found.name for found in aggregates.all(connection)] == ["slow"]
        assert aggregates.find(connection, made.id + 1) is None
    for refused in (
        lambda connection: aggregates.remove(connection, made.id),
        lambda connection: aggregates.add_host(connection, made.id, host),
        lambda connection: aggregates.create(connection, uuid=str(uuid.uuid4()), name="slow"),
    ):
        with pytest.raises(Conflict), database.write() as connection:
            refused(connection)
    with pytest.raises(InvalidRequest), database.write() as connection:
        aggregates.add_host(connection, made.id, NOWHERE)
    with database.write() as connection:
        assert aggregates.remove_host(connection, made.id, host).hosts == ()
        aggregates.remove(connection, made.id)
        assert aggregates.all(connection) == ()


def test_who_listens_hears_of_committed_changes_alone(database: Database) -> None:
    heard: list[str] = []
    ready, done = threading.Event(), threading.Event()

    def hear(topic: str) -> None:
        heard.append(topic)
        (ready if topic in ("*", "ready") else done if topic == "done" else threading.Event()).set()

    unsubscribe = database.wakeups.subscribe(hear)
    if not database.postgresql:
        database.wakeups.deliver(["ready"])
    assert ready.wait(PATIENCE)
    with pytest.raises(InvalidRequest), database.write() as connection:
        _tell_and_fail(connection)
    with database.write() as connection:
        tell(connection, "committed")
        tell(connection, "done")
    assert done.wait(PATIENCE)
    assert "committed" in heard
    assert "rolled back" not in heard
    unsubscribe()


def test_a_listener_that_fails_harms_neither_the_writer_nor_other_listeners(database: Database) -> None:
    listening, told = threading.Event(), threading.Event()

    def fail(_topic: str) -> None:
        listening.set()
        raise RuntimeError("Event loop is closed")

    database.wakeups.subscribe(fail)
    database.wakeups.subscribe(lambda topic: told.set() if topic == "news" else None)
    assert not database.postgresql or listening.wait(PATIENCE)
    with database.write() as connection:
        tell(connection, "news")
    assert told.wait(PATIENCE)


@pytest.mark.real_postgresql
def test_who_listens_hears_in_a_process_with_very_many_open_files(postgresql_url: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    database, listening, told = Database(postgresql_url), threading.Event(), threading.Event()
    try:
        database.wakeups.subscribe(lambda topic: (listening if topic == "*" else told).set())
        assert listening.wait(PATIENCE)
        with database.write() as connection:
            tell(connection, "told")
        assert told.wait(PATIENCE)
    finally:
        database.close()
        for file in files:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _tell_and_fail(connection: sa.Connection) -> None:
    tell(connection, "rolled back")
    hosts.get(connection, NOWHERE)


def test_a_reader_sees_one_instant(database: Database) -> None:
    host = add_host(database, "c01")
    with database.read() as reader:
        assert hosts.get(reader, host).revision == 1
        with database.write() as writer:
            hosts.advance(writer, host, 1)
        assert hosts.get(reader, host).revision == 1


def test_a_database_that_is_away_is_unavailable() -> None:
    away = Database("postgresql+psycopg2://pinfold@127.0.0.1:1/none")
    with pytest.raises(Unavailable, match="OperationalError"):
        away.now()


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite://", "postgresql+psycopg://x/y", "nonsense"])
def test_a_database_that_we_cannot_use_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest, match="psycopg2"):
        Database(url)


@pytest.mark.real_postgresql
def test_a_postgresql_that_was_killed_and_came_back_is_used_again(postgresql: PostgreSQL, postgresql_url: str) -> None:
    database = Database(postgresql_url)
    heard = threading.Event()
    database.wakeups.subscribe(lambda topic: heard.set() if topic == "again" else None)
    host = add_host(database, f"c{uuid.uuid4()}")
    postgresql.kill()
    with pytest.raises(Unavailable):
        database.now()
    postgresql.resume()
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with database.read() as connection:
                assert hosts.get(connection, host).revision == 1
            break
        except Unavailable:
            assert time.monotonic() < deadline
    while not heard.wait(0.3):
        assert time.monotonic() < deadline
        with database.write() as connection:
            tell(connection, "again")
    database.close()
