"""`Edits`: change what the service alone keeps of guests: name, metadata, tags, locks, and the state that an admin sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from pinfold.core.adoption import Takeover
from pinfold.core.errors import Conflict, LimitReached
from pinfold.core.identity import GuestId
from pinfold.store import guests
from pinfold.store.database import Database
from pinfold.store.records import (
    DELETING,
    LOCKED,
    LOCKED_REASON,
    RELEASING,
    RESET,
    SCHEDULING,
    TAGS,
    Desired,
    GuestRecord,
    Pairs,
    Pause,
)

MOST_METADATA: Final = 128
PAUSING: Final = {Pause.IN_MEMORY: "pausing", Pause.ON_DISK: "suspending"}
"""The task of a guest that is being paused."""


class Edits:
    """Changes that no agent has to hear of. Safe to share between threads and processes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def edit(self, guest_id: GuestId, *, name: str | None, description: str | None, details: Mapping[str, str | None]) -> GuestRecord:
        """Change what only users see of a guest. None leaves name and description unchanged, and removes a detail."""
        with self._database.write() as connection:
            changed = _changed(guests.hold(connection, guest_id), details) if details else None
            return guests.edit(connection, guest_id, name=name, description=description, details=changed)

    def change_details(self, guest_id: GuestId, changes: Mapping[str, str | None]) -> GuestRecord:
        """Change details of a guest, which only the API reads; None removes one."""
        with self._database.write() as connection:
            return guests.edit(connection, guest_id, details=_changed(guests.hold(connection, guest_id), changes))

    def lock(self, guest_id: GuestId, *, by: str, reason: str | None) -> None:
        """Lock a guest against changes, by an `admin` or its `owner`."""
        self.change_details(guest_id, {LOCKED: by, LOCKED_REASON: reason})

    def unlock(self, guest_id: GuestId) -> None:
        """Unlock a guest."""
        self.change_details(guest_id, {LOCKED: None, LOCKED_REASON: None})

    def reset(self, guest_id: GuestId, *, error: bool) -> None:
        """Show the guest in `error` until it is reset again or rebooted hard; or show what its agent sees, clear its fault, and end its
        task, which may have been lost.

        The tasks stay that lead to a host and to a delete: without them, nobody would find the one or finish the other. Raises `Conflict`
        for a guest whose domain is taken over or given back, and for one in error on no host, of which no agent sees anything.
        """
        with self._database.write() as connection:
            guest = guests.get(connection, guest_id)
            if not error and guest.task in PAUSING.values():
                # Before the guest's row is held, because it locks the host's first.
                guests.want(connection, guest_id, guest.desired, task="", revision=guest.revision)
            guest = guests.hold(connection, guest_id)
            if error:
                guests.edit(connection, guest_id, details=_changed(guest, {RESET: "error"}))
                return
            _refuse_reset(guest)
            guests.reset(connection, guest_id, _changed(guest, {RESET: None}), end=guest.task not in (SCHEDULING, DELETING))

    def change_metadata(self, guest_id: GuestId, change: Callable[[dict[str, str]], dict[str, str]]) -> Pairs:
        """Store what `change` makes of a guest's metadata, and return it. Raises `LimitReached` when that is too much."""
        with self._database.write() as connection:
            after = change(dict(guests.hold(connection, guest_id).metadata))
            refuse_too_much_metadata(after)
            return guests.edit(connection, guest_id, metadata=tuple(sorted(after.items()))).metadata

    def change_tags(self, guest_id: GuestId, change: Callable[[frozenset[str]], frozenset[str]]) -> tuple[str, ...]:
        """Store what `change` makes of a guest's tags, and return it, ascending."""
        with self._database.write() as connection:
            guest = guests.hold(connection, guest_id)
            after = ",".join(sorted(change(frozenset(guest.tags))))
            return guests.edit(connection, guest_id, details=_changed(guest, {TAGS: after or None})).tags

    def forget_reset(self, guest_id: GuestId) -> None:
        """Show a guest that an admin has set to `error` as its agent sees it."""
        with self._database.read() as connection:
            reset = guests.get(connection, guest_id).reset
        if reset:
            self.change_details(guest_id, {RESET: None})


def refuse_too_much_metadata(metadata: dict[str, str]) -> None:
    """Raise `LimitReached` when a guest's metadata has too many entries."""
    if len(metadata) > MOST_METADATA:
        raise LimitReached(f"Maximum number of metadata items exceeds {MOST_METADATA}")


def _refuse_reset(guest: GuestRecord) -> None:
    if guest.takeover in (Takeover.ADOPT, Takeover.RELEASE):
        raise Conflict(f"Cannot 'resetState' instance {guest.id} while it is in task_state {guest.task or RELEASING}")
    if guest.host is None and guest.desired is not Desired.ABSENT and guest.task != SCHEDULING:
        raise Conflict(f"Cannot 'resetState' instance {guest.id} to active: it is on no host. It can be deleted")


def _changed(guest: GuestRecord, changes: Mapping[str, str | None]) -> Pairs:
    details: dict[str, str | None] = {**dict(guest.details), **changes}
    return tuple(sorted((key, value) for key, value in details.items() if value is not None))
