"""The version documents of the Compute API: what every client asks first."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from pinfold.api.compute.links import ROOT, base
from pinfold.api.microversion import NEWEST, OLDEST

router = APIRouter(tags=["versions"])


@router.get("/compute", response_class=JSONResponse, status_code=200, include_in_schema=False)
@router.get("/compute/", response_class=JSONResponse, status_code=200)
def list_versions(request: Request) -> dict[str, Any]:
    """Every major version that is served: v2.1 alone."""
    return {"versions": [_version(request)]}


@router.get(ROOT, response_class=JSONResponse, include_in_schema=False)
@router.get(f"{ROOT}/", response_class=JSONResponse)
def show_version(request: Request) -> dict[str, Any]:
    """The v2.1 document with its range of microversions."""
    media = {"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2.1"}
    return {"version": _version(request) | {"media-types": [media]}}


def _version(request: Request) -> dict[str, Any]:
    return {
        "id": "v2.1",
        "status": "CURRENT",
        "version": str(NEWEST),
        "min_version": str(OLDEST),
        "updated": "2013-07-23T11:33:21Z",
        "links": [{"rel": "self", "href": f"{base(request)}{ROOT}/"}],
    }
