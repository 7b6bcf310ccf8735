"""What the database leaves out of a listing cannot match. Real databases."""

from __future__ import annotations

import itertools
import uuid
from collections import Counter
from typing import Any

import pytest
import sqlalchemy as sa
from tests.build.requests import pinned
from tests.build.rows import add_guest, add_host

from pinfold.api.compute.servers.narrowing import with_a_tag, with_details, with_status, with_tags
from pinfold.api.compute.servers.status import server_status
from pinfold.core.encoding import encode
from pinfold.core.identity import HostId
from pinfold.service.guests.lifecycle import REBOOTING, REBOOTING_HARD, RESUMING
from pinfold.store import guest_states, guests, hosts
from pinfold.store.database import Database
from pinfold.store.guest_filter import GuestFilter
from pinfold.store.records import REBUILD, REBUILDING, RESET, Desired, Fault, GuestRecord, Observed, Pause
from pinfold.store.schema import guest

STATUSES = {"ACTIVE", "BUILD", "DELETED", "ERROR", "HARD_REBOOT", "PAUSED", "REBOOT", "REBUILD", "SHUTOFF", "SUSPENDED", "UNKNOWN"}
EVERY = GuestFilter(deleted=None)


def like(database: Database, rows: list[dict[str, Any]]) -> None:
    """Guests that have these values in their rows."""
    add_guest(database, pinned(2))
    with database.write() as connection:
        first = dict(connection.execute(sa.select(guest)).mappings().one())
        connection.execute(guest.insert(), [{**first, "id": str(uuid.uuid4()), **row} for row in rows])


def read(database: Database, wanted: GuestFilter) -> tuple[GuestRecord, ...]:
    with database.read() as connection:
        return guests.page(connection, wanted)


def ids(found: tuple[GuestRecord, ...]) -> set[str]:
    return {one.id for one in found}


def test_no_guest_with_a_status_is_left_out_or_counted_wrongly(database: Database) -> None:
    up, silent = add_host(database, "c1"), add_host(database, "c2")
    with database.write() as connection:
        hosts.expire(connection, HostId(silent))
    texts = encode(()), encode(((RESET, "True"),)), encode(((REBUILD, "1"),))
    names = ("observed", "task", "fault", "booted", "desired", "pause", "host", "details", "deleted")
    states = itertools.product(
        [each.value for each in Observed],
        ("", "spawning", REBUILDING, REBOOTING, REBOOTING_HARD, RESUMING),
        ("", encode(Fault(code=500, message="no"))),
        (0, 1),
        [each.value for each in Desired],
        [each.value for each in Pause],
        (None, up, silent),
        texts,
        (None, None, 5.0),
    )
    like(database, [dict(zip(names, state, strict=True)) for state in itertools.islice(states, 0, None, 29)])
    every = read(database, EVERY)
    status_of = {one.id: server_status(one, host_up=one.host == up).status for one in every}
    assert set(status_of.values()) == STATUSES
    assert len(every) > 1000
    for status in STATUSES:
        found = ids(read(database, GuestFilter(deleted=None, any_of=(with_status([status], [HostId(silent)]),))))
        assert {one for one, has in status_of.items() if has == status} <= found, status
        assert len(found) < len(every), status
    with database.read() as connection:
        counted = Counter[str]()
        for state, number in guest_states.counts(connection):
            counted[server_status(state, host_up=state.host == up).status] += number
    assert counted == Counter(status for status in status_of.values() if status != "DELETED")
    both = ids(read(database, GuestFilter(deleted=None, any_of=(with_status(["ERROR", "BUILD"], ()),))))
    assert {one for one, has in status_of.items() if has in ("ERROR", "BUILD")} <= both
    assert not read(database, GuestFilter(deleted=None, any_of=(with_status(["NONSENSE"], ()),)))
    many = [HostId(str(number)) for number in range(1000)]
    assert ids(read(database, GuestFilter(deleted=None, any_of=(with_status(["UNKNOWN"], many),)))) == ids(every)


@pytest.mark.parametrize("value", ["f1", 'a"b', "back\\slash", "100%_", "/", "[", '","', "Größe", "\x7f", "\t", "\ufffd", "x" * 60_000])
def test_no_guest_with_a_detail_or_a_tag_is_left_out(database: Database, value: str) -> None:
    tagged, other = encode((("flavor_id", value), ("tags", f"one,{value},two"))), encode((("flavor_id", "other"),))
    like(database, [{"details": tagged}, {"details": other}])
    wanted = [
        GuestFilter(details=with_details({"flavor_id": value, "key_name": None})),
        GuestFilter(tags=with_tags(["one", value])),
        GuestFilter(any_of=with_a_tag(["elsewhere", value])),
        GuestFilter(detail_keys=("tags",)),
    ]
    has = {one.id for one in read(database, EVERY) if dict(one.details).get("tags")}
    assert len(has) == 1
    for each in wanted:
        assert has <= ids(read(database, each))
    if value.isascii() and value.isprintable() and len(value) < 100:
        assert has == ids(read(database, wanted[0]))


def test_a_page_with_a_test_of_rows_is_what_the_test_keeps_of_all(database: Database) -> None:
    like(database, [{"name": f"vm{number % 7}", "created": float(number // 3), "booted": number} for number in range(1300)])

    def keep(one: GuestRecord) -> bool:
        return one.booted % 400 == 3

    with database.read() as connection:
        every = guests.page(connection)
        kept = [one for one in every if keep(one)]
        assert len(kept) == 4
        for wanted, expected in (
            (GuestFilter(), kept),
            (GuestFilter(name=lambda name: name in ("vm3", "vm4")), [one for one in kept if one.name in ("vm3", "vm4")]),
        ):
            assert list(guests.page(connection, wanted, keep=keep)) == expected
            for limit in (1, 2, 5, 2000):
                assert list(guests.page(connection, wanted, keep=keep, limit=limit)) == expected[:limit]
            assert list(guests.page(connection, wanted, keep=keep, marker=expected[0].id, limit=2)) == expected[1:3]
