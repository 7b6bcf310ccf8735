"""Store claims and the owners of pCPUs. Each step is a compare-and-set; `service.claims` decides when to take it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any, Final

import sqlalchemy as sa
from msgspec import Struct, json

from pinfold.core.encoding import decoder, encode
from pinfold.core.errors import Conflict
from pinfold.core.fit.answer import Fit
from pinfold.core.fit.written import written
from pinfold.core.identity import ClaimId, GuestId, HostId
from pinfold.core.ledger import Role, holds
from pinfold.store.database import DIALECTS, EpochNow, in_term, pairs
from pinfold.store.records import ADOPTING, Amounts, ClaimRecord, ClaimRole, ClaimState
from pinfold.store.schema import claim, pcpu_owner
from pinfold.store.schema import guest as guest_table
from pinfold.store.schema import host as host_table

_read_amounts = decoder(Amounts)
_read_fit = decoder(Fit)

# Build the statements of every create once: SQLAlchemy takes longer to build an expression than SQLite to execute it.
_SECONDS: Final[sa.BindParameter[float]] = sa.bindparam("seconds", type_=sa.Double())
AT_FIRST: Final[Mapping[str, Any]] = {
    "state": ClaimState.INTENDED.value,
    "revision": 0,
    "deadline": EpochNow() + _SECONDS,
    "created": EpochNow(),
    "updated": EpochNow(),
}
"""The columns of a new claim that are the same for each; `seconds` is bound."""
_INTEND: Final = claim.insert().values(AT_FIRST)
_OTHER: Final = claim.alias("other")
# Bound values instead of columns of the claim: SQLAlchemy names no tables in SQLite's RETURNING, where columns would be ambiguous.
_REVISION: Final = sa.select(host_table.c.revision).where(host_table.c.id == sa.bindparam("on_host")).scalar_subquery()
_OTHERS: Final = (
    sa.select(sa.func.count())
    .select_from(_OTHER)
    .where(_OTHER.c.host == sa.bindparam("on_host"), _OTHER.c.state == ClaimState.INTENDED.value, _OTHER.c.id != sa.bindparam("claim_id"))
    .scalar_subquery()
)
_THERE: Final = sa.and_(_OTHER.c.host == sa.bindparam("on_host"), _OTHER.c.id != sa.bindparam("claim_id"))
_HELD_SINCE: Final = sa.and_(_OTHER.c.state == ClaimState.HELD.value, _OTHER.c.revision > sa.bindparam("decided_on"))
_NEW: Final = sa.and_(_THERE, sa.or_(_OTHER.c.state == ClaimState.INTENDED.value, _HELD_SINCE))
_CLAIMS: Final = sa.select(sa.cast(sa.func.json_agg(_OTHER.table_valued()), sa.Text)).select_from(_OTHER)
NEWS: Final = _CLAIMS.where(_NEW).scalar_subquery()
"""What `since` reads, without the claim itself, as a part of another statement; `news` reads its text, which is null for nothing. Only
PostgreSQL has it. For SQLite a statement is a function call.
"""
NEWER: Final = sa.select(sa.func.count()).select_from(_OTHER).where(_NEW).scalar_subquery()
"""How many claims that is."""
UNLIKE: Final = sa.select(_OTHER.c.id).where(_NEW, _OTHER.c.amounts != sa.bindparam("claim_amounts", type_=sa.Text())).exists()
"""Whether one of them has other amounts than those that are bound."""
_LAST_FIT: Final = sa.bindparam("last_fit", type_=sa.BigInteger())
FIT_BY_NUMBER: Final = sa.cast(sa.bindparam("fits", type_=sa.Text()), sa.JSON).op("->>", return_type=sa.Text())(
    sa.cast(sa.func.least(NEWER, _LAST_FIT), sa.Integer)
)
"""Of several fits the one for the number of claims that are new; the last one for more. `foreseeing` binds them."""
FORESEEN_NEWS: Final = (sa.case((sa.and_(_LAST_FIT >= NEWER, ~UNLIKE), sa.null()), else_=NEWS), NEWER)
"""`NEWS` for a claim that is stored with `FIT_BY_NUMBER`, and how many claims are new: it is null if there is a fit for that number, and
each of them takes what the new one takes.
"""
_SEEN: Final = {"sqlite": (_REVISION, _OTHERS), "postgresql": (_REVISION, NEWS)}
_INTEND_SEEING: Final = {dialect: _INTEND.returning(*found) for dialect, found in _SEEN.items()}
_REDIRECTED: Final = (
    claim.update()
    .where(claim.c.id == sa.bindparam("claim_id"), claim.c.state == ClaimState.INTENDED.value)
    .values(updated=EpochNow(), deadline=EpochNow() + _SECONDS)
)
_REDIRECT: Final = {dialect: _REDIRECTED.returning(*found) for dialect, found in _SEEN.items()}
_REDIRECT_FORESEEN: Final = _REDIRECTED.values(fit=FIT_BY_NUMBER).returning(_REVISION, *FORESEEN_NEWS)
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
_OWN: Final = pcpu_owner.insert()
_HOLD_ALL: Final = (
    claim.update()
    .where(
        claim.c.id.in_(sa.bindparam("claim_ids", expanding=True)),
        claim.c.host == sa.bindparam("of_host"),
        claim.c.state == ClaimState.INTENDED.value,
    )
    .values(updated=EpochNow())
)
_AMEND: Final = (
    claim.update()
    .where(claim.c.id == sa.bindparam("claim_id"), claim.c.state == ClaimState.HELD.value, claim.c.revision == sa.bindparam("was"))
    .values(
        fit=sa.bindparam("new_fit"),
        amounts=sa.bindparam("new_amounts"),
        revision=sa.bindparam("new_revision"),
        held=sa.bindparam("new_held"),
        updated=EpochNow(),
    )
)
_HELD: Final = sa.select(claim).where(claim.c.state == ClaimState.HELD.value).order_by(claim.c.guest, claim.c.id)
_HELD_ON: Final = _HELD.where(claim.c.host.in_(sa.bindparam("hosts", expanding=True)))
_LATE: Final = ~in_term(claim.c.updated, claim.c.deadline)
"""An intended claim's term begins at its last change: when it was stored, or when it was redirected."""


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


