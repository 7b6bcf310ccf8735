"""`Guests`: the domains of one libvirt, read as `HostGuest`s. What changes them does not belong here (`domain`), nor their threads."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final, TypeVar

from pinfold.core.errors import Conflict, InvalidRequest, PinfoldError, Unavailable
from pinfold.drivers.libvirt import capabilities, errors, process, status
from pinfold.drivers.libvirt.calls import Call, OverdueError
from pinfold.drivers.libvirt.connection import Connection, absent_is_fine, libvirt
from pinfold.drivers.port import Event, EventKind, GuestSpec, HostGuest
from pinfold.linux import procfs

_LIST_SECONDS: Final = 4.0
_READ_SECONDS: Final = 2.0
"""Reading a domain takes a millisecond, unless libvirtd holds it while a process does not end."""

Answer = TypeVar("Answer")

_log = logging.getLogger(__name__)
_STARTING: Final = (3, 11)
"""VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_STARTING_UP."""
_HOLDER: Final = "monitor="
"""libvirt's sentence goes on `(held by monitor=…)` where it knows who is at the guest."""


class Guests:
    """Reads the guests of `connection`.

    A ghost is a guest without a process that libvirt takes for starting: it was killed in the middle of that, after it wrote the guest's
    status file and before there was a process. libvirt 9.0 leaves such a guest as it is, refuses every act on it, and no restart helps. It
    holds nothing; one that was found is not listed any more.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._calls = connection.calls
        self._address = connection.address
        self._host: tuple[capabilities.Platform, status.HostPages] | None = None
        self._ghosts: set[str] = set()
        self._lock = threading.Lock()
        self._known: dict[str, HostGuest | None] = {}
        """Every guest as it was read last; None for one that an event told of, and that was not read yet."""
        connection.events(self._hear)

    def all(self) -> tuple[HostGuest, ...]:
        """Every guest, ordered by id; one that ends while it is read is left out. Raises `Unavailable`.

        One that cannot be read in time is as it was read last. Where one keeps libvirt from listing them, those are read that were there
        last, and those that libvirt told of since.
        """
        self._ready()
        found: list[HostGuest | None] = []
        left: tuple[str, ...] | None = self._known_ids() if self._calls.hang("", reads=True) else None
        while left is None or left:
            reading = self._calls.read(lambda connection, ids=left: self._read(connection, ids))  # type: ignore[misc]
            left = self._collect(reading, left, found)
        listed = (guest for guest in found if guest is not None and not self.is_ghost(guest))
        return tuple(sorted(listed, key=lambda guest: guest.id))

    def _collect(self, reading: Call[Any], ids: tuple[str, ...] | None, found: list[HostGuest | None]) -> tuple[str, ...]:
        """Add what a reading gives to `found`; the ids that are left to be read since one of them did not come."""
        try:
            listed: tuple[str, ...] = reading.next(self._calls.seconds(_LIST_SECONDS))
        except OverdueError:
            self._calls.blame(reading, "")
            if ids is not None:
                raise Unavailable(f"libvirt at {self._address.uri} does not answer within {_LIST_SECONDS:.0f} s") from None
            return self._known_ids()
        if ids is None:
            with self._lock:
                self._known = {guest: self._known.get(guest) for guest in listed}
        for index, guest in enumerate(listed):
            try:
                seen = reading.next(self._calls.seconds(_READ_SECONDS))
            except OverdueError:
                self._calls.blame(reading, guest)
                found.append(self._as_last_read(guest))
                return listed[index + 1 :]
            found.append(seen)
        return ()

    def _read(self, connection: Any, ids: tuple[str, ...] | None) -> Iterator[Any]:
        """The ids of the guests (all of them where none are given), then each guest, None for one that has gone."""
        domains: list[Any] = []
        if ids is None:
            with self._connection.translated("the guests cannot be listed", connection):
                domains = connection.listAllDomains(0)
            ids = tuple(domain.UUIDString() for domain in domains)
        yield ids
        for index, guest in enumerate(ids):
            if self._calls.hang(guest, reads=True) is not None:
                yield self._as_last_read(guest)
            else:
                yield self._seen(connection, guest, domains[index] if domains else None)

    def one(self, guest: str) -> HostGuest:
        """The guest with that id. Raises `InvalidRequest` when there is none, `Unavailable`, and `GuestHangs` when it cannot be read."""
        self._ready()
        if self._calls.hang(guest, reads=True) is not None:
            return self._as_last_read(guest)

        def read(connection: Any) -> Iterator[HostGuest | None]:
            with self._connection.translated(f"guest {guest} cannot be read", connection):
                found = self.domain(guest, connection)
            yield self._seen(connection, guest, found)

        reading = self._calls.read(read)
        try:
            seen = reading.next(self._calls.seconds(_LIST_SECONDS))
        except OverdueError:
            self._calls.blame(reading, guest)
            return self._as_last_read(guest)
        if seen is None:
            raise InvalidRequest(f"guest {guest} has just gone from {self._address.uri}", key="guest")
        return seen

    def act(
        self,
        guest: str,
        act: str,
        what: str,
        seconds: float,
        function: Callable[[Any], Answer],
        *,
        even_hanging: bool = False,
        hurry: tuple[float, Callable[[], None]] | None = None,
    ) -> Answer:
        """What `function` returns, given a connection of its own; `what` says what failed. See `Calls.call`."""

        self._ready()

        def run(connection: Any) -> Answer:
            with self._connection.translated(what, connection):
                return function(connection)

        return self._calls.call(guest, act, seconds, run, even_hanging=even_hanging, hurry=hurry)

    def _ready(self) -> None:
        """Have the connection that events come by, opened again where it was lost, and what every guest is read with."""
        self._connection.live()
        self._known_host()

    def _known_ids(self) -> tuple[str, ...]:
        with self._lock:
            known = tuple(self._known)
        if not known:
            raise Unavailable(f"libvirt at {self._address.uri} does not list its guests within {_LIST_SECONDS:.0f} s")
        return known

    def _as_last_read(self, guest: str) -> HostGuest:
        with self._lock:
            known = self._known.get(guest)
        if known is None:
            raise Unavailable(f"guest {guest} cannot be read: libvirt does not answer within {_READ_SECONDS:.0f} s")
        return replace(known, hangs=self._hangs(known))

    def _hangs(self, guest: HostGuest) -> str:
        """Why the guest counts as hanging; '' where no call about it is overdue."""
        hang = self._calls.hang(guest.id) or self._calls.hang(guest.id, reads=True)
        if hang is None:
            return ""
        return hang.sentence() + (f"; its QEMU process {guest.pid} {process.doing(guest.pid)}" if guest.pid is not None else "")

    def _hear(self, event: Event) -> None:
        """Remember a guest that libvirt tells of, for the time while it cannot be listed."""
        if event.kind in (EventKind.DEFINED, EventKind.STARTED) and event.guest:
            with self._lock:
                self._known.setdefault(event.guest, None)

    def domain(self, guest: str, connection: Any = None) -> Any:
        """libvirt's own object of the guest with that id. Raises `InvalidRequest` when there is none, and libvirt's own error."""
        try:
            return (connection or self._connection.live()).lookupByUUIDString(guest)
        except libvirt.libvirtError as error:
            if error.get_error_code() in (errors.NO_DOMAIN, errors.INVALID_ARGUMENT):
                raise InvalidRequest(f"there is no guest with the id {guest!r} at {self._address.uri}", key="guest") from error
            raise

    def is_ghost(self, guest: HostGuest) -> bool:
        """Whether the guest was found to be a ghost, and still is."""
        return guest.id in self._ghosts and guest.active and guest.pid is None

    def find_ghost(self, guest: HostGuest, refused: PinfoldError) -> bool:
        """Whether a guest is a ghost that libvirt would not end. All of these tell it:

        1. libvirt waited in vain for an act on the guest to end, and cannot name the one that it waits for: no start is under way.
        2. The guest is paused since it is starting, and has no process in libvirt's status file.
        3. No QEMU of that guest runs.
        """
        cause = refused.__cause__
        if not isinstance(cause, libvirt.libvirtError) or cause.get_error_code() != errors.TIMED_OUT or _HOLDER in str(cause):
            return False
        with self._connection.translated(f"guest {guest.name} cannot be read"):
            state = tuple(self.domain(guest.id).state())
        known = process.status_of(self._address.state_dir, guest.name)
        if state != _STARTING or known is None or known.pid or procfs.processes_with("-uuid", guest.id):
            return False
        if guest.id not in self._ghosts:
            self._ghosts.add(guest.id)
            _log.warning("%s", _ghost_sentence(guest.name, self._address.state_dir))
        return True

    def refuse_existing(self, spec: GuestSpec) -> None:
        """Raises `Conflict` when a guest has the id or the name already."""
        for lookup, value, what in (("lookupByUUIDString", spec.id, "id"), ("lookupByName", spec.name, "name")):
            with self._connection.translated(f"guest {spec.name} cannot be looked up"), absent_is_fine():
                getattr(self._connection.live(), lookup)(value)
                if spec.id in self._ghosts:
                    raise Conflict(_ghost_sentence(spec.name, self._address.state_dir))
                raise Conflict(f"a guest with the {what} {value} exists at {self._address.uri} already")

    def platform(self) -> capabilities.Platform:
        """What the host can emulate. Raises `Unavailable`."""
        return self._known_host()[0]

    def _known_host(self) -> tuple[capabilities.Platform, status.HostPages]:
        """What never changes while a host is up: the platform, the cells, the default huge page."""
        if self._host is None:
            with self._connection.translated("the host's capabilities cannot be read"):
                text = self._connection.live().getCapabilities()
            cells = tuple(cell.id for cell in capabilities.topology(text).cells)
            huge = procfs.default_huge_page_kib() if self._address.local else None
            self._host = (capabilities.platform(text), status.HostPages(cells=cells, default_huge_kib=huge or 2048))
        return self._host

    def _seen(self, connection: Any, guest_id: str, domain: Any = None) -> HostGuest | None:
        """The guest as it is now, None for one that has gone."""
        with self._connection.translated("a guest cannot be read", connection), absent_is_fine():
            if domain is None:
                domain = connection.lookupByUUIDString(guest_id)
            state, reason = domain.state()
            text = domain.XMLDesc(0)
            persistent = bool(domain.isPersistent())
            try:
                guest = status.host_guest(
                    text, state=status.state_of(state, reason), persistent=persistent, pid=None, pages=self._known_host()[1]
                )
            except InvalidRequest as error:
                raise InvalidRequest(f"guest {domain.name()} cannot be read: {error}", key="guest") from error
            if guest.active:
                kept = status.pins_of(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)) if persistent else None
                first = kept not in (None, guest.pins) and process.defined_before_start(self._address.state_dir, guest.name)
                guest = replace(guest, pid=process.pid_of(self._address.state_dir, guest.name), kept=kept, kept_first=first)
            with self._lock:
                self._known[guest.id] = guest
            hangs = self._hangs(guest)
            return replace(guest, hangs=hangs) if hangs else guest
        with self._lock:
            self._known.pop(guest_id, None)
        return None


def _ghost_sentence(name: str, state_dir: str) -> str:
    return (
        f"libvirt was killed in the middle of starting guest {name} and still takes it for starting, though it has no process; "
        f"stop libvirtd, delete {state_dir}/{name}.xml and start libvirtd to make it forget the guest"
    )
