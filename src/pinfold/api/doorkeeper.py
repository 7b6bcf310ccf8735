"""`Doorkeeper`: find the account that a name and a password open. `password_checks` bounds how many checks run at once."""

from __future__ import annotations

import hmac
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import bcrypt

from pinfold.api.accounts import MAX_PASSWORD, ROUNDS, Account

_REMEMBER_SECONDS: Final = 3600.0
"""How long a password is remembered after its last use. It may be long, because any change of an account ends it at once."""
_REMEMBER_MOST: Final = 1024


class Doorkeeper:
    """The current accounts, and the passwords that were accepted for them.

    An accepted password is remembered, so that only its first request pays for bcrypt. The memory holds a digest keyed with a key of this
    process, never the password. Safe for many threads.
    """

    def __init__(self, accounts: tuple[Account, ...], *, clock: Callable[[], float] = time.monotonic) -> None:
        self.stale = ""
        """Why the accounts are still those of before a change: what is wrong with the new ones. '' where they are the newest."""
        self._clock = clock
        self._key = os.urandom(32)
        self._known: OrderedDict[bytes, float] = OrderedDict()
        self._lock = threading.Lock()
        self._nobody = ""
        self._most = 0
        self._accounts: dict[str, Account] = {}
        self.replace(accounts)

    def replace(self, accounts: tuple[Account, ...]) -> None:
        """Set the accounts. Removed and changed accounts lose their remembered passwords."""
        most = max((account.rounds for account in accounts), default=ROUNDS)
        if most != self._most:
            self._nobody = bcrypt.hashpw(os.urandom(16), bcrypt.gensalt(rounds=most)).decode()
        self._most = most
        self._accounts = {account.name: account for account in accounts}
        self.stale = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the current accounts, in order."""
        return tuple(sorted(self._accounts))

    def holds(self, account: Account) -> bool:
        """Whether that account is unchanged since it was admitted."""
        return self._accounts.get(account.name) == account

    def remembered(self, name: str, password: str) -> Account | None:
        """The account, if that password was accepted and used within the last hour. Returns at once."""
        account = self._accounts.get(name)
        digest = self._digest(name, account.hash if account else "", password)
        now = self._clock()
        with self._lock:
            if account is None or self._known.get(digest, 0.0) <= now:
                return None
            self._known[digest] = now + _REMEMBER_SECONDS
            self._known.move_to_end(digest)
            return account

    def admit(self, name: str, password: str) -> Account | None:
        """The account, or None when the name is unknown or the password wrong.

        Every check costs as much as the most expensive account's hash, so that the time does not reveal which names exist. After a hash of
        fewer rounds come checks that make up the difference: 2^r + (2^r + 2^(r+1) + … + 2^(m-1)) = 2^m.
        """
        account = self._accounts.get(name)
        hashed, most, nobody = (account.hash if account else self._nobody), self._most, self._nobody
        data = password.encode()
        opened = bcrypt.checkpw(data[:MAX_PASSWORD], hashed.encode())
        for rounds in range(int(hashed.split("$")[2]), most):
            bcrypt.hashpw(data[:MAX_PASSWORD], f"$2b${rounds:02}{nobody[6:29]}".encode())
        if account is None or not opened or len(data) > MAX_PASSWORD or not self.holds(account):
            return None
        digest = self._digest(name, account.hash, password)
        with self._lock:
            self._known[digest] = self._clock() + _REMEMBER_SECONDS
            while len(self._known) > _REMEMBER_MOST:
                self._known.popitem(last=False)
        return account

    def _digest(self, name: str, hashed: str, password: str) -> bytes:
        return hmac.digest(self._key, f"{name}\0{hashed}\0{password}".encode(), "sha256")
