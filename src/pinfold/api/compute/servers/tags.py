"""Servers' tags in the Compute API: words that users store with a server and filter listings by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final
from urllib.parse import quote

from fastapi import Depends, Request, Response
from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from pinfold.api.compute.headers import Version
from pinfold.api.compute.links import ROOT, base
from pinfold.api.compute.servers.bodies import MOST_TAGS, Tag
from pinfold.api.compute.servers.single import server, unlocked
from pinfold.api.dependencies import Services
from pinfold.api.errors import ApiError
from pinfold.api.microversion import Microversion
from pinfold.api.request_body import RequestBody
from pinfold.api.response_schema import closed
from pinfold.api.router import Router
from pinfold.core.errors import InvalidRequest, not_found
from pinfold.core.identity import GuestId

_SINCE: Final = Microversion(2, 26)
_tag: Final = TypeAdapter(Tag)


async def _refuse_early(version: Version) -> None:
    if version < _SINCE:
        raise ApiError(404, f"Nova has tags of servers only from microversion {_SINCE} on.")


router = Router(prefix=f"{ROOT}/servers/{{server_id}}/tags", tags=["servers"], dependencies=[Depends(_refuse_early)])


class ServerTags(RequestBody):
    """All tags of a server."""

    tags: Annotated[list[Tag], Field(max_length=MOST_TAGS)]


@closed
class TagsShown(TypedDict):
    """All tags of a server, ascending."""

    tags: list[str]


@router.get("")
def show_tags(server_id: GuestId, request: Request, services: Services) -> TagsShown:
    """A server's tags."""
    return {"tags": list(server(services, request, server_id).tags)}


@router.put("")
def replace_tags(server_id: GuestId, body: ServerTags, request: Request, services: Services) -> TagsShown:
    """Replace a server's tags."""
    unlocked(services, request, server_id)
    return {"tags": list(services.fleet.edits.change_tags(server_id, lambda _: frozenset(body.tags)))}


@router.delete("", status_code=204, response_class=Response)
def delete_tags(server_id: GuestId, request: Request, services: Services) -> Response:
    """Remove all tags of a server."""
    unlocked(services, request, server_id)
    services.fleet.edits.change_tags(server_id, lambda _: frozenset())
    return Response(status_code=204)


@router.get("/{tag}", status_code=204, response_class=Response)
def check_tag(server_id: GuestId, tag: str, request: Request, services: Services) -> Response:
    """Whether a server has that tag: 204 if it has, 404 if not."""
    if tag not in server(services, request, server_id).tags:
        raise not_found("Tag", tag)
    return Response(status_code=204)


@router.put("/{tag}", status_code=201, response_class=Response, responses={204: {}})
def add_tag(server_id: GuestId, tag: str, request: Request, services: Services) -> Response:
    """Add a tag to a server: 201, or 204 if it has the tag already."""
    try:
        _tag.validate_python(tag)
    except ValidationError as error:
        raise InvalidRequest(f"Tag {tag[:64]!r} is not allowed: {error.errors()[0]['msg']}", key="tag") from error
    before = unlocked(services, request, server_id).tags
    location = {"Location": f"{base(request)}{ROOT}/servers/{server_id}/tags/{quote(tag, safe='')}"}
    if tag in before:
        return Response(status_code=204, headers=location)
    services.fleet.edits.change_tags(server_id, _with(tag))
    return Response(status_code=201, headers=location)


@router.delete("/{tag}", status_code=204, response_class=Response)
def delete_tag(server_id: GuestId, tag: str, request: Request, services: Services) -> Response:
    """Remove a tag from a server."""
    if tag not in unlocked(services, request, server_id).tags:
        raise not_found("Tag", tag)
    services.fleet.edits.change_tags(server_id, lambda before: before - {tag})
    return Response(status_code=204)


def _with(tag: str) -> Callable[[frozenset[str]], frozenset[str]]:
    def add(before: frozenset[str]) -> frozenset[str]:
        after = before | {tag}
        if len(after) > MOST_TAGS:
            raise InvalidRequest(f"The number of tags exceeded the per-server limit {MOST_TAGS}", key="tag")
        return after

    return add
