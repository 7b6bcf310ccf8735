"""Stop a domain: ask it to shut down, end its process, undefine it. `driver` starts domains."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from pinfold.core.errors import InvalidRequest, PinfoldError, Unavailable
from pinfold.core.identity import GuestId
from pinfold.core.printable import shell_line
from pinfold.drivers.kvm import deadline, process
from pinfold.drivers.libvirt import domain
from pinfold.drivers.libvirt.connection import Connection, absent_is_fine
from pinfold.drivers.libvirt.guests import Guests
from pinfold.drivers.port import HostGuest
from pinfold.linux import procfs

_log = logging.getLogger(__name__)

_ASK_SECONDS: Final = 10.0
_UNDEFINE_SECONDS: Final = 30.0
_CLEANUP_SECONDS: Final = 3.0
_END_SECONDS: Final = 60.0
"""libvirt itself waits 30 seconds for an earlier act on the guest, and 15 for its process to end."""
_GRACE_SECONDS: Final = 1.0
"""How long a process that does not answer may take to end by itself."""


def shut_down(guests: Guests, guest: GuestId) -> None:
    """Press the guest's power button. See `Driver.shut_down`."""
    what = f"guest {guest} cannot be asked to shut down"
    guests.act(guest, "shutdown", what, _ASK_SECONDS, lambda connection: _if_there(connection, guest, domain.shut_down))


def stop(connection: Connection, guests: Guests, guest: GuestId, *, remove: bool, graceful_seconds: float = 0.0) -> None:
    """End the guest's process and, with `remove`, its definition. See `Driver.stop`."""
    try:
        known = guests.one(guest)
    except InvalidRequest:
        return
    if known.active:
        _end(connection, guests, known, graceful_seconds)
    if remove and not guests.is_ghost(known):
        what = f"guest {known.name} cannot be undefined"
        guests.act(guest, "removal", what, _UNDEFINE_SECONDS, lambda connection: _if_there(connection, guest, domain.undefine))


def remove_remains(connection: Connection, guests: Guests, guest: GuestId) -> str:
    """Undo a failed start, and return what to add to its error: '' if nothing is left.

    A daemon that died may come back after a moment. If it does not, the guest's process is killed without it.
    """
    until = time.monotonic() + _CLEANUP_SECONDS
    while True:
        try:
            stop(connection, guests, guest, remove=True)
        except Unavailable:
            if time.monotonic() < until:
                time.sleep(0.2)
                continue
            process.kill(guest)
            # By id, because virsh reads a name of digits as a domain's number.
            command = shell_line(("virsh", "-c", connection.address.uri, "undefine", guest))
            return f"its process was ended, but its definition may be left: {command}"
        return ""


def _end(connection: Connection, guests: Guests, guest: HostGuest, graceful_seconds: float) -> None:
    if guests.is_ghost(guest):
        return
    ticks = None if guest.pid is None else procfs.start_ticks(guest.pid)
    if graceful_seconds > 0:
        _end_gracefully(guests, guest.id, graceful_seconds)
    what = f"guest {guest.name} cannot be stopped"
    try:
        guests.act(
            guest.id,
            "end",
            what,
            _END_SECONDS,
            lambda opened: _if_there(opened, guest.id, domain.end),
            even_hanging=True,
            hurry=(_GRACE_SECONDS, lambda: _end_hanging(connection, guest, ticks)),
        )
    except Unavailable as error:
        if not guests.find_ghost(guest, error):
            raise
    pid = guest.pid
    if pid is not None and ticks is not None and not process.ended(pid, ticks):
        raise Unavailable(f"process {pid} of guest {guest.name} does not end")


def _end_gracefully(guests: Guests, guest: GuestId, seconds: float) -> None:
    """Ask the guest to shut down and wait at most that long. Failures are ignored, because the caller ends the guest afterwards."""
    with suppress(PinfoldError):
        shut_down(guests, guest)
        deadline.until(lambda: not guests.one(guest).active, seconds, pause=0.05)


def _end_hanging(connection: Connection, guest: HostGuest, ticks: int | None) -> None:
    """Kill a process that is known not to answer. libvirt would do so only after ten seconds, and no guest can be listed until then."""
    pid = guest.pid
    if pid is None or ticks is None or not (process.is_stopped(pid) or connection.calls.hang(guest.id) is not None):
        return
    _log.warning("guest %s: process %d %s; it is ended with SIGKILL", guest.name, pid, process.doing(pid))
    process.end_now(pid, ticks)


def _if_there(connection: Any, guest: GuestId, act: Callable[[Any], None]) -> None:
    """Apply the act to the guest; one that is gone is no error."""
    with absent_is_fine():
        act(connection.lookupByUUIDString(guest))
