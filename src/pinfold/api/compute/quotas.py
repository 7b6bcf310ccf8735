"""The quotas of projects in the Compute API. Limits are on servers, vCPUs and memory; everything else is the same for all projects."""

from __future__ import annotations

from typing import Annotated, Any, Final, NotRequired

from fastapi import Query, Request, Response
from pydantic import Field
from typing_extensions import TypedDict

from pinfold.api.caller import caller_of, forbidden
from pinfold.api.compute.headers import Version
from pinfold.api.compute.links import ROOT
from pinfold.api.dependencies import Services
from pinfold.api.errors import ApiError
from pinfold.api.microversion import Microversion
from pinfold.api.request_body import RequestBody
from pinfold.api.response_schema import before, closed
from pinfold.api.router import Router
from pinfold.core.quota import UNLIMITED, Quota
from pinfold.service.guests.edits import MOST_METADATA
from pinfold.service.key_pairs import MOST_KEY_PAIRS

router = Router(prefix=f"{ROOT}/os-quota-sets", tags=["quotas"])

_FIXED: Final = {
    "key_pairs": MOST_KEY_PAIRS,
    "metadata_items": MOST_METADATA,
    "server_groups": 0,
    "server_group_members": 0,
    "fixed_ips": UNLIMITED,
    "floating_ips": 0,
    "security_groups": 0,
    "security_group_rules": 0,
    "injected_files": 0,
    "injected_file_content_bytes": 0,
    "injected_file_path_bytes": 0,
}
"""What no quota changes."""
_UNTIL_35: Final = ("fixed_ips", "floating_ips", "security_groups", "security_group_rules")
_UNTIL_56: Final = ("injected_files", "injected_file_content_bytes", "injected_file_path_bytes")

Limit = Annotated[int, Field(ge=-1, le=(1 << 31) - 1)]
Project = str
UserId = Annotated[str | None, Query(alias="user_id", max_length=255)]


class QuotaChange(RequestBody):
    """The limits to change; -1 is no limit."""

    instances: Limit | None = None
    cores: Limit | None = None
    ram: Limit | None = None
    key_pairs: Limit | None = None
    metadata_items: Limit | None = None
    server_groups: Limit | None = None
    server_group_members: Limit | None = None
    fixed_ips: Limit | None = None
    floating_ips: Limit | None = None
    security_groups: Limit | None = None
    security_group_rules: Limit | None = None
    injected_files: Limit | None = None
    injected_file_content_bytes: Limit | None = None
    injected_file_path_bytes: Limit | None = None
    force: bool = False


class ChangeQuota(RequestBody):
    """The envelope of a change."""

    quota_set: QuotaChange


@closed
class QuotaValues(TypedDict):
    """The limits of a project: servers, vCPUs, MiB, and what is the same for all. -1 is no limit."""

    instances: int
    cores: int
    ram: int
    key_pairs: int
    metadata_items: int
    server_groups: int
    server_group_members: int
    fixed_ips: NotRequired[Annotated[int, before(36)]]
    floating_ips: NotRequired[Annotated[int, before(36)]]
    security_groups: NotRequired[Annotated[int, before(36)]]
    security_group_rules: NotRequired[Annotated[int, before(36)]]
    injected_files: NotRequired[Annotated[int, before(57)]]
    injected_file_content_bytes: NotRequired[Annotated[int, before(57)]]
    injected_file_path_bytes: NotRequired[Annotated[int, before(57)]]


@closed
class QuotaSet(QuotaValues):
    """The limits of a project, with its id."""

    id: str


@closed
class QuotaShown(TypedDict):
    """The quota of a project."""

    quota_set: QuotaSet


@closed
class QuotaChanged(TypedDict):
    """The quota of a project after a change."""

    quota_set: QuotaValues


@closed
class QuotaInDetail(TypedDict):
    """The quota of a project, and of each resource `limit`, `in_use` and `reserved`, which is 0."""

    quota_set: dict[str, Any]


@router.get("/{project}")
def show_quota(project: Project, request: Request, services: Services, version: Version, _user: UserId = None) -> QuotaShown:
    """The quota of a project; of others only for who sees them. Its users have no quotas of their own, so `user_id` changes nothing."""
    _refuse_others(request, project, "show")
    limits, _ = services.fleet.quotas.get(project)
    return {"quota_set": {"id": project, **_values(limits, version)}}


@router.get("/{project}/defaults")
def show_defaults(project: Project, version: Version) -> QuotaShown:
    """The quota of a project whose quota was never set: no limits."""
    return {"quota_set": {"id": project, **_values(Quota(), version)}}


@router.get("/{project}/detail", responses={501: {}})
def show_quota_in_detail(project: Project, request: Request, services: Services, version: Version, user_id: UserId = None) -> QuotaInDetail:
    """The quota of a project and what it has; of others only for who sees them."""
    _refuse_others(request, project, "detail")
    if user_id is not None:
        raise _no_users()
    limits, used = services.fleet.quotas.get(project)
    in_use = {"instances": used.instances, "cores": used.cores, "ram": used.memory_mib}
    values = _values(limits, version)
    each = {name: {"limit": value, "in_use": in_use.get(name, 0), "reserved": 0} for name, value in values.items()}
    return {"quota_set": {"id": project, **each}}


@router.put("/{project}", responses={501: {}})
def change_quota(project: Project, body: ChangeQuota, services: Services, version: Version, user_id: UserId = None) -> QuotaChanged:
    """Change limits of a project; 400 for one below what the project has, unless `force` is true."""
    if user_id is not None:
        raise _no_users()
    asked = body.quota_set.model_dump(exclude_none=True, exclude={"force"})
    changes = {{"ram": "memory_mib"}.get(name, name): value for name, value in asked.items() if name not in _FIXED}
    for name, value in asked.items():
        if name in _FIXED and value != _FIXED[name]:
            raise ApiError(501, f"The quota of {name} cannot be changed: it is {_FIXED[name]} for every project.")
    return {"quota_set": _values(services.fleet.quotas.change(project, changes, force=body.quota_set.force), version)}


@router.delete("/{project}", status_code=202, response_class=Response, responses={501: {}})
def reset_quota(project: Project, services: Services, user_id: UserId = None) -> Response:
    """Remove the limits of a project."""
    if user_id is not None:
        raise _no_users()
    services.fleet.quotas.reset(project)
    return Response(status_code=202)


def _refuse_others(request: Request, project: str, verb: str) -> None:
    if not caller_of(request).sees(project):
        raise forbidden(f"os_compute_api:os-quota-sets:{verb}")


def _no_users() -> ApiError:
    return ApiError(501, "pinfold has quotas of projects, and none of single users: leave user_id out.")


def _values(limits: Quota, version: Microversion) -> QuotaValues:
    hidden = (*(_UNTIL_35 if version >= Microversion(2, 36) else ()), *(_UNTIL_56 if version >= Microversion(2, 57) else ()))
    values: dict[str, Any] = {"instances": limits.instances, "cores": limits.cores, "ram": limits.memory_mib}
    return values | {name: value for name, value in _FIXED.items() if name not in hidden}  # type: ignore[return-value]
