"""Absolute links to objects of the Compute API, and the paging of its listings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, TypeVar
from urllib.parse import urlencode

from pydantic import Field
from starlette.requests import Request

from pinfold.api.response_schema import Link
from pinfold.core.errors import InvalidRequest

ROOT: Final = "/compute/v2.1"
MOST: Final = 1000
"""The largest page; a request without a limit gets one of this size."""

Limit = Annotated[int | None, Field(ge=0, le=2**31 - 1)]
"""The `limit` parameter of a listing."""

Thing = TypeVar("Thing")


def base(request: Request) -> str:
    """The address that the client used, without a path.

    Its scheme is HTTPS behind a proxy only if `[pinfold_api] trusted_proxies` names that proxy.
    """
    return str(request.base_url).rstrip("/")


def links(request: Request, noun: str, name: object) -> list[Link]:
    """The `self` and `bookmark` links of one object, as in every Compute response."""
    root = base(request)
    return [
        {"rel": "self", "href": f"{root}{ROOT}/{noun}/{name}"},
        {"rel": "bookmark", "href": f"{root}/compute/{noun}/{name}"},
    ]


def page_size(limit: int | None) -> int:
    """How many items a page has at most: `limit`, but never more than `MOST`."""
    return MOST if limit is None else min(limit, MOST)


def sized(items: Sequence[Thing], limit: int | None) -> Sequence[Thing]:
    """The items of the first page."""
    return items[: page_size(limit)]


def next_page(
    request: Request, noun: str, items: Sequence[Thing], limit: int | None, last_id: str | None, *, root: str = ROOT
) -> list[Link]:
    """The link to the page that follows `items` if that page is full; else nothing."""
    size = page_size(limit)
    if size == 0 or len(items) < size or last_id is None:
        return []
    query = [(key, value) for key, value in request.query_params.multi_items() if key != "marker"]
    href = f"{base(request)}{root}/{noun}?{urlencode([*query, ('marker', last_id)])}"
    return [{"rel": "next", "href": href}]


def after_marker(items: Sequence[Thing], ids: Sequence[str], marker: str | None) -> Sequence[Thing]:
    """The items that follow the one whose id is `marker`. Raises `InvalidRequest` when there is none."""
    if marker is None:
        return items
    if marker not in ids:
        raise InvalidRequest(f"marker [{marker[:255]}] not found", key="marker")
    return items[ids.index(marker) + 1 :]
