"""Polls for orders: what they answer, when they are a sign of life, and that the short way answers what the route does."""

from __future__ import annotations

import threading
import time
from typing import Any

import httpx
import pytest
from tests.rig.in_process import Agent, Fleet
from tests.rig.served_fleet import served_fleet
from tests.service.test_report_costs import statements
from tests.service.test_together import counted

from pinfold.agent.client import ServiceAway, ServiceClient, orders_query
from pinfold.agent.responses import ParsedOrders
from pinfold.agent.wire import PROTOCOL, Orders, Renewal
from pinfold.api.agent.orders import read_orders
from pinfold.api.agent.tokens import make_token
from pinfold.core.drift.written import FindingsReport
from pinfold.core.identity import HostId
from pinfold.store import findings

EARLIER = f"&protocol={PROTOCOL}&alive=true"
"""The end of a poll of an agent that does not ask for the renewal early."""


def poll(agent: Agent, after: int, wait: float, *, alive: bool = True) -> dict[str, Any]:
    """What a poll of an agent answers that does not ask for the renewal early."""
    answer = agent.ask("GET", f"/orders?after={after}&wait={wait}{EARLIER if alive else EARLIER.partition('&alive')[0]}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    found: dict[str, Any] = answer.json()
    return found


def test_a_poll_that_waited_in_vain_tells_the_count_and_the_lease_that_it_renewed(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    digest = c1.ask("POST", "/heartbeat").json()["report"]
    count = c1.orders()["count"]
    before = fleet.http.get("/v1/hosts/c1").json()["host"]["up"]
    found = poll(c1, count, 3.0)
    assert before is True
    assert found["lease"] == {"report": digest, "lease_seconds": fleet.services.lease_seconds, "audited": False}
    assert (found["count"], found["orders"], found["protocol"]) == (count, [], PROTOCOL)


def test_a_poll_after_the_goodbye_renews_nothing(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    count = c1.orders()["count"]
    assert c1.ask("DELETE", "/host").status_code == 204
    assert poll(c1, count, 2.0)["lease"] is None
    assert fleet.http.get("/v1/hosts/c1").json()["host"]["up"] is False
    assert c1.ask("POST", "/heartbeat").status_code == 200
    assert fleet.http.get("/v1/hosts/c1").json()["host"]["up"] is True


def test_a_poll_with_news_answers_at_once_what_the_route_answers(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    fleet.flavor("tiny", vcpus=1)
    count = c1.orders()["count"]
    waiting: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: waiting.append(poll(c1, count, 50.0)))
    thread.start()
    time.sleep(0.2)
    server = fleet.create("vm", "tiny", host="c1")
    thread.join(40)
    (found,) = waiting
    assert [order["guest"] for order in found["orders"]] == [server]
    assert found["lease"] is None
    assert found == poll(c1, -1, 0.0) == poll(c1, -1, 0.0, alive=False)
    other_form = c1.ask("GET", f"/orders?alive=true&protocol={PROTOCOL}&wait=0&after=-1")
    assert other_form.json() == found


def test_a_poll_that_is_no_sign_of_life_tells_the_count_and_no_lease_and_earlier_agents_all_orders(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    fleet.flavor("tiny", vcpus=1)
    server = fleet.create("vm", "tiny", host="c1")
    count = c1.orders()["count"]
    found = poll(c1, count, 0.1, alive=False)
    assert (found["count"], found["orders"], found["lease"]) == (count, [], None)
    earlier = c1.ask("GET", f"/orders?after={count}&wait=0.1&protocol={PROTOCOL - 1}").json()
    assert (earlier["count"], [order["guest"] for order in earlier["orders"]]) == (count, [server])


def test_all_orders_of_a_host_take_one_statement_and_two_more_for_its_guests(fleet: Fleet) -> None:
    c1, c2 = fleet.host("c1"), fleet.host("c2")
    fleet.flavor("tiny", vcpus=1)
    server = fleet.create("vm", "tiny", host="c1")
    with counted(fleet.services.database) as seen:
        orders = read_orders(fleet.services, HostId(c2.id))
    assert (orders.orders, len(statements(seen))) == ((), 1)
    with counted(fleet.services.database) as seen:
        orders = read_orders(fleet.services, HostId(c1.id))
    assert ([one.guest for one in orders.orders], len(statements(seen))) == ([server], 3)


def test_a_poll_with_a_replaced_token_is_refused_at_once(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    count = c1.orders()["count"]
    poll(c1, count, 0.1)
    assert fleet.http.post("/v1/hosts/c1/token", json={}).status_code == 200
    answer = c1.ask("GET", f"/orders?{orders_query(after=count, wait=0.1, alive=True)}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")


def test_a_poll_of_a_host_that_is_removed_meanwhile_ends(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    count = c1.orders()["count"]
    answers: list[int] = []
    thread = threading.Thread(
        target=lambda: answers.append(c1.ask("GET", f"/orders?{orders_query(after=count, wait=50.0, alive=True)}").status_code)
    )
    thread.start()
    time.sleep(0.2)
    assert fleet.http.delete("/v1/hosts/c1").status_code == 204
    thread.join(40)
    assert answers in ([404], [401])


def test_later_polls_of_a_connection_are_answered_in_front_of_the_application_until_the_token_changes(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    count, host = c1.orders()["count"], HostId(fleet.http.get("/v1/hosts/c1").json()["host"]["id"])
    path = f"/agent/v1/orders?after={count}&wait=2.0{EARLIER}"
    asked: list[str] = []
    with served_fleet(fleet, asked) as url, httpx.Client(base_url=url, headers={"Authorization": f"Bearer {c1.token}"}, timeout=60) as http:
        first = http.get(path)
        assert (first.status_code, len(asked)) == (200, 1)
        second = http.get(path)
        assert (second.status_code, len(asked)) == (200, 1)
        assert second.json() == first.json()
        assert second.json()["lease"]["lease_seconds"] == fleet.services.lease_seconds
        wrong = http.get(path, headers={"Authorization": f"Bearer {c1.token[:-1]}{'x' if c1.token[-1] != 'x' else 'y'}"})
        assert (wrong.status_code, len(asked)) == (401, 2)
        _, digest = make_token(host)
        fleet.services.fleet.hosts.renew_token(host, digest)
        assert (http.get(path).status_code, len(asked)) == (401, 3)


def polled(fleet: Fleet, url: str, agent: Agent, after: int, wait: float) -> tuple[list[float], list[Renewal], ParsedOrders]:
    """A poll by the client of the real agent: when the renewal was told and when the orders came, in seconds after it was sent."""
    client, told, began = ServiceClient(url, agent.token), list[Renewal](), time.monotonic()
    times: list[float] = []

    def renewed(renewal: Renewal) -> None:
        told.append(renewal)
        times.append(time.monotonic() - began)

    try:
        parsed = client.orders(after=after, wait=wait, renewed=renewed)
    finally:
        client.close()
    return [*times, time.monotonic() - began], told, parsed


def test_an_agent_hears_early_that_its_poll_has_renewed_the_lease_and_then_waits_for_orders(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    fleet.flavor("tiny", vcpus=1)
    digest, count = c1.ask("POST", "/heartbeat").json()["report"], c1.orders()["count"]
    with served_fleet(fleet) as url:
        (early, late), told, parsed = polled(fleet, url, c1, count, 6.0)
        assert early < late - 1.0
        assert told == [Renewal(report=digest, lease_seconds=fleet.services.lease_seconds)]
        assert parsed == ParsedOrders(orders=Orders(count=count, protocol=PROTOCOL))
        heard: list[Renewal] = []
        client = ServiceClient(url, c1.token)
        server: list[str] = []

        def create(renewal: Renewal) -> None:
            heard.append(renewal)
            server.append(fleet.create("vm", "tiny", host="c1"))

        found = client.orders(after=count, wait=50.0, renewed=create).orders
        client.close()
    assert len(heard) == 1
    assert [order.guest for order in found.orders] == server
    assert found.lease is None


def test_a_lease_that_is_not_renewed_is_not_told_early(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    count = c1.orders()["count"]
    assert c1.ask("DELETE", "/host").status_code == 204
    with served_fleet(fleet) as url:
        _, told, parsed = polled(fleet, url, c1, count, 3.0)
    assert told == []
    assert parsed.orders.lease is None


def test_a_poll_whose_host_is_removed_after_the_renewal_was_told_fails(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    c1.ask("POST", "/heartbeat")
    count = c1.orders()["count"]
    with served_fleet(fleet) as url:
        client = ServiceClient(url, c1.token)
        with pytest.raises(ServiceAway, match=r"the service failed at GET /agent/v1/orders.*: Host .* could not be found"):
            client.orders(after=count, wait=50.0, renewed=lambda _: fleet.http.delete("/v1/hosts/c1").raise_for_status() and None)
        client.close()


def test_a_poll_makes_the_report_of_findings_newer_that_its_agent_has_found_again(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    c1.ask("POST", "/heartbeat")
    count, host = c1.orders()["count"], HostId(fleet.http.get("/v1/hosts/c1").json()["host"]["id"])
    database = fleet.services.database
    told: list[Renewal] = []

    def reported() -> float | None:
        with database.read() as connection:
            return findings.reported(connection, host)

    with served_fleet(fleet) as url:
        client = ServiceClient(url, c1.token)
        client.orders(after=count, wait=3.0, renewed=told.append, audited=0.5)
        assert reported() is None
        client.findings(FindingsReport())
        with database.write() as connection:
            connection.exec_driver_sql("UPDATE host SET audited = audited - 200")
        client.orders(after=count, wait=3.0, renewed=told.append, audited=0.5)
        client.close()
    assert [one.audited for one in told] == [False, True]
    assert database.now() - (reported() or 0.0) < 100
