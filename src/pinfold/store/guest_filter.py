"""Which guests a listing shows, and the conditions by which the database finds them. `guests` reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from pinfold.core.encoding import json_text
from pinfold.store.records import Desired, Observed, Pairs, Pause
from pinfold.store.schema import guest


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestFilter:
    """Which guests a listing shows: every field that is not None must match.

    `host` is an id, `name` a predicate on the name, and `name_has` a part of it in any case. `booted` says whether its agent has booted it.
    A guest must have all of `details`, `detail_keys` and `tags`; they are looked for in the stored text, so that others may match as well.
    Of each group in `any_of`, one filter must match.
    """

    project: str | None = None
    owner: str | None = None
    name: Callable[[str], bool] | None = None
    name_has: str | None = None
    host: str | None = None
    hosts: tuple[str, ...] | None = None
    image: str | None = None
    ids: tuple[str, ...] | None = None
    desired: Desired | None = None
    observed: Observed | None = None
    task: str | None = None
    pause: Pause | None = None
    failed: bool | None = None
    booted: bool | None = None
    details: Pairs = ()
    detail_keys: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    any_of: tuple[tuple[GuestFilter, ...], ...] = ()
    changed_since: float | None = None
    deleted: bool | None = False


def conditions_of(wanted: GuestFilter) -> list[Any]:
    """What the database compares: all of these conditions on the table `guest`."""
    equal = {
        guest.c.project: wanted.project,
        guest.c.owner: wanted.owner,
        guest.c.host: wanted.host,
        guest.c.image: wanted.image,
        guest.c.desired: wanted.desired and wanted.desired.value,
        guest.c.observed: wanted.observed and wanted.observed.value,
        guest.c.task: wanted.task,
        guest.c.pause: wanted.pause and wanted.pause.value,
    }
    conditions: list[Any] = [column == value for column, value in equal.items() if value is not None]
    if wanted.ids is not None:
        conditions.append(guest.c.id.in_(wanted.ids))
    if wanted.hosts is not None:
        conditions.append(guest.c.host.in_(wanted.hosts))
    conditions += [sa.or_(sa.false(), *(sa.and_(sa.true(), *conditions_of(each)) for each in group)) for group in wanted.any_of]
    keys, tags = [f"[{json_text(key)}," for key in wanted.detail_keys], [json_text(tag)[1:-1] for tag in wanted.tags]
    conditions += [guest.c.details.contains(text, autoescape=True) for text in (*map(json_text, wanted.details), *keys, *tags)]
    if wanted.name_has is not None and wanted.name_has.isascii():
        conditions.append(guest.c.name.icontains(wanted.name_has, autoescape=True))
    if wanted.failed is not None:
        conditions.append(guest.c.fault != "" if wanted.failed else guest.c.fault == "")
    if wanted.booted is not None:
        conditions.append(guest.c.booted > 0 if wanted.booted else guest.c.booted == 0)
    if wanted.changed_since is not None:
        conditions.append(guest.c.updated >= wanted.changed_since)
    if wanted.deleted is not None:
        conditions.append(guest.c.deleted.is_not(None) if wanted.deleted else guest.c.deleted.is_(None))
    return conditions


def name_test(wanted: GuestFilter) -> Callable[[str], bool] | None:
    """What the database does not compare: a predicate, and a part of a name with letters beyond ASCII, whose case SQLite does not know."""
    if wanted.name_has is None or wanted.name_has.isascii():
        return wanted.name
    part, also = wanted.name_has.lower(), wanted.name
    return lambda name: part in name.lower() and (also is None or also(name))
