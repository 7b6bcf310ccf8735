"""What the orders of a host consist of, in one statement: of most hosts only a few parts are there, and the others need not be read."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from msgspec import Struct

from pinfold.core.errors import InvalidRequest
from pinfold.core.identity import HostId
from pinfold.core.pools import PoolOrder
from pinfold.store import guest_questions, history, hosts, repairs, tombstones
from pinfold.store.records import ClaimState
from pinfold.store.schema import claim, host

_HELD: Final = sa.exists().where(claim.c.host == host.c.id, claim.c.state == ClaimState.HELD.value)
_PARTS: Final = sa.select(
    host.c.orders,
    host.c.pool_order,
    _HELD.label("claims"),
    tombstones.ANY.label("tombstones"),
    history.PENDING.label("question"),
    guest_questions.PENDING.label("guest_questions"),
    repairs.PENDING.label("repairs"),
).where(host.c.id == sa.bindparam("host_id"))


class Parts(Struct, frozen=True, kw_only=True):
    """The count of a host's orders, the pools that its agent is to use (None for those of its own files), and which other parts it has."""

    count: int
    pools: PoolOrder | None
    claims: bool
    tombstones: bool
    question: bool
    guest_questions: bool
    repairs: bool


def parts(connection: sa.Connection, host_id: HostId) -> Parts:
    """The parts of the host's orders. What is read of them on the same connection of `Database.read` is of the same moment.

    Raises `InvalidRequest` when there is no such host.
    """
    row = connection.execute(_PARTS, {"host_id": host_id}).first()
    if row is None:
        raise InvalidRequest(f"host {host_id}: no such host")
    return Parts(
        count=int(row.orders),
        pools=hosts.read_pool_order(row.pool_order),
        claims=bool(row.claims),
        tombstones=bool(row.tombstones),
        question=bool(row.question),
        guest_questions=bool(row.guest_questions),
        repairs=bool(row.repairs),
    )
