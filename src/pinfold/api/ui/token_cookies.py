"""`TokenCookies`: keep a user's token of Keystone in the browser's cookie, encrypted, so that the service stores nothing of a session.

The cookie is encrypted and authenticated (Fernet: AES-128-CBC and HMAC-SHA256) with a key that all API processes read from the database.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Final

from cryptography.fernet import Fernet, InvalidToken

KEY: Final = "web-page-sessions"
"""The name of the key in the store."""
MOST_TOKEN: Final = 2600
"""The longest token that fits: a browser keeps a cookie of at most 4096 bytes."""


class TokenCookies:
    """Values of the session's cookie. `key` has 32 bytes. Safe for many threads."""

    def __init__(self, key: bytes, *, clock: Callable[[], float] = time.time) -> None:
        self._fernet = Fernet(base64.urlsafe_b64encode(key))
        self._clock = clock

    def sealed(self, token: str, until: float) -> str:
        """The cookie of a session that ends at that time, in seconds since 1970."""
        return self._fernet.encrypt(json.dumps([until, token]).encode()).decode()

    def opened(self, value: str) -> str:
        """The token in a cookie; '' if the cookie is not one of ours, was changed, or its session is over.

        >>> cookies = TokenCookies(bytes(32), clock=lambda: 100.0)
        >>> cookies.opened(cookies.sealed("abc", 101.0)), cookies.opened(cookies.sealed("abc", 100.0)), cookies.opened("x")
        ('abc', '', '')
        """
        try:
            until, token = json.loads(self._fernet.decrypt(value.encode()))
        except (InvalidToken, ValueError):
            return ""
        return str(token) if until > self._clock() else ""
