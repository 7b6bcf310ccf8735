"""A guest's arrival on its host, the last step of a claim: the host's revision, the claim, the pCPUs and the guest change together.

`arrive_at_once` does it all in one statement, `arrive_all_at_once` for several guests of one host: a statement costs the claimer more than
the database. Its notification goes with it. It does all or nothing, so it needs no transaction, and only if nothing has come to the host
since the decision; for one guest also if claims have come that were known then, or foreseen. Only PostgreSQL has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from functools import cache, lru_cache
from typing import Any, Final

import sqlalchemy as sa
from msgspec import Struct, json
from sqlalchemy.dialects.postgresql import ARRAY

from pinfold.core.errors import Conflict
from pinfold.core.fit.answer import Fit
from pinfold.core.host import Claim
from pinfold.core.identity import ClaimId, GuestId, HostId
from pinfold.core.ledger import holds
from pinfold.store import claims, guests, host_news, hosts
from pinfold.store.claim_rows import fit_text
from pinfold.store.claims import HeldClaim
from pinfold.store.database import EpochNow, notify, pairs
from pinfold.store.host_news import HostNews
from pinfold.store.records import ClaimRecord, ClaimRole, ClaimState
from pinfold.store.schema import claim, host, pcpu_owner
from pinfold.store.schema import guest as guest_table

_OWNED: Final = (
    sa.func.unnest(sa.cast(sa.bindparam("pcpus"), ARRAY(sa.Integer)), sa.cast(sa.bindparam("roles"), ARRAY(sa.String)))
    .table_valued("pcpu", "role")
    .render_derived()
)


_KNOWN: Final = pairs("known", "postgresql").alias("known")
_SINCE: Final = claim.alias("since")
_HELD_SINCE: Final = sa.and_(
    _SINCE.c.host == sa.bindparam("host_id"),
    _SINCE.c.state == ClaimState.HELD.value,
    _SINCE.c.revision > sa.bindparam("decided_on"),
)
_KNOWN_STEPS: Final = (
    sa.select(
        sa.case(
            (
                sa.func.bool_and(sa.and_(_KNOWN.c.key.is_not(None), _SINCE.c.held == _SINCE.c.revision)),
                sa.func.count(_SINCE.c.revision.distinct()),
            ),
            else_=0,
        )
    )
    .select_from(_SINCE.outerjoin(_KNOWN, sa.and_(_KNOWN.c.key == _SINCE.c.id, _KNOWN.c.value == _SINCE.c.fit)))
    .where(_HELD_SINCE)
    .scalar_subquery()
)
"""How many revisions were made since the decision by new claims, all of which were known then, with the fits that they had; else 0."""
_FORESEEN: Final = sa.cast(sa.bindparam("foreseen", type_=sa.Text()), sa.JSON)


def _elements(array: sa.ColumnElement[Any], name: str) -> sa.TableValuedAlias:
    """The elements of a JSON array as a table of `value` and its `place`, from 1 on."""
    found: sa.TableValuedAlias = sa.func.json_array_elements(array).table_valued(
        sa.column("value", sa.JSON), with_ordinality="place", name=name
    )
    return found.render_derived()


def _text(value: sa.ColumnElement[Any], key: str) -> sa.ColumnElement[str]:
    """A member of a JSON value as text; the key is one of SQL's literals."""
    return value.op("->>", return_type=sa.Text())(sa.literal_column(key))


_PLACES: Final = _elements(_FORESEEN, "places")
_CLAIMS_SINCE: Final = sa.func.count(_SINCE.c.id)
_FORESEEN_STEPS: Final = (
    sa.select(
        sa.case(
            (
                sa.and_(
                    sa.func.count(_PLACES.c.place.distinct()) == _CLAIMS_SINCE,
                    sa.func.count(_SINCE.c.revision.distinct()) == _CLAIMS_SINCE,
                    sa.func.max(_PLACES.c.place) <= _CLAIMS_SINCE,
                    sa.func.json_array_length(_FORESEEN) > _CLAIMS_SINCE,
                    sa.func.bool_and(_SINCE.c.held == _SINCE.c.revision),
                ),
                _CLAIMS_SINCE,
            ),
            else_=0,
        )
    )
    .select_from(_SINCE.outerjoin(_PLACES, _text(_PLACES.c.value, "'fit'") == _SINCE.c.fit))
    .where(_HELD_SINCE)
    .scalar_subquery()
)
"""How many revisions were made since the decision by new claims, if these have the first so many of the fits that were foreseen, and there
is one more; else 0.
"""
_CAME: Final = (
    sa.select(sa.cast(sa.func.json_agg(sa.func.json_build_array(_SINCE.c.revision, _SINCE.c.guest, _SINCE.c.id, _PLACES.c.place)), sa.Text))
    .select_from(_SINCE.join(_PLACES, _text(_PLACES.c.value, "'fit'") == _SINCE.c.fit))
    .where(_HELD_SINCE)
    .scalar_subquery()
)
"""These claims, if they were foreseen: the revision that each made, its guest and id, and which of the fits it has, counted from 1."""
_read_came: Final = json.Decoder(list[tuple[int, GuestId, ClaimId, int]]).decode


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


