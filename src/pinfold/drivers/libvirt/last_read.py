"""`LastRead`: remember each guest as it was last read, and tell whether libvirt must be asked again. `guests` reads them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

from msgspec import Struct

from pinfold.core.identity import GuestId
from pinfold.drivers.libvirt.state_files import Marks
from pinfold.drivers.port import GuestState, HostGuest

TRUSTED_SECONDS: Final = 60.0
"""A guest is read anew after so long, in case some libvirt changes a definition without writing its file."""


class _Reading(Struct, frozen=True, kw_only=True):
    """A guest, the marks from before it was read, None if they cannot be trusted, and when it was read."""

    guest: HostGuest
    marks: Marks | None
    at: float


class LastRead:
    """Remembers the guests of one libvirt by id. Any thread may use it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[GuestId, _Reading | None] = {}

    def ids(self) -> tuple[GuestId, ...]:
        """Every guest that was listed last, or that an event has named since."""
        with self._lock:
            return tuple(self._known)

    def list(self, ids: Iterable[GuestId]) -> None:
        """These are all guests. Forget the others."""
        with self._lock:
            self._known = {guest: self._known.get(guest) for guest in ids}

    def forget(self, guest: GuestId) -> None:
        """A guest has gone."""
        with self._lock:
            self._known.pop(guest, None)

    def hear(self, guest: GuestId, *, new: bool) -> None:
        """Something happened to a guest, to every guest if it is '': it must be read anew. `new`: it may be one that was not listed."""
        with self._lock:
            for one in (guest,) if guest else tuple(self._known):
                known = self._known.get(one)
                if known is not None:
                    self._known[one] = _Reading(guest=known.guest, marks=None, at=known.at)
                elif new:
                    self._known.setdefault(one, None)

    def guest(self, guest: GuestId) -> HostGuest | None:
        """The guest as last read; None if it never was."""
        with self._lock:
            known = self._known.get(guest)
        return None if known is None else known.guest

    def keep(self, guest: HostGuest, marks: Marks | None) -> HostGuest:
        """Remember a guest that was just read. Returns the earlier object if it is equal, so that an unchanged guest keeps its object."""
        with self._lock:
            known = self._known.get(guest.id)
            same = known.guest if known is not None and known.guest == guest else guest
            self._known[guest.id] = _Reading(guest=same, marks=marks, at=self._clock())
        return same

    def unchanged(self, guest: GuestId, state: GuestState, marks: Callable[[str], Marks | None]) -> HostGuest | None:
        """The guest as last read if it is certainly still so; None if it must be read anew. `marks` returns the present ones by name."""
        with self._lock:
            known = self._known.get(guest)
        if known is None or known.marks is None or known.guest.state is not state or self._clock() - known.at > TRUSTED_SECONDS:
            return None
        return known.guest if marks(known.guest.name) == known.marks else None
