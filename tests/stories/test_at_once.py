"""Requests that change the same thing at the same time, on SQLite and a real PostgreSQL: none is lost, no rule is broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from msgspec.structs import replace
from tests.build.hosts import report
from tests.rig.client import server_body
from tests.rig.databases import database, postgresql, postgresql_url
from tests.rig.in_process import Fleet, fleet_on
from tests.stories.test_interfaces import NIC_MILLICPU, interfaces, running
from tests.stories.test_networks import OUT

from pinfold.accounting.embedded import Embedded
from pinfold.core.host_features import INTERFACES
from pinfold.core.networks import network_id
from pinfold.store.database import Database

__all__ = ["database", "postgresql", "postgresql_url"]

ROUNDS = 12
MANY = 6


@pytest.fixture
def fleet(database: Database, embedded: Embedded, tmp_path: Path) -> Iterator[Fleet]:
    with fleet_on(database, embedded, tmp_path) as made:
        made.host("c1")
        yield made


def at_once(*requests: Callable[[], int]) -> list[int]:
    """The statuses of requests that are sent at the same moment."""
    start = Barrier(len(requests))

    def send(request: Callable[[], int]) -> int:
        start.wait()
        return request()

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(send, requests))


def aggregate(fleet: Fleet, name: str, zone: str | None = None) -> int:
    body = {"aggregate": {"name": name, "availability_zone": zone}}
    return int(fleet.ask("POST", "/os-aggregates", body, status=200).json()["aggregate"]["id"])


def act(fleet: Fleet, group: int, **action: object) -> Callable[[], int]:
    return lambda: fleet.ask("POST", f"/os-aggregates/{group}/action", action).status_code


def zones_of(fleet: Fleet, host: str) -> set[str]:
    every = fleet.ask("GET", "/os-aggregates", status=200).json()["aggregates"]
    return {group["availability_zone"] for group in every if host in group["hosts"] and group["availability_zone"]}


def test_a_host_that_is_added_to_two_zones_at_once_is_in_one(fleet: Fleet) -> None:
    for number in range(ROUNDS):
        one, other = aggregate(fleet, f"a{number}", "north"), aggregate(fleet, f"b{number}", "south")
        statuses = at_once(*(act(fleet, group, add_host={"host": "c1"}) for group in (one, other)))
        assert len(zones_of(fleet, "c1")) == 1
        assert sorted(statuses) == [200, 409]
        for group in (one, other):
            act(fleet, group, remove_host={"host": "c1"})()


def test_two_aggregates_of_one_host_that_become_zones_at_once_are_not_two_zones(fleet: Fleet) -> None:
    for number in range(ROUNDS):
        groups = [aggregate(fleet, f"{letter}{number}") for letter in "ab"]
        for group in groups:
            assert act(fleet, group, add_host={"host": "c1"})() == 200
        changes = [act(fleet, group, set_metadata={"metadata": {"availability_zone": f"zone{group}"}}) for group in groups]
        assert sorted(at_once(*changes)) == [200, 409]
        assert len(zones_of(fleet, "c1")) == 1
        for group in groups:
            act(fleet, group, remove_host={"host": "c1"})()


def test_metadata_of_an_aggregate_that_is_set_at_once_is_all_kept(fleet: Fleet) -> None:
    group = aggregate(fleet, "a")
    keys = [f"k{number}" for number in range(ROUNDS)]
    assert set(at_once(*(act(fleet, group, set_metadata={"metadata": {key: "v"}}) for key in keys))) == {200}
    shown = fleet.ask("GET", f"/os-aggregates/{group}", status=200).json()["aggregate"]["metadata"]
    assert sorted(shown) == sorted(keys)


def test_metadata_of_a_server_that_is_set_at_once_is_all_kept(fleet: Fleet) -> None:
    server = fleet.create("vm", fleet.flavor("tiny", vcpus=1))
    keys = [f"k{number}" for number in range(ROUNDS)]

    def put(key: str) -> Callable[[], int]:
        return lambda: fleet.ask("PUT", f"/servers/{server}/metadata/{key}", {"meta": {key: "v"}}).status_code

    assert set(at_once(*(put(key) for key in keys))) == {200}
    assert sorted(fleet.show(server)["metadata"]) == sorted(keys)


def test_extra_specs_that_are_set_at_once_are_all_kept(fleet: Fleet) -> None:
    flavor = fleet.flavor("tiny", vcpus=1)
    keys = [f"ours:k{number}" for number in range(ROUNDS)]

    def post(specs: dict[str, str]) -> Callable[[], int]:
        return lambda: fleet.ask("POST", f"/flavors/{flavor}/os-extra_specs", {"extra_specs": specs}).status_code

    assert set(at_once(*(post({"ours:same": "1", key: "1"}) for key in keys))) == {200}
    shown = fleet.ask("GET", f"/flavors/{flavor}/os-extra_specs", status=200).json()["extra_specs"]
    assert sorted(shown) == sorted([*keys, "ours:same"])


def test_extra_specs_that_are_set_at_once_do_not_exceed_what_one_flavor_may_have(fleet: Fleet) -> None:
    flavor = fleet.flavor("full", vcpus=1)
    fleet.ask("POST", f"/flavors/{flavor}/os-extra_specs", {"extra_specs": {f"ours:k{n}": "1" for n in range(127)}}, status=200)

    def post(key: str) -> Callable[[], int]:
        return lambda: fleet.ask("POST", f"/flavors/{flavor}/os-extra_specs", {"extra_specs": {key: "1"}}).status_code

    assert sorted(at_once(*(post(f"ours:more{number}") for number in range(4)))) == [200, 400, 400, 400]


def test_creates_that_a_quota_has_no_room_for_together_are_refused_beyond_it(fleet: Fleet) -> None:
    fleet.flavor("pinned", vcpus=1, hw_cpu_policy="dedicated")
    fleet.ask("PUT", "/os-quota-sets/pinfold", {"quota_set": {"instances": 3}}, status=200)
    body = {"server": server_body("vm", "pinned")}
    statuses = at_once(*[lambda: fleet.ask("POST", "/servers", body).status_code] * 8)
    assert sorted(statuses) == [202] * 3 + [403] * 5
    assert len(fleet.ask("GET", "/servers", status=200).json()["servers"]) == 3


def test_interfaces_that_are_attached_at_once_are_all_there_and_booked(fleet: Fleet) -> None:
    c1 = fleet.agents["c1"]
    c1.hello(replace(report(), networks=(OUT,), features=(INTERFACES,)))
    server = running(fleet, c1)
    before = fleet.usage("c1")["CUSTOM_OVERHEAD_MILLICPU"]
    body = {"interfaceAttachment": {"net_id": network_id("out")}}
    statuses = at_once(*[lambda: fleet.ask("POST", f"/servers/{server}/os-interface", body).status_code] * MANY)
    assert statuses == [200] * MANY
    assert len(interfaces(fleet, server)) == c1.order(server)["request"]["nics"] == MANY
    assert fleet.usage("c1")["CUSTOM_OVERHEAD_MILLICPU"] == before + MANY * NIC_MILLICPU