class _Beside(Enum):
    """After what the arrival takes effect besides the revision that was decided on."""

    NOTHING = "nothing"
    KNOWN = "claims that were known"
    FORESEEN = "claims that were foreseen"


Came = tuple[tuple[int, Claim], ...]
"""Claims that others have held, with the host's revision that each made."""


class Arrived(Struct, frozen=True, kw_only=True):
    """What came of `arrive_at_once`: the host's revision that the guest's arrival made, None if nothing was written; and what has come to
    the host since the decision, None if nothing has. What was foreseen is no news: those claims `came`.
    """

    made: int | None
    news: HostNews | None
    came: Came = ()


def arrive_at_once(
    connection: sa.Connection, new: Arrival, *, decided_on: int, known: Sequence[ClaimRecord] = (), foreseen: Sequence[Fit] = ()
) -> Arrived:
    """Count the host's revision up, and `settle` the guest there, if the host has the revision that was `decided_on`; or a later one that
    claims made which were `known` at the decision, and fits that they had then. Otherwise nothing is written. It is not either, and there
    is no news, if the host takes no guests any more, or if a change of it was under way, or if the claim or the guest has changed; `arrive`
    says which.

    The new guest fits beside all `known` claims, so it fits beside some of them. With `foreseen` fits, which are different ones, it takes
    effect also after so many claims that have the first ones of them, one revision for each. The guest then has the next one, which the
    engine has found beside those before. Raises `Conflict` when a pCPU has an owner.
    """
    beside = _Beside.FORESEEN if foreseen else _Beside.KNOWN if known else _Beside.NOTHING
    values: dict[str, Any] = {
        "host_id": new.host,
        "decided_on": decided_on,
        "claim_id": new.claim,
        "on_host": new.host,
        "guest_id": new.guest,
        "topic": f"host:{new.host}",
    }
    if beside is _Beside.FORESEEN:
        values["foreseen"] = f"[{','.join(map(_foreseen_text, foreseen))}]"
    else:
        owned = holds(new.fit)
        values["new_fit"] = fit_text(new.fit)
        values |= {"pcpus": [pcpu for pcpu, _, _ in owned], "roles": [role.value for _, role, _ in owned]}
    if beside is _Beside.KNOWN:
        values["known"] = json.encode({one.id: fit_text(one.fit) for one in known}).decode()
    try:
        row = connection.execute(_statement(new.role is ClaimRole.RUNS, beside), values).one_or_none()
    except sa.exc.IntegrityError as error:
        raise Conflict(f"host {new.host}: one of the pCPUs {new.fit.taken} has an owner already") from error
    except sa.exc.DataError:  # the division by zero
        row = None
    if row is None:
        return Arrived(made=None, news=None)
    made, revision, news, *_ = row
    if made is None:
        return Arrived(made=None, news=None if revision == decided_on else host_news.news(revision, news))
    if made == decided_on + 1:
        return Arrived(made=made, news=None)
    if foreseen:
        came = [(each, Claim(guest=who, fit=foreseen[place - 1], id=which)) for each, who, which, place in _read_came(news)]
        return Arrived(made=made, news=None, came=tuple(came))
    return Arrived(made=made, news=host_news.news(made - 1, news))


@lru_cache(maxsize=1024)
def _foreseen_text(fit: Fit) -> str:
    """A fit as `_FORESEEN` has it: its text, and the pCPUs that it holds with their roles."""
    return json.encode({"fit": fit_text(fit), "owned": [(pcpu, role.value) for pcpu, role, _ in holds(fit)]}).decode()


