"""How many more guests of each flavor fit, in `/v1`: on each host, by page, and in the fleet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, NotRequired

from fastapi import Query, Request
from typing_extensions import TypedDict

from pinfold.api.compute.links import Limit, after_marker, next_page, sized
from pinfold.api.dependencies import ApiServices, Services
from pinfold.api.response_schema import Link, closed, written_as
from pinfold.api.router import Router
from pinfold.core.encoding import plain
from pinfold.core.errors import InvalidRequest
from pinfold.core.fit.capacity import CapacitySum, HostCapacity, NotCounted
from pinfold.core.request.model import Flavor
from pinfold.store import flavors

router = Router(prefix="/v1", tags=["capacity"])

MOST_FLAVORS: Final = 100
"""The most flavors of one answer."""


@closed
class Capacity(TypedDict):
    """What each host of the page has left, by name; what all hosts have together; and flavors that cannot be counted.

    `flavors_left_out` is how many stored flavors the answer leaves out, as it has at most 100 of them, by name.
    """

    hosts: list[Annotated[dict[str, Any], written_as(HostCapacity)]]
    hosts_links: NotRequired[list[Link]]
    fleet: Annotated[dict[str, Any], written_as(CapacitySum)]
    not_counted: list[Annotated[dict[str, Any], written_as(NotCounted)]]
    flavors_left_out: int


@router.get("/capacity")
def show_capacity(
    request: Request,
    services: Services,
    limit: Limit = None,
    marker: Annotated[str | None, Query(description="The name of the last host of the page before.")] = None,
    flavor: Annotated[
        list[str] | None, Query(max_length=MOST_FLAVORS, description="A flavor by name or id; may be repeated. Default: all of them.")
    ] = None,
) -> Capacity:
    """How many more guests of each flavor fit on each host and in the fleet, and which free pCPUs no flavor can use."""
    chosen, left_out = stored_flavors(services, flavor or (), MOST_FLAVORS)
    found = services.fleet.scheduler.capacity(chosen)
    rest = after_marker(found.hosts, [host.host for host in found.hosts], marker)
    page = sized(rest, limit)
    answer: Capacity = {
        "hosts": [plain(host) for host in page],
        "fleet": plain(found.fleet),
        "not_counted": [plain(each) for each in found.not_counted],
        "flavors_left_out": left_out,
    }
    if more := next_page(request, "capacity", page, limit, page[-1].host if page else None, root="/v1"):
        answer["hosts_links"] = more
    return answer


def stored_flavors(services: ApiServices, names: Sequence[str], most: int) -> tuple[tuple[Flavor, ...], int]:
    """The stored flavors of these names or ids (all for none), by name, at most `most` of them; and how many are left out."""
    with services.database.read() as connection:
        every = flavors.all(connection)
    for name in names:
        if not any(name in (one.id, one.flavor.name) for one in every):
            raise InvalidRequest(f"there is no flavor {name[:255]!r}", key="flavor")
    chosen = [one.flavor for one in every if not names or one.id in names or one.flavor.name in names]
    chosen.sort(key=lambda flavor: flavor.name)
    return tuple(chosen[:most]), len(chosen[most:])
