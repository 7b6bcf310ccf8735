"""Connect to a Placement that runs elsewhere: address, credentials, timeouts."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Any

import httpx

from pinfold.accounting.client import DEFAULT_OWNER, Owner, Placement
from pinfold.core.errors import InvalidRequest, Unavailable


class Auth(Enum):
    """How to authenticate to a remote Placement."""

    NONE = "none"
    """no credentials: a Placement with `auth_strategy = noauth2` gets the token `admin`"""
    BASIC = "http_basic"
    TOKEN = "token"  # noqa: S105
    KEYSTONE = "password"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemotePlacement:
    """Where a Placement is, and the credentials. The repr does not show secrets.

    `url` may be '' with KEYSTONE, which then finds it in the catalogue (service type `placement`, in `region`). `ca` is a file with
    certificates, '' for the system's own.
    """

    url: str
    auth: Auth = Auth.NONE
    token: str = field(default="admin", repr=False)
    username: str = ""
    password: str = field(default="", repr=False)
    auth_url: str = ""
    project_name: str = ""
    user_domain_name: str = "Default"
    project_domain_name: str = "Default"
    region: str = ""
    ca: str = ""
    connect_seconds: float = 5.0
    read_seconds: float = 30.0
    connections: int = 20
    owner: Owner = DEFAULT_OWNER


def connect(remote: RemotePlacement) -> Placement:
    """A client for that Placement. It makes no call to Placement or Keystone yet, because either may be away.

    Raises `InvalidRequest` for settings that contradict each other. If `url` is '', the first call looks it up, and raises `InvalidRequest`
    when the catalogue has no Placement.
    """
    headers: dict[str, str] = {}
    auth: httpx.Auth | None = None
    locate: Callable[[], str] | None = None
    if remote.auth in (Auth.NONE, Auth.TOKEN):
        headers["X-Auth-Token"] = remote.token
    elif remote.auth is Auth.BASIC:
        auth = httpx.BasicAuth(remote.username, remote.password)
    else:
        session = _keystone_session(remote)
        auth = _KeystoneAuth(session)
        locate = None if remote.url else partial(_catalogue_url, session, remote.region)
    if locate is None and not remote.url.startswith(("http://", "https://")):
        raise InvalidRequest(f"[placement] endpoint_override {remote.url!r} is no http:// or https:// address", key="endpoint_override")
    client = httpx.Client(
        base_url=remote.url.rstrip("/"),
        auth=auth,
        headers=headers,
        verify=_trust(remote.ca),
        # Who waits for one of the connections waits for a Placement that hangs, or for one that is far too slow.
        timeout=httpx.Timeout(remote.read_seconds, connect=remote.connect_seconds, pool=remote.connect_seconds),
        limits=httpx.Limits(max_connections=remote.connections, max_keepalive_connections=remote.connections),
    )
    return Placement(client, remote.owner, locate=locate)


def _trust(ca: str) -> Any:
    if not ca:
        return True
    import ssl

    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise InvalidRequest(f"[placement] cafile {ca!r} cannot be read: {error}", key="cafile") from error


class _KeystoneAuth(httpx.Auth):
    """Adds keystoneauth's token to each request, and a fresh one after a 401."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["X-Auth-Token"] = _token(self._session)
        answer = yield request
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            self._session.invalidate()
            request.headers["X-Auth-Token"] = _token(self._session)
            yield request


def _keystone_session(remote: RemotePlacement) -> Any:
    from keystoneauth1 import session
    from keystoneauth1.identity import v3

    password = v3.Password(
        auth_url=remote.auth_url,
        username=remote.username,
        password=remote.password,
        project_name=remote.project_name,
        user_domain_name=remote.user_domain_name,
        project_domain_name=remote.project_domain_name,
    )
    return session.Session(auth=password, verify=remote.ca or True, timeout=remote.read_seconds)


def _token(session: Any) -> str:
    from keystoneauth1.exceptions import ClientException

    try:
        return str(session.get_token())
    except ClientException as error:
        raise Unavailable(f"Keystone gives no token for Placement: {_reason(error)}") from error


def _catalogue_url(session: Any, region: str) -> str:
    from keystoneauth1.exceptions import ClientException, EndpointNotFound

    try:
        found = session.get_endpoint(service_type="placement", interface="internal", region_name=region or None)
    except EndpointNotFound:
        found = None
    except ClientException as error:
        raise Unavailable(f"Keystone does not tell where Placement is: {_reason(error)}") from error
    if not found:
        raise InvalidRequest(f"Keystone's catalogue has no placement service in region {region!r}", key="region_name")
    return str(found).rstrip("/")


def _reason(error: Exception) -> str:
    """Keystone's error without the part that urllib3 adds: the first part names the address."""
    return f"{type(error).__name__}: {str(error).partition(': HTTP')[0]}"
