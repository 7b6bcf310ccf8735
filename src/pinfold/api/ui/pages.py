"""What the pages show: the fleet and one host, read from the store and rendered by Jinja2. Jinja2 is in the extra `pinfold[ui]`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import jinja2
from markupsafe import Markup
from msgspec import Struct

from pinfold.api.dependencies import ApiServices
from pinfold.api.v1.hosts import find, map_of_host
from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Severity
from pinfold.core.host_map import HostMap, Observed, host_map
from pinfold.core.overhead import capacity_millicpu
from pinfold.core.printable import shown
from pinfold.drawing.svg import host_svg, small_svg
from pinfold.drawing.tiles import Tile, guest_letters, in_order, owners_of, tile_of
from pinfold.store import findings, guests, hosts
from pinfold.store.guests import GuestFilter
from pinfold.store.records import HostLedger, HostRecord

PAGE: Final = 50
"""The most hosts on one page of the fleet."""
_MOST_FOUND: Final = 50
_TEMPLATES: Final = jinja2.Environment(
    loader=jinja2.PackageLoader("pinfold.api.ui"), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_TEMPLATES.filters["shown"] = shown


class HostRow(Struct, frozen=True, kw_only=True):
    """One host. `headroom` is the free share of its overhead pool, None without a pool. `drift` is None if nobody has looked."""

    name: str
    state: str
    dedicated: int
    dedicated_free: int
    booked: int
    capacity: int
    headroom: float | None
    guests: int
    drift: int | None
    advice: str
    ledger: HostLedger


ORDERS: Final[dict[str, tuple[str, Callable[[HostRow], Any]]]] = {
    "headroom": ("least overhead headroom first", lambda row: (2.0 if row.headroom is None else row.headroom, row.name)),
    "free": ("fewest free dedicated pCPUs first", lambda row: (row.dedicated_free, row.name)),
    "drift": ("most drift first", lambda row: (-(row.drift or 0), row.name)),
    "name": ("by name", lambda row: (row.name,)),
}


def sign_in_page(*, wrong: str = "") -> str:
    """The form that asks for name and password."""
    return _render("sign-in.html", wrong=wrong, live="", account="")


def fleet_page(services: ApiServices, account: str, *, sort: str, guest: str, page: int) -> str:
    """Every host in an order, a page of them at once, and the guests whose names hold a text."""
    sort = sort if sort in ORDERS else "headroom"
    with services.database.read() as connection:
        drift = findings.drift_of_hosts(connection)
        rows = sorted((_row(ledger, drift.get(ledger.record.id)) for ledger in hosts.ledgers(connection)), key=ORDERS[sort][1])
        found = guests.page(connection, GuestFilter(name=lambda name: guest.lower() in name.lower()), limit=_MOST_FOUND) if guest else ()
    names = {row.ledger.record.id: row.name for row in rows}
    pages = max(1, -(-len(rows) // PAGE))
    page = min(max(page, 1), pages)
    drawn = [(row, Markup(small_svg(_recorded(row.ledger)))) for row in rows[(page - 1) * PAGE : page * PAGE]]  # noqa: S704
    return _render(
        "fleet.html",
        account=account,
        live="/ui/live",
        rows=drawn,
        hosts=len(rows),
        advice=_fleet_advice(rows),
        orders={key: words for key, (words, _) in ORDERS.items()},
        sort=sort,
        guest=guest,
        found=[(one.name, one.observed.value, names.get(one.host) if one.host else None) for one in found],
        page=page,
        pages=pages,
    )


def host_page(services: ApiServices, account: str, name: str) -> str:
    """One host: its map, the same as a table, its drift with the repairs. Raises `NotFound`."""
    host = find(services, name)
    chart, found, reported = map_of_host(services, host)
    drift = tuple(finding for finding in found if finding.severity is Severity.DRIFT)
    named = guest_letters(owners_of(chart))
    owners = sorted(((named[key], name) for key, name, _ in owners_of(chart)), key=lambda one: in_order(one[0]))
    return _render(
        "host.html",
        account=account,
        live=f"/ui/hosts/{host.id}/live",
        host=host,
        state=_state(host),
        picture=Markup(host_svg(chart, notice=_notice(host), styled=False)),  # noqa: S704
        tiles=_tiles(chart, named),
        owners=owners,
        drift=drift,
        reported="" if reported is None else _moment(reported),
    )


def fleet_mark(services: ApiServices) -> str:
    """A text that changes when a host of the fleet changes."""
    with services.database.read() as connection:
        return str(hash((hosts.marks(connection), tuple(sorted(findings.drift_of_hosts(connection).items())))))


def host_mark(services: ApiServices, host: HostRecord) -> str:
    """A text that changes when a host, its guests or its findings change."""
    with services.database.read() as connection:
        now = hosts.get(connection, host.id)
        known = tuple((guest.id, guest.observed, guest.name) for guest in guests.page(connection, GuestFilter(host=host.id)))
        found = tuple(finding.sentence for finding in findings.of_host(connection, host.id))
    return str(hash((now.revision, now.up, now.disabled, now.fenced, known, found)))


def _render(template: str, **values: Any) -> str:
    return _TEMPLATES.get_template(template).render(**values)


def _row(ledger: HostLedger, drift: int | None) -> HostRow:
    state = ledger.state
    held = CpuSet.union((*(one.fit.taken for one in state.ledger.claims), *(one.cpus for one in state.ledger.foreign)))
    booked = sum(claim.fit.overhead_millicpu for claim in state.ledger.claims)
    capacity = capacity_millicpu(state.pools, state.limits)
    free = len(state.pools.dedicated - held)
    headroom = (capacity - booked) / capacity if capacity else None
    return HostRow(
        name=ledger.record.name,
        state=_state(ledger.record),
        dedicated=len(state.pools.dedicated),
        dedicated_free=free,
        booked=booked,
        capacity=capacity,
        headroom=headroom,
        guests=len({claim.guest for claim in state.ledger.claims}),
        drift=drift,
        advice=_advice(_state(ledger.record), headroom, free, drift),
        ledger=ledger,
    )


def _advice(state: str, headroom: float | None, free: int, drift: int | None) -> str:
    """One sentence about a host: the first thing that an operator would do something about."""
    if state in ("silent", "fenced"):
        return "What runs there is not known."
    if drift:
        return "Repair the drift first."
    if headroom is not None and headroom < 0.1:
        return "The overhead pool is nearly booked: enlarge it, or place share guests elsewhere."
    if not free:
        return "No dedicated pCPU is free."
    return "It takes more guests." if state == "up" else "It takes no new guests while it is disabled."


def _fleet_advice(rows: list[HostRow]) -> str:
    """The sentence above the fleet."""
    tight = [row for row in rows if row.headroom is not None and row.headroom < 0.1]
    adrift = [row for row in rows if row.drift]
    silent = [row for row in rows if row.state == "silent"]
    parts = [
        f"{words}: {', '.join(shown(row.name) for row in some[:5])}{' and more' if len(some) > 5 else ''}."
        for words, some in (("Drift", adrift), ("Nearly out of overhead capacity", tight), ("Silent", silent))
        if some
    ]
    return " ".join(parts) or "No drift, and every overhead pool has room."


def _state(host: HostRecord) -> str:
    if host.fenced:
        return "fenced"
    if not host.up:
        return "silent"
    return "disabled" if host.disabled else "up"


def _notice(host: HostRecord) -> str:
    if host.up:
        return ""
    return f"The agent has been silent since {_moment(host.lease_until)}: the map shows what was recorded. What runs now is not known."


def _recorded(ledger: HostLedger) -> HostMap:
    return host_map(ledger.state, Observed(names={}))


def _tiles(chart: HostMap, named: dict[str, str]) -> list[tuple[str, Tile]]:
    """`(cell, tile)` of every pCPU, for the table."""
    online = [(str(cell.id), tile_of(pcpu, named)) for cell in chart.cells for core in cell.cores for pcpu in core.pcpus]
    return [*online, *(("offline", tile_of(pcpu, named)) for pcpu in chart.offline)]


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
