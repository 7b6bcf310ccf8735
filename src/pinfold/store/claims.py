"""Store claims and the owners of pCPUs. Each step is a compare-and-set; `service.claims` decides when to take it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final

import sqlalchemy as sa
from msgspec import Struct

from pinfold.core.encoding import encode
from pinfold.core.errors import Conflict
from pinfold.core.fit.answer import Fit
from pinfold.core.identity import ClaimId, GuestId, HostId
from pinfold.core.ledger import Role, holds
from pinfold.store import host_news
from pinfold.store.claim_rows import IntendedClaim, columns, fit_text, place, record
from pinfold.store.database import EpochNow, in_term
from pinfold.store.host_news import Seen
from pinfold.store.records import ADOPTING, Amounts, ClaimRecord, ClaimRole, ClaimState
from pinfold.store.schema import claim, pcpu_owner
from pinfold.store.schema import guest as guest_table

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
_INTEND_SEEING: Final = {dialect: _INTEND.returning(*found) for dialect, found in host_news.SEEN.items()}
_REDIRECTED: Final = (
    claim.update()
    .where(claim.c.id == sa.bindparam("claim_id"), claim.c.state == ClaimState.INTENDED.value)
    .values(updated=EpochNow(), deadline=EpochNow() + _SECONDS)
)
_REDIRECT: Final = {dialect: _REDIRECTED.returning(*found) for dialect, found in host_news.SEEN.items()}
_REDIRECT_FORESEEN: Final = _REDIRECTED.values(fit=host_news.FIT_BY_NUMBER).returning(host_news.REVISION, *host_news.FORESEEN_NEWS)
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


def intend(connection: sa.Connection, new: IntendedClaim, *, seconds: float, decided_on: int | None = None) -> Seen:
    """Store a new claim that is `intended` for so many seconds. `decided_on` is the host's revision at the decision, if the caller is to
    see what has come there since. Raises `Conflict` when the guest has a live claim of that role already.
    """
    try:
        row = connection.execute(
            _INTEND_SEEING[connection.dialect.name], {**columns(new, seconds), **host_news.seeing(new, decided_on)}
        ).one()
    except sa.exc.IntegrityError as error:
        raise Conflict(f"guest {new.guest} has a claim already, or is not stored") from error
    return host_news.seen(*row)


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
    values = {**place(changed, seconds), **host_news.seeing(changed, decided_on)}
    statement = _REDIRECT[connection.dialect.name]
    if later:
        del values["fit"]
        values |= host_news.foreseeing(changed, later)
        statement = _REDIRECT_FORESEEN
    row = connection.execute(statement, values).first()
    if row is None:
        raise Conflict(f"claim {changed.id} is not intended any more")
    return host_news.seen(*row)


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
    return tuple(record(row) for row in rows.mappings())


def adopting(connection: sa.Connection, host: HostId) -> tuple[ClaimRecord, ...]:
    """The host's intended claims of guests whose domains are on it already, ordered by guest."""
    query = sa.select(claim).join(guest_table, guest_table.c.id == claim.c.guest)
    coming = query.where(claim.c.host == host, claim.c.state == ClaimState.INTENDED.value, guest_table.c.task == ADOPTING)
    return tuple(record(row) for row in connection.execute(coming.order_by(claim.c.guest)).mappings())


def under_way(connection: sa.Connection, host: HostId, guest: GuestId) -> bool:
    """Whether claims of other guests on the host may be in Placement but not in the ledger, because they come or go."""
    others = sa.and_(claim.c.host == host, claim.c.guest != guest, claim.c.state != ClaimState.HELD.value)
    return connection.execute(sa.select(claim.c.id).where(others).limit(1)).first() is not None


def expired(connection: sa.Connection, limit: int = 100) -> tuple[ClaimRecord, ...]:
    """Intended claims past their deadline, at most `limit`. On PostgreSQL it skips those that another process has locked."""
    query = sa.select(claim).where(claim.c.state == ClaimState.INTENDED.value, _LATE)
    rows = connection.execute(query.order_by(claim.c.deadline).limit(limit).with_for_update(skip_locked=True)).mappings()
    return tuple(record(row) for row in rows)


def unfinished(connection: sa.Connection, *, limit: int = 100) -> tuple[ClaimRecord, ...]:
    """Releasing and abandoned claims, at most `limit`, those that have waited longest first."""
    over = (ClaimState.RELEASING.value, ClaimState.ABANDONED.value)
    rows = connection.execute(sa.select(claim).where(claim.c.state.in_(over)).order_by(claim.c.updated).limit(limit)).mappings()
    return tuple(record(row) for row in rows)


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
    return tuple(record(row) for row in rows)
