"""The version documents of the Compute API, which every client requests first."""

from __future__ import annotations

from fastapi import Request
from typing_extensions import TypedDict

from pinfold.api.compute.links import ROOT, base
from pinfold.api.microversion import NEWEST, OLDEST
from pinfold.api.response_schema import Link, MediaType, closed
from pinfold.api.router import Router

router = Router(tags=["versions"])


@closed
class ComputeVersion(TypedDict):
    """A major version of the Compute API, with its range of microversions."""

    id: str
    status: str
    version: str
    min_version: str
    updated: str
    links: list[Link]


_Media = TypedDict("_Media", {"media-types": list[MediaType]})


@closed
class ComputeVersionInFull(ComputeVersion, _Media):
    """The same with its media types."""


@closed
class ComputeVersions(TypedDict):
    """Every major version."""

    versions: list[ComputeVersion]


@closed
class ComputeVersionAnswer(TypedDict):
    """One major version."""

    version: ComputeVersionInFull


@router.get("/compute", include_in_schema=False)
@router.get("/compute/")
async def list_versions(request: Request) -> ComputeVersions:
    """Every served major version: only v2.1."""
    return {"versions": [_version(request)]}


@router.get(ROOT, include_in_schema=False)
@router.get(f"{ROOT}/")
async def show_version(request: Request) -> ComputeVersionAnswer:
    """The v2.1 document with its range of microversions."""
    media: MediaType = {"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2.1"}
    return {"version": {**_version(request), "media-types": [media]}}


def _version(request: Request) -> ComputeVersion:
    return {
        "id": "v2.1",
        "status": "CURRENT",
        "version": str(NEWEST),
        "min_version": str(OLDEST),
        "updated": "2013-07-23T11:33:21Z",
        "links": [{"rel": "self", "href": f"{base(request)}{ROOT}/"}],
    }
