"""The fleet page: every host in an order, what to look at first, and where the next guest would go.

Hosts come from the scheduler's index, which is at the store's revisions already, so that a page reads no ledger. Loads come from the agents
of the hosts that the page shows.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

import sqlalchemy as sa
from markupsafe import Markup
from msgspec import Struct
from msgspec.structs import replace

from pinfold.api.dependencies import ApiServices
from pinfold.api.ui.host_rows import ORDERS, TIGHT, HostRow, host_rows, in_order, with_load
from pinfold.api.ui.next_place import Place, next_places
from pinfold.api.ui.render import moment, render
from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Severity, written
from pinfold.core.host_map import places_left
from pinfold.core.identity import HostId
from pinfold.core.load import STARVING_MILLICPU, HostLoad, Load, pressure, starving
from pinfold.core.plural import listed
from pinfold.core.request.model import Flavor
from pinfold.drawing.small import Marks, fleet_legend
from pinfold.drawing.strip import in_words, strip_svg
from pinfold.store import findings, flavors, guests, hosts
from pinfold.store.guest_filter import GuestFilter

PAGE: Final = 50
"""The most hosts on one page of the fleet."""
_MOST_FOUND: Final = 50
_MOST_NAMED: Final = 5
_MOST_MARKED: Final = 500
"""The most findings that the small maps of a page mark."""
_ANY: Final = Flavor(
    name="4 pinned vCPUs, share",
    vcpus=4,
    memory_mib=1,
    disk_gib=0,
    extra_specs=(("hw:cpu_policy", "dedicated"), ("hw:emulator_threads_policy", "share")),
)
"""What is asked for where no flavor has 4 vCPUs."""


class FleetQuery(Struct, frozen=True, kw_only=True):
    """What the page's address asks for."""

    sort: str = "headroom"
    guest: str = ""
    flavor: str = ""
    page: int = 1

    def path(self, **changes: Any) -> str:
        """The address of the page with other values."""
        values = {"sort": self.sort, "flavor": self.flavor, "guest": self.guest, "page": self.page} | changes
        return "/ui?" + urlencode({key: value for key, value in values.items() if value not in ("", 1)})


def fleet_page(services: ApiServices, account: str, query: FleetQuery) -> str:
    """Every host in an order, a page of them at once, and the guests whose names hold a text."""
    with services.database.read() as connection:
        before = _marks(connection)
        known = {one.flavor.name: one.flavor for one in flavors.all(connection)}
        astray = findings.page(connection, limit=_MOST_NAMED + 1, severity=Severity.DRIFT)
    flavor = known.get(query.flavor) or _usual(known.values())
    rows = host_rows(services, flavor, query.sort)
    query, shown_rows, pages = _cut(query, rows)
    loads = services.samples.lately(
        services.database,
        services.fleet.hosts,
        [row.id for row in shown_rows if row.state != "silent"],
        others=[row.id for row in rows if row.state not in ("silent", "fenced")],
    )
    # Sorted again: what was just read of their loads may change the order of a page.
    shown_rows = in_order([with_load(row, pressure(loads[row.id])) if row.id in loads else row for row in shown_rows], query.sort)
    hungry = [(row, one) for row in shown_rows if row.id in loads for one in starving(loads[row.id], row.entry.state.ledger.claims)]
    used = {host: load.pools.get("overhead", Load()) for host, load in loads.items()}
    starved = {row.id for row, _ in hungry} | {row.id for row in rows if row.starving}
    newest = {row.id: row for row in (*rows, *shown_rows)}.values()
    places, nearest = next_places(services, flavor, _notes(newest, starved))
    return render(
        "fleet.html",
        account=account,
        live=query.path(seen=_mark(before, loads)).replace("/ui?", "/ui/live?", 1),
        query=query,
        rows=_drawn(services, shown_rows, loads, places),
        hosts=len(rows),
        astray=[
            (one.host, one.finding, "" if one.since is None else moment(one.since))
            for one in astray[:_MOST_NAMED]
            if one.finding is not None
        ],
        more_astray=sum(row.drift or 0 for row in rows) - min(_MOST_NAMED, len(astray)),
        tight=[row for row in rows if row.headroom is not None and row.headroom < TIGHT][:_MOST_NAMED],
        busy=sorted((row for row in newest if row.busy), key=_spare)[:_MOST_NAMED],
        used=used,
        starved=starved,
        silent=[row for row in rows if row.state == "silent"][:_MOST_NAMED],
        hungry=hungry[:_MOST_NAMED],
        measured=len(loads),
        flavor=flavor.name,
        vcpus=flavor.vcpus,
        legend=Markup(fleet_legend()),  # noqa: S704
        flavors=sorted({*known, flavor.name}),
        stored=flavor.name in known,
        places=places,
        nearest=nearest,
        orders={key: (label, words) for key, (label, words, _) in ORDERS.items()},
        found=_found(services, query.guest, {row.id: row.name for row in rows}),
        pages=pages,
    )


