"""GET /limits: unlimited for what hosts provide, zero for what pinfold lacks."""

from __future__ import annotations

from typing import Annotated, Final, NotRequired

from fastapi import APIRouter, Request
from typing_extensions import TypedDict

from pinfold.api.caller import caller_of
from pinfold.api.compute.headers import Version
from pinfold.api.compute.links import ROOT
from pinfold.api.dependencies import Services
from pinfold.api.microversion import Microversion
from pinfold.api.response_schema import before, closed
from pinfold.service.guests.edits import MOST_METADATA
from pinfold.service.key_pairs import MOST_KEY_PAIRS
from pinfold.store import guests
from pinfold.store.guests import GuestFilter

router = APIRouter(prefix=f"{ROOT}/limits", tags=["limits"])

_UNLIMITED: Final = -1


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
def show_limits(request: Request, services: Services, version: Version) -> LimitsShown:
    """What is in use. Only hosts limit it; the limit of networks and server groups is zero."""
    with services.database.read() as connection:
        flavors = [guest.flavor for guest in guests.page(connection, GuestFilter(project=caller_of(request).project))]
    absolute: AbsoluteLimits = {
        "maxTotalInstances": _UNLIMITED,
        "maxTotalCores": _UNLIMITED,
        "maxTotalRAMSize": _UNLIMITED,
        "maxServerMeta": MOST_METADATA,
        "maxTotalKeypairs": MOST_KEY_PAIRS,
        "maxServerGroups": 0,
        "maxServerGroupMembers": 0,
        "totalInstancesUsed": len(flavors),
        "totalCoresUsed": sum(flavor.vcpus for flavor in flavors),
        "totalRAMUsed": sum(flavor.memory_mib for flavor in flavors),
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
