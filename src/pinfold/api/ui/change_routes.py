"""What an admin changes from a page: a page that shows the plan, and the form that carries it out. Its POST must come from such a page.

`api.cross_site` refuses forms of other sites, and `api.auth` those of readers.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from pinfold.api.caller import caller_of
from pinfold.api.dependencies import ApiServices, Services
from pinfold.api.router import Router
from pinfold.api.threads import in_thread
from pinfold.api.ui.page_response import fields, html, need_extra
from pinfold.api.v1.hosts import find
from pinfold.core.errors import not_found
from pinfold.core.identity import GuestId
from pinfold.store import guests

List = Annotated[str | None, Query(max_length=1000)]

router = Router(prefix="/ui", tags=["web page"], include_in_schema=False)


@router.get("/hosts/{name}/disable")
def ask_to_disable(name: str, request: Request, services: Services) -> HTMLResponse:
    """What happens when a host is disabled, with the form that does it."""
    return _confirm(name, request, services, enable=False)


@router.get("/hosts/{name}/enable")
def ask_to_enable(name: str, request: Request, services: Services) -> HTMLResponse:
    """What happens when a host is enabled, with the form that does it."""
    return _confirm(name, request, services, enable=True)


@router.post("/hosts/{name}/disable")
async def disable_host(name: str, request: Request, services: Services) -> Response:
    """Disable a host."""
    return await _switch(name, request, services, enable=False)


@router.post("/hosts/{name}/enable")
async def enable_host(name: str, request: Request, services: Services) -> Response:
    """Enable a host."""
    return await _switch(name, request, services, enable=True)


@router.get("/hosts/{name}/repin")
def ask_to_repin(name: str, request: Request, services: Services) -> HTMLResponse:
    """Which guests of a host would move where, what that gains and costs, with the form that does it."""
    need_extra()
    from pinfold.api.ui.repin import repin_page

    return html(repin_page(services, caller_of(request), find(services, name)))


@router.post("/hosts/{name}/repin")
async def repin_host(name: str, request: Request, services: Services) -> Response:
    """Carry out the plan that the page showed. 409 if the host has changed since."""
    need_extra()
    from pinfold.api.ui.repin import repin

    revision = fields(await request.body(), "revision=NUMBER").get("revision", "")
    host = await in_thread(find, services, name)
    await in_thread(repin, services, host, revision)
    return RedirectResponse(f"/ui/hosts/{host.id}/repin", 303)


@router.get("/hosts/{name}/pools")
def ask_for_pools(
    name: str, request: Request, services: Services, shared: List = None, dedicated: List = None, overhead: List = None
) -> HTMLResponse:
    """A form for other pools of a host, and what those of the query would mean."""
    need_extra()
    from pinfold.api.ui.pools import pools_page

    asked = {key: text for key, text in (("shared", shared), ("dedicated", dedicated), ("overhead", overhead)) if text is not None}
    return html(pools_page(services, caller_of(request), find(services, name), asked))


@router.post("/hosts/{name}/pools")
async def order_pools(name: str, request: Request, services: Services) -> Response:
    """Order the pools that the page showed. 409 if the host has changed since."""
    need_extra()
    from pinfold.api.ui.pools import order

    asked = fields(await request.body(), "shared=CPULIST&dedicated=CPULIST&overhead=CPULIST&revision=NUMBER")
    host = await in_thread(find, services, name)
    await in_thread(order, services, host, asked)
    return RedirectResponse(f"/ui/hosts/{host.id}/pools", 303)


@router.get("/guests/{guest_id}/repair")
def ask_to_repair(guest_id: GuestId, request: Request, services: Services) -> HTMLResponse:
    """Which threads of a guest would move where, with the form that does it."""
    need_extra()
    from pinfold.api.ui.repair import repair_page

    return html(repair_page(services, caller_of(request), guest_id))


@router.post("/guests/{guest_id}/repair")
def repair_guest(guest_id: GuestId, services: Services) -> Response:
    """Ask the agent of a guest to move its threads back. 409 if it cannot be repaired now."""
    need_extra()
    with services.database.read() as connection:
        if guests.find(connection, guest_id) is None:
            raise not_found("Guest", guest_id)
    services.fleet.repairs.ask(guest_id)
    return RedirectResponse(f"/ui/guests/{guest_id}", 303)


def _confirm(name: str, request: Request, services: ApiServices, *, enable: bool) -> HTMLResponse:
    need_extra()
    from pinfold.api.ui.disable import confirm_page

    return html(confirm_page(services, caller_of(request), find(services, name), enable=enable))


async def _switch(name: str, request: Request, services: ApiServices, *, enable: bool) -> Response:
    need_extra()
    from pinfold.api.ui.disable import switch

    reason = fields(await request.body(), "reason=WHY").get("reason", "").strip()
    host = await in_thread(find, services, name)
    await in_thread(switch, services, host, enable=enable, reason=reason)
    return RedirectResponse(f"/ui/hosts/{host.id}", 303)
