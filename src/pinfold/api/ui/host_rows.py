"""The rows of the fleet page: a host's room, drift and load, its score, and one sentence of advice."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from pinfold.api.dependencies import ApiServices
from pinfold.core.cpuset import CpuSet
from pinfold.core.fit.capacity import HostCapacity
from pinfold.core.fit.slots import Resource
from pinfold.core.identity import HostId
from pinfold.core.load import Pressure
from pinfold.core.overhead import capacity_millicpu
from pinfold.core.request.model import Flavor
from pinfold.scheduler.index import Entry
from pinfold.store import findings

TIGHT: Final = 0.1
"""A pool with a smaller free share is nearly full."""
_LACKS: Final = {
    Resource.OVERHEAD: "no overhead left",
    Resource.DISK: "no disk left",
    Resource.SHARED: "no room for floating vCPUs",
    Resource.MEMORY: "no memory left",
    Resource.PAGES: "no huge pages left",
    Resource.SIBLINGS: "no whole cores left",
    Resource.PCPUS: "too few in a cell",
}
"""Why free pCPUs are stranded."""


class HostRow(Struct, frozen=True, kw_only=True):
    """One host. `headroom` is the unbooked share of its overhead pool, None without a pool, and `spare` the share that nobody used or
    waited for in the last minute, None if that is not known. `starving`: threads starve there. `drift` is None if nobody has looked.

    `slots` are the guests of the chosen flavor that fit, `stranded` the free dedicated pCPUs that no guest of it can use, and `lacks`
    why. `score` is 100 for a host that needs no attention.
    """

    id: HostId
    name: str
    state: str
    dedicated: int
    dedicated_free: int
    booked: int
    capacity: int
    headroom: float | None
    spare: float | None = None
    starving: bool = False
    guests: int
    drift: int | None
    slots: int
    stranded: int
    lacks: str
    score: int
    advice: str
    entry: Entry

    @property
    def room(self) -> float | None:
        """The free share of its overhead pool, by booking or by load, whichever is less; None without a pool."""
        return self.headroom if self.headroom is None or self.spare is None else min(self.headroom, self.spare)

    @property
    def busy(self) -> bool:
        """Whether the threads of the overhead pool used, or waited for, nearly all of it in the last minute."""
        return self.spare is not None and self.spare < TIGHT


ORDERS: Final[dict[str, tuple[str, str, Callable[[HostRow], Any]]]] = {
    "headroom": (
        "overhead headroom",
        "least overhead headroom first, by booking or by load",
        lambda row: (2.0 if row.room is None else row.room, row.name),
    ),
    "score": ("score", "lowest score first", lambda row: (row.score, row.name)),
    "drift": ("drift", "most drift first", lambda row: (-(row.drift or 0), row.name)),
    "fragmentation": ("stranded pCPUs", "most stranded pCPUs first", lambda row: (-row.stranded, row.name)),
    "slots": ("room", "most room for the flavor first", lambda row: (-row.slots, row.name)),
    "free": ("free dedicated pCPUs", "fewest free dedicated pCPUs first", lambda row: (row.dedicated_free, row.name)),
    "name": ("name", "by name", lambda row: (row.name,)),
}


def host_rows(services: ApiServices, flavor: Flavor, sort: str) -> list[HostRow]:
    """Every host, in that order, with what is known of its load."""
    scheduler = services.fleet.scheduler
    left = {host.host: host for host in scheduler.capacity((flavor,)).hosts}
    entries = scheduler.index.look(lambda view: tuple(view.entries))
    with services.database.read() as connection:
        drift = findings.drift_of_hosts(connection)
    known = services.samples.pressures()
    rows = [with_load(_row(entry, left.get(entry.name), drift.get(entry.id)), known.get(entry.id)) for entry in entries]
    return in_order(rows, sort)


def in_order(rows: Iterable[HostRow], sort: str) -> list[HostRow]:
    """The rows in that order; by overhead headroom if there is no such order."""
    return sorted(rows, key=ORDERS[sort if sort in ORDERS else "headroom"][2])


def _row(entry: Entry, left: HostCapacity | None, drift: int | None) -> HostRow:
    state = entry.state
    held = CpuSet.union((*(one.fit.taken for one in state.ledger.claims), *(one.cpus for one in state.ledger.foreign)))
    booked = sum(claim.fit.overhead_millicpu for claim in state.ledger.claims)
    capacity = capacity_millicpu(state.pools, state.limits)
    headroom = (capacity - booked) / capacity if capacity else None
    free = len(state.pools.dedicated - held)
    words = state_of(entry)
    stranded = sum(one.pcpus for one in left.stranded) if left is not None else 0
    return HostRow(
        id=entry.id,
        name=entry.name,
        state=words,
        dedicated=len(state.pools.dedicated),
        dedicated_free=free,
        booked=booked,
        capacity=capacity,
        headroom=headroom,
        guests=len({claim.guest for claim in state.ledger.claims}),
        drift=drift,
        slots=left.flavors[0].slots if left is not None and left.flavors else 0,
        stranded=stranded,
        lacks=", ".join(_LACKS[one.cause] for one in left.stranded) if left is not None else "",
        score=0,
        advice="",
        entry=entry,
    )


def with_load(row: HostRow, known: Pressure | None) -> HostRow:
    """The row with its score and advice by what is known of the host's load."""
    if known is not None and row.capacity and row.state not in ("silent", "fenced"):
        row = replace(row, spare=(row.capacity - known.millicpu) / row.capacity, starving=known.starving)
    share = row.stranded / row.dedicated_free if row.dedicated_free else 0.0
    return replace(row, score=score(row.state, row.room, row.drift, share, starving=row.starving), advice=advice(row))


