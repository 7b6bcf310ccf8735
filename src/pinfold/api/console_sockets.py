"""Connect users' WebSockets with the consoles of their servers, which agents bring.

1. A user connects with a token. The agent of the server's host is asked, by a question, to connect the server's console to this process.
2. The agent connects to the number of the question. Then the user is let in, and each passes on what the other sends.
3. The end of either is the end of both. So is a time in which nothing was typed or printed.
"""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qs

from pinfold.api.admission import admitted
from pinfold.api.agent_answer import agent_answer
from pinfold.api.asgi import App, Message, Receive, Scope, Send
from pinfold.api.compute.servers.agent_answers import host_of
from pinfold.api.connections import Kind
from pinfold.api.dependencies import ApiServices
from pinfold.api.errors import send_error, status_of
from pinfold.api.threads import in_thread
from pinfold.api.websocket import AGENTS, CLIENTS
from pinfold.core.errors import Conflict, PinfoldError, Unavailable
from pinfold.core.guest_questions import About, GuestAnswer
from pinfold.core.identity import HostId
from pinfold.store import guest_questions
from pinfold.store.records import GuestRecord, HostRecord, Observed

IDLE_SECONDS: Final = 600.0
CONNECT_SECONDS: Final = 8.0
"""How long an agent may take. Clients commonly wait ten seconds."""
MOST_OF_AN_ACCOUNT: Final = 16
MOST_OF_A_HOST: Final = 16
"""The most consoles that one process serves at a time, by account and by host. An agent opens as many."""
_CHECKS: Final = 2
_NUMBER: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_ASKED_SECONDS: Final = 2.0
"""How long an agent may be ahead of the process that asked it: the question is visible before its number is known here."""
_LOOK_SECONDS: Final = 0.05
_UNKNOWN: Final = "This token is unknown or has expired, or its server is deleted; ask for a new console URL."


@dataclass(frozen=True, slots=True)
class _Side:
    """One of the two WebSockets of a console."""

    receive: Receive
    send: Send


