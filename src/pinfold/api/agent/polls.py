"""`AgentPolls`: answer the polls of known agents in front of the application. In a fleet at rest, hardly any other request arrives."""

from __future__ import annotations

from pinfold.api.agent.orders import answer_poll, is_poll
from pinfold.api.agent.tokens import digest_of
from pinfold.api.asgi import App, Receive, Scope, Send
from pinfold.api.connections import MEMBER, Kind, Member
from pinfold.api.dependencies import ApiServices
from pinfold.api.errors import UnexpectedErrors
from pinfold.core.identity import HostId

_BEARER = b"Bearer "


class AgentPolls:
    """ASGI: answers a poll itself if its connection is an agent's already and `Presence` knows the agent's token; passes on the rest.

    So a connection's first request always goes through the application's layers, which bound connections and log what they refuse.
    What those add for later polls of the same agent is nothing: a poll changes nothing, has no body, and its token is compared here too.
    """

    def __init__(self, app: App, services: ApiServices) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if is_poll(scope) and (host := self._known(scope)) is not None:
            await UnexpectedErrors(lambda scope, _, send: answer_poll(self._services, host, scope, send))(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _known(self, scope: Scope) -> HostId | None:
        """The host whose agent asks; None if that is not certain from memory alone."""
        member = scope.get("state", {}).get(MEMBER)
        if not isinstance(member, Member) or member.group[0] is not Kind.AGENT or self._services.open_to_all:
            return None
        host = HostId(member.group[1])
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        digest = digest_of(given.removeprefix(_BEARER).decode("latin-1"))
        return host if given.startswith(_BEARER) and self._services.fleet.presence.opens(host, digest) else None
