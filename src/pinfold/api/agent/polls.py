"""`AgentPolls`: answer the polls of known agents without the application. In a fleet at rest, hardly any other request arrives.

A poll that waits is an entry in `Presence`, and shares a timer with others. It has no task of its own. The next poll of the connection is
the same object.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from pinfold.agent.wire import Renewal
from pinfold.api.agent.orders import LINES, Poll, Waited, last_answer, poll_in, poll_of, unchanged
from pinfold.api.agent.tokens import digest_of
from pinfold.api.asgi import header_of
from pinfold.api.connections import MEMBER, Kind, Member
from pinfold.api.dependencies import ApiServices
from pinfold.api.direct import DirectAnswer, DirectWork, Work
from pinfold.api.errors import error_body, status_of
from pinfold.api.shared_timer import SharedTimer
from pinfold.core.encoding import json_text
from pinfold.core.errors import PinfoldError
from pinfold.core.identity import HostId
from pinfold.service.presence import Sign, Wait
from pinfold.store.presence import Standing

_BEARER: Final = "Bearer "


class AgentPolls:
    """Takes a poll if its connection is an agent's already, if `Presence` knows the agent's token, and if there is nothing to say yet.

    So a connection's first request always goes through the application's layers, which bound connections and log what they refuse.
    What those add for later polls of the same agent is nothing: a poll changes nothing, has no body, and its token is compared here too.
    """

    def __init__(self, services: ApiServices) -> None:
        self._services = services
        self._handover: _Handover | None = None
        self._timer: SharedTimer | None = None

    def __call__(self, answer: DirectAnswer, done: Callable[[Work], None]) -> DirectWork | None:
        """Begin to answer a poll; None for a request that the application is to answer."""
        poll = poll_of(answer.scope)
        member = answer.scope["state"].get(MEMBER) if poll is not None else None
        if poll is None or not isinstance(member, Member) or member.group[0] is not Kind.AGENT or self._services.open_to_all:
            return None
        given = header_of(answer.scope, b"authorization")
        if not given.startswith(_BEARER):
            return None
        if self._handover is None or self._timer is None:
            self._handover, self._timer = _Handover(), SharedTimer()
        digest = digest_of(given[len(_BEARER) :])
        made = _WaitingPoll(self._services, HostId(member.group[1]), digest, answer, done, self._handover, self._timer)
        return made if made.begin(poll) else None


class _Handover:
    """Hands calls from other threads to the loop of the thread that makes it, many at once."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._calls: deque[Callable[[], None]] = deque()
        self._due = False

    def soon(self, call: Callable[[], None]) -> None:
        """Let the loop call it. Any thread may ask for that."""
        self._calls.append(call)
        if not self._due and not self._loop.is_closed():
            self._due = True
            self._loop.call_soon_threadsafe(self._run)

    def _run(self) -> None:
        self._due = False  # first: what is appended from now on is called now, or asks for another run
        try:
            for _ in range(len(self._calls)):
                self._calls.popleft()()
        finally:
            if self._calls and not self._due:
                self._due = True
                self._loop.call_soon(self._run)


class _WaitingPoll:
    """A poll that waits for orders, and for the moment when its lease is renewed; then the next one of the same connection. For the loop's
    thread.
    """

    def __init__(
        self,
        services: ApiServices,
        host: HostId,
        digest: str,
        answer: DirectAnswer,
        done: Callable[[Work], None],
        handover: _Handover,
        timer: SharedTimer,
    ) -> None:
        self._services = services
        self._presence = services.fleet.presence
        self._host = host
        self._digest = digest
        self._answer = answer
        self._done = done
        self._timer = timer
        self._loop = asyncio.get_running_loop()
        self._over = True
        self._last: asyncio.Task[None] | None = None
        # One for all polls of the connection. A call for a poll before this one ends this one early, which its agent takes for the end of
        # its time.
        self._waiting = Wait(0, lambda: handover.soon(self._end), float("inf"), lambda: handover.soon(self._renewed))

    def begin(self, poll: Poll) -> bool:
        """Wait, if the token is known to be right, if there is nothing to say yet, and if the connection goes on."""
        if poll.wait <= 0 or not self._answer.possible or self._services.ended.is_set():
            return False
        self._waiting.after = poll.after
        sign = Sign(time.monotonic(), self._services.lease_seconds, poll.audited)
        since = self._presence.wait(self._host, self._digest, sign, self._waiting, early=poll.early)
        if since is None:
            return False
        self._answer.renew()
        self._poll, self._over, self._since = poll, False, since
        self._due = self._timer.within(poll.wait, self._end)
        return True

    def again(self, line: bytes) -> bool:
        """Wait once more, for a poll of the same agent in the same form. The token is that of the poll before, and compared again."""
        poll = poll_in(line)
        return poll is not None and self._over and self._last is None and self.begin(poll)

    def cancel(self, msg: str | None = None) -> None:
        """End it without an answer: its connection ends."""
        if self._last is not None:
            self._last.cancel(msg)
        elif not self._over:
            self._stop()
            self._answer.cut()
            self._loop.call_soon(self._done, self)  # not at once: the caller cancels all work of a set, which `done` changes

    def _renewed(self) -> None:
        if self._over or self._answer.begun:
            return
        digest, noted = self._presence.renewal(self._host, self._since)
        if digest:
            renewal = Renewal(report=digest, lease_seconds=self._services.lease_seconds, audited=noted and self._poll.audited is not None)
            self._answer.line(LINES, json_text(renewal).encode() + b"\n")
            self._since = float("inf")

    def _end(self) -> None:
        """Say what the wait has brought: at once if nothing has changed, after a read otherwise."""
        if self._over:
            return
        standing = self._stop()
        if standing is not None and standing.orders == self._poll.after:
            waited = Waited(count=standing.orders, digest=self._presence.renewed(self._host, self._since))
            self._say(200, json_text(unchanged(self._services, waited)).encode())
            self._done(self)
        else:
            self._last = self._loop.create_task(self._read_and_say())
            self._last.add_done_callback(lambda _: self._done(self))

    def _stop(self) -> Standing | None:
        self._over = True
        self._due.cancel()
        return self._presence.leave(self._host, self._waiting)

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
