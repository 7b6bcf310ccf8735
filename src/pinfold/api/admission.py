"""`Admission`: tell the bounds on connections which account or agent a request belongs to, and whose credentials are being checked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pinfold.api.asgi import App, Receive, Scope, Send
from pinfold.api.client_address import address_block, client_of
from pinfold.api.connections import CONNECTIONS, MEMBER, Connections, Kind, Member, stranger
from pinfold.api.errors import send_error

_RETRY: Final = (b"retry-after", b"1")


class Admission:
    """ASGI: counts each request from a trusted proxy as a separate member, and answers 429 when its client has too many."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope.get("state", {})
        member, connections = state.get(MEMBER), state.get(CONNECTIONS)
        if member is None or member.group[0] is not Kind.PROXY:
            await self._app(scope, receive, send)
            return
        request = stranger(address_block(client_of(scope)), proxied=True)
        if not connections.enter(request):
            await _too_many(scope, send)
            return
        connections.works(request)
        try:
            state[MEMBER] = request
            await self._app(scope, receive, send)
        finally:
            connections.leave(request)


async def admitted(scope: Scope, send: Send, kind: Kind, name: str) -> bool:
    """Whether a request of a known account or agent goes on; answers 429 when that one has too many connections."""
    if vouch_for(scope, kind, name):
        return True
    await _too_many(scope, send)
    return False


def vouch_for(scope: Scope, kind: Kind, name: str) -> bool:
    """Whether a request may go on as one of an account or an agent. A request without a socket always may."""
    state = scope.get("state", {})
    member, connections = state.get(MEMBER), state.get(CONNECTIONS)
    return not isinstance(member, Member) or not isinstance(connections, Connections) or connections.vouch(member, kind, name)


class TooManyChecks(Exception):
    """The credentials of a request are not checked now, because those of too many others from its address are."""


@contextmanager
def checking(scope: Scope) -> Iterator[None]:
    """Keep the connection of a request while its credentials are checked in the block. Raises `TooManyChecks`."""
    state = scope.get("state", {})
    member, connections = state.get(MEMBER), state.get(CONNECTIONS)
    if not isinstance(member, Member) or not isinstance(connections, Connections):
        yield
        return
    if not connections.checks(member):
        raise TooManyChecks
    try:
        yield
    finally:
        connections.checked(member)


async def refuse_check(scope: Scope, send: Send) -> None:
    """Answer that the client is to show who it is later."""
    message = "Too many clients at your address show at once who they are; try again in a second."
    await send_error(scope, send, 429, message, _RETRY)


async def _too_many(scope: Scope, send: Send) -> None:
    await send_error(scope, send, 429, "Too many connections are open; try again in a second.", _RETRY)