class IntendedClaim(Struct, frozen=True, kw_only=True):
    """A claim as it is stored while it is `intended`. `shapes` is as in `ClaimRecord`."""

    id: ClaimId
    guest: GuestId
    host: HostId
    amounts: Amounts
    fit: Fit
    role: ClaimRole = ClaimRole.RUNS
    shapes: int = 0


def intend(connection: sa.Connection, new: IntendedClaim, *, seconds: float, decided_on: int | None = None) -> Seen:
    """Store a new claim that is `intended` for so many seconds. `decided_on` is the host's revision at the decision, if the caller is to
    see what has come there since. Raises `Conflict` when the guest has a live claim of that role already.
    """
    try:
        row = connection.execute(_INTEND_SEEING[connection.dialect.name], {**columns(new, seconds), **seeing(new, decided_on)}).one()
    except sa.exc.IntegrityError as error:
        raise Conflict(f"guest {new.guest} has a claim already, or is not stored") from error
    return seen(row[0], row[1])


def intend_all(connection: sa.Connection, new: Sequence[IntendedClaim], *, seconds: float) -> None:
    """Store these claims as `intend` does. Raises `Conflict` for all if one of the guests has such a claim already."""
    try:
        connection.execute(_INTEND, [columns(one, seconds) for one in new])
    except sa.exc.IntegrityError as error:
        raise Conflict("one of the guests has a claim already, or is not stored") from error


