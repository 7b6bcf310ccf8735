"""Moves of servers between hosts in the Compute API: there are none, because pinfold moves no server to another host."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from pinfold.api.compute.links import ROOT
from pinfold.api.response_schema import closed
from pinfold.api.router import Router

router = Router(prefix=ROOT, tags=["servers"])


@closed
class MigrationList(TypedDict):
    """No migrations."""

    migrations: list[dict[str, Any]]


@router.get("/os-migrations")
async def list_migrations() -> MigrationList:
    """No migrations, whatever is asked for: every server stays on its host."""
    return {"migrations": []}
