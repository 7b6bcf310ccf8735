"""A new guest, its event and its intended claim, the first step of a create, as one statement.

Only PostgreSQL has it, where a statement costs the claimer more than the database. It does all or nothing, so it needs no transaction of
its own. A project with a quota is left to `guests` and `claims`: to count what the project has takes a lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final

import sqlalchemy as sa

from pinfold.core.errors import Conflict
from pinfold.core.fit.answer import Fit
from pinfold.store import claim_rows, claims, flavors, guest_events, guest_rows, host_news
from pinfold.store.claim_rows import IntendedClaim
from pinfold.store.host_news import Seen
from pinfold.store.records import GuestRecord, NewGuest
from pinfold.store.schema import claim, guest, guest_event, host, quota

_MADE: Final = (guest.c.created, guest.c.updated)
"""What the database decides about a new guest."""


def create_intended(
    connection: sa.Connection, new: NewGuest, intent: IntendedClaim, *, seconds: float, decided_on: int, later: Sequence[Fit] = ()
) -> tuple[GuestRecord, Seen] | None:
    """Store a guest as `guests.create`, but without its configuration and ports, and its claim as `claims.intend`. Returns what these
    return; None, with nothing written, if the guest's project has a quota, or if its flavor is not as it was seen.

    If as many claims are new on the host since the decision, the claim has instead of its own fit the first of the `later` ones for one
    claim, the second for two, and the last for more. The claims are read only if that may not be what they leave: if they are more, or take
    something else.

    Raises `Conflict` when the guest exists, or when the claim's host is gone.
    """
    rows = {"guest": guest_rows.new_row(new), "claim": claim_rows.columns(intent, seconds)}
    if new.by is not None:
        rows["event"] = guest_events.columns(new.id, "create", new.by)
    if later:
        del rows["claim"]["fit"]
    values = {f"{part}_{name}": value for part, row in rows.items() for name, value in row.items()}
    if later:
        values |= host_news.foreseeing(intent, later)
    if new.seen_flavor is not None:
        values |= flavors.seeing(new.seen_flavor)
    statement = _statement(tuple([(part, tuple(row)) for part, row in rows.items()]), new.seen_flavor is not None)
    try:
        row = connection.execute(statement, {**values, **host_news.seeing(intent, decided_on), "seconds": seconds}).one_or_none()
    except sa.exc.IntegrityError as error:
        raise Conflict(f"guest {new.id} exists already, or host {intent.host} is gone") from error
    if row is None:
        return None
    created, updated, *seen = row
    return guest_rows.new_record(new, created, updated), host_news.seen(*seen)


@cache
def _statement(parts: tuple[tuple[str, tuple[str, ...]], ...], seen_flavor: bool) -> sa.Select[Any]:
    """The statement for these columns of each part, with a flavor that was seen or without. The other parts insert one row for each guest
    that the first one has inserted.
    """
    names = dict(parts)
    limited = sa.select(quota.c.project).where(quota.c.project == sa.bindparam("guest_project", type_=sa.Text())).exists()
    first = _row(guest, "guest", names["guest"], guest_rows.AT_FIRST).where(~limited)
    if seen_flavor:
        first = first.where(flavors.UNCHANGED)
    stored = guest.insert().from_select(first.selected_columns.keys(), first).returning(guest.c.id, *_MADE).cte("stored")
    others = []
    single = "fit" in names["claim"]
    of_claim = claims.AT_FIRST if single else {**claims.AT_FIRST, "fit": host_news.FIT_BY_NUMBER}
    for table, part, fixed in ((claim, "claim", of_claim), (guest_event, "event", guest_events.AT_FIRST)):
        if part in names:
            row = _row(table, part, [name for name in names[part] if name in table.c], fixed).select_from(stored)
            others.append(table.insert().from_select(row.selected_columns.keys(), row).returning(*table.primary_key).cte(f"new_{part}"))
    news = (host_news.NEWS,) if single else host_news.FORESEEN_NEWS
    found = sa.select(*(stored.c[column.name] for column in _MADE), host.c.revision, *news)
    return found.select_from(stored.join(host, host.c.id == sa.bindparam("on_host"))).add_cte(*others)


def _row(table: sa.Table, part: str, names: Iterable[str], fixed: Mapping[str, Any]) -> sa.Select[Any]:
    """One row of a table: the columns that are bound, and those that are the same for each new row."""
    bound = [sa.bindparam(f"{part}_{name}", type_=table.c[name].type).label(name) for name in names]
    return sa.select(*bound, *(_value(table, name, value).label(name) for name, value in fixed.items()))


def _value(table: sa.Table, name: str, value: Any) -> sa.ColumnElement[Any]:
    return value if isinstance(value, sa.ColumnElement) else sa.literal(value, table.c[name].type)
