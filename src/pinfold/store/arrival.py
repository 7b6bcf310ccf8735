"""A guest's arrival on its host, the last step of a claim: the host's revision, the claim, the pCPUs and the guest change together.

On PostgreSQL one statement does it all, because a statement costs the claimer more than the database; its notification goes with it.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects.postgresql import ARRAY

from pinfold.core.errors import Conflict
from pinfold.core.fit.answer import Fit
from pinfold.core.identity import ClaimId, GuestId, HostId
from pinfold.core.ledger import holds
from pinfold.store import claims, guests, hosts
from pinfold.store.database import EpochNow, notify
from pinfold.store.records import ClaimRole, ClaimState
from pinfold.store.schema import claim, host, pcpu_owner
from pinfold.store.schema import guest as guest_table

_OWNED: Final = (
    sa.func.unnest(sa.cast(sa.bindparam("pcpus"), ARRAY(sa.Integer)), sa.cast(sa.bindparam("roles"), ARRAY(sa.String)))
    .table_valued("pcpu", "role")
    .render_derived()
)


class Arrival(Struct, frozen=True, kw_only=True):
    """A claim that is `intended`, with the fit that it is to be held by."""

    claim: ClaimId
    guest: GuestId
    host: HostId
    fit: Fit
    role: ClaimRole = ClaimRole.RUNS


def arrive(connection: sa.Connection, new: Arrival, *, revision: int) -> int | None:
    """Count the host's revision up, lock its row, and if it is at `revision` then, `settle` the guest there. Returns the host's revision;
    None, with nothing written, if the host takes no guests any more. Raises as `settle`.
    """
    if connection.dialect.name == "postgresql":
        return _arrive_at_once(connection, new, revision)
    try:
        made = hosts.advance_newest(connection, new.host)
    except Conflict:
        return None
    if made == revision:
        settle(connection, new, revision=made)
    return made


def settle(connection: sa.Connection, new: Arrival, *, revision: int) -> None:
    """Hold the claim at the host's new revision, give the guest its pCPUs, and if it is to run by the claim, set its host.

    Raises `Conflict` when the claim is no longer intended, when a pCPU has an owner, or when the guest is gone or unwanted by now; then
    roll back.
    """
    claims.hold(connection, new.claim, guest=new.guest, host=new.host, fit=new.fit, revision=revision)
    if new.role is ClaimRole.RUNS:
        guests.place(connection, new.guest, new.host)


def _arrive_at_once(connection: sa.Connection, new: Arrival, revision: int) -> int | None:
    runs = new.role is ClaimRole.RUNS
    owned = holds(new.fit)
    values = {
        "host_id": new.host,
        "at": revision,
        "claim_id": new.claim,
        "guest_id": new.guest,
        "new_fit": claims.fit_text(new.fit),
        "pcpus": [pcpu for pcpu, _, _ in owned],
        "roles": [role.value for _, role, _ in owned],
        "topic": f"host:{new.host}",
    }
    try:
        row = connection.execute(_statement(runs), values).one_or_none()
    except sa.exc.IntegrityError as error:
        raise Conflict(f"host {new.host}: one of the pCPUs {new.fit.taken} has an owner already") from error
    if row is None:
        return None
    if row.revision == revision and not row.held:
        raise Conflict(f"claim {new.claim} is not {ClaimState.INTENDED.value} any more")
    if row.revision == revision and runs and not row.placed:
        raise Conflict(f"guest {new.guest} is gone, or is not wanted any more")
    return int(row.revision)


@cache
def _statement(runs: bool) -> sa.Select[tuple[int, int, int, None]]:
    """Each part but the first takes effect only if the one before it did; all see the host's row as it is once it is locked."""
    advanced = hosts.ADVANCE_NEWEST.returning(host.c.id).cte("advanced")
    held = (
        claim.update()
        .where(claim.c.id == sa.bindparam("claim_id"), claim.c.state == ClaimState.INTENDED.value)
        .where(claim.c.host == advanced.c.id, advanced.c.revision == sa.bindparam("at"))
        .values(
            state=ClaimState.HELD.value,
            revision=advanced.c.revision,
            held=advanced.c.revision,
            fit=sa.bindparam("new_fit"),
            updated=EpochNow(),
        )
        .returning(claim.c.id, claim.c.guest, claim.c.host)
        .cte("held")
    )
    owned = (
        pcpu_owner.insert()
        .from_select(
            ["host", "pcpu", "guest", "claim", "role"],
            sa.select(held.c.host, _OWNED.c.pcpu, held.c.guest, held.c.id, _OWNED.c.role).select_from(held.join(_OWNED, sa.true())),
        )
        .returning(pcpu_owner.c.pcpu)
        .cte("owned")
    )
    placed = guests.PLACE.where(guest_table.c.id == held.c.guest).values(host=held.c.host).returning(guest_table.c.id).cte("placed")
    count = sa.select(sa.func.count())
    return (
        sa.select(
            advanced.c.revision,
            count.select_from(held).scalar_subquery().label("held"),
            (count.select_from(placed).scalar_subquery() if runs else sa.literal(0)).label("placed"),
            notify(sa.bindparam("topic")).label("told"),
        )
        .select_from(advanced)
        .add_cte(owned)
    )
