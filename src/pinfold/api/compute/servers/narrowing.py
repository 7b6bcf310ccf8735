"""Filters of a listing of servers in the database's terms. `listing` compares the rows that they find once more.

Each may match guests that have not the status, detail or tag; none leaves out a guest that has it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from pinfold.core.identity import HostId
from pinfold.service.guests.lifecycle import REBOOTING, REBOOTING_HARD, RESUMING
from pinfold.store.guest_filter import GuestFilter
from pinfold.store.records import REBUILDING, RESET, Observed, Pause

_LONGEST: Final = 255
"""Longer values are compared row by row: SQLite refuses a very long pattern."""
_MOST_TAGS: Final = 50
_MOST_HOSTS: Final = 500
"""The guests of more silent hosts than these are compared row by row: a statement takes so many parameters and no more."""


def _any(**more: object) -> GuestFilter:
    return GuestFilter(deleted=None, **more)  # type: ignore[arg-type]


_BY_STATUS: Final[Mapping[str, tuple[GuestFilter, ...]]] = {
    "ACTIVE": (_any(observed=Observed.RUNNING), _any(observed=Observed.PAUSED)),
    "BUILD": (_any(observed=Observed.UNSEEN), _any(booted=False)),
    "DELETED": (GuestFilter(deleted=True),),
    "ERROR": (_any(failed=True), _any(detail_keys=(RESET,))),
    "HARD_REBOOT": (_any(task=REBOOTING_HARD),),
    "PAUSED": (_any(observed=Observed.PAUSED),),
    "REBOOT": (_any(task=REBOOTING),),
    "REBUILD": (_any(task=REBUILDING),),
    "SHUTOFF": tuple([_any(observed=seen) for seen in Observed if seen not in (Observed.RUNNING, Observed.PAUSED)]),
    "SUSPENDED": (_any(pause=Pause.ON_DISK), _any(task=RESUMING)),
}
"""For each status but UNKNOWN what is true of every guest that has it, as `status.server_status` decides: one of these filters matches."""


def with_status(statuses: Iterable[str], silent: Collection[HostId]) -> tuple[GuestFilter, ...]:
    """Filters one of which matches each guest with one of these statuses; none for statuses that no guest can have.

    `silent` are the hosts that send no heartbeats, whose guests may be UNKNOWN.
    """
    unknown = _any(hosts=tuple(sorted(silent)) if len(silent) <= _MOST_HOSTS else None)
    return tuple([each for status in sorted(set(statuses)) for each in ((unknown,) if status == "UNKNOWN" else _BY_STATUS.get(status, ()))])


def with_details(wanted: Mapping[str, str | None]) -> tuple[tuple[str, str], ...]:
    """Of the details that guests are to have, those that the database can look for: a value of printable ASCII is stored as it is."""
    return tuple([(key, value) for key, value in sorted(wanted.items()) if value is not None and _plain(value)])


def with_tags(every: Collection[str]) -> tuple[str, ...]:
    """Of the tags that guests are to have, those that the database can look for."""
    return tuple(sorted(filter(_plain, every)))[:_MOST_TAGS]


def with_a_tag(any_of: Collection[str]) -> tuple[tuple[GuestFilter, ...], ...]:
    """A group of filters one of which matches each guest with one of these tags; no group where the database cannot look for one."""
    return (
        (tuple([_any(tags=(tag,)) for tag in sorted(any_of)]),) if any_of and len(any_of) <= _MOST_TAGS and all(map(_plain, any_of)) else ()
    )


def _plain(value: str) -> bool:
    return value.isascii() and value.isprintable() and len(value) <= _LONGEST
