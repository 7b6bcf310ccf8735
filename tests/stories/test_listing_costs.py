"""What listings cost the database does not grow with the fleet: as many statements for few rows as for many."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
import sqlalchemy as sa
from tests.build.rows import add_host
from tests.rig.client import NEWEST, compute
from tests.rig.in_process import Fleet
from tests.service.test_together import counted

from pinfold.store import guest_rows
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
    for shown in (brief, full):
        assert [(one["hypervisor_hostname"], one.get("servers")) for one in shown] == [("c1", there), ("c2", None)]
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
