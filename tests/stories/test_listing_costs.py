"""What listings cost the database does not grow with the fleet: as many statements for few rows as for many."""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa
from msgspec.structs import replace
from tests.build.hosts import report
from tests.build.rows import add_host
from tests.rig.client import NEWEST, compute
from tests.rig.in_process import Fleet
from tests.service.test_together import counted

from pinfold.api.compute import links
from pinfold.api.network.views import ALIKE_IN_PORTS
from pinfold.core.identity import GuestId
from pinfold.core.networks import HostNetwork, NetworkKind, StaticRange, network_id
from pinfold.store import guest_rows, host_rows, hosts, ports
from pinfold.store.records import WantedPort
from pinfold.store.schema import guest


def add_like(fleet: Fleet, server: str, number: int) -> None:
    """So many servers more that are like this one, but hold nothing."""
    with fleet.database.write() as connection:
        row = dict(connection.execute(sa.select(guest).where(guest.c.id == server)).mappings().one())
        connection.execute(guest.insert(), [{**row, "id": str(uuid.uuid4()), "name": f"more{at}"} for at in range(number)])


def statements(fleet: Fleet, path: str, version: str = NEWEST) -> int:
    """How many statements a request takes: the fewest of three, because the service may do something else beside it."""
    counts = []
    for _ in range(3):
        with counted(fleet.database) as seen:
            fleet.ask("GET", path, version=version, status=200)
        counts.append(len(seen))
    return min(counts)


def add_ports(fleet: Fleet, *servers: str) -> list[str]:
    """One port more of each of the servers; their ids."""
    with fleet.database.write() as connection:
        return [ports.create(connection, GuestId(server), [WantedPort(network="lan")])[0].id for server in servers]


def network(fleet: Fleet, path: str, status: int = 200) -> Any:
    return fleet.call("GET", f"/network/v2.0{path}", status=status).json()


SERVERS = [
    "/servers?limit=1",
    "/servers?limit=1&status=ERROR",
    "/servers?limit=1&status=ERROR&status=UNKNOWN&sort_key=uuid",
    "/servers?limit=1&flavor=other",
    "/servers?limit=1&tags=red&tags-any=green,blue&not-tags=black",
    "/servers?limit=1&availability_zone=elsewhere",
    "/servers?limit=1&description=nothing",
    "/servers?limit=1&name=e&description=nothing",
    "/servers?limit=1&name=e&status=ERROR",
    "/servers/detail?limit=2&status=ACTIVE&vm_state=active&locked=false",
]


@pytest.fixture
def busy(fleet: Fleet) -> tuple[Fleet, str]:
    """A fleet of one server, which runs."""
    fleet.host("c1")
    fleet.flavor("tiny", vcpus=1)
    server = fleet.create("one", "tiny")
    fleet.obey()
    return fleet, server


def test_servers_that_do_not_match_cost_no_statements(busy: tuple[Fleet, str]) -> None:
    fleet, server = busy
    few = {path: statements(fleet, path) for path in SERVERS}
    add_like(fleet, server, 90)
    assert {path: statements(fleet, path) for path in SERVERS} == few


def test_a_status_is_found_among_thousands_of_servers_in_one_statement(busy: tuple[Fleet, str]) -> None:
    fleet, server = busy
    few = statements(fleet, "/servers?status=ERROR")
    add_like(fleet, server, 2500)
    assert statements(fleet, "/servers?limit=1&status=ERROR") == few
    assert statements(fleet, "/servers?limit=1&description=nothing") == few + 5


def test_a_page_without_filters_reads_the_servers_that_it_shows(busy: tuple[Fleet, str], monkeypatch: pytest.MonkeyPatch) -> None:
    fleet, server = busy
    add_like(fleet, server, 90)
    read: list[Any] = []
    record = guest_rows.record

    def note(row: sa.RowMapping) -> Any:
        read.append(row["id"])
        return record(row)

    monkeypatch.setattr(guest_rows, "record", note)
    found = fleet.ask("GET", "/servers?limit=3&all_tenants=1&name=more").json()["servers"]
    assert len(found) == len(read) == 3
    found = fleet.ask("GET", "/servers?limit=3").json()["servers"]
    assert len(found) == 3
    assert len(read) == 6


def test_listings_that_show_no_reports_read_none(busy: tuple[Fleet, str], monkeypatch: pytest.MonkeyPatch) -> None:
    fleet, server = busy
    add_host(fleet.database, "c2")
    fleet.ask("POST", "/os-aggregates", {"aggregate": {"name": "a"}}, status=200)

    def refuse(row: sa.RowMapping) -> Any:
        raise AssertionError(f"the report of {row['name']} is read")

    monkeypatch.setattr(host_rows, "_reported", refuse)
    quiet = ["/servers?limit=1", "/servers/detail", f"/servers/{server}", "/os-availability-zone", "/os-availability-zone/detail"]
    for path in (*quiet, "/os-aggregates", "/os-services", "/os-simple-tenant-usage", "/os-hypervisors"):
        with counted(fleet.database) as seen:
            fleet.ask("GET", path, status=200)
        assert not [text for text in seen if "topology" in text], path


