"""How many guests are in which state: what decides about their status, and nothing else of their rows."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from msgspec import Struct

from pinfold.core.encoding import decoder
from pinfold.core.identity import HostId
from pinfold.store.records import REBUILD, RESET, Desired, Observed, Pairs, Pause
from pinfold.store.schema import guest

_read_pairs = decoder(Pairs)
_MARKED: Final = sa.or_(*(guest.c.details.contains(f'["{key}",', autoescape=True) for key in (REBUILD, RESET)))
_STATES: Final = (
    sa.select(
        guest.c.host,
        guest.c.desired,
        guest.c.observed,
        guest.c.task,
        guest.c.pause,
        sa.case((guest.c.booted == 0, 0), else_=1).label("booted"),
        sa.case((guest.c.fault == "", 0), else_=1).label("failed"),
        sa.case((_MARKED, guest.c.details), else_="").label("marks"),
    )
    .where(guest.c.deleted.is_(None))
    .subquery()
)
_COUNTS: Final = sa.select(*_STATES.c, sa.func.count()).group_by(*_STATES.c)


class GuestState(Struct, frozen=True, kw_only=True):
    """The fields of a `GuestRecord` that its status depends on, of a guest that is not deleted. `booted` is 0 or 1, and so is `rebuild`;
    `fault` is only known to be there.
    """

    host: HostId | None
    desired: Desired
    observed: Observed
    task: str
    pause: Pause
    booted: int
    fault: bool | None
    reset: bool
    rebuild: int
    deleted: None = None


def counts(connection: sa.Connection) -> list[tuple[GuestState, int]]:
    """The states of all guests but the deleted ones, each with the number of guests that are in it; a state may come more than once."""
    return [(_state(*row[:-1]), int(row[-1])) for row in connection.execute(_COUNTS)]


def _state(host: HostId | None, desired: str, observed: str, task: str, pause: str, booted: int, failed: int, details: str) -> GuestState:
    marks = dict(_read_pairs(details, "guest.details")) if details else {}
    return GuestState(
        host=host,
        desired=Desired(desired),
        observed=Observed(observed),
        task=task,
        pause=Pause(pause),
        booted=booted,
        fault=True if failed else None,
        reset=RESET in marks,
        rebuild=1 if int(marks.get(REBUILD, "0")) else 0,
    )
