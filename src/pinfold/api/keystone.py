"""`KeystoneTokens`: ask Keystone who a token belongs to, through keystonemiddleware.

keystonemiddleware is a WSGI filter, and this service is ASGI. So each token is put into an empty WSGI request, which the filter passes to
`_identity`, in threads of their own. It brings its cache, its retries, and the plugins by which services log in to Keystone.
"""

from __future__ import annotations

import asyncio
import io
import logging
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from pinfold.api.accounts import Role
from pinfold.api.caller import Caller
from pinfold.api.errors import ApiError
from pinfold.config.keystone import GROUP
from pinfold.core.errors import InvalidRequest, Unavailable
from pinfold.extras import installing

_log = logging.getLogger(__name__)

_TOKEN: Final = re.compile(r"[A-Za-z0-9_.=+/-]{1,8192}")
"""The characters of fernet and JWS tokens. Anything else is refused without asking Keystone."""
_THREADS: Final = 8
_MOST_WAITING: Final = 256
_CONNECT_SECONDS: Final = 10
_RETRIES: Final = 1
_ROLES: Final = (Role.ADMIN, Role.MEMBER, Role.READER)
_FOUND: Final = "pinfold.identity"
"""The key of a WSGI environment that holds a list for the identity that was found."""

Headers = dict[str, str]


class KeystoneTokens:
    """For one event loop. `conf` is a `ConfigOpts` that has read the files with `[keystone_authtoken]`.

    Raises `InvalidRequest` if keystonemiddleware is not installed, or cannot use the options.
    """

    def __init__(self, conf: Any) -> None:
        self.keystone, self._check = _filter(conf)
        self.challenge = f'Keystone uri="{self.keystone}"'
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="pinfold-keystone")
        self._waiting = 0

    async def caller(self, token: str, method: str, path: str) -> Caller | None:
        """See `caller.Tokens`."""
        if not _TOKEN.fullmatch(token):
            return None
        if self._waiting >= _MOST_WAITING:
            raise Unavailable(f"{_MOST_WAITING} tokens wait to be checked by Keystone already; try again in a few seconds")
        self._waiting += 1
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._threads, self._ask, token, method, path)
        finally:
            self._waiting -= 1
        return None if found is None else caller_from(found)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _ask(self, token: str, method: str, path: str) -> Headers | None:
        """The identity headers of a valid token, None for another one. Raises `Unavailable`."""
        status = 0
        found: list[Headers] = []
        environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "SERVER_NAME": "pinfold",
            "SERVER_PORT": "80",
            "wsgi.url_scheme": "http",
            "wsgi.version": (1, 0),
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": io.StringIO(),
            "HTTP_X_AUTH_TOKEN": token,
            _FOUND: found,
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }

        def start(line: str, _headers: object, _error: object = None) -> None:
            nonlocal status
            status = int(line.split()[0])

        try:
            list(self._check(environ, start))
        except Exception as error:  # keystoneauth1 has many ways to say that Keystone is away or refuses the service
            _log.error("Keystone at %s could not be asked about a token: %s", self.keystone, error)
            raise self._away() from error
        if status >= 500:
            raise self._away()
        return found[0] if found else None

    def _away(self) -> Unavailable:
        return Unavailable(f"Keystone at {self.keystone} cannot check tokens now; try again in a few seconds")


def caller_from(identity: Headers) -> Caller:
    """The caller with these identity headers of keystonemiddleware. Raises `ApiError` 403 for a token that gives no right here.

    >>> caller_from({"user_id": "u1", "user_name": "eve", "project_id": "p1", "roles": "member,reader"}).role
    <Role.MEMBER: 'member'>
    """
    name, project = identity.get("user_name", ""), identity.get("project_id", "")
    if not project:
        raise ApiError(403, "The token is for no project: log in with a project, as with OS_PROJECT_NAME.")
    given = {role.strip().lower() for role in identity.get("roles", "").split(",")}
    role = next((role for role in _ROLES if role.value in given), None)
    if role is None:
        allowed = ", ".join(role.value for role in _ROLES)
        raise ApiError(403, f"The user {name} has none of the roles {allowed} in the project {identity.get('project_name', project)}.")
    return Caller(user=identity["user_id"], name=name, project=project, role=role, everywhere=role is Role.ADMIN)


def _filter(conf: Any) -> tuple[str, Callable[..., Iterable[bytes]]]:
    """Keystone's address, and the filter in front of `_identity`."""
    try:
        from keystoneauth1 import exceptions, loading
        from keystonemiddleware import auth_token
    except ImportError as error:
        raise InvalidRequest(
            "[pinfold_api] auth is keystone, which needs the Python package keystonemiddleware, which is not installed; install it: "
            f"{installing('keystone')}",
            key="auth",
        ) from error
    for group, options in auth_token.list_opts():
        conf.register_opts(options, group=group)
    conf.set_default("http_connect_timeout", _CONNECT_SECONDS, group=GROUP)
    conf.set_default("http_request_max_retries", _RETRIES, group=GROUP)
    section = conf[GROUP].auth_section or GROUP
    try:
        conf.register_opts(loading.get_auth_common_conf_options(), group=section)
        loader = loading.get_plugin_loader(conf[section].auth_type or "password")
        conf.register_opts(loading.get_auth_plugin_conf_options(loader), group=section)
        address = conf[section].auth_url
        if not address:
            raise InvalidRequest(f"[{section}] auth_url is missing: with auth = keystone it is Keystone's address", key="auth_url")
        conf.set_default("auth_type", "password", group=section)
        conf.set_default("www_authenticate_uri", address, group=GROUP)
        return conf[GROUP].www_authenticate_uri, auth_token.AuthProtocol(_identity, {"oslo_config_config": conf})
    except (exceptions.ClientException, ValueError, LookupError) as error:
        raise InvalidRequest(f"[{section}] cannot be used: {error}", key=GROUP) from error


def _identity(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    """WSGI: keeps the identity that keystonemiddleware has put into the request."""
    names = ("user_id", "user_name", "project_id", "project_name", "roles")
    environ[_FOUND].append({name: str(environ.get(f"HTTP_X_{name.upper()}") or "") for name in names})
    start("204 No Content", [])
    return ()
