"""What agents of protocols 1 and 2 get: only what they know, so that a service can be upgraded before them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from tests.agent.test_responses import GUEST, OTHER, order
from tests.build.orders import amended

from pinfold.agent.wire import PROTOCOL, GuestOrder, Orders
from pinfold.api.agent.earlier_protocols import orders_1, orders_2
from pinfold.core.identity import ClaimId
from pinfold.core.reasons import Kind, Reason, ReasonCode
from pinfold.store.records import Tombstone

ROOT = Path(__file__).parents[3]
EARLIER = "a6496e5"
READER = """
import json, sys
from pinfold.agent.wire import Orders
from pinfold.store import codec
orders = codec.from_plain(json.load(sys.stdin), Orders)
print(json.dumps(codec.to_plain(orders, Orders)))
"""


def an_order(guest: str = GUEST) -> GuestOrder:
    """An order whose claim was held at revision 3 and amended at revision 8, with a warning of each kind."""
    made = order(guest)
    known = Reason(code=ReasonCode.OVERHEAD_BOOKED, kind=Kind.INSUFFICIENT, needed=9)
    later = Reason(code=ReasonCode.STALE, kind=Kind.INSUFFICIENT)
    return amended(made, held=3, revision=8, fit=structs.replace(made.claim.fit, warnings=(known, later)))


STONES = (
    Tombstone(guest=OTHER, revision=7, claim=ClaimId(str(uuid.UUID(int=1)))),
    Tombstone(guest=OTHER, revision=5, claim=ClaimId(str(uuid.UUID(int=2)))),
)
ORDERS = Orders(count=4, orders=(an_order(),), tombstones=STONES, protocol=PROTOCOL)


def test_an_order_names_the_claim_by_the_revision_at_which_it_was_held() -> None:
    plain = orders_1(ORDERS)
    (found,) = plain["orders"]
    assert sorted(plain) == ["count", "orders", "tombstones"]
    assert (found["revision"], found["claim"]) == (3, ORDERS.orders[0].claim.id)
    assert "held" not in found
    assert [warning["code"] for warning in found["fit"]["warnings"]] == ["overhead-booked"]


def test_an_agent_of_protocol_2_gets_the_parts_of_the_claim_side_by_side() -> None:
    plain = orders_2(ORDERS)
    (found,) = plain["orders"]
    assert (plain["protocol"], len(plain["tombstones"])) == (PROTOCOL, 2)
    assert (found["claim"], found["revision"], found["held"]) == (ORDERS.orders[0].claim.id, 8, 3)
    assert [warning["code"] for warning in found["fit"]["warnings"]] == ["overhead-booked", "stale"]


def test_a_guest_has_one_tombstone_of_its_latest_claim() -> None:
    assert orders_1(ORDERS)["tombstones"] == [{"guest": OTHER, "revision": 7}]


def test_the_earlier_agent_reads_its_orders(tmp_path: Path) -> None:
    earlier = subprocess.run(["git", "archive", EARLIER, "src"], cwd=ROOT, capture_output=True, check=False)
    if earlier.returncode != 0:
        pytest.skip(f"commit {EARLIER} is not in this clone")
    subprocess.run(["tar", "-x", "-C", str(tmp_path)], input=earlier.stdout, check=True)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "src")}

    def read(plain: Any) -> subprocess.CompletedProcess[str]:
        text = json.dumps(plain)
        return subprocess.run([sys.executable, "-c", READER], input=text, env=environment, capture_output=True, text=True, check=False)

    plain = orders_1(ORDERS)
    answer = read(plain)
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout) == plain
    assert read(plain | {"protocol": 2}).returncode != 0, "the earlier agent refuses what it does not know"
