"""Who had a pCPU from when until when, told by the journal's entries; and moments as people write them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

from pinfold.core.errors import InvalidRequest
from pinfold.watch.changes import ChangeKind, owners_of
from pinfold.watch.journal import Entry

_UNITS: Final = {"m": 60.0, "h": 3600.0, "d": 86_400.0}
_FORMS: Final = ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ")


class Tenure(Struct, frozen=True, kw_only=True):
    """A time in which a pCPU had the same owners, each by role, id and name; none while it was free.

    `begins` is None if it began before the journal, `ends` None if it lasts.
    """

    begins: float | None
    ends: float | None
    owners: tuple[tuple[str, str, str], ...]


def tenures(entries: Iterable[Entry], now: str, *, begins: float, since: float = 0.0, until: float = float("inf")) -> tuple[Tenure, ...]:
    """The tenures of one pCPU that touch the time from `since` until `until`, in order, without a gap.

    `entries` are the changes of its owners, oldest first. `now` are its owners at the last sweep, in the journal's text. The journal begins
    at `begins`.
    """
    moves = [entry for entry in entries if entry.change.kind is ChangeKind.OWNER]
    texts = [*(entry.change.before for entry in moves), now]
    ends: list[float | None] = [entry.at for entry in moves]
    starts: list[float | None] = [None, *ends]
    found = [Tenure(begins=start, ends=end, owners=owners_of(text)) for start, end, text in zip(starts, [*ends, None], texts, strict=True)]
    if moves and moves[0].at <= begins:
        found = found[1:]
    return tuple(one for one in found if (one.ends is None or one.ends > since) and (one.begins is None or one.begins < until))


def moment(text: str, now: float) -> float:
    """The moment that somebody wrote, in seconds since the epoch: a date, a date with a time (UTC), or how long ago (`90m`, `12h`, `3d`).

    >>> moment("1970-01-02", 0), moment("1970-01-01 00:01", 0), moment("2h", 10_000)
    (86400.0, 60.0, 2800.0)

    Raises `InvalidRequest`.
    """
    ago = re.fullmatch(r"([0-9]{1,6})([mhd])", text)
    if ago:
        return now - int(ago[1]) * _UNITS[ago[2]]
    for form in _FORMS:
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC).timestamp()
        except ValueError:
            continue
    raise InvalidRequest(
        f"{text!r:.60} is no moment; write 2026-11-24, '2026-11-24 22:00' (UTC), or how long ago: 90m, 12h, 3d", key="since"
    )
