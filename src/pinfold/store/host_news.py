"""What has come to a host since the revision that somebody decided on: claims, read by a statement of its own or as a part of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from msgspec import Struct, json

from pinfold.core.fit.answer import Fit
from pinfold.core.identity import HostId
from pinfold.store.claim_rows import IntendedClaim, amounts_text, fit_text, record
from pinfold.store.database import DIALECTS, pairs
from pinfold.store.records import ClaimRecord, ClaimState
from pinfold.store.schema import claim
from pinfold.store.schema import host as host_table

_OTHER: Final = claim.alias("other")
# Bound values instead of columns of the claim: SQLAlchemy names no tables in SQLite's RETURNING, where columns would be ambiguous.
REVISION: Final = sa.select(host_table.c.revision).where(host_table.c.id == sa.bindparam("on_host")).scalar_subquery()
_OTHERS: Final = (
    sa.select(sa.func.count())
    .select_from(_OTHER)
    .where(_OTHER.c.host == sa.bindparam("on_host"), _OTHER.c.state == ClaimState.INTENDED.value, _OTHER.c.id != sa.bindparam("claim_id"))
    .scalar_subquery()
)
_THERE: Final = sa.and_(_OTHER.c.host == sa.bindparam("on_host"), _OTHER.c.id != sa.bindparam("claim_id"))
_HELD_SINCE: Final = sa.and_(_OTHER.c.state == ClaimState.HELD.value, _OTHER.c.revision > sa.bindparam("decided_on"))
_NEW: Final = sa.and_(_THERE, sa.or_(_OTHER.c.state == ClaimState.INTENDED.value, _HELD_SINCE))
NEWS: Final = sa.select(sa.cast(sa.func.json_agg(_OTHER.table_valued()), sa.Text)).select_from(_OTHER).where(_NEW).scalar_subquery()
"""What `since` reads, without the claim itself, as a part of another statement; `news` reads its text, which is null for nothing. Only
PostgreSQL has it. For SQLite a statement is a function call.
"""
_NEWER: Final = sa.select(sa.func.count()).select_from(_OTHER).where(_NEW).scalar_subquery()
"""How many claims that is."""
_UNLIKE: Final = sa.select(_OTHER.c.id).where(_NEW, _OTHER.c.amounts != sa.bindparam("claim_amounts", type_=sa.Text())).exists()
"""Whether one of them has other amounts than those that are bound."""
_LAST_FIT: Final = sa.bindparam("last_fit", type_=sa.BigInteger())
FIT_BY_NUMBER: Final = sa.cast(sa.bindparam("fits", type_=sa.Text()), sa.JSON).op("->>", return_type=sa.Text())(
    sa.cast(sa.func.least(_NEWER, _LAST_FIT), sa.Integer)
)
"""Of several fits the one for the number of claims that are new; the last one for more. `foreseeing` binds them."""
FORESEEN_NEWS: Final = (sa.case((sa.and_(_LAST_FIT >= _NEWER, ~_UNLIKE), sa.null()), else_=NEWS), _NEWER)
"""`NEWS` for a claim that is stored with `FIT_BY_NUMBER`, and how many claims are new: it is null if there is a fit for that number, and
each of them takes what the new one takes.
"""
SEEN: Final = {"sqlite": (REVISION, _OTHERS), "postgresql": (REVISION, NEWS)}
"""By dialect, what a statement that stores an intended claim returns, for `seen`."""
_SINCE: Final = (
    sa.select(host_table.c.revision.label("host_revision"), *claim.c)
    .select_from(
        host_table.outerjoin(
            claim,
            sa.and_(
                claim.c.host == host_table.c.id,
                sa.or_(
                    claim.c.state == ClaimState.INTENDED.value,
                    sa.and_(claim.c.state == ClaimState.HELD.value, claim.c.revision > sa.bindparam("after")),
                ),
            ),
        )
    )
    .where(host_table.c.id == sa.bindparam("on_host"))
    .order_by(claim.c.revision, claim.c.guest, claim.c.id)
)


def _since_each(dialect: str) -> sa.Select[Any]:
    known = pairs("revisions", dialect).alias("known")
    later = sa.and_(
        claim.c.host == host_table.c.id,
        claim.c.state == ClaimState.HELD.value,
        claim.c.revision > sa.cast(known.c.value, sa.BigInteger),
    )
    found = sa.select(host_table.c.id.label("host_id"), host_table.c.revision.label("host_revision"), *claim.c)
    tables = host_table.join(known, known.c.key == host_table.c.id).outerjoin(claim, later)
    return found.select_from(tables).order_by(host_table.c.id, claim.c.revision, claim.c.guest, claim.c.id)


_SINCE_EACH: Final = {dialect: _since_each(dialect) for dialect in DIALECTS}


class HostNews(Struct, frozen=True, kw_only=True):
    """A host's revision, the claims that are held there since an earlier one, by revision, and those that are intended there."""

    revision: int
    held: tuple[ClaimRecord, ...]
    intended: tuple[ClaimRecord, ...]