@cache
def _statement(runs: bool, beside: _Beside) -> sa.Select[Any]:
    """Each part but the first takes effect only if the one before it did; all see the host's row as it is once it is locked. If the first
    takes effect and another does not, the last part divides by the number of its rows, zero, and the database undoes them all.
    """
    # Who waits for the host's row sees the claims as they were before, too few for the revision that it has by then, and writes nothing.
    decided_on = sa.bindparam("decided_on", type_=sa.Integer())
    steps = {_Beside.KNOWN: _KNOWN_STEPS, _Beside.FORESEEN: _FORESEEN_STEPS}.get(beside)
    step = hosts.ADVANCE if steps is None else hosts.advance_from(decided_on + steps)
    advanced = step.returning(host.c.id, host.c.revision).cte("advanced")
    chosen: sa.ColumnElement[Any] = _FORESEEN.op("->")(sa.cast(advanced.c.revision - 1 - decided_on, sa.Integer))
    held = (
        claim.update()
        .where(claim.c.id == sa.bindparam("claim_id"), claim.c.state == ClaimState.INTENDED.value)
        .where(claim.c.host == advanced.c.id)
        .values(
            state=ClaimState.HELD.value,
            revision=advanced.c.revision,
            held=advanced.c.revision,
            fit=_text(chosen, "'fit'") if beside is _Beside.FORESEEN else sa.bindparam("new_fit"),
            updated=EpochNow(),
        )
        .returning(claim.c.id, claim.c.guest, claim.c.host)
        .cte("held")
    )
    if beside is _Beside.FORESEEN:
        each = _elements(chosen.op("->")(sa.literal_column("'owned'")), "of_fit")
        pcpus = sa.select(held.c.host, sa.cast(_text(each.c.value, "0"), sa.Integer), held.c.guest, held.c.id, _text(each.c.value, "1"))
        pcpus = pcpus.select_from(held.join(advanced, sa.true()).join(each, sa.true()))
    else:
        pcpus = sa.select(held.c.host, _OWNED.c.pcpu, held.c.guest, held.c.id, _OWNED.c.role).select_from(held.join(_OWNED, sa.true()))
    owned = pcpu_owner.insert().from_select(["host", "pcpu", "guest", "claim", "role"], pcpus).returning(pcpu_owner.c.pcpu).cte("owned")
    placed = guests.PLACE.where(guest_table.c.id == held.c.guest).values(host=held.c.host).returning(guest_table.c.id).cte("placed")
    last = sa.select(sa.func.count()).select_from(placed if runs else held).scalar_subquery()
    done = advanced.c.revision.is_not(None)
    news: list[tuple[Any, Any]] = [(advanced.c.revision == decided_on + 1, sa.null())]
    if beside is _Beside.FORESEEN:
        news.append((done, _CAME))
    return (
        sa.select(
            advanced.c.revision.label("made"),
            host.c.revision,
            sa.case(*news, else_=host_news.NEWS).label("news"),
            sa.case((done, 1 / last)).label("parts"),
            sa.select(notify(sa.bindparam("topic"))).select_from(advanced).scalar_subquery().label("told"),
        )
        .select_from(host.outerjoin(advanced, advanced.c.id == host.c.id))
        .where(host.c.id == sa.bindparam("host_id"))
        .add_cte(owned)
    )


def arrive_all_at_once(connection: sa.Connection, new: Sequence[HeldClaim], *, host: HostId, decided_on: int) -> int | None:
    """The arrival of several guests on one host that has the revision which was `decided_on`, by the fits that their claims were intended
    with: all or none. Returns the host's revision; None, with nothing written, if the host has another one by now or takes no guests any
    more, or if one of the claims or guests has changed; a transaction says which. Raises `Conflict` when a pCPU has an owner.
    """
    owned = [(one.id, pcpu, role.value) for one in new for pcpu, role, _ in holds(one.fit)]
    values = {
        "host_id": host,
        "decided_on": decided_on,
        "claims": [one.id for one in new],
        "owners": [owner for owner, _, _ in owned],
        "pcpus": [pcpu for _, pcpu, _ in owned],
        "roles": [role for _, _, role in owned],
        "count": len(new),
        "topic": f"host:{host}",
    }
    try:
        row = connection.execute(_ALL_AT_ONCE, values).one_or_none()
    except sa.exc.IntegrityError as error:
        raise Conflict(f"host {host}: one of the pCPUs of {len(new)} claims has an owner already") from error
    except sa.exc.DataError:  # the division by zero
        return None
    return None if row is None else int(row.made)


def _all_at_once() -> sa.Select[Any]:
    """As `_statement`. Nothing comes of it if the first part takes no effect."""
    advanced = hosts.ADVANCE.returning(host.c.id, host.c.revision).cte("advanced")
    held = (
        claim.update()
        .where(claim.c.id == sa.any_(_texts("claims")), claim.c.state == ClaimState.INTENDED.value, claim.c.host == advanced.c.id)
        .values(state=ClaimState.HELD.value, revision=advanced.c.revision, held=advanced.c.revision, updated=EpochNow())
        .returning(claim.c.id, claim.c.guest, claim.c.host)
        .cte("held")
    )
    pcpus = (
        sa.func.unnest(_texts("owners"), sa.cast(sa.bindparam("pcpus"), ARRAY(sa.Integer)), _texts("roles"))
        .table_valued("owner", "pcpu", "role")
        .render_derived()
    )
    owned = (
        pcpu_owner.insert()
        .from_select(
            ["host", "pcpu", "guest", "claim", "role"],
            sa.select(held.c.host, pcpus.c.pcpu, held.c.guest, held.c.id, pcpus.c.role).join(pcpus, pcpus.c.owner == held.c.id),
        )
        .returning(pcpu_owner.c.pcpu)
        .cte("owned")
    )
    placed = guests.PLACE_EACH.where(guest_table.c.id == held.c.guest).values(host=held.c.host).returning(guest_table.c.id).cte("placed")
    all_placed = sa.select(sa.func.count() == sa.bindparam("count")).select_from(placed).scalar_subquery()
    return sa.select(
        advanced.c.revision.label("made"),
        (1 / sa.case((all_placed, 1), else_=0)).label("parts"),
        notify(sa.bindparam("topic")).label("told"),
    ).add_cte(owned)


def _texts(name: str) -> sa.ColumnElement[Any]:
    return sa.cast(sa.bindparam(name), ARRAY(sa.String))


_ALL_AT_ONCE: Final = _all_at_once()