def redirect(
    connection: sa.Connection, changed: IntendedClaim, *, seconds: float, decided_on: int | None = None, later: Sequence[Fit] = ()
) -> Seen:
    """Point an intended claim to another host or fit, with a new deadline. `decided_on` as in `intend`; `later` as in
    `new_guest.create_intended`, only on PostgreSQL. Raises `Conflict` when it is no longer intended.
    """
    values = {**_place(changed, seconds), **seeing(changed, decided_on)}
    statement = _REDIRECT[connection.dialect.name]
    if later:
        del values["fit"]
        values |= foreseeing(changed, later)
        statement = _REDIRECT_FORESEEN
    row = connection.execute(statement, values).first()
    if row is None:
        raise Conflict(f"claim {changed.id} is not intended any more")
    return seen(*row)


def since_each(connection: sa.Connection, revisions: Mapping[HostId, int]) -> dict[HostId, HostNews]:
    """What has come to each of these hosts since that revision, without what is intended there, all as of one instant; hosts that are gone
    are left out.
    """
    rows = connection.execute(_SINCE_EACH[connection.dialect.name], {"revisions": json.encode(revisions).decode()}).mappings().all()
    found: dict[HostId, tuple[int, list[ClaimRecord]]] = {}
    for row in rows:
        _, held = found.setdefault(row["host_id"], (row["host_revision"], []))
        if row["id"] is not None:
            held.append(_record(row))
    return {host: _news(revision, held) for host, (revision, held) in found.items()}


def seeing(one: IntendedClaim, decided_on: int | None) -> dict[str, Any]:
    """What binds a statement that returns what an intended claim's host is at."""
    return {"claim_id": one.id, "on_host": one.host, "decided_on": decided_on}


def foreseeing(one: IntendedClaim, later: Sequence[Fit]) -> dict[str, Any]:
    """What binds `FIT_BY_NUMBER` and `FORESEEN_NEWS`: the claim's own fit, and the `later` ones."""
    fits = json.encode([fit_text(one.fit), *map(fit_text, later)]).decode()
    return {"fits": fits, "last_fit": len(later), "claim_amounts": _amounts_text(one.amounts)}


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
    found = [] if text is None else [one.record() for one in _read_rows(text)]
    return _news(revision, sorted(found, key=_in_order))


def _news(revision: int, found: Sequence[ClaimRecord]) -> HostNews:
    return HostNews(
        revision=revision,
        held=tuple(one for one in found if one.state is ClaimState.HELD),
        intended=tuple(one for one in found if one.state is ClaimState.INTENDED),
    )


def columns(one: IntendedClaim, seconds: float) -> dict[str, Any]:
    """The columns of a new claim that depend on it, and the `seconds` that its deadline is away."""
    return {"id": one.id, "guest": one.guest, "role": one.role.value, **_place(one, seconds)}


def _place(one: IntendedClaim, seconds: float) -> dict[str, Any]:
    """The columns of a claim that change when it is redirected."""
    return {"host": one.host, "amounts": _amounts_text(one.amounts), "fit": fit_text(one.fit), "shapes": one.shapes, "seconds": seconds}


def since(connection: sa.Connection, host: HostId, revision: int) -> HostNews | None:
    """What has come to a host since that revision, as of one instant; None when the host is gone."""
    rows = connection.execute(_SINCE, {"on_host": host, "after": revision}).mappings().all()
    if not rows:
        return None
    return _news(rows[0]["host_revision"], [_record(row) for row in rows if row["id"] is not None])


def hold(connection: sa.Connection, claim_id: ClaimId, *, guest: GuestId, host: HostId, fit: Fit, revision: int) -> None:
    """Make an intended claim `held` at the host's new revision, and give the guest its pCPUs.

    Raises `Conflict` when the claim is no longer intended, or when a pCPU has an owner.
    """
    text = fit_text(fit)
    _step(connection, claim_id, (ClaimState.INTENDED,), state=ClaimState.HELD.value, revision=revision, held=revision, fit=text, host=host)
    _own(connection, claim_id, guest=guest, host=host, fit=fit)


class HeldClaim(Struct, frozen=True, kw_only=True):
    """A claim to hold with the fit that it was intended with."""

    id: ClaimId
    guest: GuestId
    fit: Fit


