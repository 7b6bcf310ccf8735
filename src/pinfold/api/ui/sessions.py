"""`Sessions`: who is signed in to the web page, and `Streams`: how many live updates each account has open.

The memory of this process holds a digest of each session's token, never a password. A session ends after eight hours, at sign-out, when the
account is changed or removed, and with the process.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final

from pinfold.api.accounts import Account
from pinfold.api.agent.tokens import digest_of

SESSION_SECONDS: Final = 8 * 3600
SESSIONS_PER_ACCOUNT: Final = 16
MOST_SESSIONS: Final = 1024
STREAMS_PER_ACCOUNT: Final = 8
COOKIE: Final = "pinfold_session"


class Sessions:
    """For one event loop. Beyond a bound, the oldest session ends."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: OrderedDict[str, tuple[Account, float]] = OrderedDict()

    def begin(self, account: Account) -> str:
        """A new session of an account. Returns its token, which only the cookie keeps."""
        token = secrets.token_urlsafe(32)
        mine = [digest for digest, (owner, _) in self._open.items() if owner.name == account.name]
        for digest in mine[: max(len(mine) - SESSIONS_PER_ACCOUNT + 1, 0)]:
            del self._open[digest]
        while len(self._open) >= MOST_SESSIONS:
            self._open.popitem(last=False)
        self._open[digest_of(token)] = (account, self._clock() + SESSION_SECONDS)
        return token

    def account(self, token: str) -> Account | None:
        """The account whose session has that token, None if there is none or it has expired."""
        digest = digest_of(token)
        found = self._open.get(digest)
        if found is None:
            return None
        if found[1] <= self._clock():
            del self._open[digest]
            return None
        return found[0]

    def end(self, token: str) -> None:
        """End a session, if there is one."""
        self._open.pop(digest_of(token), None)


class Streams:
    """The live updates that are open, by account. For one event loop."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    def has_room(self, account: str) -> bool:
        """Whether an account may open one more."""
        return self._open[account] < STREAMS_PER_ACCOUNT

    def enter(self, account: str) -> None:
        """Count one that begins."""
        self._open[account] += 1

    def leave(self, account: str) -> None:
        """Count one that has ended."""
        self._open[account] -= 1
        if not self._open[account]:
            del self._open[account]


def token_of(cookies: str) -> str:
    """The token in a `Cookie` header; '' if there is none.

    >>> token_of("a=b; pinfold_session=xyz; c=d"), token_of("")
    ('xyz', '')
    """
    for cookie in cookies.split(";"):
        name, _, value = cookie.strip().partition("=")
        if name == COOKIE:
            return value[:4096]
    return ""
