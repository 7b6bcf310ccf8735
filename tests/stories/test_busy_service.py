"""A service to which too many agents report at once tells them when to come again. What keeps a lease is answered all the same."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections import Counter
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from tests.build.hosts import report
from tests.rig.in_process import Fleet
from tests.rig.served_fleet import served_fleet

from pinfold.agent.client import ServiceAway, ServiceClient
from pinfold.agent.wire import Hello
from pinfold.api.agent import backlog
from pinfold.api.agent.tokens import make_token
from pinfold.api.connections import Connections
from pinfold.core.drift.written import FindingsReport
from pinfold.core.identity import HostId
from pinfold.core.settings import ConnectionLimits
from pinfold.store import hosts
from pinfold.store.presence import Standing


def test_reports_are_refused_with_a_time_to_come_again_and_leases_are_kept(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    c1, c2 = fleet.host("c1"), fleet.host("c2")
    for agent in (c1, c2):
        agent.ask("POST", "/heartbeat")
    count = c1.orders()["count"]
    hello = Hello(name="c2", report=c2.reported)
    monkeypatch.setattr(backlog, "MOST", 0)
    with served_fleet(fleet) as url, closing(ServiceClient(url, c1.token)) as known, closing(ServiceClient(url, c2.token)) as other:
        for call in (lambda: other.hello(hello), lambda: other.findings(FindingsReport()), lambda: other.orders(after=-1, wait=0.0)):
            with pytest.raises(ServiceAway, match=r"Too many agents report at once; come again in [0-9]+ seconds") as refused:
                call()
            assert 2.0 <= refused.value.again <= 132.0
        assert other.heartbeat().lease_seconds == fleet.services.lease_seconds
        assert known.orders(after=count, wait=3.0, renewed=lambda _: None).orders.count == count
        known.findings(FindingsReport())  # its poll has renewed the lease: it is up, and is not refused
        assert fleet.http.get("/v1/hosts/c1").json()["host"]["up"] is True


AGENTS = 150
PLACES = 16
"""Of one address. The agents ask from one."""


def test_a_fleet_behind_one_address_comes_back_and_each_token_is_checked_once(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.services = replace(fleet.services, connections=Connections(ConnectionLimits(per_address=PLACES, strangers=2 * PLACES)))
    monkeypatch.setattr(backlog, "MOST", 8)
    tokens, checked = dict(registered(fleet, number) for number in range(AGENTS)), Counter[str]()
    read, reads = fleet.services.fleet.presence.read_all, list[tuple[HostId, ...]]()

    def counting(ids: Iterable[HostId]) -> dict[HostId, Standing]:
        wanted = tuple(ids)
        if threading.current_thread().name.startswith("pinfold-token"):  # not of an agent whose token was right before
            checked.update(wanted)
            reads.append(wanted)
        return read(wanted)

    monkeypatch.setattr(fleet.services.fleet.presence, "read_all", counting)
    with served_fleet(fleet) as url:
        address = urlsplit(url).hostname, urlsplit(url).port

        async def all_of_them() -> None:
            await asyncio.gather(*(until_answered(address, token) for token in tokens.values()))

        asyncio.run(all_of_them())
    assert checked == Counter(dict.fromkeys(tokens, 1)), "a check that has begun is finished"
    assert len(reads) < AGENTS, "some were read together"


def registered(fleet: Fleet, number: int) -> tuple[HostId, str]:
    """A host that is down, and the token of its agent."""
    host = HostId(str(uuid.UUID(int=number, version=4)))
    token, digest = make_token(host)
    with fleet.database.write() as connection:
        hosts.register(connection, host_id=host, name=f"c{number}", report=report(), token_hash=digest, lease_seconds=-1.0)
    return host, token


async def until_answered(address: tuple[str | None, int | None], token: str) -> None:
    """Read all orders, as an agent that comes back, and come again soon after each refusal and each end of the connection."""
    ask = f"GET /agent/v1/orders?after=-1&wait=0.0&protocol=4 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    while True:
        with suppress(OSError, EOFError):
            reader, writer = await asyncio.open_connection(*address)
            try:
                writer.write(ask)
                status = (await reader.readuntil(b"\r\n\r\n")).split()[1]
                assert status in (b"200", b"429", b"503"), status
                if status == b"200":
                    return
            finally:
                writer.close()
        await asyncio.sleep(0.05)
