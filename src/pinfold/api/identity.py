"""The version document of an identity service, and nothing more of one: clients look for it before they create a flavor.

Who calls is told by HTTP Basic on every request; there are no projects, domains or tokens here.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from typing_extensions import TypedDict

from pinfold.api.answers import Link, MediaType, closed
from pinfold.api.compute.links import base

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
    """The versions, below a key as Keystone has it."""

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
    """The one version that is spoken of."""
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
