"""What clients ask of an identity service where accounts are HTTP Basic's: its version document, the project of all accounts, and the
accounts as users.

Clients look a project up by its name before they ask for its quota or usage, and a user before they ask for its servers or key pairs.
Nothing else of Keystone exists, and nothing can be changed.
"""

from __future__ import annotations

from typing import Final

from fastapi import Request
from typing_extensions import TypedDict

from pinfold.api.caller import BASIC_PROJECT, caller_of
from pinfold.api.compute.links import base
from pinfold.api.dependencies import ApiServices, Services
from pinfold.api.errors import ApiError
from pinfold.api.response_schema import Link, MediaType, closed
from pinfold.api.router import Router

router = Router(prefix="/identity", tags=["versions"])

_NO_KEYSTONE: Final = (
    "Its accounts are those of the accounts file, and all of them work in the project pinfold; "
    "both can be listed and shown here, and the operator changes them in that file."
)

_Media = TypedDict("_Media", {"media-types": list[MediaType]})


@closed
class IdentityLinks(TypedDict):
    """A link to the answer itself, as in Keystone."""

    self: str


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


@closed
class Project(TypedDict):
    """A project, as in Keystone."""

    id: str
    name: str
    description: str
    domain_id: str
    enabled: bool
    is_domain: bool
    links: IdentityLinks


@closed
class ProjectAnswer(TypedDict):
    """One project."""

    project: Project


@closed
class ProjectList(TypedDict):
    """The projects, all on one page."""

    projects: list[Project]
    links: IdentityLinks


@closed
class User(TypedDict):
    """An account of the accounts file, as a user in Keystone. Its name is its id."""

    id: str
    name: str
    description: str
    domain_id: str
    enabled: bool
    links: IdentityLinks


@closed
class UserAnswer(TypedDict):
    """One user."""

    user: User


@closed
class UserList(TypedDict):
    """The users, all on one page, by name."""

    users: list[User]
    links: IdentityLinks


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


@router.get("/v3/projects")
async def list_projects(request: Request, name: str = BASIC_PROJECT) -> ProjectList:
    """The project of the accounts of the accounts file, for callers who see it."""
    shown = name == BASIC_PROJECT and caller_of(request).sees(BASIC_PROJECT)
    links: IdentityLinks = {"self": f"{base(request)}/identity/v3/projects"}
    return {"projects": [_project(request)] if shown else [], "links": links}


@router.get("/v3/projects/{project}")
async def show_project(project: str, request: Request) -> ProjectAnswer:
    """That project. 404 for any other: those of Keystone are at Keystone."""
    if project != BASIC_PROJECT or not caller_of(request).sees(project):
        raise ApiError(404, f"Could not find project: {project[:64]}.")
    return {"project": _project(request)}


@router.get("/v3/users")
async def list_users(request: Request, services: Services, name: str | None = None) -> UserList:
    """The accounts of the accounts file that the caller sees: all of them, or of a member of a project none."""
    links: IdentityLinks = {"self": f"{base(request)}/identity/v3/users"}
    return {"users": [_user(request, one) for one in _accounts(request, services) if name in (None, one)], "links": links}


@router.get("/v3/users/{user}")
async def show_user(user: str, request: Request, services: Services) -> UserAnswer:
    """That account. 404 for any other: the users of Keystone are at Keystone."""
    if user not in _accounts(request, services):
        raise ApiError(404, f"Could not find user: {user[:64]}.")
    return {"user": _user(request, user)}


@router.api_route("/v3/{rest:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"], include_in_schema=False)
async def refuse_others(rest: str) -> None:
    """Refuse what only Keystone has: tokens, roles, domains, a catalogue, and changes of projects and users."""
    noun = rest.partition("/")[0][:64]
    raise ApiError(501, f"{noun}: this is no Keystone. {_NO_KEYSTONE}")


def _accounts(request: Request, services: ApiServices) -> tuple[str, ...]:
    if services.checks is None or not caller_of(request).everywhere:
        return ()
    return services.checks.doorkeeper.names


def _user(request: Request, name: str) -> User:
    return {
        "id": name,
        "name": name,
        "description": "An account of the accounts file.",
        "domain_id": "default",
        "enabled": True,
        "links": {"self": f"{base(request)}/identity/v3/users/{name}"},
    }


def _project(request: Request) -> Project:
    return {
        "id": BASIC_PROJECT,
        "name": BASIC_PROJECT,
        "description": "The project of all accounts of the accounts file.",
        "domain_id": "default",
        "enabled": True,
        "is_domain": False,
        "links": {"self": f"{base(request)}/identity/v3/projects/{BASIC_PROJECT}"},
    }


def _version(request: Request) -> IdentityVersion:
    media: MediaType = {"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}
    link: Link = {"rel": "self", "href": f"{base(request)}/identity/v3/"}
    return {"id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z", "links": [link], "media-types": [media]}
