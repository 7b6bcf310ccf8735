"""How an agent parses responses of the real service and of a hostile one."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.build import orders
from tests.build.fits import fits
from tests.build.hosts import as_state, report
from tests.build.requests import pinned

from pinfold.agent.responses import parse_orders, parse_welcome, refusal_message
from pinfold.agent.wire import GuestOrder, Orders, Welcome
from pinfold.core.cpuset import CpuSet
from pinfold.core.encoding import json_text, plain
from pinfold.core.errors import InvalidRequest
from pinfold.core.history import HistoryQuestion
from pinfold.core.identity import ClaimId, GuestId
from pinfold.core.pools import PoolOrder
from pinfold.core.repair_question import RepairQuestion
from pinfold.store.records import Tombstone

GUEST = "11111111-2222-4333-8444-555555555555"
OTHER = "66666666-7777-4888-9999-aaaaaaaaaaaa"


def order(guest: str = GUEST) -> GuestOrder:
    """An order as the service makes it, from a real request and its fit."""
    request = pinned(2)
    found = fits(request, as_state(report(), name="h"))
    return orders.order(guest, claim=str(uuid.uuid4()), name="vm é", request=request, fit=found, image="probe")


def written(*orders: GuestOrder, stones: tuple[Tombstone, ...] = ()) -> dict[str, Any]:
    """A response as the service writes it."""
    found: dict[str, Any] = json.loads(json_text(Orders(count=7, orders=orders, tombstones=stones)))
    return found


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_what_the_service_writes_is_read_as_it_was() -> None:
    stones = (Tombstone(guest=OTHER, revision=2),)
    parsed = parse_orders(body(written(order(), stones=stones)))
    assert parsed.orders.orders[0].claim.fit == order().claim.fit
    assert (parsed.orders.count, parsed.orders.tombstones, parsed.refused) == (7, stones, ())
    whole = Orders(
        count=7,
        protocol=2,
        pools=PoolOrder(shared=CpuSet.of(0)),
        question=HistoryQuestion(number=1, seconds=60),
        repairs=(RepairQuestion(guest=GuestId(GUEST), number=2),),
    )
    assert parse_orders(json_text(whole).encode()).orders == whole


def test_a_field_of_a_newer_service_is_ignored() -> None:
    plain = written(order())
    plain["orders"][0]["colour"] = plain["colour"] = "red"
    assert len(parse_orders(body(plain)).orders.orders) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("guest", "../../../etc/passwd"),
        ("guest", "/srv/other"),
        ("guest", f"{GUEST}\n"),
        ("guest", GUEST.upper().replace("1", "A")),
        ("guest", ""),
        ("claim", "c"),
        ("claim.id", "c"),
        ("claim.amounts", [1]),
        ("name", "x" * 256),
        ("image", "../probe"),
        ("image", "probe\n"),
        ("image", "a" * 129),
        ("claim.revision", -1),
        ("claim.revision", 2**60),
        ("boot", 1.5),
        ("hard", 1),
        ("desired", "gone"),
        ("flavor", None),
        ("request.vcpus", 2**40),
        ("request.memory_mib", -1),
        ("claim.fit.emulator", "0-99999999"),
        ("claim.fit.emulator", 3),
        ("claim.fit.cells.0.pins.0", [0, 2**40]),
        ("claim.fit.cells.0.page_kib", 0),
        ("claim.fit", [[[[]]]]),
        ("request", "x" * (2 << 20)),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_an_order_that_cannot_be_read_is_refused_alone(field: str, value: object) -> None:
    plain = written(order(), order(OTHER))
    inner: Any = plain["orders"][0]
    *path, last = field.split(".")
    for key in path:
        inner = inner[int(key)] if key.isdigit() else inner[key]
    inner[int(last) if last.isdigit() else last] = value
    parsed = parse_orders(body(plain))
    assert [found.guest for found in parsed.orders.orders] == [OTHER]
    (refused,) = parsed.refused
    assert refused.sentence().startswith("order 1") and len(refused.sentence()) < 1000
    assert refused.guest == ("" if field == "guest" else GUEST)


def test_a_tombstone_with_a_path_is_refused_alone() -> None:
    plain = written(stones=(Tombstone(guest="../../x", revision=1), Tombstone(guest=OTHER, revision=1)))
    parsed = parse_orders(body(plain))
    assert [stone.guest for stone in parsed.orders.tombstones] == [OTHER]
    assert [refused.place for refused in parsed.refused] == ["tombstone 1"]


def test_a_guest_may_have_a_tombstone_for_each_of_its_claims() -> None:
    first, second = (Tombstone(guest=GUEST, revision=revision, claim=ClaimId(str(uuid.uuid4()))) for revision in (1, 4))
    parsed = parse_orders(body(written(stones=(first, second))))
    assert (parsed.orders.tombstones, parsed.refused) == ((first, second), ())
    assert parse_orders(body(written(stones=(first, first)))).refused[0].place == "tombstone 2"


def test_a_guest_with_two_orders_or_an_unreadable_one_is_left_alone() -> None:
    plain = written(order(), order(), order(OTHER), stones=(Tombstone(guest=GUEST, revision=9),))
    parsed = parse_orders(body(plain))
    assert [found.guest for found in parsed.orders.orders] == [OTHER]
    assert parsed.orders.tombstones == ()
    assert [refused.guest for refused in parsed.refused] == [GUEST]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[]",
        b"{",
        b'{"count":-1}',
        b'{"count":NaN}',
        b"[" * 100_000,
        b'{"count":1,"orders":{}}',
        b"\xff",
        b'{"count":1,"x":"\\ud800"}',
    ],
)
def test_an_answer_that_is_no_list_of_orders_is_refused(answer: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse_orders(answer)


@pytest.mark.parametrize("seconds", ["0", "-1", "1e999", "NaN", "1e9", '"6"'])
def test_a_lease_that_no_clock_can_keep_is_refused(seconds: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_welcome(f'{{"host":"{GUEST}","revision":1,"report":"","orders":1,"lease_seconds":{seconds}}}'.encode())


def test_a_welcome_is_read_as_it_was() -> None:
    welcome = Welcome(host=GUEST, revision=4, report="ab", orders=3, lease_seconds=6.0)
    assert parse_welcome(body(plain(welcome))) == welcome


def test_a_message_of_the_service_is_one_short_line() -> None:
    said = refusal_message(body({"error": {"message": "no\n\x1b[2Jroot# " + "x" * 9000}}))
    assert said.isprintable() and said.startswith("no") and len(said) == 500
    assert refusal_message(b"<html>") == ""


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_whatever_is_answered_is_parsed_or_refused(plain: object) -> None:
    try:
        parse_orders(json.dumps({"count": 1, "orders": [plain]}).encode())
        parse_orders(json.dumps(plain).encode())
    except InvalidRequest:
        pass
