"""What a cloud's Keystone needs so that clients find this service and it can check tokens: the steps that are missing. Pure.

`openstack_words` writes a step as a command of the openstack client; `accounting.keystone_registry` carries it out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from msgspec import Struct

from pinfold.core.errors import InvalidRequest
from pinfold.core.printable import shell_line

INTERFACES: Final = ("public", "internal")
IDENTITY: Final = "identity"
PATHS: Final = {"compute": "/compute/v2.1", "image": "/image", "network": "/network", "placement": "/placement"}
"""The types of services in the catalogue, and where this service serves each."""
_NAME: Final = "pinfold-"
"""How the names of our services in the catalogue begin; the type follows."""


class Wanted(Struct, frozen=True, kw_only=True):
    """What is to be registered: the service at `url` with these types, in a region, and the user by which it checks tokens.

    `user` and `project` are in `domain`. `keystone` is Keystone's own address.
    """

    url: str
    types: tuple[str, ...]
    region: str
    keystone: str
    user: str = "pinfold"
    project: str = "service"
    domain: str = "Default"
    role: str = "service"


class Service(Struct, frozen=True):
    """A service of the catalogue."""

    id: str
    type: str
    name: str


class Endpoint(Struct, frozen=True):
    """An endpoint of the catalogue. `service` is its service's id."""

    id: str
    service: str
    interface: str
    region: str
    url: str


class Registered(Struct, frozen=True, kw_only=True):
    """What Keystone has. `user`, `project` and `role` say whether those of `Wanted` exist, `granted` whether the user has that role."""

    regions: frozenset[str]
    services: tuple[Service, ...]
    endpoints: tuple[Endpoint, ...]
    user: bool
    project: bool
    role: bool
    granted: bool


class MakeRegion(Struct, frozen=True):
    """Make a region."""

    region: str


class MakeService(Struct, frozen=True):
    """Make a service of the catalogue."""

    type: str
    name: str


class MakeEndpoint(Struct, frozen=True):
    """Make an endpoint. `service` is the id of an existing service, or the name of one that an earlier step makes."""

    service: str
    type: str
    interface: str
    region: str
    url: str


class MoveEndpoint(Struct, frozen=True):
    """Give an endpoint another address."""

    id: str
    type: str
    interface: str
    region: str
    url: str


class MakeProject(Struct, frozen=True):
    """Make the project of the user."""

    name: str
    domain: str


class MakeRole(Struct, frozen=True):
    """Make the role of the user."""

    name: str


class MakeUser(Struct, frozen=True):
    """Make the user by which the service checks tokens."""

    name: str
    domain: str


class GrantRole(Struct, frozen=True):
    """Give the user its role in its project."""

    role: str
    user: str
    project: str
    domain: str


Step: TypeAlias = MakeRegion | MakeService | MakeEndpoint | MoveEndpoint | MakeProject | MakeRole | MakeUser | GrantRole


def is_base_address(url: str) -> bool:
    """Whether the paths of the services can be put behind it: http or https, a host, and neither user, query nor fragment.

    >>> [is_base_address(f"https://{rest}") for rest in ("pinfold:8774", "[::1]:8774/pinfold/", "", "x:port", "u@x", "x?y", "a b")]
    [True, True, False, False, False, False, False]
    """
    try:
        parts = urlsplit(url)
        port_is_one = parts.port is None or parts.port > 0
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and " " not in url and not (parts.username or parts.query or parts.fragment)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and port_is_one and plain


def missing_steps(wanted: Wanted, found: Registered) -> tuple[Step, ...]:
    """The steps that are missing, in the order in which they must be done; none if all is there.

    Raises `InvalidRequest` if another service of one of the types is in the region: clients use the first one that the catalogue names.
    """
    return (*_catalogue(wanted, found), *_access(wanted, found))


def existing(wanted: Wanted, found: Registered) -> tuple[str, ...]:
    """What needs no step, a phrase each."""
    steps = missing_steps(wanted, found)
    touched = {(step.type, step.interface) for step in steps if isinstance(step, MakeEndpoint | MoveEndpoint)}
    phrases = [f"region {wanted.region}"] if wanted.region in found.regions else []
    for kind in wanted.types:
        phrases += [f"{interface} endpoint of {kind} in {wanted.region}" for interface in INTERFACES if (kind, interface) not in touched]
    there = ((found.project, f"project {wanted.project}"), (found.role, f"role {wanted.role}"), (found.user, f"user {wanted.user}"))
    phrases += [phrase for exists, phrase in there if exists]
    return (*phrases, *([f"role {wanted.role} of {wanted.user} in {wanted.project}"] if found.granted else []))