def test_a_page_without_filters_reads_the_hosts_that_it_shows(busy: tuple[Fleet, str], monkeypatch: pytest.MonkeyPatch) -> None:
    fleet, _ = busy
    add_host(fleet.database, "c2")
    read: list[str] = []
    outlines = hosts.outlines

    def note(connection: sa.Connection, ids: Any = None) -> Any:
        found = outlines(connection, ids)
        read.extend(one.name for one in found)
        return found

    monkeypatch.setattr(hosts, "outlines", note)
    for more, names in (("", ["c1"]), ("&sort_key=uuid", ["c1"]), ("&name=nothing", []), ("&host=c2", ["c1", "c2"])):
        read.clear()
        for one in fleet.ask("GET", f"/servers/detail?all_tenants=1{more}", status=200).json()["servers"]:
            assert (one["OS-EXT-SRV-ATTR:host"], one["OS-EXT-AZ:availability_zone"], one["host_status"]) == ("c1", "nova", "UP")
        assert read == names, more


def test_metrics_read_no_claims_of_hosts_that_have_not_changed(busy: tuple[Fleet, str]) -> None:
    fleet, _ = busy
    fleet.http.get("/metrics")
    with counted(fleet.database) as seen:
        told = fleet.http.get("/metrics").text
    assert 'pinfold_pcpus{host="c1",role="free"}' in told
    assert not [statement for statement in seen if "FROM claim" in statement]
    assert len(seen) < 20


def test_metrics_read_no_whole_guests(busy: tuple[Fleet, str], monkeypatch: pytest.MonkeyPatch) -> None:
    fleet, server = busy
    add_like(fleet, server, 20)
    with fleet.database.write() as connection:
        connection.execute(guest.update().where(guest.c.name.in_(["more1", "more2"])).values(fault="x", observed="stopped"))
    monkeypatch.setattr(guest_rows, "record", None)
    told = fleet.http.get("/metrics").text
    assert 'pinfold_servers{status="ACTIVE"} 19.0' in told
    assert 'pinfold_servers{status="ERROR"} 2.0' in told


HYPERVISORS = [
    ("2.96", "/os-hypervisors"),
    ("2.96", "/os-hypervisors?with_servers=true"),
    ("2.96", "/os-hypervisors?limit=1&hypervisor_hostname_pattern=c"),
    ("2.96", "/os-hypervisors/detail?with_servers=true"),
    ("2.53", "/os-hypervisors/detail?with_servers=true"),
    ("2.53", "/os-hypervisors/statistics"),
    ("2.1", "/os-hypervisors/c/search"),
    ("2.1", "/os-hypervisors/c/servers"),
    ("2.1", "/os-hosts"),
]


def test_hosts_and_their_servers_cost_no_statements_each(busy: tuple[Fleet, str]) -> None:
    fleet, server = busy
    few = {path: statements(fleet, path, version) for version, path in HYPERVISORS}
    for number in range(20):
        add_host(fleet.database, f"c1{number}")
    add_like(fleet, server, 20)
    assert {path: statements(fleet, path, version) for version, path in HYPERVISORS} == few


def test_hypervisors_show_what_their_servers_do_newest_server_first(busy: tuple[Fleet, str]) -> None:
    fleet, first = busy
    add_host(fleet.database, "c2")
    second = fleet.create("two", "tiny")
    there = [{"uuid": server, "name": f"instance-{server}"} for server in (second, first)]
    brief = fleet.ask("GET", "/os-hypervisors?with_servers=true").json()["hypervisors"]
    full = fleet.ask("GET", "/os-hypervisors/detail?with_servers=true", version="2.53").json()["hypervisors"]
    for shown, none in ((brief, []), (full, None)):
        assert [(one["hypervisor_hostname"], one.get("servers")) for one in shown] == [("c1", there), ("c2", none)]
    before = fleet.ask("GET", "/os-hypervisors?hypervisor_hostname_pattern=c2", version="2.52").json()["hypervisors"]
    assert [one["hypervisor_hostname"] for one in before] == ["c1", "c2"], "the name is read from 2.53 on"
    assert [(one["running_vms"], one["current_workload"]) for one in full] == [(1, 1), (0, 0)]
    one = fleet.ask("GET", f"/os-hypervisors/{full[0]['id']}?with_servers=true", version="2.53").json()["hypervisor"]
    assert one == full[0]
    total = fleet.ask("GET", "/os-hypervisors/statistics", version="2.53").json()["hypervisor_statistics"]
    assert (total["count"], total["running_vms"], total["current_workload"], total["vcpus_used"]) == (2, 1, 1, 2)
    assert "servers" not in fleet.ask("GET", "/os-hypervisors").json()["hypervisors"][0]