class Seen(Struct, frozen=True, kw_only=True):
    """What the host was at when a claim was intended on it: its revision, and how many other claims were intended there. `news` has the
    claims since the decision, if the statement has read them, and `newer` says how many claims these and the intended ones are. Those that
    were foreseen are not read, and `others` is 0.
    """

    revision: int
    others: int
    news: HostNews | None = None
    newer: int = 0


def since_each(connection: sa.Connection, revisions: Mapping[HostId, int]) -> dict[HostId, HostNews]:
    """What has come to each of these hosts since that revision, without what is intended there, all as of one instant; hosts that are gone
    are left out.
    """
    rows = connection.execute(_SINCE_EACH[connection.dialect.name], {"revisions": json.encode(revisions).decode()}).mappings().all()
    found: dict[HostId, tuple[int, list[ClaimRecord]]] = {}
    for row in rows:
        _, held = found.setdefault(row["host_id"], (row["host_revision"], []))
        if row["id"] is not None:
            held.append(record(row))
    return {host: _news(revision, held) for host, (revision, held) in found.items()}


def seeing(one: IntendedClaim, decided_on: int | None) -> dict[str, Any]:
    """What binds a statement that returns what an intended claim's host is at."""
    return {"claim_id": one.id, "on_host": one.host, "decided_on": decided_on}


def foreseeing(one: IntendedClaim, later: Sequence[Fit]) -> dict[str, Any]:
    """What binds `FIT_BY_NUMBER` and `FORESEEN_NEWS`: the claim's own fit, and the `later` ones."""
    fits = json.encode([fit_text(one.fit), *map(fit_text, later)]).decode()
    return {"fits": fits, "last_fit": len(later), "claim_amounts": amounts_text(one.amounts)}


def seen(revision: int, others: int | str | None, newer: int | None = None) -> Seen:
    """What such a statement returned: the host's revision, and how many other claims are intended there or the text of `NEWS`; for
    `FORESEEN_NEWS` also how many claims are new.
    """
    if isinstance(others, int):
        return Seen(revision=revision, others=others)
    if others is None and newer is not None:
        return Seen(revision=revision, others=0, newer=newer)
    found = news(revision, others)
    return Seen(revision=revision, others=len(found.intended), news=found, newer=len(found.held) + len(found.intended))


def news(revision: int, text: str | None) -> HostNews:
    """What `NEWS` returned, for a host that was at that revision at the same instant."""
    rows = [] if text is None else json.decode(text, type=list[dict[str, Any]])
    return _news(revision, sorted(map(record, rows), key=lambda one: (one.revision, one.guest, one.id)))


def _news(revision: int, found: Sequence[ClaimRecord]) -> HostNews:
    return HostNews(
        revision=revision,
        held=tuple(one for one in found if one.state is ClaimState.HELD),
        intended=tuple(one for one in found if one.state is ClaimState.INTENDED),
    )


def since(connection: sa.Connection, host: HostId, revision: int) -> HostNews | None:
    """What has come to a host since that revision, as of one instant; None when the host is gone."""
    rows = connection.execute(_SINCE, {"on_host": host, "after": revision}).mappings().all()
    if not rows:
        return None
    return _news(rows[0]["host_revision"], [record(row) for row in rows if row["id"] is not None])
