"""Polls that are answered without the application: the second and later ones of an agent's connection."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from tests.rig.in_process import Agent, Fleet
from tests.rig.served_fleet import served_fleet

from pinfold.agent.client import ServiceAway, ServiceClient, orders_query
from pinfold.agent.wire import PROTOCOL, Renewal
from pinfold.api.protocol import BoundedProtocol

LONG = 60.0


@contextmanager
def known_client(fleet: Fleet, agent: Agent, count: int) -> Iterator[tuple[ServiceClient, list[str]]]:
    """The client of an agent whose connection is known already, and the paths of the requests that reach the application from now on."""
    asked: list[str] = []
    with served_fleet(fleet, asked) as url:
        client = ServiceClient(url, agent.token)
        client.orders(after=count, wait=0.1, renewed=lambda _: None)
        asked.clear()
        yield client, asked
        client.close()


def test_orders_that_come_while_a_poll_waits_are_its_last_line(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    fleet.flavor("tiny", vcpus=1)
    digest, count = c1.ask("POST", "/heartbeat").json()["report"], c1.orders()["count"]
    told: list[Renewal] = []
    server: list[str] = []

    def create(renewal: Renewal) -> None:
        told.append(renewal)
        server.append(fleet.create("vm", "tiny", host="c1"))

    with known_client(fleet, c1, count) as (client, asked):
        found = client.orders(after=count, wait=50.0, renewed=create).orders
        again = client.orders(after=found.count, wait=3.0, renewed=told.append).orders
        assert asked == []
    seconds = fleet.services.lease_seconds
    assert told == [Renewal(report=digest, lease_seconds=seconds)] * 2
    assert [order.guest for order in found.orders] == server
    assert (again.count, again.orders, again.lease) == (found.count, (), None)


def test_a_poll_whose_host_is_removed_ends_with_the_error(fleet: Fleet) -> None:
    c1, c2 = fleet.host("c1"), fleet.host("c2")
    for agent in (c1, c2):
        agent.ask("POST", "/heartbeat")
    path = f"/agent/v1/orders?after={c2.orders()['count']}&wait={{}}&protocol={PROTOCOL}&alive=true"
    answers: list[httpx.Response] = []
    with known_client(fleet, c1, count := c1.orders()["count"]) as (client, asked):
        with pytest.raises(ServiceAway, match=r"the service failed at GET /agent/v1/orders.*: Host .* could not be found"):
            client.orders(after=count, wait=50.0, renewed=lambda _: fleet.http.delete("/v1/hosts/c1").raise_for_status() and None)
        assert asked == []
        with httpx.Client(base_url=client.url, headers={"Authorization": f"Bearer {c2.token}"}, timeout=LONG) as http:
            assert http.get(path.format("0.1")).status_code == 200
            thread = threading.Thread(target=lambda: answers.append(http.get(path.format("50.0"))))
            thread.start()
            fleet.http.delete("/v1/hosts/c2").raise_for_status()
            thread.join(LONG)
    assert answers[0].status_code in (404, 401)  # it waited, or came after the removal
    assert answers[0].json()["error"]["code"] in ("not-found", "unauthorized")


def test_polls_that_wait_are_answered_when_the_service_ends(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    c1.ask("POST", "/heartbeat")
    count, found, told = c1.orders()["count"], list[Any](), threading.Event()
    with known_client(fleet, c1, count) as (client, asked):
        thread = threading.Thread(target=lambda: found.append(client.orders(after=count, wait=50.0, renewed=lambda _: told.set())))
        thread.start()
        assert told.wait(LONG)
        fleet.services.fleet.presence.end()
        thread.join(LONG)
        assert asked == []
    assert [one.orders.count for one in found] == [count]


def test_a_poll_like_the_one_before_is_not_parsed_and_its_token_is_compared_all_the_same(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    c1 = fleet.host("c1")
    c1.ask("POST", "/heartbeat")
    count, asked, parsed = c1.orders()["count"], list[str](), list[bytes]()
    on_url = BoundedProtocol.on_url
    monkeypatch.setattr(BoundedProtocol, "on_url", lambda self, url: (parsed.append(url), on_url(self, url)))

    def poll(wait: float, *more: str) -> bytes:
        lines = ("Host: api", f"Authorization: Bearer {c1.token}", *more)
        query = orders_query(after=count, wait=wait, alive=True, audited=wait)
        return f"GET /agent/v1/orders?{query} HTTP/1.1\r\n{''.join(f'{line}{chr(13)}{chr(10)}' for line in lines)}\r\n".encode()

    def told(connection: socket.socket) -> bytes:
        heard = b""
        while b'"orders":' not in heard and b'"error":' not in heard:
            heard += connection.recv(65536)
        return heard

    with served_fleet(fleet, asked) as url:
        address = urlsplit(url)
        with socket.create_connection((address.hostname, address.port or 0), timeout=LONG) as connection:
            for wait in (0.1, 0.2, 0.3, 0.4):
                connection.sendall(poll(wait))
                assert b"200 OK" in told(connection)
            assert (len(parsed), len(asked)) == (2, 1)  # the first is the application's, and the second is parsed
            connection.sendall(poll(3.0))
            assert b"application/x-ndjson" in told(connection)
            connection.sendall(poll(0.1, "X-Other: 1"))
            assert b"200 OK" in told(connection)
            assert (len(parsed), len(asked)) == (3, 1)
            half = poll(0.2, "X-Other: 1")
            connection.sendall(half[:50])
            time.sleep(0.3)
            connection.sendall(half[50:])
            assert b"200 OK" in told(connection)
            assert len(asked) == 1
            connection.sendall(poll(0.1))
            assert b"200 OK" in told(connection)
            assert fleet.http.post("/v1/hosts/c1/token", json={}).status_code == 200
            connection.sendall(poll(0.1))
            assert b"401 Unauthorized" in told(connection)
            assert len(asked) == 2


def test_polls_that_are_sent_at_once_are_answered_in_order_and_the_last_ends_the_connection(fleet: Fleet) -> None:
    c1 = fleet.host("c1")
    c1.ask("POST", "/heartbeat")
    count, asked = c1.orders()["count"], list[str]()

    def poll(wait: float, *more: str) -> bytes:
        lines = ("Host: api", f"Authorization: Bearer {c1.token}", *more)
        query = orders_query(after=count, wait=wait, alive=True)
        return f"GET /agent/v1/orders?{query} HTTP/1.1\r\n{''.join(f'{line}{chr(13)}{chr(10)}' for line in lines)}\r\n".encode()

    with served_fleet(fleet, asked) as url:
        address = urlsplit(url)
        with socket.create_connection((address.hostname, address.port or 0), timeout=LONG) as connection:
            connection.sendall(poll(0.1))
            heard = connection.recv(65536)
            assert heard.startswith(b"HTTP/1.1 200 ")
            assert len(asked) == 1
            connection.sendall(poll(0.2) + poll(0.3) + poll(0.1, "Connection: close"))
            while more := connection.recv(65536):
                heard += more
    assert heard.count(b"HTTP/1.1 200 OK") == 4
    assert heard.count(f'"count":{count},'.encode()) == 4
    assert heard.count(b"connection: close") == 1
    assert len(asked) == 2  # the first, and the one that ends the connection