def test_hypervisors_come_in_pages_from_the_microversion_on_that_brought_them(fleet: Fleet) -> None:
    names = [f"c{number:02}" for number in range(5)]
    for name in names:
        add_host(fleet.database, name)
    for noun in ("os-hypervisors", "os-hypervisors/detail"):
        path: str | None = f"http://pinfold.test/compute/v2.1/{noun}?limit=2"
        seen: list[str] = []
        while path:
            answer = fleet.http.get(path, headers=compute()).json()
            seen += [one["hypervisor_hostname"] for one in answer["hypervisors"]]
            path = next((link["href"] for link in answer.get("hypervisors_links", ())), None)
        assert seen == names
        before = fleet.ask("GET", f"/{noun}?limit=2", version="2.32").json()
        assert [one["hypervisor_hostname"] for one in before["hypervisors"]] == names
        assert set(before) == {"hypervisors"}


def test_ports_cost_no_statements_each(busy: tuple[Fleet, str]) -> None:
    fleet, server = busy
    (first,) = add_ports(fleet, server)
    paths = [
        *("/ports", f"/ports/{first}", f"/ports?device_id={server}", f"/ports?id={first}", "/quotas/pinfold/details"),
        *(f"/ports?limit=1&network_id={network_id('lan')}", "/ports?limit=1&status=DOWN", "/ports?name=x"),
    ]

    def costs() -> dict[str, int]:
        found = {}
        for path in paths:
            with counted(fleet.database) as seen:
                network(fleet, path)
            found[path] = len(seen)
        return found

    few = min(costs(), costs(), key=lambda found: sum(found.values()))
    add_ports(fleet, *[server] * 40)
    assert min(costs(), costs(), key=lambda found: sum(found.values())) == few
    assert network(fleet, "/quotas/pinfold/details")["quota"]["port"]["used"] == 41
    assert few["/ports?name=x"] == 0


def test_ports_are_found_by_every_key_that_is_shown(busy: tuple[Fleet, str]) -> None:
    fleet, server = busy
    other = fleet.create("two", "tiny")
    add_ports(fleet, server, other)
    every = network(fleet, "/ports")["ports"]
    assert len(every) == 2
    for one in every:
        assert {key: one[key] for key in ALIKE_IN_PORTS} == ALIKE_IN_PORTS
        for key, value in one.items():
            if key == "fixed_ips":  # asked for by the keys in it
                continue
            expected = [each for each in every if str(each[key]).lower() == str(value).lower()]
            assert network(fleet, f"/ports?{urlencode({key: value})}")["ports"] == expected, key
            assert network(fleet, f"/ports?{urlencode({key: 'elsewhere'})}")["ports"] == [], key
        assert network(fleet, f"/ports?tenant_id=pinfold&project_id=other&id={one['id']}")["ports"] == []
        assert network(fleet, f"/ports?device_id={server}&device_id={other}&id={one['id']}&unknown=x")["ports"] == [one]


@pytest.mark.parametrize("noun", ["ports", "networks", "subnets"])
def test_a_full_page_of_the_network_api_links_to_the_next(fleet: Fleet, monkeypatch: pytest.MonkeyPatch, noun: str) -> None:
    monkeypatch.setattr(links, "MOST", 3)
    static = StaticRange(cidr="192.0.2.0/24", first="192.0.2.10", last="192.0.2.99")
    names = ("a", "b", "c", "d", "e")
    offered = tuple(HostNetwork(name=name, kind=NetworkKind.BRIDGE, source="br0", static=static) for name in names)
    fleet.host("c1", replace(report(), networks=offered))
    fleet.flavor("tiny", vcpus=1)
    add_ports(fleet, *[fleet.create("one", "tiny")] * 5)
    for query, most in (
        ("", 3),
        ("?limit=2", 2),
        ("?limit=0", 3),
        ("?limit=1000", 3),
        ("?limit=1&status=ACTIVE&status=DOWN&ip_version=4", 1),
    ):
        path, seen = f"/{noun}{query}", []
        while path:
            answer = network(fleet, path)
            assert len(answer[noun]) <= most
            seen += [one["id"] for one in answer[noun]]
            (link,) = answer.get(f"{noun}_links", [{"href": "", "rel": "next"}])
            assert link["rel"] == "next"
            path = link["href"].removeprefix("http://pinfold.test/network/v2.0")
        assert len(seen) == len(set(seen)) == 5, query
    assert f"{noun}_links" not in network(fleet, f"/{noun}?id={seen[0]}")
    assert "marker [x] not found" in fleet.call("GET", f"/network/v2.0/{noun}?marker=x", status=400).text
