"""What the page of one host shows of its map, its load and its guests. The API makes it of the store, `pinfold watch --ui` of its sweeps.

It imports neither FastAPI nor the store, so that a watch needs neither. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from markupsafe import Markup
from msgspec import Struct

from pinfold.api.ui.render import moment
from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Finding, Severity
from pinfold.core.history import HostHistory
from pinfold.core.host import Claim, HostState
from pinfold.core.host_map import HostMap
from pinfold.core.identity import GuestId
from pinfold.core.load import HostLoad, Load, lately, share, starving
from pinfold.core.overhead import capacity_millicpu, pool_of
from pinfold.core.overhead.pool import PoolPart
from pinfold.drawing.heat import HeatMap, by_guest, by_pcpu, heat_svg
from pinfold.drawing.strip import in_words, strip_svg
from pinfold.drawing.svg import host_svg
from pinfold.drawing.tiles import Tile, guest_letters, in_order, owners_of, tile_of

_TENTHS: Final = 12
"""Columns of a heat map's table: five minutes each."""


class PoolRow(Struct, frozen=True, kw_only=True):
    """A pool, or its part in one cell: what is booked of its ceiling in millicpu, its load in words, and the same as a picture."""

    name: str
    cpus: CpuSet
    booked: int | None
    ceiling: int | None
    load: str
    strip: Markup = Markup()


class GuestRow(Struct, frozen=True, kw_only=True):
    """A guest with a claim: its letters on the map, and the loads of its vCPUs and its overhead threads in words."""

    letters: str
    id: str
    name: str
    vcpus: str
    overhead: str
    drift: int


class HeatView(Struct, frozen=True, kw_only=True):
    """A heat map, and its table: `(label, mean work, mean waiting, "work / waiting" by five minutes)`."""

    title: str
    id: str
    picture: Markup
    rows: tuple[tuple[str, str, str, tuple[str, ...]], ...]
    times: tuple[str, ...]
    left_out: int


def host_view(
    chart: HostMap,
    state: HostState,
    findings: Sequence[Finding],
    guests: Iterable[tuple[GuestId, str]],
    history: HostHistory | None,
    *,
    notice: str = "",
    since: Sequence[float | None] = (),
) -> dict[str, Any]:
    """The values for the template `host.html`: its map, pools, drift, guests `(id, name)` and last hour. `notice` stands over the map.

    `since` has the time since when each of the findings is known, if that is known.
    """
    load = None if history is None else lately(history)
    times = tuple(since) or (None,) * len(findings)
    drift = tuple(
        (finding, "" if when is None else moment(when))
        for finding, when in zip(findings, times, strict=True)
        if finding.severity is Severity.DRIFT
    )
    named = guest_letters(owners_of(chart))
    return {
        "picture": Markup(host_svg(chart, notice=notice, load=load, styled=False)),  # noqa: S704
        "tiles": _tiles(chart, named, load),
        "guests": _guests(guests, named, load, [finding.guest_id for finding, _ in drift]),
        "drift": drift,
        "hungry": () if load is None else starving(load, state.ledger.claims),
        "measured": "" if load is None else moment(load.ended),
        "pools": _pools(chart, state, load),
        "heats": () if history is None or not history.ends else _heats(history),
    }


def _tiles(chart: HostMap, named: dict[str, str], load: HostLoad | None) -> list[tuple[tuple[str, ...], Tile, str]]:
    """`(where, tile, load in words)` of every pCPU, for the table; `where` are its socket, cell, last-level cache and siblings."""
    online = [
        ((_or_dash(core.socket), str(cell.id), _or_dash(core.cache), str(core.siblings)), pcpu)
        for cell in chart.cells
        for core in cell.cores
        for pcpu in core.pcpus
    ]
    found = [*online, *((("-", "offline", "-", str(pcpu.pcpu)), pcpu) for pcpu in chart.offline)]
    return [(where, tile_of(pcpu, named), in_words(_of_pcpu(load, pcpu.pcpu))) for where, pcpu in found]


def _or_dash(number: int | None) -> str:
    return "-" if number is None else str(number)


def _of_pcpu(load: HostLoad | None, pcpu: int) -> Load:
    return Load() if load is None else load.pcpus.get(pcpu, Load())


