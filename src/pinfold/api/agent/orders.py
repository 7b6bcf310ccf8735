"""What an agent is to do, and the wait for news of it. Most requests of a fleet are polls after which nothing has changed.

`answer_poll` answers the first poll of a connection without the application's routes, and `polls` answers those that follow without the
application. Both take only requests in the form in which agents of this version send them; the route answers every other form, by the same
functions.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import Struct

from pinfold.agent.wire import IN_LINES, PROTOCOL, GuestOrder, Orders, Renewal
from pinfold.api.asgi import Scope, Send
from pinfold.api.dependencies import ApiServices
from pinfold.api.errors import error_body, send_error, status_of
from pinfold.api.threads import in_thread
from pinfold.core.encoding import json_text
from pinfold.core.errors import PinfoldError
from pinfold.core.identity import HostId
from pinfold.service.guests.lifecycle import REBOOTING_HARD
from pinfold.service.presence import Presence
from pinfold.store import guest_questions, guests, history, host_orders, port_changes, repairs, tombstones
from pinfold.store.port_changes import NO_PORTS
from pinfold.store.presence import Standing
from pinfold.store.records import written_claim

LONGEST_WAIT: Final = 60.0
_PATH: Final = "/agent/v1/orders"
LINES: Final = ((b"content-type", IN_LINES.encode()), (b"cache-control", b"no-transform"), (b"x-accel-buffering", b"no"))
"""Of an answer in lines. A proxy is to pass each on at once: nginx reads the last header, others at most compress, which they must not."""
_FORM: Final = (
    rb"after=(-1|[0-9]{1,18})&wait=([0-9]{1,2}(?:\.[0-9]{1,20})?)&protocol=%d&alive=true(&early=true(?:&audited=([0-9]{1,4}\.[0-9]))?)?"
    % PROTOCOL
)
_POLL: Final = re.compile(_FORM)
_LINE: Final = re.compile(rb"GET %b\?%b HTTP/1\.1" % (_PATH.encode(), _FORM))


class Poll(Struct, frozen=True, kw_only=True):
    """A poll that is a sign of life: it waits `wait` seconds for another count of orders than `after`. With `early`, its agent takes an
    answer in lines. An audit found what is stored `audited` seconds ago, None if none did.
    """

    after: int
    wait: float
    early: bool
    audited: float | None


class Waited(Struct, frozen=True, kw_only=True):
    """The count of the host's orders after a wait, and the digest of its report if the wait has renewed its lease and nobody was told."""

    count: int
    digest: str | None = None


def poll_of(scope: Scope) -> Poll | None:
    """The poll that a request is; None for any other request, and for other forms of a poll."""
    if scope["type"] != "http" or scope["path"] != _PATH or scope["method"] != "GET":
        return None
    return _poll(_POLL.fullmatch(scope["query_string"]))


def poll_in(line: bytes) -> Poll | None:
    """The poll that the first line of a request asks for; None for any other line."""
    return _poll(_LINE.fullmatch(line))


def _poll(asked: re.Match[bytes] | None) -> Poll | None:
    if asked is None:
        return None
    after, wait, early, audited = asked.groups()
    return Poll(
        after=int(after),
        wait=min(float(wait), LONGEST_WAIT),
        early=early is not None,
        audited=None if audited is None else float(audited),
    )


async def answer_poll(services: ApiServices, host: HostId, poll: Poll, scope: Scope, send: Send) -> None:
    """Answer a poll of the host's agent."""
    told = False

    async def tell(renewal: Renewal) -> None:
        nonlocal told
        told = True
        await send({"type": "http.response.start", "status": 200, "headers": LINES})
        await send({"type": "http.response.body", "body": json_text(renewal).encode() + b"\n", "more_body": True})

    try:
        waited = await wait_for_news(
            services, host, after=poll.after, wait=poll.wait, alive=True, tell=tell if poll.early else None, audited=poll.audited
        )
        orders = await _answer_to(services, host, poll.after, waited)
    except PinfoldError as error:
        if told:
            await send({"type": "http.response.body", "body": error_body(_PATH, status_of(error), str(error))})
        else:
            await send_error(scope, send, status_of(error), str(error))
        return
    body = json_text(orders).encode()
    if not told:
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def last_answer(services: ApiServices, host: HostId, after: int, since: float) -> Orders:
    """The answer to a poll that has waited long enough for another count than `after`, and was a sign of life at `since`."""
    standing = await _standing(services.fleet.presence, host)
    waited = Waited(count=standing.orders, digest=services.fleet.presence.renewed(host, since))
    return await _answer_to(services, host, after, waited)


