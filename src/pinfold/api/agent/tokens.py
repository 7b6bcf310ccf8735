"""Agents' tokens: one per agent, which opens the routes of one host only. The store keeps only their digests."""

from __future__ import annotations

import hashlib
import secrets

from fastapi import Request

from pinfold.core.identity import HostId


def make_token(host_id: HostId) -> tuple[str, str]:
    """A new token for that host, and the digest of it for the store. The token is shown once.

    >>> token, digest = make_token(HostId("8c2b1d06-6a2f-5f0a-9c55-6c8ad1b5ef1e"))
    >>> token.startswith("8c2b1d06-6a2f-5f0a-9c55-6c8ad1b5ef1e."), digest == digest_of(token)
    (True, True)
    """
    token = f"{host_id}.{secrets.token_urlsafe(32)}"
    return token, digest_of(token)


def digest_of(token: str) -> str:
    """The stored digest of a token. A token has 256 random bits, so one round of SHA-256 is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


async def agent_host(request: Request) -> HostId:
    """The id of the host whose agent calls. It is a coroutine, because FastAPI calls plain functions in a thread."""
    host: HostId = request.state.agent_host
    return host
