"""Requests from a trusted proxy are bounded by the client address in them, and leave the count when they end."""

from __future__ import annotations

import asyncio
from typing import Any

from pinfold.api.admission import Admission, admitted
from pinfold.api.asgi import Receive, Scope, Send
from pinfold.api.connections import CONNECTIONS, MEMBER, Connections, Kind, proxy, stranger
from pinfold.core.settings import ConnectionLimits


def test_a_client_behind_a_proxy_is_bounded_and_others_behind_it_are_not() -> None:
    connections, connection = Connections(ConnectionLimits(per_address=2)), proxy()
    assert connections.enter(connection)
    going_on = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/agent" and not await admitted(scope, send, Kind.AGENT, "c1"):
            return
        await going_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def ask(client: str, path: str = "/") -> int:
        told: list[Any] = []

        async def send(message: Any) -> None:
            told.append(message)

        scope: Scope = {"type": "http", "path": path, "client": (client, 1), "state": {MEMBER: connection, CONNECTIONS: connections}}
        await Admission(app)(scope, None, send)  # type: ignore[arg-type]
        status: int = told[0]["status"]
        if status == 429:
            assert (b"retry-after", b"1") in told[0]["headers"]
        return status

    async def story() -> list[int]:
        waiting = [asyncio.create_task(ask(client)) for client in ("192.0.2.1", "192.0.2.1")]
        await asyncio.sleep(0)
        refused = await ask("192.0.2.1")
        others = [asyncio.create_task(ask(*who)) for who in (("192.0.2.2", "/"), ("192.0.2.2", "/agent"), ("192.0.2.2", "/"))]
        await asyncio.sleep(0)
        going_on.set()
        return [refused, *await asyncio.gather(*waiting, *others), await ask("192.0.2.1")]

    assert asyncio.run(story()) == [429, 200, 200, 200, 200, 200, 200]
    assert connections.count == 1
    assert connections.strangers == 0


def test_an_account_with_too_many_connections_is_told_to_try_again() -> None:
    connections = Connections(ConnectionLimits(per_account=1))
    told: list[Any] = []

    async def send(message: Any) -> None:
        told.append(message)

    async def ask() -> bool:
        member = stranger("192.0.2.1")
        assert connections.enter(member)
        connections.works(member)
        return await admitted(
            {"type": "http", "path": "/", "state": {MEMBER: member, CONNECTIONS: connections}}, send, Kind.ACCOUNT, "alice"
        )

    assert [asyncio.run(ask()), asyncio.run(ask())] == [True, False]
    assert told[0]["status"] == 429
    assert asyncio.run(admitted({"type": "http", "path": "/"}, send, Kind.ACCOUNT, "alice"))
