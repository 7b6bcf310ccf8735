"""`Readings`: what an agent has read of its host, so that the reports and the audit of one sweep read each guest's threads once."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import PinfoldError
from pinfold.core.host_map import HostMap
from pinfold.core.identity import GuestId
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Driver, HostGuest, Observation
from pinfold.host.audit import Audit, audit_of
from pinfold.host.map import map_of
from pinfold.host.memory import SeldomMemory
from pinfold.host.survey import Survey, survey
from pinfold.host.verify import Verdict, compared, record_of


class _Compared(Struct, frozen=True, kw_only=True):
    online: CpuSet
    verdict: Verdict


class Readings:
    """The readings of one host by the same settings. `look` begins a turn, `verify` reads a guest of it, and `audit` reads the rest.

    There is one look, one verification and one audit at a time, each in a thread of its own. What was concluded from the same evidence
    earlier is taken from there.
    """

    def __init__(self, driver: Driver, settings: HostSettings) -> None:
        self._driver = driver
        self._settings = settings
        self._seen: Survey | None = None
        self._fresh: dict[GuestId, tuple[HostGuest, Observation]] = {}
        self._compared: dict[GuestId, _Compared] = {}
        self._audited: tuple[Audit, HostMap] | None = None
        self._memory = SeldomMemory()

    @property
    def audited(self) -> Audit | None:
        """The last audit."""
        return None if self._audited is None else self._audited[0]

    def look(self) -> Survey:
        """The host as it is now. Raises what `survey` raises."""
        self._fresh = {}
        self._seen = seen = survey(self._driver, self._settings, self._seen)
        here = {guest.id for guest in seen.guests}
        self._compared = {guest: found for guest, found in self._compared.items() if guest in here}
        return seen

    def verify(self, guest: HostGuest, *, online: CpuSet) -> Verdict:
        """The verdict on one guest of ours by its threads, which are read now. Raises what `host.verify.verify` raises."""
        record_of(guest)
        observation = self._driver.observe(guest) if guest.active else None
        if observation is not None:
            self._fresh[guest.id] = guest, observation
        known = self._compared.get(guest.id)
        if known is not None and known.online == online and known.verdict.guest is guest and known.verdict.observation == observation:
            return known.verdict
        found = compared(self._driver, self._settings, guest, observation, online=online)
        self._compared[guest.id] = _Compared(online=online, verdict=found)
        return found

    def audit(self, seen: Survey, unreadable: Callable[[HostGuest, PinfoldError], None]) -> tuple[Audit, HostMap]:
        """The audit of the host as it was seen, and its map. The threads that this turn has read already are not read again."""
        fresh = self._fresh

        def observe(guest: HostGuest) -> Observation:
            of, observation = fresh.get(guest.id, (None, None))
            return observation if observation is not None and of is guest else self._driver.observe(guest)

        last, drawn = self._audited or (None, None)
        found = audit_of(self._driver, self._settings, seen, unreadable, last, observe=observe, memory=self._memory)
        if drawn is None or last is None or found.seen is not last.seen:
            drawn = map_of(found.seen)
        self._audited = found, drawn
        return found, drawn