async def _answer_to(services: ApiServices, host: HostId, after: int, waited: Waited) -> Orders:
    return unchanged(services, waited) if waited.count == after else await in_thread(read_orders, services, host)


async def wait_for_news(
    services: ApiServices,
    host: HostId,
    *,
    after: int,
    wait: float,
    alive: bool,
    tell: Callable[[Renewal], Awaitable[None]] | None = None,
    audited: float | None = None,
) -> Waited:
    """Wait until the count of the host's orders differs from `after`, at most `wait` seconds. With `alive`, the request renews the lease of
    the host, unless that has run out; `tell` is awaited once if that is written while the request waits. `audited` is how many seconds ago
    an audit of the host found what is stored.
    """
    presence = services.fleet.presence
    since = presence.sign(host, services.lease_seconds, audited) if alive else float("inf")
    standing = await _standing(presence, host)
    if standing.orders != after or wait <= 0 or services.ended.is_set():
        return Waited(count=standing.orders)
    waiting = _PollWait(asyncio.get_running_loop())
    unwatch = presence.watch(host, after, waiting.finish_soon, since if tell else float("inf"), waiting.note_renewal_soon)
    timer = waiting.loop.call_later(wait, waiting.finish)
    try:
        if tell is not None and await waiting.sees_renewal() and (digest := presence.renewed(host, since)):
            noted = audited is not None and presence.audited(host, since)
            await tell(Renewal(report=digest, lease_seconds=services.lease_seconds, audited=noted))
            since = float("inf")
        await waiting.over
    finally:
        timer.cancel()
        unwatch()
    standing = await _standing(presence, host)
    return Waited(count=standing.orders, digest=presence.renewed(host, since))


class _PollWait:
    """What a poll waits for: first that its lease is renewed, then the end of its wait.

    `finish` is for the loop's thread; `finish_soon` and `note_renewal_soon` may be called from any thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.over: asyncio.Future[None] = loop.create_future()
        self._first: asyncio.Future[bool] = loop.create_future()

    async def sees_renewal(self) -> bool:
        """Whether the lease was renewed before the wait was over."""
        return await self._first

    def finish(self) -> None:
        """End the wait."""
        if not self.over.done():
            self.over.set_result(None)
        if not self._first.done():
            self._first.set_result(False)

    def finish_soon(self) -> None:
        """Let the loop end the wait."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.finish)

    def note_renewal_soon(self) -> None:
        """Let the loop note that the lease is renewed."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._note_renewal)

    def _note_renewal(self) -> None:
        if not self._first.done():
            self._first.set_result(True)


async def _standing(presence: Presence, host: HostId) -> Standing:
    """What is known of the host, or else what the database has."""
    known = presence.standing(host)
    return await in_thread(presence.read, host) if known is None else known


def unchanged(services: ApiServices, waited: Waited) -> Orders:
    """The answer to a sign of life after which nothing has changed."""
    lease = None if waited.digest is None else Renewal(report=waited.digest, lease_seconds=services.lease_seconds)
    return Orders(count=waited.count, protocol=PROTOCOL, lease=lease)


def read_orders(services: ApiServices, host: HostId) -> Orders:
    """All orders of the host, as the database has them."""
    with services.database.read() as connection:
        parts = host_orders.parts(connection, host)
        found = guests.orders(connection, host) if parts.claims else ()
        connected = port_changes.of_host(connection, host) if any(guest.request.nics for guest, _ in found) else {}
        stones = tombstones.of_host(connection, host) if parts.tombstones else ()
        question = history.question(connection, host) if parts.question else None
        asked = guest_questions.waiting(connection, host) if parts.guest_questions else ()
        wanted = repairs.questions(connection, host) if parts.repairs else ()
    orders = tuple(
        GuestOrder(
            guest=guest.id,
            name=guest.name,
            claim=written_claim(claim),
            desired=guest.desired,
            boot=guest.boots,
            flavor=guest.flavor.name,
            request=guest.request,
            image=guest.image,
            booted=guest.booted,
            hard=guest.task == REBOOTING_HARD,
            pause=guest.pause,
            config_drive=guest.config_drive,
            ports=connected.get(guest.id, NO_PORTS).ports,
            detach=connected.get(guest.id, NO_PORTS).detach,
            takeover=guest.takeover,
            rebuild=guest.rebuild,
        )
        for guest, claim in found
    )
    return Orders(
        count=parts.count,
        orders=orders,
        tombstones=stones,
        protocol=PROTOCOL,
        pools=parts.pools,
        question=question,
        guest_questions=asked,
        repairs=wanted,
    )