def fleet_mark(services: ApiServices, query: FleetQuery) -> str:
    """A text that changes when a host of the fleet changes, or what is known of the loads of those that a page shows."""
    with services.database.read() as connection:
        now = _marks(connection)
    return _mark(now, services.samples.lately(services.database, services.fleet.hosts, shown_hosts(services, query)))


def shown_hosts(services: ApiServices, query: FleetQuery) -> tuple[HostId, ...]:
    """The hosts of that page that are up."""
    with services.database.read() as connection:
        known = {one.flavor.name: one.flavor for one in flavors.all(connection)}
    _, shown_rows, _ = _cut(query, host_rows(services, known.get(query.flavor) or _usual(known.values()), query.sort))
    return tuple(row.id for row in shown_rows if row.state != "silent")


def _marks(connection: sa.Connection) -> str:
    """A text that changes when a host changes, or how many findings it has."""
    return str(hash((hosts.marks(connection), tuple(sorted(findings.drift_of_hosts(connection).items())))))


def _mark(now: str, loads: Mapping[HostId, HostLoad]) -> str:
    return str(hash((now, tuple(sorted((host, load.ended) for host, load in loads.items())))))


def _spare(row: HostRow) -> float:
    return 1.0 if row.spare is None else row.spare


def _drawn(
    services: ApiServices, rows: Iterable[HostRow], loads: Mapping[HostId, HostLoad], places: Sequence[Place]
) -> list[tuple[HostRow, Markup, Marks, Markup, str]]:
    """Rows with the small map, what it marks, the strip of the overhead pool, and the load of that pool in words."""
    found = tuple(rows)
    with services.database.read() as connection:
        drift = findings.drift_on(connection, [row.id for row in found if row.drift], limit=_MOST_MARKED)
    drawn = []
    for row in found:
        load = loads.get(row.id)
        pool = None if load is None else load.pools.get("overhead", Load())
        marks = Marks(
            next=CpuSet.union(place.cpus for place in places[:1] if place.id == row.id),
            waited=CpuSet() if load is None else CpuSet(cpu for cpu, one in load.pcpus.items() if (one.wait or 0) > STARVING_MILLICPU),
            left=places_left(written.read(one) for one in drift.get(row.id, ())),
        )
        picture = services.pictures.small(row.id, row.entry.state, marks)
        strip = strip_svg(booked=row.booked, total=row.capacity, measured=pool) if row.headroom is not None else ""
        drawn.append((row, Markup(picture), marks, Markup(strip), "" if pool is None else in_words(pool)))  # noqa: S704
    return drawn


def _usual(known: Any) -> Flavor:
    """The flavor of 4 vCPUs that comes first by name, else one that is not stored."""
    return min((flavor for flavor in known if flavor.vcpus == 4), key=lambda flavor: flavor.name, default=_ANY)


def _cut(query: FleetQuery, rows: list[HostRow]) -> tuple[FleetQuery, list[HostRow], int]:
    """The query with an order and a page that there are, the rows of that page, and how many pages there are."""
    pages = max(1, -(-len(rows) // PAGE))
    sort, page = query.sort if query.sort in ORDERS else "headroom", min(max(query.page, 1), pages)
    return replace(query, sort=sort, page=page), rows[(page - 1) * PAGE : page * PAGE], pages


def _notes(rows: Iterable[HostRow], starved: Container[HostId]) -> dict[HostId, str]:
    """What an operator wants to know of each host before the next guest goes there."""
    found = {}
    for row in rows:
        said = [f"{int(100 * row.headroom)} % of the overhead pool unbooked"] if row.headroom is not None else []
        wrong = ["drift"] if row.drift else []
        wrong += ["starving threads"] if row.id in starved else []
        wrong += ["an overhead pool full by load"] if row.busy else []
        said += [f"but it has {listed(wrong)}"] if wrong else []
        found[row.id] = "; ".join(said)
    return found


def _found(services: ApiServices, text: str, names: Mapping[HostId, str]) -> Sequence[tuple[str, str, str, str | None]]:
    """`(id, name, state, host)` of the guests whose names hold a text."""
    if not text:
        return ()
    with services.database.read() as connection:
        found = guests.page(connection, GuestFilter(name_has=text), limit=_MOST_FOUND)
    return [(one.id, one.name, one.observed.value, names.get(one.host) if one.host else None) for one in found]