def _guests(guests: Iterable[tuple[GuestId, str]], named: Mapping[str, str], load: HostLoad | None, astray: list[str]) -> list[GuestRow]:
    """The guests by their letters."""
    nothing = (Load(), Load())
    found = []
    for guest, name in guests:
        vcpus, overhead = nothing if load is None else load.guests.get(guest, nothing)
        found.append(
            GuestRow(
                letters=named.get(guest, "floats"),
                id=guest,
                name=name,
                vcpus=in_words(vcpus),
                overhead=in_words(overhead),
                drift=astray.count(guest),
            )
        )
    return sorted(found, key=lambda row: (row.letters == "floats", in_order(row.letters), row.name))


def _pools(chart: HostMap, state: HostState, load: HostLoad | None) -> list[PoolRow]:
    """The pools that the host has; the overhead pool first, with its parts by cell."""
    pools, rows = state.pools, []
    pool = CpuSet() if pools.overhead is None else pools.overhead
    if pool:
        booked = sum(claim.fit.overhead_millicpu for claim in state.ledger.claims)
        measured = None if load is None else load.pools.get("overhead", Load())
        ceiling = capacity_millicpu(state.pools, state.limits)
        strip = Markup(strip_svg(booked=booked, total=ceiling, measured=measured))  # noqa: S704
        rows.append(PoolRow(name="overhead", cpus=pool, booked=booked, ceiling=ceiling, load=in_words(measured or Load()), strip=strip))
        booked_of = {} if chart.overhead is None else {part.cell: part.booked_millicpu for part in chart.overhead.parts}
        parts = pool_of(state).parts
        rows += [_part(part, booked_of.get(part.cell), state.ledger.claims, load) for part in parts if len(parts) > 1]
    for name, cpus in (("shared", pools.shared), ("dedicated", pools.dedicated)):
        if cpus and (load is None or name in load.pools):
            measured = Load() if load is None else load.pools.get(name, Load())
            rows.append(PoolRow(name=name, cpus=cpus, booked=None, ceiling=None, load=in_words(measured)))
    return rows


def _part(part: PoolPart, booked: int | None, claims: Iterable[Claim], load: HostLoad | None) -> PoolRow:
    """The part of the overhead pool in one cell. Guests that run on the whole pool book and wait for no part of it: they are in its row."""
    works = [work for cpu in part.cpus if (work := _of_pcpu(load, cpu).work) is not None]
    local = [claim.guest for claim in claims if [cell for cell, _ in claim.fit.overhead_cells] == [part.cell]]
    loads = [] if load is None else [load.guests[guest][1] for guest in local if guest in load.guests]
    waits = [one.wait for one in loads if one.wait is not None]
    measured = Load(work=sum(works) if works else None, wait=sum(waits) if waits else None)
    known = None if load is None else measured
    strip = Markup() if booked is None else Markup(strip_svg(booked=booked, total=part.capacity, measured=known))  # noqa: S704
    name = f"overhead, cell {part.cell}"
    return PoolRow(name=name, cpus=part.cpus, booked=booked, ceiling=part.capacity, load=in_words(measured), strip=strip)


def _heats(history: HostHistory) -> tuple[HeatView, ...]:
    """The last hour by pCPU, and by guest and class."""
    return tuple(
        _heat(title, key, heat)
        for title, key, heat in (
            ("The last hour by pCPU", "by-pcpu", by_pcpu(history)),
            ("The last hour by guest and class of threads", "by-guest", by_guest(history)),
        )
        if heat.rows
    )


def _heat(title: str, key: str, heat: HeatMap) -> HeatView:
    end = max(heat.ends)
    times = tuple(moment(end - 3600 + part * 3600 // 2)[11:16] for part in range(3))
    step = len(heat.ends) // _TENTHS
    rows = []
    for row in heat.rows:
        parts = [
            f"{_percent(row.work[place : place + step])} / {_percent(row.wait[place : place + step])}"
            for place in range(0, len(row.work), step)
        ]
        rows.append((row.label, _one(row.mean_work), _one(row.mean_wait), tuple(parts)))
    return HeatView(
        title=title,
        id=key,
        picture=Markup(heat_svg(heat, title, times)),  # noqa: S704
        rows=tuple(rows),
        times=tuple(moment(end - 3600 + part * 300)[11:16] for part in range(_TENTHS)),
        left_out=heat.left_out,
    )


def _percent(amounts: tuple[int | None, ...]) -> str:
    known = [amount for amount in amounts if amount is not None]
    return share(sum(known) // len(known)) if known else "-"


def _one(amount: int | None) -> str:
    return "-" if amount is None else share(amount)