def hold_all(connection: sa.Connection, intended: Sequence[HeldClaim], *, host: HostId, revision: int) -> None:
    """Make these intended claims of one host `held` as `hold` does. Raises `Conflict` if one of them cannot be held; then roll back."""
    states = {"state": ClaimState.HELD.value, "revision": revision, "held": revision}
    if connection.execute(_HOLD_ALL, {"claim_ids": [one.id for one in intended], "of_host": host, **states}).rowcount != len(intended):
        raise Conflict(f"host {host}: one of {len(intended)} claims is not intended any more")
    rows = [row for one in intended for row in _owned(one.id, guest=one.guest, host=host, fit=one.fit)]
    try:
        if rows:
            connection.execute(_OWN, rows)
    except sa.exc.IntegrityError as error:
        raise Conflict(f"host {host}: one of the pCPUs of {len(intended)} claims has an owner already") from error


def amend(connection: sa.Connection, was: ClaimRecord, *, fit: Fit, amounts: Amounts, revision: int, moved: bool = False) -> None:
    """Give a held claim another fit or other amounts on the same host, at the host's new revision, and its guest the pCPUs of the fit.

    The guest goes on, and its record follows. With `moved`, the guest does not run and starts in another place: an agent that knows no
    claim ids takes it for another claim. Raises `Conflict` when the claim is no longer held at revision `was`, or when a pCPU has another
    owner.
    """
    values = {"new_fit": fit_text(fit), "new_amounts": encode(amounts), "new_revision": revision}
    values["new_held"] = revision if moved else was.held
    if connection.execute(_AMEND, {"claim_id": was.id, "was": was.revision, **values}).rowcount != 1:
        raise Conflict(f"claim {was.id} is not held at revision {was.revision} any more")
    if holds(fit) != holds(was.fit):
        disown(connection, [was.id])
        _own(connection, was.id, guest=was.guest, host=was.host, fit=fit)


def disown(connection: sa.Connection, claim_ids: Iterable[ClaimId]) -> None:
    """Free the pCPUs of these claims, which are given others in the same transaction (`amend`): each may take what another one had."""
    connection.execute(pcpu_owner.delete().where(pcpu_owner.c.claim.in_(list(claim_ids))))


def abandon(connection: sa.Connection, claim_id: ClaimId, *, expired: bool) -> None:
    """Make an intended claim `abandoned`; with `expired`, only if its deadline has passed. Raises `Conflict` otherwise."""
    _step(connection, claim_id, (ClaimState.INTENDED,), late=expired, state=ClaimState.ABANDONED.value)


def unpin(connection: sa.Connection, claim_id: ClaimId) -> None:
    """Make a held claim `releasing` and free its pCPUs. Raises `Conflict` when it is not held."""
    _step(connection, claim_id, (ClaimState.HELD,), state=ClaimState.RELEASING.value)
    connection.execute(pcpu_owner.delete().where(pcpu_owner.c.claim == claim_id))


def forget(connection: sa.Connection, claim_id: ClaimId) -> None:
    """Delete a releasing or abandoned claim after its allocation was emptied. Raises `Conflict` in another state."""
    over = (ClaimState.RELEASING.value, ClaimState.ABANDONED.value)
    if connection.execute(claim.delete().where(claim.c.id == claim_id, claim.c.state.in_(over))).rowcount != 1:
        raise Conflict(f"claim {claim_id} is neither releasing nor abandoned")


def get(connection: sa.Connection, claim_id: ClaimId) -> ClaimRecord | None:
    """The claim of that id, or None."""
    found = _select(connection, claim.c.id == claim_id)
    return found[0] if found else None


def live(connection: sa.Connection, guest: GuestId) -> ClaimRecord | None:
    """The claim by which the guest runs, in any state but abandoned, or None."""
    return next((found for found in all_live(connection, guest) if found.role is ClaimRole.RUNS), None)


def all_live(connection: sa.Connection, guest: GuestId) -> tuple[ClaimRecord, ...]:
    """The guest's claims of every role, in any state but abandoned, ordered by id."""
    return of_guests(connection, (guest,)).get(guest, ())


