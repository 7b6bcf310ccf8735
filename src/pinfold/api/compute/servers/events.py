"""What was asked of a server, by whom and when, and what came of it: Nova's instance actions."""

from __future__ import annotations

import hashlib
from typing import Annotated, Final, NotRequired

import sqlalchemy as sa
from fastapi import Query, Request
from pydantic import AwareDatetime, NaiveDatetime
from typing_extensions import TypedDict

from pinfold.api.caller import Caller, caller_of
from pinfold.api.compute.headers import Version
from pinfold.api.compute.instants import micro_instant, seconds_of
from pinfold.api.compute.links import ROOT, Limit, after_marker, next_page, sized
from pinfold.api.compute.servers.single import visible
from pinfold.api.dependencies import Services
from pinfold.api.microversion import Microversion
from pinfold.api.response_schema import Link, closed, since
from pinfold.api.router import Router
from pinfold.core.errors import InvalidRequest, not_found
from pinfold.core.identity import GuestId
from pinfold.store import guest_events
from pinfold.store.records import EventRecord

router = Router(prefix=f"{ROOT}/servers/{{server_id}}/os-instance-actions", tags=["servers"])

_OF_DELETED: Final = Microversion(2, 21)
_EVENTS_FOR_ALL: Final = Microversion(2, 51)
"""Before it, only admins see how an action went, as in Nova."""
_PAGED: Final = Microversion(2, 58)
_WITH_HOST: Final = Microversion(2, 62)
_WITH_DETAILS: Final = Microversion(2, 84)
_Instant = AwareDatetime | NaiveDatetime


@closed
class ActionInBrief(TypedDict):
    """What was asked of a server. `message` is `Error` if it failed."""

    action: str
    instance_uuid: str
    request_id: str
    user_id: str
    project_id: str
    start_time: str
    message: str | None
    updated_at: NotRequired[Annotated[str | None, since(58)]]


@closed
class ActionEvent(TypedDict):
    """How it went: `result` is None while it is under way, then `Success` or `Error`."""

    event: str
    start_time: str
    finish_time: str | None
    result: str | None
    traceback: None
    host: NotRequired[Annotated[str | None, since(62)]]
    hostId: NotRequired[Annotated[str, since(62)]]
    details: NotRequired[Annotated[str | None, since(84)]]


@closed
class ActionInFull(ActionInBrief):
    """What was asked of a server, and how it went."""

    events: list[ActionEvent]


@closed
class ActionList(TypedDict):
    """What was asked of a server, newest first."""

    instanceActions: list[ActionInBrief]
    links: NotRequired[Annotated[list[Link], since(58)]]


@closed
class ActionShown(TypedDict):
    """One of them."""

    instanceAction: ActionInFull


@router.get("")
def list_actions(
    server_id: GuestId,
    request: Request,
    services: Services,
    version: Version,
    limit: Limit = None,
    marker: str | None = None,
    changes_since: Annotated[_Instant | None, Query(alias="changes-since")] = None,
    changes_before: Annotated[_Instant | None, Query(alias="changes-before")] = None,
) -> ActionList:
    """What was asked of a server, newest first; from microversion 2.21 on of a deleted one too."""
    with services.database.read() as connection:
        found = _events(connection, caller_of(request), server_id, version)
    if version < _PAGED:
        return {"instanceActions": [_brief(event, version) for event in found]}
    earliest, latest = (None if moment is None else seconds_of(moment) for moment in (changes_since, changes_before))
    if earliest is not None and latest is not None and latest < earliest:
        raise InvalidRequest("The value of changes-since must be less than or equal to changes-before.", key="changes-since")
    found = tuple(
        event for event in found if (earliest is None or _updated(event) >= earliest) and (latest is None or _updated(event) <= latest)
    )
    page = sized(after_marker(found, [event.request for event in found], marker), limit)
    listing: ActionList = {"instanceActions": [_brief(event, version) for event in page]}
    noun = f"servers/{server_id}/os-instance-actions"
    if more := next_page(request, noun, page, limit, page[-1].request if page else None):
        listing["links"] = more
    return listing


@router.get("/{request_id}")
def show_action(server_id: GuestId, request_id: str, request: Request, services: Services, version: Version) -> ActionShown:
    """What was asked of a server by one request, and how it went."""
    with services.database.read() as connection:
        found = next((event for event in _events(connection, caller_of(request), server_id, version) if event.request == request_id), None)
    if found is None:
        raise not_found("Action", request_id)
    everywhere = caller_of(request).everywhere
    event: ActionEvent = {
        "event": f"compute_{found.action}_instance",
        "start_time": micro_instant(found.began),
        "finish_time": None if found.ended is None else micro_instant(found.ended),
        "result": None if found.ended is None else "Error" if found.failure else "Success",
        "traceback": None,
    }
    if version >= _WITH_HOST:
        if everywhere:
            event["host"] = found.host or None
        event["hostId"] = hashlib.sha224(f"{found.project}{found.host}".encode()).hexdigest() if found.host else ""
    if version >= _WITH_DETAILS and everywhere:
        event["details"] = found.failure or None
    events = [event] if everywhere or version >= _EVENTS_FOR_ALL else []
    return {"instanceAction": {**_brief(found, version), "events": events}}


def _events(connection: sa.Connection, caller: Caller, server_id: GuestId, version: Microversion) -> tuple[EventRecord, ...]:
    guest = visible(connection, caller, server_id, deleted=version >= _OF_DELETED)
    return guest_events.of_guest(connection, guest.id)


def _brief(event: EventRecord, version: Microversion) -> ActionInBrief:
    shown: ActionInBrief = {
        "action": event.action,
        "instance_uuid": event.guest,
        "request_id": event.request,
        "user_id": event.account,
        "project_id": event.project,
        "start_time": micro_instant(event.began),
        "message": "Error" if event.failure else None,
    }
    if version >= _PAGED:
        shown["updated_at"] = micro_instant(_updated(event))
    return shown


def _updated(event: EventRecord) -> float:
    return event.began if event.ended is None else event.ended