def score(state: str, room: float | None, drift: int | None, stranded: float, *, starving: bool = False) -> int:
    """100 for a host that needs no attention; less for drift, a nearly full overhead pool, starving threads, and stranded pCPUs.

    `room` is the free share of the overhead pool by booking or by load, whichever is less.

    >>> score("up", 0.5, 0, 0.0), score("up", 0.05, 0, 0.0), score("up", 0.5, 2, 1.0), score("silent", 0.5, 0, 0.0)
    (100, 70, 60, 0)
    >>> score("up", -0.3, 0, 0.0), score("up", 0.5, 0, 0.0, starving=True), score("up", -0.3, 9, 1.0, starving=True)
    (60, 80, 0)
    """
    if state in ("silent", "fenced"):
        return 0
    missing = 0.0 if room is None else min(1.0, max(0.0, 0.2 - room) / 0.2)
    lost = 40.0 * missing + min(40.0, 10.0 * (drift or 0)) + 20.0 * stranded + (20.0 if starving else 0.0)
    return max(0, round(100 - lost))


def advice(row: HostRow) -> str:
    """One sentence about a host: the first thing that an operator would do something about."""
    if row.state in ("silent", "fenced"):
        return "What runs there is not known."
    if row.drift:
        return "Repair the drift first."
    if row.headroom is not None and row.headroom < TIGHT:
        return "The overhead pool is nearly booked: enlarge it, or place share guests elsewhere."
    if row.busy:
        return (
            "The overhead pool is nearly full by load, not by booking: enlarge it, or give the busiest guest an emulator pCPU of its own."
        )
    if row.starving:
        return "Threads starve although the overhead pool has room: see which guest's."
    if not row.dedicated_free:
        return "No dedicated pCPU is free."
    if row.stranded == row.dedicated_free:
        return "No guest of the flavor fits, although pCPUs are free: look at what it lacks with pinfold fit."
    return "It takes more guests." if row.state == "up" else "It takes no new guests while it is disabled."


def state_of(host: Any) -> str:
    """The state of a host in one word."""
    if host.fenced:
        return "fenced"
    if not host.up:
        return "silent"
    return "disabled" if host.disabled else "up"
