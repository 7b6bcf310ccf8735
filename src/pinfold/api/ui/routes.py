"""The routes of the web page. Pages need a session or HTTP Basic; the two static files are for everybody."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from importlib import resources
from typing import Annotated, Final

from fastapi import Query, Request, Response
from fastapi.responses import HTMLResponse, StreamingResponse

from pinfold.api.caller import Caller, caller_of
from pinfold.api.dependencies import ApiServices, Services
from pinfold.api.errors import ApiError
from pinfold.api.router import Router
from pinfold.api.threads import in_thread
from pinfold.api.ui.headers import HEADERS
from pinfold.api.ui.page_response import html, need_extra
from pinfold.api.v1.hosts import find
from pinfold.core.identity import GuestId
from pinfold.drawing.svg import STYLE

router = Router(prefix="/ui", tags=["web page"], include_in_schema=False)

_LOOK_SECONDS: Final = 2.0
_STREAM_SECONDS: Final = 600.0
_ALIVE_SECONDS: Final = 15.0
CHANGED: Final = "event: changed\ndata: changed\n\n"


Sort = Annotated[str, Query(max_length=20)]
Text = Annotated[str, Query(max_length=255)]
PageNumber = Annotated[int, Query(ge=1, le=100_000)]
Seen = Annotated[str, Query(max_length=40)]
"""The mark that the page had when it was read."""


@router.get("")
def show_fleet(
    request: Request, services: Services, sort: Sort = "headroom", guest: Text = "", flavor: Text = "", page: PageNumber = 1
) -> HTMLResponse:
    """The fleet, as a page."""
    need_extra()
    from pinfold.api.ui.fleet import FleetQuery, fleet_page

    return html(fleet_page(services, caller_of(request).name, FleetQuery(sort=sort, guest=guest, flavor=flavor, page=page)))


@router.get("/hosts/{name}")
def show_host_page(name: str, request: Request, services: Services) -> HTMLResponse:
    """One host, as a page: its map, the same as a table, its drift, and its last hour."""
    need_extra()
    from pinfold.api.ui.host import host_page

    return html(host_page(services, caller_of(request), name))


@router.get("/guests/{guest_id}")
def show_guest_page(guest_id: GuestId, request: Request, services: Services) -> HTMLResponse:
    """One guest, as a page: where it is, what was observed of it, and its last hour."""
    need_extra()
    from pinfold.api.ui.guest import guest_page

    return html(guest_page(services, caller_of(request), guest_id))


@router.get("/fits")
def show_fits(request: Request, services: Services, flavor: Text) -> HTMLResponse:
    """Whether a guest of a flavor would fit: every host against every constraint."""
    need_extra()
    from pinfold.api.ui.fits import fits_page

    return html(fits_page(services, caller_of(request), flavor))


@router.get("/guests/{guest_id}/fits")
def show_refusals(guest_id: GuestId, request: Request, services: Services) -> HTMLResponse:
    """Why hosts refuse a guest, and which would take it now."""
    need_extra()
    from pinfold.api.ui.fits import refused_page

    return html(refused_page(services, caller_of(request), guest_id))


@router.get("/live")
async def follow_fleet(
    request: Request, services: Services, sort: Sort = "headroom", flavor: Text = "", page: PageNumber = 1, seen: Seen = ""
) -> Response:
    """Server-sent events: `changed`, whenever a host of the fleet has changed, and at once if one has since `seen`."""
    need_extra()
    from pinfold.api.ui.fleet import FleetQuery, fleet_mark

    return _stream(services, caller_of(request), partial(fleet_mark, services, FleetQuery(sort=sort, flavor=flavor, page=page)), seen)


@router.get("/hosts/{name}/live")
async def follow_host(name: str, request: Request, services: Services, seen: Seen = "") -> Response:
    """Server-sent events: `changed`, whenever the host has changed, and at once if it has since `seen`."""
    need_extra()
    from pinfold.api.ui.host import host_mark

    host = await in_thread(find, services, name)
    return _stream(services, caller_of(request), partial(host_mark, services, host), seen)


@router.get("/guests/{guest_id}/live")
async def follow_guest(guest_id: GuestId, request: Request, services: Services, seen: Seen = "") -> Response:
    """Server-sent events: `changed`, whenever the guest has changed, and at once if it has since `seen`."""
    need_extra()
    from pinfold.api.ui.guest import guest_mark

    await in_thread(guest_mark, services, guest_id)  # a guest that does not exist is answered before the stream begins
    return _stream(services, caller_of(request), partial(guest_mark, services, guest_id), seen)


@router.get("/style.css")
async def style() -> Response:
    """The style sheet, with that of the pictures."""
    return Response(_static("style.css") + STYLE, media_type="text/css", headers=HEADERS | {"Cache-Control": "max-age=300"})


@router.get("/live.js")
async def script() -> Response:
    """The script that reads a page again when it has changed."""
    return Response(_static("live.js"), media_type="text/javascript", headers=HEADERS | {"Cache-Control": "max-age=300"})


async def changes(services: ApiServices, account: str, look: Callable[[], str], seen: str = "") -> AsyncIterator[str]:
    """The events of one stream. It ends after ten minutes, and with the process; a browser then opens another.

    What has changed since the mark `seen`, between the page and its stream, or between two streams, is told at once.
    """
    services.streams.enter(account)
    try:
        last, told, end = await in_thread(look), time.monotonic(), time.monotonic() + _STREAM_SECONDS
        yield "retry: 3000\n\n"
        if seen not in ("", last):
            yield CHANGED
        while time.monotonic() < end and not services.ended.is_set():
            await asyncio.sleep(_LOOK_SECONDS)
            now = await in_thread(look)
            if now != last:
                yield CHANGED
            elif time.monotonic() - told >= _ALIVE_SECONDS:
                yield ": nothing new\n\n"
            else:
                continue
            last, told = now, time.monotonic()
    finally:
        services.streams.leave(account)


def _stream(services: ApiServices, caller: Caller, look: Callable[[], str], seen: str) -> Response:
    if not services.streams.has_room(caller.user):
        raise ApiError(429, f"The account {caller.name} has too many live pages open; close one.")
    return StreamingResponse(changes(services, caller.user, look, seen), media_type="text/event-stream", headers={**HEADERS})


def _static(name: str) -> str:
    return (resources.files("pinfold.api.ui") / "static" / name).read_text(encoding="utf-8")
