"""`KeystoneRegistry`: read what a cloud's Keystone has of this service, and make what is missing, with openstacksdk.

openstacksdk takes the credentials as the openstack client does: `OS_*` variables, or an entry of clouds.yaml.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from pinfold.core.errors import InvalidRequest, Unavailable
from pinfold.core.registration import (
    Endpoint,
    GrantRole,
    MakeEndpoint,
    MakeProject,
    MakeRegion,
    MakeRole,
    MakeService,
    MakeUser,
    MoveEndpoint,
    Registered,
    Service,
    Step,
    Wanted,
)
from pinfold.extras import installing

_SECONDS: Final = 60
_FIRST_REGION: Final = "RegionOne"
"""The region of `keystone-manage bootstrap` and of most installers."""


class KeystoneRegistry:
    """Keystone with the credentials of `cloud` in clouds.yaml, or of the environment without one. Raises `InvalidRequest` without any."""

    def __init__(self, cloud: str | None) -> None:
        try:
            import openstack
            from keystoneauth1.exceptions import ClientException, MissingRequiredOptions
        except ImportError as error:
            raise InvalidRequest(
                "this command needs the Python package openstacksdk, which is not installed; install it: " + installing("keystone"),
                key="--cloud",
            ) from error
        logging.getLogger("keystoneauth").addHandler(logging.NullHandler())  # its warnings are in the sentences below
        try:
            made = openstack.connect(cloud=cloud, app_name="pinfold", timeout=_SECONDS)
            self.address = str(made.config.get_auth_args()["auth_url"])
        except (MissingRequiredOptions, KeyError) as error:
            raise InvalidRequest(
                "there are no credentials for Keystone: set OS_AUTH_URL and the other OS_* variables as for the openstack client, or name "
                "an entry of clouds.yaml with --cloud",
                key="--cloud",
            ) from error
        except (openstack.exceptions.SDKException, ClientException, OSError, ValueError) as error:
            raise InvalidRequest(f"the credentials of the cloud cannot be used: {_first_line(error)}", key="--cloud") from error
        self.region = str(made.config.region_name or "")
        self._cloud: Any = made
        self._refusals, self._failures = openstack.exceptions.HttpException, (openstack.exceptions.SDKException, ClientException)

    def only_region(self) -> str:
        """The region that the credentials name, or else the only one that Keystone has. Raises `InvalidRequest` if it has several."""
        if self.region:
            return self.region
        with self._spoken():
            regions = sorted(region.id for region in self._cloud.identity.regions())
        if len(regions) > 1:
            raise InvalidRequest(f"Keystone has the regions {', '.join(regions)}; name one with --region, or a new one", key="--region")
        return regions[0] if regions else _FIRST_REGION

    def registered(self, wanted: Wanted) -> Registered:
        """What Keystone has of what is wanted."""
        with self._spoken():
            identity = self._cloud.identity
            services = tuple(Service(one.id, one.type, one.name or "") for one in identity.services())
            endpoints = tuple(Endpoint(one.id, one.service_id, one.interface, one.region_id or "", one.url) for one in identity.endpoints())
            regions = frozenset(region.id for region in identity.regions())
            user, project, role = self._user(wanted.user, wanted.domain), self._project(wanted), identity.find_role(wanted.role)
            granted = bool(user and project and role) and any(
                True for _ in identity.role_assignments(user_id=user.id, scope_project_id=project.id, role_id=role.id)
            )
        return Registered(
            regions=regions,
            services=tuple(sorted(services, key=lambda service: service.id)),
            endpoints=endpoints,
            user=user is not None,
            project=project is not None,
            role=role is not None,
            granted=granted,
        )

    def carry_out(self, step: Step, *, password: str) -> None:
        """Do one step. `password` is for a user that is made."""
        with self._spoken():
            self._do(self._cloud.identity, step, password)

    def _do(self, identity: Any, step: Step, password: str) -> None:
        match step:
            case MakeRegion(region):
                identity.create_region(id=region)
            case MakeService(kind, name):
                identity.create_service(type=kind, name=name, description="CPU placement for KVM hosts")
            case MakeEndpoint(service, _, interface, region, url):
                found = identity.find_service(service, ignore_missing=False)
                identity.create_endpoint(service_id=found.id, interface=interface, region_id=region, url=url)
            case MoveEndpoint(id=endpoint, url=url):
                identity.update_endpoint(endpoint, url=url)
            case MakeProject(name, domain):
                identity.create_project(name=name, domain_id=self._domain(domain))
            case MakeRole(name):
                identity.create_role(name=name)
            case MakeUser(name, domain):
                identity.create_user(name=name, domain_id=self._domain(domain), password=password)
            case GrantRole(role, user, project, domain):
                who, where = self._user(user, domain), identity.find_project(project, domain_id=self._domain(domain), ignore_missing=False)
                identity.assign_project_role_to_user(where, who, identity.find_role(role, ignore_missing=False))

    def _domain(self, name: str) -> str:
        found = self._cloud.identity.find_domain(name)
        if found is None:
            raise InvalidRequest(f"--domain {name!r} is not allowed; Keystone has no such domain", key="--domain")
        return str(found.id)

    def _user(self, name: str, domain: str) -> Any:
        return self._cloud.identity.find_user(name, domain_id=self._domain(domain))

    def _project(self, wanted: Wanted) -> Any:
        return self._cloud.identity.find_project(wanted.project, domain_id=self._domain(wanted.domain))

    @contextmanager
    def _spoken(self) -> Iterator[None]:
        """Turns the failures of Keystone and its client into ours."""
        from keystoneauth1.exceptions import HttpError, Unauthorized

        try:
            yield
        except self._failures as error:
            status = getattr(error, "status_code", None) or getattr(error, "http_status", None)
            if isinstance(error, Unauthorized) or status == 401:
                said = f"Keystone at {self.address} refuses the credentials: {_first_line(error)}"
            elif status == 403:
                said = f"Keystone at {self.address} lets only accounts with the role admin do this; this account lacks that role"
            elif isinstance(error, self._refusals | HttpError) and status and status < 500:
                said = f"Keystone at {self.address} refuses this: {_first_line(error)}"
            else:
                raise Unavailable(f"Keystone at {self.address} does not answer: {_first_line(error)}") from error
            raise InvalidRequest(said, key="--cloud") from error


def _first_line(error: Exception) -> str:
    """The first line of an error, without the part that urllib3 adds."""
    lines = str(error).strip().splitlines()
    return lines[0].partition(": HTTP")[0][:500] if lines else type(error).__name__
