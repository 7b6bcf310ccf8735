"""What an admin may do from a page: disable a host and enable it again. Each has a page that shows the plan, with the form that does it."""

from __future__ import annotations

from typing import Final

from pinfold.api.caller import Caller
from pinfold.api.dependencies import ApiServices
from pinfold.api.errors import ApiError
from pinfold.api.ui.render import render
from pinfold.core.plural import count
from pinfold.store import hosts
from pinfold.store.records import HostRecord

MOST_REASON: Final = 255


def confirm_page(services: ApiServices, caller: Caller, host: HostRecord, *, enable: bool) -> str:
    """The page that shows what would happen, with the button that does it. Raises `ApiError` 403 for a reader."""
    if not caller.admin:
        raise ApiError(403, f"The account {caller.name} may read only.")
    with services.database.read() as connection:
        claims = hosts.ledgers(connection, [host.id])[0].state.ledger.claims
    number = len({claim.guest for claim in claims})
    return render(
        "confirm.html", account=caller.name, live="", host=host, enable=enable, plan=plan(host, number, enable=enable), longest=MOST_REASON
    )


def plan(host: HostRecord, guests: int, *, enable: bool) -> tuple[str, ...]:
    """What would happen, step by step."""
    if enable:
        steps = [f"{host.name} takes new guests again."] if host.disabled else [f"{host.name} is not disabled: nothing changes."]
        return (*steps, *([] if host.up else [f"But {host.name} is silent, and takes no guests until its agent is back."]))
    first = f"{host.name} is disabled already: only the reason changes." if host.disabled else f"{host.name} takes no new guests."
    stay = "Its guest stays and runs on." if guests == 1 else f"Its {count(guests, 'guest')} stay and run on."
    return first, stay if guests else "It has no guests.", "Nothing else changes; enable it to undo this."


def switch(services: ApiServices, host: HostRecord, *, enable: bool, reason: str) -> None:
    """Disable or enable a host. Raises `ApiError` 400 for a reason that is too long."""
    if len(reason) > MOST_REASON:
        raise ApiError(400, f"The reason has {len(reason)} characters; at most {MOST_REASON} are allowed.")
    if enable:
        services.fleet.hosts.enable(host.id)
    else:
        services.fleet.hosts.disable(host.id, reason)