def openstack_words(step: Step) -> tuple[str, ...]:
    """The step as a command of the openstack client, without secrets: for a user the client asks for the password.

    >>> openstack_words(MakeRegion("west"))
    ('openstack', 'region', 'create', 'west')
    """
    return ("openstack", *_words(step))


def command(step: Step) -> str:
    """The step as a line for a shell."""
    return shell_line(openstack_words(step))


def _words(step: Step) -> tuple[str, ...]:
    match step:
        case MakeRegion(region):
            return ("region", "create", region)
        case MakeService(kind, name):
            return ("service", "create", "--name", name, "--description", "CPU placement for KVM hosts", kind)
        case MakeEndpoint(service, _, interface, region, url):
            return ("endpoint", "create", "--region", region, service, interface, url)
        case MoveEndpoint(identity, _, _, _, url):
            return ("endpoint", "set", "--url", url, identity)
        case MakeProject(name, domain):
            return ("project", "create", "--domain", domain, name)
        case MakeRole(name):
            return ("role", "create", name)
        case MakeUser(name, domain):
            return ("user", "create", "--domain", domain, "--password-prompt", name)
        case GrantRole(role, user, project, domain):
            return ("role", "add", "--user", user, "--user-domain", domain, "--project", project, "--project-domain", domain, role)


def _catalogue(wanted: Wanted, found: Registered) -> Iterator[Step]:
    if wanted.region not in found.regions:
        yield MakeRegion(wanted.region)
    yield from _identity(wanted, found)
    for kind in wanted.types:
        service = _service(kind, wanted, found)
        if service is None:
            yield MakeService(kind, _NAME + kind)
        for interface in INTERFACES:
            url = wanted.url + PATHS[kind]
            there = None if service is None else _endpoint(service, interface, wanted.region, found)
            if there is None:
                yield MakeEndpoint(_NAME + kind if service is None else service.id, kind, interface, wanted.region, url)
            elif there.url != url:
                yield MoveEndpoint(there.id, kind, interface, wanted.region, url)


def _identity(wanted: Wanted, found: Registered) -> Iterator[Step]:
    """Keystone's own endpoint in the region: clients that work in a region look for Keystone there, too."""
    services = [service for service in found.services if service.type == IDENTITY]
    known = [endpoint for endpoint in found.endpoints if endpoint.service in {service.id for service in services}]
    if not services or any(endpoint.region == wanted.region for endpoint in known):
        return
    for interface in INTERFACES:
        url = min((endpoint.url for endpoint in known if endpoint.interface == interface), default=wanted.keystone)
        yield MakeEndpoint(services[0].id, IDENTITY, interface, wanted.region, url)


def _service(kind: str, wanted: Wanted, found: Registered) -> Service | None:
    """The service of a type that our endpoints belong to: ours by name, or the only one of the type; None if we make one."""
    services = [service for service in found.services if service.type == kind]
    ours = [service for service in services if service.name == _NAME + kind]
    for service in services:
        for endpoint in found.endpoints:
            if endpoint.service != service.id or endpoint.region != wanted.region or service in ours:
                continue
            if endpoint.url != wanted.url + PATHS[kind]:
                raise InvalidRequest(
                    f"the region {wanted.region} has another {kind} service, {service.name or service.id} at {endpoint.url}, and clients "
                    "would use either of the two; name another region with --region, it is made if it is new",
                    key="--region",
                )
            ours.append(service)
    if ours:
        return ours[0]
    return services[0] if len(services) == 1 else None


def _endpoint(service: Service, interface: str, region: str, found: Registered) -> Endpoint | None:
    mine = [e for e in found.endpoints if (e.service, e.interface, e.region) == (service.id, interface, region)]
    return min(mine, key=lambda endpoint: endpoint.id, default=None)


def _access(wanted: Wanted, found: Registered) -> Iterator[Step]:
    if not found.project:
        yield MakeProject(wanted.project, wanted.domain)
    if not found.role:
        yield MakeRole(wanted.role)
    if not found.user:
        yield MakeUser(wanted.user, wanted.domain)
    if not found.granted:
        yield GrantRole(wanted.role, wanted.user, wanted.project, wanted.domain)
