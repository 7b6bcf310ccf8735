"""Absolute links to the things of the Compute API, and the paging of its listings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from starlette.requests import Request

from pinfold.core.errors import InvalidRequest

ROOT: Final = "/compute/v2.1"
MOST: Final = 1000
"""The largest page; a request without a limit gets one of this size."""

Thing = TypeVar("Thing")


def base(request: Request) -> str:
    """The address that the client used, without a path.

    A proxy in front is believed only through uvicorn's own `--proxy-headers`.
    """
    return str(request.base_url).rstrip("/")


def links(request: Request, noun: str, name: object) -> list[dict[str, str]]:
    """The `self` and `bookmark` links of one thing, as every Compute answer has them."""
    root = base(request)
    return [
        {"rel": "self", "href": f"{root}{ROOT}/{noun}/{name}"},
        {"rel": "bookmark", "href": f"{root}/compute/{noun}/{name}"},
    ]


def limit_of(text: str | None) -> int:
    """The page size that a `limit` parameter asks for, at most `MOST`. Raises `InvalidRequest`.

    >>> limit_of(None), limit_of("5"), limit_of("5000")
    (1000, 5, 1000)
    """
    if text is None:
        return MOST
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidRequest(f"limit is {text[:64]!r}; it must be a whole number, 0 or more", key="limit")
    return min(int(text), MOST)


def page(request: Request, noun: str, items: Sequence[Thing], name: str, limit: int, last_id: str | None) -> dict[str, Any]:
    """The `NOUN_links` part of a listing: a `next` link where the page is full, else nothing."""
    if limit == 0 or len(items) < limit or last_id is None:
        return {}
    query = [(key, value) for key, value in request.query_params.multi_items() if key != "marker"]
    href = f"{base(request)}{ROOT}/{noun}?{urlencode([*query, ('marker', last_id)])}"
    return {f"{name}_links": [{"rel": "next", "href": href}]}


def after_marker(items: Sequence[Thing], ids: Sequence[str], marker: str | None) -> Sequence[Thing]:
    """The items that follow the one whose id is `marker`. Raises `InvalidRequest` when there is none."""
    if marker is None:
        return items
    if marker not in ids:
        raise InvalidRequest(f"marker [{marker[:255]}] not found", key="marker")
    return items[ids.index(marker) + 1 :]
