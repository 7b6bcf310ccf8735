"""The version document of an identity service, which clients request before they create a flavor. Nothing else of Keystone exists.

Every request authenticates with HTTP Basic; there are no projects, domains or tokens.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from typing_extensions import TypedDict

from pinfold.api.compute.links import base
from pinfold.api.response_schema import Link, MediaType, closed

router = APIRouter(prefix="/identity", tags=["versions"])

_Media = TypedDict("_Media", {"media-types": list[MediaType]})


@closed
class IdentityVersion(_Media):
    """A version of the identity API."""

    id: str
    status: str
    updated: str
    links: list[Link]


@closed
class IdentityVersionList(TypedDict):
    """The versions, under a key as in Keystone."""

    values: list[IdentityVersion]


@closed
class IdentityVersions(TypedDict):
    """Every version."""

    versions: IdentityVersionList


@closed
class IdentityVersionAnswer(TypedDict):
    """One version."""

    version: IdentityVersion


@router.get("", include_in_schema=False)
@router.get("/")
async def list_versions(request: Request) -> IdentityVersions:
    """The only version."""
    return {"versions": {"values": [_version(request)]}}


@router.get("/v3")
@router.get("/v3/", include_in_schema=False)
async def show_version(request: Request) -> IdentityVersionAnswer:
    """The v3 document."""
    return {"version": _version(request)}


def _version(request: Request) -> IdentityVersion:
    media: MediaType = {"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}
    link: Link = {"rel": "self", "href": f"{base(request)}/identity/v3/"}
    return {"id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z", "links": [link], "media-types": [media]}
