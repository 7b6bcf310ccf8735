"""`Guests`: the domains of one libvirt, read as `HostGuest`s. What changes them does not belong here (`domain`), nor their threads."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, Final

from pinfold.core.errors import Conflict, InvalidRequest, PinfoldError
from pinfold.drivers.libvirt import capabilities, errors, process, status
from pinfold.drivers.libvirt.connection import Connection, absent_is_fine, libvirt
from pinfold.drivers.port import GuestSpec, HostGuest
from pinfold.linux import procfs

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
        self._address = connection.address
        self._host: tuple[capabilities.Platform, status.HostPages] | None = None
        self._ghosts: set[str] = set()

    def all(self) -> tuple[HostGuest, ...]:
        """Every guest, ordered by id; one that ends while it is read is left out. Raises `Unavailable`."""
        with self._connection.translated("the guests cannot be listed"):
            domains = self._connection.live().listAllDomains(0)
        found = (self._seen(domain) for domain in domains)
        return tuple(sorted((guest for guest in found if guest is not None and not self.is_ghost(guest)), key=lambda guest: guest.id))

    def one(self, guest: str) -> HostGuest:
        """The guest with that id. Raises `InvalidRequest` when there is none, `Unavailable`."""
        with self._connection.translated(f"guest {guest} cannot be read"):
            domain = self.domain(guest)
        seen = self._seen(domain)
        if seen is None:
            raise InvalidRequest(f"guest {guest} has just gone from {self._address.uri}", key="guest")
        return seen

    def domain(self, guest: str) -> Any:
        """libvirt's own object of the guest with that id. Raises `InvalidRequest` when there is none, and libvirt's own error."""
        try:
            return self._connection.live().lookupByUUIDString(guest)
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

    def _seen(self, domain: Any) -> HostGuest | None:
        with self._connection.translated("a guest cannot be read"), absent_is_fine():
            state, reason = domain.state()
            text = domain.XMLDesc(0)
            persistent = bool(domain.isPersistent())
            try:
                guest = status.host_guest(
                    text, state=status.state_of(state, reason), persistent=persistent, pid=None, pages=self._known_host()[1]
                )
            except InvalidRequest as error:
                raise InvalidRequest(f"guest {domain.name()} cannot be read: {error}", key="guest") from error
            return replace(guest, pid=process.pid_of(self._address.state_dir, guest.name)) if guest.active else guest
        return None


def _ghost_sentence(name: str, state_dir: str) -> str:
    return (
        f"libvirt was killed in the middle of starting guest {name} and still takes it for starting, though it has no process; "
        f"stop libvirtd, delete {state_dir}/{name}.xml and start libvirtd to make it forget the guest"
    )
