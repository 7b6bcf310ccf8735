"""GET /limits: the quota of a project, and zero for what pinfold lacks."""

from __future__ import annotations

from typing import Annotated, NotRequired

from fastapi import Query, Request
from typing_extensions import TypedDict

from pinfold.api.caller import caller_of, forbidden
from pinfold.api.compute.headers import Version
from pinfold.api.compute.links import ROOT
from pinfold.api.dependencies import Services
from pinfold.api.microversion import Microversion
from pinfold.api.response_schema import before, closed
from pinfold.api.router import Router
from pinfold.service.guests.edits import MOST_METADATA
from pinfold.service.key_pairs import MOST_KEY_PAIRS

router = Router(prefix=f"{ROOT}/limits", tags=["limits"])

Tenant = Annotated[str | None, Query(max_length=255)]


@closed
class AbsoluteLimits(TypedDict):
    """Limits, -1 for unlimited, and current use: servers, vCPUs and MiB."""

    maxTotalInstances: int
    maxTotalCores: int
    maxTotalRAMSize: int
    maxServerMeta: int
    maxTotalKeypairs: int
    maxServerGroups: int
    maxServerGroupMembers: int
    totalInstancesUsed: int
    totalCoresUsed: int
    totalRAMUsed: int
    totalServerGroupsUsed: int
    maxTotalFloatingIps: NotRequired[Annotated[int, before(36)]]
    totalFloatingIpsUsed: NotRequired[Annotated[int, before(36)]]
    maxSecurityGroups: NotRequired[Annotated[int, before(36)]]
    maxSecurityGroupRules: NotRequired[Annotated[int, before(36)]]
    totalSecurityGroupsUsed: NotRequired[Annotated[int, before(36)]]
    maxImageMeta: NotRequired[Annotated[int, before(39)]]
    maxPersonality: NotRequired[Annotated[int, before(57)]]
    maxPersonalitySize: NotRequired[Annotated[int, before(57)]]


@closed
class Limits(TypedDict):
    """The absolute limits, and the rate limits, of which there are none."""

    absolute: AbsoluteLimits
    rate: list[dict[str, str]]


@closed
class LimitsShown(TypedDict):
    """Every limit."""

    limits: Limits


@router.get("")
def show_limits(request: Request, services: Services, version: Version, tenant_id: Tenant = None) -> LimitsShown:
    """The limits of a project and what it has: the caller's, or for who sees others that of `tenant_id`."""
    caller = caller_of(request)
    project = tenant_id or caller.project
    if not caller.sees(project):
        raise forbidden("os_compute_api:limits:other_project")
    quota, used = services.fleet.quotas.get(project)
    absolute: AbsoluteLimits = {
        "maxTotalInstances": quota.instances,
        "maxTotalCores": quota.cores,
        "maxTotalRAMSize": quota.memory_mib,
        "maxServerMeta": MOST_METADATA,
        "maxTotalKeypairs": MOST_KEY_PAIRS,
        "maxServerGroups": 0,
        "maxServerGroupMembers": 0,
        "totalInstancesUsed": used.instances,
        "totalCoresUsed": used.cores,
        "totalRAMUsed": used.memory_mib,
        "totalServerGroupsUsed": 0,
    }
    if version < Microversion(2, 36):
        absolute |= {"maxTotalFloatingIps": 0, "totalFloatingIpsUsed": 0, "maxSecurityGroups": 0, "maxSecurityGroupRules": 0}
        absolute["totalSecurityGroupsUsed"] = 0
    if version < Microversion(2, 39):
        absolute["maxImageMeta"] = 0
    if version < Microversion(2, 57):
        absolute |= {"maxPersonality": 0, "maxPersonalitySize": 0}
    return {"limits": {"absolute": absolute, "rate": []}}
