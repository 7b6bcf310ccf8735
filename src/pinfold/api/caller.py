"""`Caller`: who sends a request, for which project, and what that one may see and change. `policy` says which routes are for whom."""

from __future__ import annotations

from typing import Final, Protocol

from fastapi import Request
from msgspec import Struct

from pinfold.api.accounts import Account, Role
from pinfold.api.errors import ApiError

BASIC_PROJECT: Final = "pinfold"
"""The project of all accounts of the accounts file, and of the servers that they create."""


class Caller(Struct, frozen=True, kw_only=True):
    """An account of the accounts file, or a user of Keystone whose token is for one project.

    `user` identifies the caller, `name` is for people. `everywhere` says whether hosts and the servers of all projects are visible.
    """

    user: str
    name: str
    project: str
    role: Role
    everywhere: bool

    @property
    def admin(self) -> bool:
        """Whether the caller may change everything."""
        return self.role is Role.ADMIN

    def sees(self, project: str) -> bool:
        """Whether what a project owns is visible.

        >>> eve = Caller(user="1", name="eve", project="p1", role=Role.MEMBER, everywhere=False)
        >>> eve.sees("p1"), eve.sees("p2")
        (True, False)
        """
        return self.everywhere or project == self.project


ANYBODY: Final = Caller(user="anybody", name="anybody", project=BASIC_PROJECT, role=Role.ADMIN, everywhere=True)
"""Every caller when authentication is switched off."""


class Tokens(Protocol):
    """Tells who a token belongs to."""

    challenge: str
    """The value of `WWW-Authenticate` that says where tokens come from."""

    async def caller(self, token: str, method: str, path: str) -> Caller | None:
        """The caller with that token; None for a token that is wrong, expired or revoked, or is not for requests of that method and path.

        Raises `ApiError` 403 for a token that gives no right here, `Unavailable` when the issuer of tokens does not answer.
        """


def of_account(account: Account) -> Caller:
    """The caller that an account of the accounts file is. Such an account sees everything; its role says whether it may change it."""
    return Caller(user=account.name, name=account.name, project=BASIC_PROJECT, role=account.role, everywhere=True)


def caller_of(request: Request) -> Caller:
    """Who sends a request that authentication has let in."""
    found: Caller = request.state.caller
    return found


def need_admin(request: Request, rule: str) -> None:
    """Raise `ApiError` 403, with the name of Nova's rule, unless the caller is an admin."""
    if not caller_of(request).admin:
        raise forbidden(rule)


def need_everywhere(request: Request, rule: str) -> None:
    """Raise `ApiError` 403, with the name of Nova's rule, unless the caller may see all projects and hosts."""
    if not caller_of(request).everywhere:
        raise forbidden(rule)


def forbidden(rule: str) -> ApiError:
    """The refusal of what a rule of Nova's policy does not allow, in Nova's words."""
    return ApiError(403, f"Policy doesn't allow {rule} to be performed: it needs the role admin.")
