"""Let agents in: each by the token of its host, which is checked before any byte of the body is read."""

from __future__ import annotations

import asyncio
import hmac
import re
from typing import Final

from pinfold.api.admission import TooManyChecks, admitted, checking, refuse_check, vouch_for
from pinfold.api.agent.backlog import Backlog, is_bounded, is_deferrable
from pinfold.api.agent.joint_reads import JointReads
from pinfold.api.agent.orders import answer_poll, poll_of
from pinfold.api.agent.tokens import digest_of
from pinfold.api.asgi import App, Receive, Scope, Send, header_of
from pinfold.api.connections import Kind
from pinfold.api.cross_site import AGENTS
from pinfold.api.dependencies import ApiServices
from pinfold.api.errors import send_error
from pinfold.core.errors import Unavailable
from pinfold.core.identity import HostId

_AT_ONCE: Final = 16
"""How many reports and readings of all orders are answered at a time; the others of the backlog wait for their turn. So a fleet that comes
back leaves threads to heartbeats and users, and needs no more connections to the database than are kept open (`pool_size`).
"""
_MOST_KNOWN: Final = 65536
_CHALLENGE: Final = (b"www-authenticate", b'Bearer realm="pinfold"')
_FORM: Final = re.compile(r"([0-9a-f-]{36})\.([A-Za-z0-9_-]{43})")


class AgentAuthentication:
    """ASGI: passes a request for an agent's route on with its host's id in `scope["state"]["agent_host"]`, or answers 401."""

    def __init__(self, app: App, services: ApiServices) -> None:
        self._app = app
        self._services = services
        self._known: dict[str, str] = {}
        """The digests of tokens that opened, and their hosts. They are checked each time; knowing them tells an agent from a stranger."""
        presence = services.fleet.presence
        self._reads_of_agents = JointReads(presence.read_all, "pinfold-agent-token")
        self._reads_of_strangers = JointReads(presence.read_all, "pinfold-token")
        self._backlog = Backlog()
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not scope.get("path", "").startswith(AGENTS):
            await self._app(scope, receive, send)
            return
        try:
            host = await self._host(scope, header_of(scope, b"authorization"))
        except Unavailable as error:
            await send_error(scope, send, 503, str(error))
            return
        except TooManyChecks:
            await refuse_check(scope, send)
            return
        if host is None:
            await send_error(scope, send, 401, "An agent's token is required; `pinfold host add` makes one.", _CHALLENGE)
        elif await admitted(scope, send, Kind.AGENT, f"{host} consoles" if scope["type"] == "websocket" else host):
            if (poll := poll_of(scope)) is not None:
                await answer_poll(self._services, HostId(host), poll, scope, send)
                return
            scope.setdefault("state", {})["agent_host"] = host
            await self._pass_on(HostId(host), scope, receive, send)

    async def _pass_on(self, host: HostId, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the routes answer, or tell the agent when to come again because too many requests wait for that."""
        bounded = is_bounded(scope)
        up = self._services.fleet.presence.renewed_within(host, self._services.lease_seconds)
        if not up and (bounded or is_deferrable(scope)) and not self._backlog.takes(host):
            again = self._backlog.seconds()
            message = f"Too many agents report at once; come again in {again} seconds."
            await send_error(scope, send, 503, message, (b"retry-after", b"%d" % again))
        elif not bounded:
            await self._app(scope, receive, send)
        else:
            with self._backlog.entered(host):
                async with self._turns:
                    await self._app(scope, receive, send)

    async def _host(self, scope: Scope, header: str) -> str | None:
        """The id of the host whose token the header carries, None for a missing or wrong one.

        A token that was valid before counts as its agent's at once, so that its connection is kept. It is compared with what `Presence`
        knows, or, if that is not known for certain, with what the database has. Any other token is checked in a separate thread, which
        strangers may keep busy. Each thread reads for all tokens that wait for it at once.

        Raises `TooManyChecks` if too many tokens of the client's address are being checked, and `Unavailable`.
        """
        scheme, _, token = header.partition(" ")
        match = _FORM.fullmatch(token.strip())
        if scheme.lower() != "bearer" or match is None:
            return None
        host, digest = HostId(match[1]), digest_of(token.strip())
        if self._known.get(digest) == host:
            vouch_for(scope, Kind.AGENT, host)
            if self._services.fleet.presence.opens(host, digest):
                return host
            standing = await self._reads_of_agents.of(host)
        else:
            with checking(scope):
                standing = await self._reads_of_strangers.of(host)
        if standing is None or not hmac.compare_digest(standing.token_hash, digest):
            self._known.pop(digest, None)
            return None
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[digest] = host
        return host
