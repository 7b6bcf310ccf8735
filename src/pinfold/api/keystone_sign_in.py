"""`KeystoneSignIn`: exchange a name and a password for a token of Keystone, for the web page. `keystone` checks tokens afterwards."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from msgspec import Struct

from pinfold.api.attempts import Attempts
from pinfold.api.password_checks import LONGEST_RETRY, TooManyAttempts
from pinfold.config.keystone import GROUP
from pinfold.core.errors import Unavailable
from pinfold.core.settings import DEFAULT_LIMITS, AttemptLimits

_log = logging.getLogger(__name__)

_THREADS: Final = 4
_MOST_WAITING: Final = 64
_MOST_SHOWN: Final = 8
"""How many projects a sentence names."""


class Credentials(Struct, frozen=True, kw_only=True):
    """What a user types. `project` may be empty, for the default project of the user or the only one. Both are in `domain`."""

    name: str
    password: str
    project: str = ""
    domain: str = "Default"

    def __repr__(self) -> str:
        return f"Credentials({self.name!r})"


class Login(Struct, frozen=True):
    """A token for a project, and when it expires, in seconds since 1970."""

    token: str
    until: float


class SignInRefused(Exception):
    """The user cannot sign in so; the text is a sentence for the user."""


class WrongCredentials(SignInRefused):
    """Keystone does not accept the credentials. It counts as a wrong password."""


class KeystoneSignIn:
    """For one event loop. `conf` has the options of `[keystone_authtoken]`, which `KeystoneTokens` has registered.

    Wrong passwords are bounded by address, as those of accounts are.
    """

    def __init__(self, conf: Any, limits: AttemptLimits = DEFAULT_LIMITS) -> None:
        own = conf[GROUP]
        self._url = str(conf[own.auth_section or GROUP].auth_url).rstrip("/")
        self._verify = False if own.insecure else (own.cafile or True)
        self._seconds = own.http_connect_timeout
        self._limits = limits
        self._attempts = Attempts(limits)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="pinfold-sign-in")
        self._waiting = 0

    async def log_in(self, given: Credentials, *, address: str) -> Login:
        """A token for the credentials.

        Raises `SignInRefused` if Keystone does not accept them, `TooManyAttempts` beyond the bounds of `address`, `Unavailable` if Keystone
        does not answer.
        """
        wait = self._attempts.wait_seconds(address, time.monotonic())
        if wait:
            raise TooManyAttempts(min(max(1, math.ceil(wait)), LONGEST_RETRY), self._limits.refusal_seconds)
        if self._waiting >= _MOST_WAITING:
            raise Unavailable(f"{_MOST_WAITING} sign-ins wait for Keystone already; try again in a few seconds")
        self._attempts.begin(address, time.monotonic())
        self._waiting += 1
        wrong = False
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._ask, given)
        except WrongCredentials:
            wrong = True
            raise
        finally:
            self._waiting -= 1
            self._attempts.end(address, time.monotonic(), wrong=wrong)

    async def revoke(self, token: str) -> None:
        """Revoke a token at Keystone. A Keystone that does not answer is logged: the token then ends by itself."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._revoke, token)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _ask(self, given: Credentials) -> Login:
        from keystoneauth1 import exceptions

        try:
            access = self._access(given)
        except exceptions.MissingAuthMethods as error:
            raise SignInRefused("This user needs more than a password to log in, which this page cannot ask for.") from error
        except exceptions.HttpError as error:
            if error.http_status >= 500:
                raise self._away(error) from error
            raise WrongCredentials("Keystone does not accept this name, password, project and domain.") from error
        except (exceptions.ClientException, ValueError, LookupError, TypeError) as error:  # the others: an answer that is not Keystone's
            raise self._away(error) from error
        return Login(access.auth_token, access.expires.timestamp())

    def _access(self, given: Credentials) -> Any:
        """What Keystone answers to the credentials, for a project: the given one, the user's default, or the only one."""
        from keystoneauth1.identity import generic

        session, project = self._session(), {"project_name": given.project, "project_domain_name": given.domain}
        who = {"username": given.name, "password": given.password, "user_domain_name": given.domain}
        access = generic.Password(self._url, **who, **(project if given.project else {})).get_access(session)
        if access.project_id:
            return access
        headers = {"X-Auth-Token": access.auth_token}
        found = session.get(f"{self._v3}/auth/projects", headers=headers, authenticated=False).json()["projects"]
        found = [one for one in found if one.get("enabled", True)]
        if len(found) == 1:
            return generic.Token(self._url, token=access.auth_token, project_id=found[0]["id"]).get_access(session)
        if not found:
            raise SignInRefused(f"The user {given.name} has no role in any project.")
        names = sorted(one["name"] for one in found)
        listed = ", ".join(names[:_MOST_SHOWN]) + (", …" if len(names) > _MOST_SHOWN else "")
        raise SignInRefused(f"The user {given.name} has several projects: name one of {listed}.")

    def _revoke(self, token: str) -> None:
        from keystoneauth1 import exceptions

        headers = {"X-Auth-Token": token, "X-Subject-Token": token}
        try:
            self._session().delete(f"{self._v3}/auth/tokens", headers=headers, authenticated=False)
        except exceptions.ClientException as error:
            _log.info("Keystone at %s did not revoke a token at sign-out: %s", self._url, error)

    def _session(self) -> Any:
        from keystoneauth1.session import Session

        return Session(verify=self._verify, timeout=self._seconds)

    @property
    def _v3(self) -> str:
        return self._url if self._url.endswith("/v3") else f"{self._url}/v3"

    def _away(self, error: Exception) -> Unavailable:
        _log.error("Keystone at %s could not be asked for a token: %s", self._url, error)
        return Unavailable(f"Keystone at {self._url} does not answer; try again in a few seconds")
