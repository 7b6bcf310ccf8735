"""`AgentPolls`: answer the polls of known agents without the application. In a fleet at rest, hardly any other request arrives.

A poll that waits is an entry in `Presence` and a timer. It has no task of its own.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Callable
from typing import Final

from pinfold.agent.wire import Renewal
from pinfold.api.agent.orders import LINES, Poll, Waited, last_answer, poll_of, unchanged
from pinfold.api.agent.tokens import digest_of
from pinfold.api.asgi import Scope
from pinfold.api.connections import MEMBER, Kind, Member
from pinfold.api.dependencies import ApiServices
from pinfold.api.direct import DirectAnswer, Work
from pinfold.api.errors import error_body, status_of
from pinfold.core.encoding import json_text
from pinfold.core.errors import PinfoldError
from pinfold.core.identity import HostId

_log = logging.getLogger(__name__)
_BEARER: Final = b"Bearer "


class AgentPolls:
    """Takes a poll if its connection is an agent's already, if `Presence` knows the agent's token, and if there is nothing to say yet.

    So a connection's first request always goes through the application's layers, which bound connections and log what they refuse.
    What those add for later polls of the same agent is nothing: a poll changes nothing, has no body, and its token is compared here too.
    """

    def __init__(self, services: ApiServices) -> None:
        self._services = services

    def __call__(self, answer: DirectAnswer, done: Callable[[Work], None]) -> Work | None:
        """Begin to answer a poll; None for a request that the application is to answer."""
        poll = poll_of(answer.scope)
        if poll is None or poll.wait <= 0 or not answer.possible or self._services.ended.is_set():
            return None
        host = self._known(answer.scope, poll)
        return None if host is None else _WaitingPoll(self._services, host, poll, answer, done)

    def _known(self, scope: Scope, poll: Poll) -> HostId | None:
        """The host whose agent asks, if that is certain from memory alone and nothing is new for it."""
        member = scope["state"].get(MEMBER)
        if not isinstance(member, Member) or member.group[0] is not Kind.AGENT or self._services.open_to_all:
            return None
        host = HostId(member.group[1])
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        if not given.startswith(_BEARER):
            return None
        standing = self._services.fleet.presence.standing(host)
        if standing is None or standing.orders != poll.after:
            return None
        digest = digest_of(given[len(_BEARER) :].decode("latin-1"))
        return host if hmac.compare_digest(standing.token_hash, digest) else None


class _WaitingPoll:
    """A poll that waits for orders, and for the moment when its lease is renewed. For the loop's thread."""

    def __init__(self, services: ApiServices, host: HostId, poll: Poll, answer: DirectAnswer, done: Callable[[Work], None]) -> None:
        self._services = services
        self._presence = services.fleet.presence
        self._host = host
        self._poll = poll
        self._answer = answer
        self._done = done
        self._over = False
        self._last: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._since = self._presence.sign(host, services.lease_seconds, poll.audited)
        self._timer = self._loop.call_later(poll.wait, self._end)
        early = self._since if poll.early else float("inf")
        self._unwatch = self._presence.watch(host, poll.after, self._end_soon, early, self._renewed_soon)

    def cancel(self, msg: str | None = None) -> None:
        """End it without an answer: its connection ends."""
        if self._last is not None:
            self._last.cancel(msg)
        elif not self._over:
            self._stop()
            self._answer.cut()
            self._loop.call_soon(self._done, self)  # not at once: the caller cancels all work of a set, which `done` changes

    def _end_soon(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._end)

    def _renewed_soon(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._renewed)

    def _renewed(self) -> None:
        if self._over or self._answer.begun or not (digest := self._presence.renewed(self._host, self._since)):
            return
        noted = self._poll.audited is not None and self._presence.audited(self._host, self._since)
        renewal = Renewal(report=digest, lease_seconds=self._services.lease_seconds, audited=noted)
        self._answer.line(LINES, json_text(renewal).encode() + b"\n")
        self._since = float("inf")

    def _end(self) -> None:
        """Say what the wait has brought: at once if nothing has changed, after a read otherwise."""
        if self._over:
            return
        self._stop()
        standing = self._presence.standing(self._host)
        if standing is not None and standing.orders == self._poll.after:
            waited = Waited(count=standing.orders, digest=self._presence.renewed(self._host, self._since))
            self._say(200, json_text(unchanged(self._services, waited)).encode())
            self._done(self)
        else:
            self._last = self._loop.create_task(self._read_and_say())
            self._last.add_done_callback(lambda _: self._done(self))

    def _stop(self) -> None:
        self._over = True
        self._timer.cancel()
        self._unwatch()

    async def _read_and_say(self) -> None:
        try:
            self._say(200, json_text(await last_answer(self._services, self._host, self._poll.after, self._since)).encode())
        except PinfoldError as error:
            self._say(status_of(error), error_body(self._answer.scope["path"], status_of(error), str(error)))
        except BaseException:
            self._answer.cut()
            raise

    def _say(self, status: int, body: bytes) -> None:
        if self._answer.begun:
            self._answer.last_line(body)
        else:
            self._answer.whole(status, body)