def of_guests(connection: sa.Connection, guests: Iterable[GuestId]) -> dict[GuestId, tuple[ClaimRecord, ...]]:
    """The live claims of each guest that has any, ordered by id."""
    found: dict[GuestId, tuple[ClaimRecord, ...]] = {}
    for one in _select(connection, claim.c.guest.in_(list(guests)), claim.c.state != ClaimState.ABANDONED.value):
        found[one.guest] = (*found.get(one.guest, ()), one)
    return found


def of_host(connection: sa.Connection, host: HostId, *states: ClaimState) -> tuple[ClaimRecord, ...]:
    """The host's claims in those states, ordered by guest."""
    return _select(connection, claim.c.host == host, claim.c.state.in_([state.value for state in states]))


def held(connection: sa.Connection, hosts: Iterable[HostId] | None = None) -> tuple[ClaimRecord, ...]:
    """The held claims of those hosts, or of all hosts for None, ordered by guest and id."""
    rows = connection.execute(_HELD) if hosts is None else connection.execute(_HELD_ON, {"hosts": list(hosts)})
    return tuple(_record(row) for row in rows.mappings())


def adopting(connection: sa.Connection, host: HostId) -> tuple[ClaimRecord, ...]:
    """The host's intended claims of guests whose domains are on it already, ordered by guest."""
    query = sa.select(claim).join(guest_table, guest_table.c.id == claim.c.guest)
    coming = query.where(claim.c.host == host, claim.c.state == ClaimState.INTENDED.value, guest_table.c.task == ADOPTING)
    return tuple(_record(row) for row in connection.execute(coming.order_by(claim.c.guest)).mappings())


def under_way(connection: sa.Connection, host: HostId, guest: GuestId) -> bool:
    """Whether claims of other guests on the host may be in Placement but not in the ledger, because they come or go."""
    others = sa.and_(claim.c.host == host, claim.c.guest != guest, claim.c.state != ClaimState.HELD.value)
    return connection.execute(sa.select(claim.c.id).where(others).limit(1)).first() is not None


def expired(connection: sa.Connection, limit: int = 100) -> tuple[ClaimRecord, ...]:
    """Intended claims past their deadline, at most `limit`. On PostgreSQL it skips those that another process has locked."""
    query = sa.select(claim).where(claim.c.state == ClaimState.INTENDED.value, _LATE)
    rows = connection.execute(query.order_by(claim.c.deadline).limit(limit).with_for_update(skip_locked=True)).mappings()
    return tuple(_record(row) for row in rows)


def unfinished(connection: sa.Connection, *, limit: int = 100) -> tuple[ClaimRecord, ...]:
    """Releasing and abandoned claims, at most `limit`, those that have waited longest first."""
    over = (ClaimState.RELEASING.value, ClaimState.ABANDONED.value)
    rows = connection.execute(sa.select(claim).where(claim.c.state.in_(over)).order_by(claim.c.updated).limit(limit)).mappings()
    return tuple(_record(row) for row in rows)


def age(connection: sa.Connection, claim_id: ClaimId) -> float:
    """Seconds between the claim's last change and the database's clock, in either direction; infinite when the claim is gone."""
    away = sa.func.abs(EpochNow() - claim.c.updated)
    found = connection.execute(sa.select(away).where(claim.c.id == claim_id)).scalar_one_or_none()
    return float("inf") if found is None else float(found)


def owners(connection: sa.Connection, host: HostId) -> dict[int, tuple[str, Role]]:
    """The owner `(guest, role)` of each pCPU of the host that has one."""
    rows = connection.execute(sa.select(pcpu_owner).where(pcpu_owner.c.host == host).order_by(pcpu_owner.c.pcpu)).mappings()
    return {row["pcpu"]: (row["guest"], Role(row["role"])) for row in rows}


def _owned(claim_id: ClaimId, *, guest: GuestId, host: HostId, fit: Fit) -> list[dict[str, Any]]:
    return [{"host": host, "pcpu": pcpu, "guest": guest, "claim": claim_id, "role": role.value} for pcpu, role, _ in holds(fit)]


