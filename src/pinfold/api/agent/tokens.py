"""Agents' tokens: one each, which opens the routes of one host and no others. The store keeps only their digests."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import Final

from fastapi import Request

from pinfold.api.errors import ApiError
from pinfold.api.services import services_of
from pinfold.core.errors import InvalidRequest
from pinfold.store import hosts

_FORM: Final = re.compile(r"([0-9a-f-]{36})\.([A-Za-z0-9_-]{43})")


def make_token(host_id: str) -> tuple[str, str]:
    """A new token for that host, and the digest of it that is stored. The token is shown once.

    >>> token, digest = make_token("8c2b1d06-6a2f-5f0a-9c55-6c8ad1b5ef1e")
    >>> token.startswith("8c2b1d06-6a2f-5f0a-9c55-6c8ad1b5ef1e."), digest == digest_of(token)
    (True, True)
    """
    token = f"{host_id}.{secrets.token_urlsafe(32)}"
    return token, digest_of(token)


def digest_of(token: str) -> str:
    """What is stored of a token. It has 256 random bits, so that one round of SHA-256 is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


def agent_host(request: Request) -> str:
    """The id of the host whose agent calls. Raises `ApiError` 401 for a missing or wrong token."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    match = _FORM.fullmatch(token.strip())
    if scheme.lower() != "bearer" or match is None:
        raise _refusal()
    with services_of(request).database.read() as connection:
        try:
            stored = hosts.token_hash(connection, match[1])
        except InvalidRequest as error:
            raise _refusal() from error
    if not hmac.compare_digest(stored, digest_of(token.strip())):
        raise _refusal()
    return match[1]


def _refusal() -> ApiError:
    return ApiError(
        401, "An agent's token is required; `pinfold host add` makes one.", headers={"WWW-Authenticate": 'Bearer realm="pinfold"'}
    )
