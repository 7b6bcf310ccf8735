"""`Guests`: read the domains of one libvirt as `HostGuest`s. `domain` changes them, and `threads` reads their threads."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from pinfold.core.errors import Conflict, InvalidRequest, PinfoldError, Unavailable
from pinfold.core.identity import GuestId
from pinfold.drivers.kvm import process
from pinfold.drivers.libvirt import capabilities, definition, errors, guest_memory, interfaces, pins, status
from pinfold.drivers.libvirt.calls import Call, OverdueError
from pinfold.drivers.libvirt.connection import Connection, absent_is_fine, libvirt
from pinfold.drivers.libvirt.guest_memory import HostPages
from pinfold.drivers.libvirt.last_read import LastRead
from pinfold.drivers.libvirt.state_files import Marks, StateFiles
from pinfold.drivers.port import Event, EventKind, GuestShape, GuestSpec, GuestState, HostGuest
from pinfold.linux import procfs

_LIST_SECONDS: Final = 4.0
_READ_SECONDS: Final = 2.0
"""Reading a domain takes a millisecond, unless libvirtd locks it while it waits for a process to end."""

Answer = TypeVar("Answer")

_log = logging.getLogger(__name__)
_STARTING: Final = (3, 11)
"""VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_STARTING_UP."""
_HOLDER: Final = "monitor="
"""If libvirt knows the act that it waits for, its message continues with `(held by monitor=…)`."""


class _Listing(Struct, frozen=True, kw_only=True):
    """The first answer of a reading: the ids of all guests, the guests that are still as last read, and the ids of those to be read."""

    ids: tuple[GuestId, ...]
    same: tuple[HostGuest, ...] = ()
    unread: tuple[GuestId, ...]


class Guests:
    """Reads the guests of `connection`.

    A ghost is a guest without a process that libvirt believes to be starting: libvirtd was killed during a start, after it wrote the
    guest's status file and before the process existed. libvirt 9.0 refuses every act on such a guest, even after a restart. A ghost holds
    nothing. Once found, it is no longer listed.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._calls = connection.calls
        self._address = connection.address
        self._host: tuple[capabilities.Platform, HostPages] | None = None
        self._ghosts: set[str] = set()
        self._known = LastRead()
        self.files = StateFiles(self._address)
        connection.events(self._hear)

    def all(self) -> tuple[HostGuest, ...]:
        """Every guest, ordered by id, except those that end while they are read. Raises `Unavailable`.

        A guest is not read again while its files show that it is as last read. One that cannot be read in time appears as last read. If a
        guest blocks libvirt's list of guests, this reads the guests that were there last and those that events have named since.
        """
        self._ready()
        found: list[HostGuest | None] = []
        left: tuple[GuestId, ...] | None = self._known_ids() if self._calls.hang("", reads=True) else None
        while left is None or left:
            reading = self._calls.read(lambda connection, ids=left: self._read(connection, ids))  # type: ignore[misc]
            left = self._collect(reading, left, found)
        self.files.keep({guest.name for guest in found if guest is not None})
        listed = (guest for guest in found if guest is not None and not self.is_ghost(guest))
        return tuple(sorted(listed, key=lambda guest: guest.id))

    def _collect(self, reading: Call[Any], ids: tuple[GuestId, ...] | None, found: list[HostGuest | None]) -> tuple[GuestId, ...]:
        """Add what a reading gives to `found`. Returns the ids that are still to be read because one of them blocked."""
        try:
            listing: _Listing = reading.next(self._calls.seconds(_LIST_SECONDS))
        except OverdueError:
            self._calls.blame(reading, "")
            if ids is not None:
                raise Unavailable(f"libvirt at {self._address.uri} does not answer within {_LIST_SECONDS:.0f} s") from None
            return self._known_ids()
        if ids is None:
            self._known.list(listing.ids)
        found += listing.same
        for index, guest in enumerate(listing.unread):
            try:
                seen = reading.next(self._calls.seconds(_READ_SECONDS))
            except OverdueError:
                self._calls.blame(reading, guest)
                found.append(self._as_last_read(guest))
                return listing.unread[index + 1 :]
            found.append(seen)
        return ()

    def _read(self, connection: Any, ids: tuple[GuestId, ...] | None) -> Iterator[Any]:
        """Yields a listing of the guests (of all if no ids are given), then each guest to be read, None for one that has gone."""
        domains: dict[GuestId, Any] = {}
        marks = partial(self.files.marks, daemon=self.files.daemon())
        if ids is not None:
            unread = ids
            yield _Listing(ids=ids, unread=ids)
        else:
            with self._connection.translated("the guests cannot be listed", connection):
                rows = {GuestId(domain.UUIDString()): (domain, state) for domain, state in _states(connection)}
            domains = {guest: domain for guest, (domain, _) in rows.items()}
            known = {guest: None if state is None else self._known.unchanged(guest, state, marks) for guest, (_, state) in rows.items()}
            unread = tuple(guest for guest, one in known.items() if one is None)
            same = tuple(self._with_hangs(one) for one in known.values() if one is not None)
            yield _Listing(ids=tuple(domains), same=same, unread=unread)
        for guest in unread:
            if self._calls.hang(guest, reads=True) is not None:
                yield self._as_last_read(guest)
            else:
                yield self._seen(connection, guest, marks, domains.get(guest))

    def one(self, guest: GuestId) -> HostGuest:
        """The guest with that id. Raises `InvalidRequest` if there is none, `Unavailable`, and `GuestHangs` if it cannot be read."""
        self._ready()
        if self._calls.hang(guest, reads=True) is not None:
            return self._as_last_read(guest)

        def read(connection: Any) -> Iterator[HostGuest | None]:
            with self._connection.translated(f"guest {guest} cannot be read", connection):
                found = self.domain(guest, connection)
            yield self._seen(connection, guest, partial(self.files.marks, daemon=self.files.daemon()), found)

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
        guest: GuestId,
        act: str,
        what: str,
        seconds: float,
        function: Callable[[Any], Answer],
        *,
        even_hanging: bool = False,
        hurry: tuple[float, Callable[[], None]] | None = None,
    ) -> Answer:
        """Call `function` with a connection of its own and return its result. `what` names the act in errors. See `Calls.call`."""

        self._ready()

        def run(connection: Any) -> Answer:
            with self._connection.translated(what, connection):
                return function(connection)

        return self._calls.call(guest, act, seconds, run, even_hanging=even_hanging, hurry=hurry)

    def _ready(self) -> None:
        """Reopen the event connection if it was lost, and return what is needed to read every guest."""
        self._connection.live()
        self._known_host()

    def _known_ids(self) -> tuple[GuestId, ...]:
        known = self._known.ids()
        if not known:
            raise Unavailable(f"libvirt at {self._address.uri} does not list its guests within {_LIST_SECONDS:.0f} s")
        return known

    def _as_last_read(self, guest: GuestId) -> HostGuest:
        known = self._known.guest(guest)
        if known is None:
            raise Unavailable(f"guest {guest} cannot be read: libvirt does not answer within {_READ_SECONDS:.0f} s")
        return replace(known, hangs=self._hangs(known))

    def _hangs(self, guest: HostGuest) -> str:
        """Why the guest counts as hanging; '' if no call about it is overdue."""
        hang = self._calls.hang(guest.id) or self._calls.hang(guest.id, reads=True)
        if hang is None:
            return ""
        return hang.sentence() + (f"; its QEMU process {guest.pid} {process.doing(guest.pid)}" if guest.pid is not None else "")

    def _with_hangs(self, guest: HostGuest) -> HostGuest:
        hangs = self._hangs(guest)
        return replace(guest, hangs=hangs) if hangs else guest

    def _hear(self, event: Event) -> None:
        """Read a guest that an event names anew, and remember a new one, in case guests cannot be listed."""
        self._known.hear(event.guest, new=event.kind in (EventKind.DEFINED, EventKind.STARTED))

    def domain(self, guest: GuestId, connection: Any = None) -> Any:
        """libvirt's own object of the guest with that id. Raises `InvalidRequest` if there is none, and libvirt's own error."""
        try:
            return (connection or self._connection.live()).lookupByUUIDString(guest)
        except libvirt.libvirtError as error:
            if error.get_error_code() in (errors.NO_DOMAIN, errors.INVALID_ARGUMENT):
                raise InvalidRequest(f"there is no guest with the id {guest!r} at {self._address.uri}", key="guest") from error
            raise

    def is_ghost(self, guest: HostGuest) -> bool:
        """Whether the guest is a ghost that was found earlier and has not gone."""
        return guest.id in self._ghosts and guest.active and guest.pid is None

    def find_ghost(self, guest: HostGuest, refused: PinfoldError) -> bool:
        """Whether a guest that libvirt would not end is a ghost. All of these must hold:

        1. libvirt timed out waiting for an act on the guest and cannot name the act, so no start is running.
        2. The guest is paused because it is starting, and libvirt's status file has no process for it.
        3. No QEMU process of that guest runs.
        """
        cause = refused.__cause__
        if not isinstance(cause, libvirt.libvirtError) or cause.get_error_code() != errors.TIMED_OUT or _HOLDER in str(cause):
            return False
        with self._connection.translated(f"guest {guest.name} cannot be read"):
            state = tuple(self.domain(guest.id).state())
        known = self.files.status(guest.name)
        if state != _STARTING or known is None or known.pid or procfs.processes_with("-uuid", guest.id):
            return False
        if guest.id not in self._ghosts:
            self._ghosts.add(guest.id)
            _log.warning("%s", _ghost_sentence(guest.name, self._address.state_dir))
        return True

    def refuse_existing(self, spec: GuestSpec) -> None:
        """Raises `Conflict` if a guest with this id or name exists."""
        for lookup, value, what in (("lookupByUUIDString", spec.id, "id"), ("lookupByName", spec.name, "name")):
            with self._connection.translated(f"guest {spec.name} cannot be looked up"), absent_is_fine():
                getattr(self._connection.live(), lookup)(value)
                if spec.id in self._ghosts:
                    raise Conflict(_ghost_sentence(spec.name, self._address.state_dir))
                raise Conflict(f"a guest with the {what} {value} exists at {self._address.uri} already")

    def shape(self, guest: GuestId) -> GuestShape:
        """The cells and the memory of the guest with that id, by its definition."""
        what = f"guest {guest} cannot be read"
        text = self.act(guest, "definition", what, _LIST_SECONDS, lambda connection: self.domain(guest, connection).XMLDesc(0))
        return guest_memory.shape(text, self._known_host()[1])

    def platform(self) -> capabilities.Platform:
        """What the host can emulate. Raises `Unavailable`."""
        return self._known_host()[0]

    def _known_host(self) -> tuple[capabilities.Platform, HostPages]:
        """What does not change while a host is up: the platform, the cells, the default huge page."""
        if self._host is None:
            with self._connection.translated("the host's capabilities cannot be read"):
                text = self._connection.live().getCapabilities()
            cells = tuple(cell.id for cell in capabilities.topology(text).cells)
            huge = procfs.default_huge_page_kib() if self._address.local else None
            self._host = (capabilities.platform(text), HostPages(cells=cells, default_huge_kib=huge or 2048))
        return self._host

    def _seen(self, connection: Any, guest_id: GuestId, marks_of: Callable[[str], Marks | None], domain: Any = None) -> HostGuest | None:
        """The guest as it is now; None if it has gone."""
        with self._connection.translated("a guest cannot be read", connection), absent_is_fine():
            if domain is None:
                domain = connection.lookupByUUIDString(guest_id)
            # Take the marks first: what changes after that is read the next time.
            marks = marks_of(domain.name())
            state, reason = domain.state()
            text = domain.XMLDesc(0)
            persistent = bool(domain.isPersistent())
            try:
                guest = definition.host_guest(
                    text, state=status.state_of(state, reason), persistent=persistent, pid=None, pages=self._known_host()[1]
                )
            except InvalidRequest as error:
                raise InvalidRequest(f"guest {domain.name()} cannot be read: {error}", key="guest") from error
            if guest.active:
                inactive = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE) if persistent else ""
                kept, kept_macs = (pins.pins_of(inactive), interfaces.macs_of(inactive)) if inactive else (None, None)
                first = kept not in (None, guest.pins) and self.files.defined_before_start(guest.name)
                guest = replace(guest, pid=self.files.pid(guest.name), kept=kept, kept_first=first, kept_macs=kept_macs)
            return self._with_hangs(self._known.keep(guest, marks))
        self._known.forget(guest_id)
        return None


def _states(connection: Any) -> list[tuple[Any, GuestState | None]]:
    """Every domain with its state, in one call; with None from a libvirt that does not tell the states of all at once."""
    try:
        rows = connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE, 0)
    except libvirt.libvirtError as error:
        if error.get_error_code() != errors.NO_SUPPORT:
            raise
        return [(domain, None) for domain in connection.listAllDomains(0)]
    return [(domain, status.state_of(row["state.state"], row["state.reason"]) if "state.state" in row else None) for domain, row in rows]


def _ghost_sentence(name: str, state_dir: str) -> str:
    return (
        f"libvirt was killed in the middle of starting guest {name} and still takes it for starting, though it has no process; "
        f"stop libvirtd, delete {state_dir}/{name}.xml and start libvirtd to make it forget the guest"
    )