def _own(connection: sa.Connection, claim_id: ClaimId, *, guest: GuestId, host: HostId, fit: Fit) -> None:
    rows = _owned(claim_id, guest=guest, host=host, fit=fit)
    if not rows:
        return
    try:
        connection.execute(_OWN, rows)
    except sa.exc.IntegrityError as error:
        raise Conflict(f"host {host}: one of the pCPUs {fit.taken} has an owner already") from error


def _step(connection: sa.Connection, claim_id: ClaimId, states: tuple[ClaimState, ...], *, late: bool = False, **values: Any) -> None:
    """Change a claim that is in one of the states."""
    query = _stepping(states, late)
    if connection.execute(query, {"claim_id": claim_id, **values}).rowcount != 1:
        raise Conflict(f"claim {claim_id} is not {' or '.join(state.value for state in states)} any more")


@cache
def _stepping(states: tuple[ClaimState, ...], late: bool) -> sa.Update:
    query = claim.update().where(claim.c.id == sa.bindparam("claim_id"), claim.c.state.in_([state.value for state in states]))
    if late:
        query = query.where(_LATE)
    return query.values(updated=EpochNow())


def _select(connection: sa.Connection, *conditions: Any) -> tuple[ClaimRecord, ...]:
    rows = connection.execute(sa.select(claim).where(*conditions).order_by(claim.c.guest, claim.c.id)).mappings()
    return tuple(_record(row) for row in rows)


_MOST_TEXTS: Final = 1024
_made: Final[dict[str, Fit]] = {}
"""The fits of the texts that this process wrote last. Processes that create guests which are alike write the same texts, and read them in
each other's claims.
"""


@lru_cache(maxsize=_MOST_TEXTS)
def fit_text(fit: Fit) -> str:
    """The column of a fit."""
    text = encode(written(fit))
    if not fit.warnings:  # the text has their sentences, too
        if len(_made) >= _MOST_TEXTS:
            _made.clear()
        _made[text] = fit
    return text


@lru_cache(maxsize=1024)
def _amounts_text(amounts: Amounts) -> str:
    return encode(amounts)


@lru_cache(maxsize=1024)
def _amounts(text: str) -> Amounts:
    return _read_amounts(text, "claim.amounts")


# About 2 KiB each. The index keeps the live ones too; only the number of dead ones must stay small.
@lru_cache(maxsize=16384)
def _fit(text: str) -> Fit:
    return _made.get(text) or _read_fit(text, "claim.fit")


class _Row(Struct, frozen=True):
    """A claim's columns as PostgreSQL writes them in JSON."""

    id: ClaimId
    guest: GuestId
    host: HostId
    state: ClaimState
    deadline: float
    amounts: str
    fit: str
    revision: int
    role: ClaimRole
    held: int
    created: float
    updated: float
    shapes: int

    def record(self) -> ClaimRecord:
        return ClaimRecord(
            id=self.id,
            guest=self.guest,
            host=self.host,
            state=self.state,
            deadline=self.deadline,
            amounts=_amounts(self.amounts),
            fit=_fit(self.fit),
            revision=self.revision,
            role=self.role,
            held=self.held,
            shapes=self.shapes,
            created=self.created,
            updated=self.updated,
        )


_read_rows: Final = json.Decoder(list[_Row]).decode
_in_order: Final = attrgetter("revision", "guest", "id")


def _record(row: Mapping[str, Any] | sa.RowMapping) -> ClaimRecord:
    return ClaimRecord(
        id=row["id"],
        guest=row["guest"],
        host=row["host"],
        state=ClaimState(row["state"]),
        deadline=row["deadline"],
        amounts=_amounts(row["amounts"]),
        fit=_fit(row["fit"]),
        revision=row["revision"],
        role=ClaimRole(row["role"]),
        held=row["held"],
        shapes=row["shapes"],
        created=row["created"],
        updated=row["updated"],
    )