@dataclass(frozen=True, slots=True)
class _Console:
    """A console that waits for its agent, or is open."""

    account: str
    host: HostId
    agent: asyncio.Future[_Side]
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class ConsoleSockets:
    """ASGI: answers all WebSockets. Other requests go on. Agents are authenticated already. For one thread."""

    def __init__(self, app: App, services: ApiServices) -> None:
        self._app = app
        self._services = services
        self._waiting: dict[int, _Console] = {}
        self._open: list[_Console] = []
        self._threads = ThreadPoolExecutor(_CHECKS, thread_name_prefix="pinfold-console")
        """Strangers may keep them busy."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
        elif scope["path"].startswith(AGENTS):
            await self._serve_agent(scope, receive, send)
        elif scope["path"].rstrip("/") == CLIENTS and self._services.consoles is not None:
            await self._serve_client(scope, receive, send)
        else:
            await send_error(scope, send, 404, "There is no console here.")

    async def _serve_client(self, scope: Scope, receive: Receive, send: Send) -> None:
        token = _token_of(scope)
        await receive()
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._threads, self._services.fleet.consoles.opened, token)
            if found is None:
                await send_error(scope, send, 403, _UNKNOWN)
                return
            known, guest = found
            if not await admitted(scope, send, Kind.ACCOUNT, known.account):
                return
            host = await in_thread(host_of, self._services, guest)
            console = _Console(known.account, host.id, asyncio.get_running_loop().create_future())
            self._refuse_too_many(console)
        except PinfoldError as error:
            await send_error(scope, send, status_of(error), str(error))
            return
        self._open.append(console)
        try:
            await self._join(console, guest, host, scope, _Side(receive, send))
        finally:
            self._open.remove(console)
            console.ended.set()

    def _refuse_too_many(self, console: _Console) -> None:
        if sum(other.account == console.account for other in self._open) >= MOST_OF_AN_ACCOUNT:
            raise Unavailable(f"the account has {MOST_OF_AN_ACCOUNT} consoles open, and no more may be: close one")
        if sum(other.host == console.host for other in self._open) >= MOST_OF_A_HOST:
            raise Unavailable(f"{MOST_OF_A_HOST} consoles of the server's host are open, and no more may be: try again later")

    async def _join(self, console: _Console, guest: GuestRecord, host: HostRecord, scope: Scope, client: _Side) -> None:
        try:
            agent = await self._ask(console, guest, host)
        except PinfoldError as error:
            await send_error(scope, client.send, status_of(error), str(error))
            return
        accept: Message = {"type": "websocket.accept"}
        if "binary" in scope["subprotocols"]:
            accept["subprotocol"] = "binary"
        reason = ""
        with suppress(OSError):  # the client has gone meanwhile
            await client.send(accept)
            reason = await _relay(client, agent)
        for side in (client, agent):
            with suppress(OSError, RuntimeError):  # it has ended already
                await side.send({"type": "websocket.close", "code": 1000, "reason": reason})

    async def _ask(self, console: _Console, guest: GuestRecord, host: HostRecord) -> _Side:
        """The agent's side, when the agent has connected. Raises `Conflict` with the agent's reason, or `Unavailable`."""
        if guest.observed not in (Observed.RUNNING, Observed.PAUSED):
            raise Conflict(f"Instance {guest.id} does not run: only a running server has a console")
        assert self._services.consoles is not None
        questions, url, number = self._services.fleet.questions, self._services.consoles.agent_url, 0

        async def ask() -> partial[GuestAnswer | None]:
            nonlocal number
            number = await in_thread(partial(questions.ask, host.id, guest.id, About.CONSOLE, url=url))
            self._waiting[number] = console
            return partial(questions.answered, number)

        asked = asyncio.create_task(agent_answer(self._services, guest_questions.topic(host.id), ask, CONNECT_SECONDS))
        try:
            either: set[asyncio.Future[Any]] = {asked, console.agent}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if console.agent.done():
                return console.agent.result()
            answer = asked.result()
        finally:
            asked.cancel()
            self._waiting.pop(number, None)
            if number:
                await in_thread(questions.forget, number)
        if answer is None:
            raise Unavailable(f"the agent of host {host.name} has not opened the console within {CONNECT_SECONDS:.0f} seconds")
        raise Conflict(answer.failure or "the agent did not open the console")

    async def _serve_agent(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        console = await self._console(scope["path"].removeprefix(AGENTS), scope["state"]["agent_host"])
        if console is None:
            await send_error(scope, send, 404, "Nobody waits for this console here.")
            return
        await send({"type": "websocket.accept"})
        console.agent.set_result(_Side(receive, send))
        await console.ended.wait()

    async def _console(self, number: str, host: HostId) -> _Console | None:
        """The console that waits for that host's agent under that number."""
        until = asyncio.get_running_loop().time() + _ASKED_SECONDS
        while _NUMBER.fullmatch(number):
            console = self._waiting.get(int(number))
            if console is not None:
                return console if console.host == host and not console.agent.done() else None
            if asyncio.get_running_loop().time() >= until:
                break
            await asyncio.sleep(_LOOK_SECONDS)
        return None


async def _relay(client: _Side, agent: _Side) -> str:
    """Pass on what either side sends until one ends, or nothing comes for too long. Returns why, '' if the side that ended does not say."""
    loop = asyncio.get_running_loop()
    moved = loop.time()

    async def pass_on(source: _Side, sink: _Side) -> str:
        nonlocal moved
        while (message := await source.receive())["type"] == "websocket.receive":
            moved = loop.time()
            data = message.get("bytes")
            await sink.send({"type": "websocket.send", "bytes": (message.get("text") or "").encode() if data is None else data})
        return str(message.get("reason") or "")

    tasks = [loop.create_task(pass_on(client, agent)), loop.create_task(pass_on(agent, client))]
    try:
        while (left := moved + IDLE_SECONDS - loop.time()) > 0:
            done, _ = await asyncio.wait(tasks, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if done:
                return next((task.result() for task in done if task.exception() is None), "")
        return f"nothing was typed or printed for {IDLE_SECONDS:.0f} seconds"
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _token_of(scope: Scope) -> str:
    """The token of a link, '' if it has none or more parameters than a link has."""
    try:
        found: dict[str, list[str]] = parse_qs(scope["query_string"].decode("latin-1"), max_num_fields=8)
    except ValueError:
        return ""
    return found.get("token", [""])[0]
