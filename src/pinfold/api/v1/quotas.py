"""The quota of a project with its dedicated pCPUs, which the Compute API's quotas lack."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from pinfold.api.dependencies import Services
from pinfold.api.request_body import RequestBody
from pinfold.api.response_schema import closed
from pinfold.api.router import Router
from pinfold.core.encoding import plain

router = Router(prefix="/v1/projects", tags=["quotas"])

Limit = Annotated[int, Field(ge=-1, le=(1 << 31) - 1)]


class QuotaLimits(RequestBody):
    """The limits to change; -1 is no limit."""

    instances: Limit | None = None
    cores: Limit | None = None
    pcpus: Limit | None = None
    memory_mib: Limit | None = None


@closed
class ProjectAmount(TypedDict):
    """Of each resource: servers, vCPUs, pCPUs dedicated to them, MiB of memory."""

    instances: int
    cores: int
    pcpus: int
    memory_mib: int


@closed
class ProjectQuota(TypedDict):
    """The limits of a project, -1 for none, and what it has."""

    limits: ProjectAmount
    used: ProjectAmount


@router.get("/{project}/quota")
def show_project_quota(project: str, services: Services) -> ProjectQuota:
    """The quota of a project."""
    limits, used = services.fleet.quotas.get(project)
    return {"limits": plain(limits), "used": plain(used)}


@router.put("/{project}/quota")
def change_project_quota(project: str, body: QuotaLimits, services: Services) -> ProjectQuota:
    """Change limits of a project, also to less than it has: nothing is taken away."""
    services.fleet.quotas.change(project, body.model_dump(exclude_none=True), force=True)
    return show_project_quota(project, services)
