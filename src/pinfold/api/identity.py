"""The version document of an identity service, and nothing more of one: clients look for it before they create a flavor.

Who calls is told by HTTP Basic on every request; there are no projects, domains or tokens here.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from pinfold.api.compute.links import base

router = APIRouter(prefix="/identity", tags=["versions"])


@router.get("", include_in_schema=False)
@router.get("/")
def list_versions(request: Request) -> dict[str, Any]:
    """The one version that is spoken of."""
    return {"versions": {"values": [_version(request)]}}


@router.get("/v3")
@router.get("/v3/", include_in_schema=False)
def show_version(request: Request) -> dict[str, Any]:
    """The v3 document."""
    return {"version": _version(request)}


def _version(request: Request) -> dict[str, Any]:
    media = {"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}
    link = {"rel": "self", "href": f"{base(request)}/identity/v3/"}
    return {"id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z", "links": [link], "media-types": [media]}
