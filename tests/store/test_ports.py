"""Ports on real databases: every address is given once, whoever asks at the same time."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from msgspec.structs import replace
from tests.build.hosts import report
from tests.build.requests import floating
from tests.build.rows import add_host
from tests.service.test_together import counted

from pinfold.core.errors import Conflict, InvalidRequest
from pinfold.core.networks import HostNetwork, NetworkKind, StaticRange
from pinfold.core.request.model import Flavor
from pinfold.store import guests, ports
from pinfold.store.database import Database
from pinfold.store.ports import GuestPort, PortFilter
from pinfold.store.records import NewGuest, Observed, PortState, WantedPort
from pinfold.store.schema import guest, port

STATIC = StaticRange(cidr="192.0.2.0/24", first="192.0.2.10", last="192.0.2.13")
LAN = WantedPort(network="lan", static=STATIC)
DHCP = WantedPort(network="dhcp", mtu=1400)


def make(database: Database, *wanted: WantedPort) -> str:
    """Store a guest with those ports; its id."""
    guest = str(uuid.uuid4())
    request = replace(floating(1), nics=len(wanted))
    with database.write() as connection:
        flavor = Flavor(vcpus=1, memory_mib=64, name="f")
        guests.create(connection, NewGuest(id=guest, name="vm", flavor=flavor, request=request, ports=wanted))
    return guest


def read(database: Database, wanted: PortFilter, **more: Any) -> list[str]:
    """The ids of a page of ports."""
    with database.read() as connection:
        return [found.port.id for found in ports.page(connection, wanted, **more)]


def test_pages_of_ports_hold_what_matches_in_the_order_of_guests(database: Database) -> None:
    host = add_host(database, "c1")
    made = [make(database, *[WantedPort(network=("lan", "wan")[number % 2])] * (1 + number % 3)) for number in range(9)]
    with database.write() as connection:
        connection.execute(guest.update().where(guest.c.id.in_(made[:4])).values(project="p1", host=host))
        connection.execute(guest.update().where(guest.c.id.in_(made[4:])).values(project="p2"))
        connection.execute(port.update().where(port.c.guest == made[8], port.c.place == 1).values(state=PortState.DETACHED.value))
        connection.execute(port.update().where(port.c.guest == made[2]).values(place=0))
        connection.execute(guest.update().where(guest.c.id.in_(made[1:6])).values(observed=Observed.RUNNING.value))
        connection.execute(port.update().where(port.c.guest == made[5], port.c.place == 1).values(state=PortState.ATTACHING.value))
        every = ports.page(connection)
        assert len(every) == 17
        assert [each.guest for each in every] == sorted(each.guest for each in every)
        assert (ports.count(connection, "p1"), ports.count(connection, "p2"), ports.count(connection, "p3")) == (7, 10, 0)
        assert 5 < sum(each.active for each in every) < 12
        assert ports.networks(connection) == ("lan", "wan")
        assert all(ports.find(connection, each.port.id) == each for each in every)
        assert ports.find(connection, "x") is None
    cases: list[tuple[PortFilter, Callable[[GuestPort], bool]]] = [
        (PortFilter(), lambda _: True),
        (PortFilter(projects=("p1",)), lambda one: one.project == "p1"),
        (PortFilter(projects=()), lambda _: False),
        (PortFilter(guests=tuple(made[2:5])), lambda one: one.guest in made[2:5]),
        (PortFilter(networks=("wan",)), lambda one: one.port.network == "wan"),
        (PortFilter(networks=("wan",), projects=("p1", "p3")), lambda one: one.port.network == "wan" and one.project == "p1"),
        (PortFilter(hosts=("c1",)), lambda one: one.host == "c1"),
        (PortFilter(hosts=("",)), lambda one: not one.host),
        (PortFilter(active=True), lambda one: one.active),
        (PortFilter(active=False), lambda one: not one.active),
        (PortFilter(macs=(every[3].port.mac,), ids=(every[3].port.id,)), lambda one: one == every[3]),
    ]
    for wanted, matches in cases:
        found = [each.port.id for each in every if matches(each)]
        assert read(database, wanted) == found
        assert read(database, PortFilter(), keep=matches) == found
        assert read(database, PortFilter(), keep=matches, limit=3) == found[:3]
        for limit in (1, 2, 50):
            seen, marker = [], None
            while part := read(database, wanted, marker=marker, limit=limit):
                seen += part
                marker = part[-1]
            assert seen == found
    with pytest.raises(InvalidRequest, match="marker"):
        read(database, PortFilter(projects=("p2",)), marker=next(each.port.id for each in every if each.project == "p1"))


def test_ports_that_a_test_refuses_are_read_in_few_statements(database: Database) -> None:
    wanted = [WantedPort(network="lan")] * 601
    make(database, *wanted)
    with counted(database) as seen:
        assert len(read(database, PortFilter(), keep=lambda one: one.port.mac == "none", limit=1)) == 0
    assert sum(text.startswith("SELECT") for text in seen) == 2
    everything = read(database, PortFilter())
    assert read(database, PortFilter(), keep=lambda _: True, limit=600) == everything[:600]
    last = everything[-1]
    assert read(database, PortFilter(), keep=lambda one: one.port.id == last, limit=1) == [last]


def addresses(database: Database) -> list[str]:
    with database.read() as connection:
        return sorted(found.port.address for found in ports.page(connection))


def test_ports_have_the_lowest_free_address_or_the_requested_one_and_a_mac_of_their_own(database: Database) -> None:
    first, second = make(database, LAN, DHCP), make(database, replace(LAN, address="192.0.2.11"), LAN)
    with database.read() as connection:
        found = ports.of_guests(connection, (first, second))
    assert [port.address for port in found[first]] == ["192.0.2.10", ""]
    assert [port.address for port in found[second]] == ["192.0.2.11", "192.0.2.12"]
    assert [(port.network, port.mtu, port.static) for port in found[first]] == [("lan", 0, STATIC), ("dhcp", 1400, None)]
    every = [port for of_one in found.values() for port in of_one]
    assert len({port.mac for port in every}) == len({port.id for port in every}) == 4
    assert all(int(port.mac[:2], 16) & 3 == 2 for port in every), "unicast, locally administered"


def test_a_taken_address_is_refused_and_leaves_no_guest(database: Database) -> None:
    make(database, LAN)
    with pytest.raises(Conflict, match=r"Fixed IP address 192.0.2.10 is already in use on network lan"):
        make(database, replace(LAN, address="192.0.2.10"))
    with database.read() as connection:
        assert len(guests.page(connection)) == 1
    assert addresses(database) == ["192.0.2.10"]


def test_a_full_range_is_refused_until_a_guest_is_gone(database: Database) -> None:
    first, *_ = [make(database, LAN) for _ in range(4)]
    with pytest.raises(Conflict, match=r"No more IP addresses available on network lan: all of 192.0.2.10 to 192.0.2.13 are in use"):
        make(database, LAN)
    with database.write() as connection:
        guests.remove(connection, first)
    make(database, LAN)
    assert addresses(database) == ["192.0.2.10", "192.0.2.11", "192.0.2.12", "192.0.2.13"]


def test_ports_of_several_guests_have_the_lowest_addresses_that_are_free_and_not_asked_for(database: Database) -> None:
    make(database, replace(LAN, address="192.0.2.11"))
    request = replace(floating(1), nics=1)
    flavor = Flavor(vcpus=1, memory_mib=64, name="f")
    wanted = (LAN, replace(LAN, address="192.0.2.10"), LAN, DHCP)
    new = [NewGuest(id=str(uuid.uuid4()), name="vm", flavor=flavor, request=request, ports=(one,)) for one in wanted]
    with database.write() as connection:
        guests.create_all(connection, new)
    with database.read() as connection:
        found = ports.of_guests(connection, [one.id for one in new])
    assert [port.address for one in new for port in found[one.id]] == ["192.0.2.12", "192.0.2.10", "192.0.2.13", ""]


def test_a_range_without_room_for_all_guests_leaves_none_of_them(database: Database) -> None:
    flavor = Flavor(vcpus=1, memory_mib=64, name="f")
    request = replace(floating(1), nics=1)
    new = [NewGuest(id=str(uuid.uuid4()), name="vm", flavor=flavor, request=request, ports=(LAN,)) for _ in range(5)]
    with pytest.raises(Conflict, match=r"No more IP addresses available on network lan"), database.write() as connection:
        guests.create_all(connection, new)
    assert addresses(database) == []
    with database.read() as connection:
        assert guests.page(connection) == ()


def test_guests_that_are_made_at_the_same_time_never_share_an_address(database: Database) -> None:
    wide = replace(LAN, static=replace(STATIC, last="192.0.2.40"))
    failures: list[BaseException] = []

    def create() -> None:
        try:
            for _ in range(5):
                make(database, wide)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=create) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert addresses(database) == [f"192.0.2.{number}" for number in range(10, 40)]


def test_hosts_with_the_same_networks_are_one_offer(database: Database) -> None:
    lan, out = HostNetwork(name="lan", kind=NetworkKind.BRIDGE, source="br0"), HostNetwork(name="out", kind=NetworkKind.USER)
    for name, networks in (("c3", (lan,)), ("c1", (lan,)), ("c2", (lan, out)), ("c4", ())):
        add_host(database, name, replace(report(), networks=networks))
    with database.read() as connection:
        assert ports.offers(connection) == (((lan,), "c1", 2), ((lan, out), "c2", 1))
    with database.write() as connection:
        connection.execute(sa.text("UPDATE host SET networks = 'damaged' WHERE name = 'c2'"))
    with database.read() as connection:
        assert ports.offers(connection) == (((lan,), "c1", 2), ((), "c2", 1))
