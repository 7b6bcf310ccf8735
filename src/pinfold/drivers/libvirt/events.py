"""Translate libvirt's event numbers into `Event`, and keep the list of callbacks. `connection` registers with libvirt.

The numbers are libvirt's ABI: virDomainEventType, virDomainEventStoppedDetailType and virConnectCloseReason.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from pinfold.core.identity import GuestId
from pinfold.drivers.port import Event, EventKind

_KINDS: Final = {
    0: EventKind.DEFINED,
    1: EventKind.UNDEFINED,
    2: EventKind.STARTED,
    3: EventKind.PAUSED,
    4: EventKind.RESUMED,
    5: EventKind.STOPPED,
    7: EventKind.PAUSED,  # suspended by its own power management
    8: EventKind.STOPPED,  # crashed
}
_STOPPED: Final = ("shut down", "destroyed", "crashed", "migrated", "saved", "failed", "from snapshot")
_CLOSED: Final = ("error", "end of file", "no answer to keepalive", "closed by the client")


def lifecycle(guest: GuestId, event: int, detail: int) -> Event | None:
    """The event of a lifecycle callback; None for one that changes nothing for pinfold (a guest begins to shut down).

    >>> lifecycle("g", 5, 5)
    Event(kind=<EventKind.STOPPED: 'stopped'>, guest='g', detail='failed')
    """
    kind = _KINDS.get(event)
    if kind is None:
        return None
    return Event(kind=kind, guest=guest, detail=_word(_STOPPED, detail) if event == 5 else "")


def tunable(guest: GuestId, changed: Mapping[str, object]) -> Event:
    """The event of a tunable callback: the pins that changed, and their new values.

    >>> tunable("g", {"cputune.emulatorpin": "0-1"}).detail
    'emulatorpin=0-1'
    """
    detail = ", ".join(f"{key.rpartition('.')[2]}={value}" for key, value in sorted(changed.items()))
    return Event(kind=EventKind.PINS_CHANGED, guest=guest, detail=detail)


def closed(reason: int) -> Event:
    """The event of a connection that ended."""
    return Event(kind=EventKind.DISCONNECTED, detail=_word(_CLOSED, reason))


def _word(words: tuple[str, ...], index: int) -> str:
    return words[index] if 0 <= index < len(words) else str(index)


class Callbacks:
    """The callbacks for events. Any thread may add and remove them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted: list[Callable[[Event], None]] = []

    def add(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Add a callback. Calling the returned function removes it."""
        with self._lock:
            self._wanted.append(callback)

        def remove() -> None:
            with self._lock, suppress(ValueError):
                self._wanted.remove(callback)

        return remove

    def clear(self) -> None:
        """Remove all callbacks."""
        with self._lock:
            self._wanted.clear()

    def emit(self, event: Event | None) -> None:
        """Call all callbacks, in the order they were added, outside the lock."""
        with self._lock:
            wanted = tuple(self._wanted) if event is not None else ()
        for callback in wanted:
            if event is not None:
                callback(event)
