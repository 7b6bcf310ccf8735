"""Parse what the service sends to the agent into checked and bounded values. Pure.

The agent runs as root and must not trust its service: another process may have taken over the address. Every id is a UUID, and every name
and number has a bound. An order that cannot be parsed is refused by itself; the others are carried out. Unknown fields are ignored, so that
a service may be newer than its agents.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Struct

from pinfold.agent.wire import GuestOrder, Orders, Renewal, Welcome
from pinfold.core.bounds import GuestUuid, Revision
from pinfold.core.config_drive import GuestConfig
from pinfold.core.encoding import json_reader
from pinfold.core.errors import InvalidRequest
from pinfold.core.guest_questions import GuestQuestion
from pinfold.core.history import HistoryQuestion
from pinfold.core.identity import GuestId
from pinfold.core.pools import PoolOrder
from pinfold.core.repair_question import RepairQuestion
from pinfold.store.records import Tombstone

MOST_BYTES: Final = 64 << 20
"""The longest response that is read: ten thousand orders of 6 KiB each."""
_MOST_ORDERS: Final = 10_000
_MOST_ORDER_BYTES: Final = 1 << 20
_MOST_QUESTIONS: Final = 64
_MOST_CONFIG_BYTES: Final = 1 << 20
_MOST_MESSAGE: Final = 500

Value = TypeVar("Value")
Data = TypeVar("Data", bytes, msgspec.Raw)


class RefusedOrder(Struct, frozen=True, kw_only=True):
    """An order or tombstone that cannot be parsed: its position, the guest if its id can be read (else ''), and the reason."""

    place: str
    guest: GuestId
    why: str

    def sentence(self) -> str:
        """The sentence for the log."""
        about = f" for guest {self.guest}" if self.guest else ""
        return f"{self.place}{about} in the service's answer is refused: {self.why}"


class ParsedOrders(Struct, frozen=True, kw_only=True):
    """The orders that can be carried out, and the refused ones, questions included."""

    orders: Orders
    refused: tuple[RefusedOrder, ...] = ()


class _Envelope(Struct, frozen=True, kw_only=True):
    count: Revision
    orders: Annotated[tuple[msgspec.Raw, ...], msgspec.Meta(max_length=_MOST_ORDERS)] = ()
    tombstones: Annotated[tuple[msgspec.Raw, ...], msgspec.Meta(max_length=_MOST_ORDERS)] = ()
    protocol: Revision = 1
    pools: PoolOrder | None = None
    question: HistoryQuestion | None = None
    guest_questions: Annotated[tuple[msgspec.Raw, ...], msgspec.Meta(max_length=_MOST_QUESTIONS)] = ()
    repairs: Annotated[tuple[RepairQuestion, ...], msgspec.Meta(max_length=_MOST_ORDERS)] = ()
    lease: Renewal | None = None


class _Subject(Struct, frozen=True, kw_only=True):
    guest: GuestUuid


class _Message(Struct, frozen=True, kw_only=True):
    message: str


class _Refusal(Struct, frozen=True, kw_only=True):
    error: _Message


def parse_orders(body: bytes) -> ParsedOrders:
    """Parse all orders of a response. One that cannot be parsed, a second order for a guest or a second tombstone for a claim is refused by
    itself.

    A tombstone of a guest whose order was refused is left out, because it could remove a guest that the service wants. Raises
    `InvalidRequest` when the response as a whole cannot be parsed.
    """
    envelope = _decoded(body, _read_envelope)
    orders, refused = _each(envelope.orders, _read_order, "order", lambda order: order.guest)
    stones, refused_stones = _each(envelope.tombstones, _read_tombstone, "tombstone", lambda stone: (stone.guest, stone.claim))
    questions, refused_questions = _each(envelope.guest_questions, _read_question, "question", lambda question: question.number)
    unclear = {order.guest for order in refused}
    known = Orders(
        count=envelope.count,
        orders=tuple(order for order in orders if order.guest not in unclear),
        tombstones=tuple(stone for stone in stones if stone.guest not in unclear),
        protocol=envelope.protocol,
        pools=envelope.pools,
        question=envelope.question,
        guest_questions=tuple(questions),
        repairs=envelope.repairs,
        lease=envelope.lease,
    )
    return ParsedOrders(orders=known, refused=(*refused, *refused_stones, *refused_questions))


def parse_renewal(line: bytes) -> Renewal:
    """Parse what a poll is told early. Raises `InvalidRequest`."""
    return _decoded(line, _read_renewal)


def parse_welcome(body: bytes) -> Welcome:
    """Parse the response to a report or a heartbeat. Raises `InvalidRequest`."""
    return _decoded(body, _read_welcome)


def parse_config(body: bytes) -> GuestConfig:
    """Parse what a config drive holds. Raises `InvalidRequest`."""
    return _decoded(body, _read_config, most=_MOST_CONFIG_BYTES)


def refusal_message(body: bytes) -> str:
    """The message of an error response, on one line and shortened for a log; '' if there is none."""
    try:
        said = _decoded(body, _read_refusal).error.message
    except InvalidRequest:
        return ""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in said[:_MOST_MESSAGE])


def _each(
    raws: tuple[msgspec.Raw, ...], reading: Callable[[msgspec.Raw], Value], what: str, key: Callable[[Value], Hashable]
) -> tuple[list[Value], list[RefusedOrder]]:
    read: dict[Hashable, Value] = {}
    refused = []
    for index, raw in enumerate(raws):
        place = f"{what} {index + 1}"
        try:
            subject = _decoded(raw, _read_subject).guest
        except InvalidRequest as error:
            refused.append(RefusedOrder(place=place, guest=GuestId(""), why=str(error)))
            continue
        try:
            value = _decoded(raw, reading, most=_MOST_ORDER_BYTES)
            if key(value) in read:
                raise InvalidRequest("there is another one for the same guest before it")
            read[key(value)] = value
        except InvalidRequest as error:
            refused.append(RefusedOrder(place=place, guest=subject, why=str(error)))
    return list(read.values()), refused


def _decoded(data: Data, reading: Callable[[Data], Value], *, most: int = MOST_BYTES) -> Value:
    if len(memoryview(data)) > most:
        raise InvalidRequest(f"it is longer than {most} bytes")
    try:
        return reading(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise InvalidRequest(str(error)[:_MOST_MESSAGE]) from error


_read_envelope = json_reader(_Envelope)
_read_renewal = json_reader(Renewal)
_read_welcome = json_reader(Welcome)
_read_config = json_reader(GuestConfig)
_read_refusal = json_reader(_Refusal)
_read_subject = json_reader(_Subject)
_read_order = json_reader(GuestOrder)
_read_tombstone = json_reader(Tombstone)
_read_question = json_reader(GuestQuestion)
