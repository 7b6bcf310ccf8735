"""Who may call the API: accounts with hashed passwords and a role, read from one file. Where requests are checked does not belong here.

The file has one account a line, `name:role:hash`, the hash as bcrypt writes it; blank lines and lines that start with `#` are skipped.
"""

from __future__ import annotations

import hmac
import os
import re
import threading
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

import bcrypt

from pinfold.core.errors import InvalidRequest

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_MAX_FILE: Final = 1 << 20
_MAX_PASSWORD: Final = 72
"""bcrypt reads no more bytes than these; a longer password is refused instead of cut."""
_ROUNDS: Final = 12
"""bcrypt's cost for new passwords, as a power of two."""
_REMEMBER_SECONDS: Final = 60.0
_REMEMBER_MOST: Final = 1024


class Role(Enum):
    """What an account may do: READER everything that changes nothing, ADMIN everything."""

    ADMIN = "admin"
    READER = "reader"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One account; `hash` is bcrypt's text."""

    name: str
    role: Role
    hash: str


def parse_accounts(text: str, source: str) -> tuple[Account, ...]:
    """The accounts of a file's text, in its order. Raises `InvalidRequest` naming `source`, the line and what is allowed.

    >>> parse_accounts("# nobody yet\\n", "accounts")
    ()
    """
    accounts: list[Account] = []
    for number, line in enumerate(text.splitlines(), start=1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        name, _, rest = entry.partition(":")
        role, _, hashed = rest.partition(":")
        if (
            not _NAME.fullmatch(name)
            or role not in {r.value for r in Role}
            or not re.fullmatch(r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}", hashed)
        ):
            raise InvalidRequest(f"{source}, line {number}: not of the form name:admin|reader:bcrypt-hash", key=source)
        if any(account.name == name for account in accounts):
            raise InvalidRequest(f"{source}, line {number}: the account {name!r} stands there twice", key=source)
        accounts.append(Account(name=name, role=Role(role), hash=hashed))
    return tuple(accounts)


def read_accounts(path: Path) -> tuple[Account, ...]:
    """The accounts of a file. Raises `InvalidRequest` when it cannot be read, is too large, or can be read by everybody."""
    try:
        info = path.stat()
        if info.st_size > _MAX_FILE:
            raise InvalidRequest(f"{path}: {info.st_size} bytes are too many for an accounts file, at most {_MAX_FILE}", key=str(path))
        if info.st_mode & 0o007:
            raise InvalidRequest(f"{path}: everybody on this machine can read it; its mode must be 0600 or 0640", key=str(path))
        return parse_accounts(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{path}: cannot be read as an accounts file ({error})", key=str(path)) from error


def hash_password(password: str, *, rounds: int = _ROUNDS) -> str:
    """The bcrypt text of a password, 2 to the power of `rounds` rounds.

    Raises `InvalidRequest` for an empty password and for one of more than 72 bytes.
    """
    data = password.encode()
    if not 0 < len(data) <= _MAX_PASSWORD:
        raise InvalidRequest(f"a password of {len(data)} bytes is not allowed, only 1 to {_MAX_PASSWORD}")
    return bcrypt.hashpw(data, bcrypt.gensalt(rounds=rounds)).decode()


class Doorkeeper:
    """Checks names and passwords; remembers a success for a minute, so that bcrypt's cost is paid once and not by every request.

    What is remembered is a keyed digest under a key of this process, never a password. Safe for many threads.
    """

    def __init__(self, accounts: tuple[Account, ...]) -> None:
        self._accounts = {account.name: account for account in accounts}
        self._key = os.urandom(32)
        self._known: dict[bytes, float] = {}
        self._lock = threading.Lock()
        # An unknown name costs as much time as a wrong password, so that names cannot be told apart by the clock.
        rounds = max((int(account.hash.split("$")[2]) for account in accounts), default=_ROUNDS)
        self._nobody = bcrypt.hashpw(os.urandom(16).hex().encode(), bcrypt.gensalt(rounds=rounds))

    def remembered(self, name: str, password: str) -> Account | None:
        """The account, if that password opened it within the last minute; answers at once."""
        account = self._accounts.get(name)
        if account is None:
            return None
        with self._lock:
            return account if self._known.get(self._digest(account, password), 0.0) > time.monotonic() else None

    def admit(self, name: str, password: str) -> Account | None:
        """The account, or None when the name is unknown or the password wrong."""
        account = self._accounts.get(name)
        data = password.encode()[: _MAX_PASSWORD + 1]
        if account is None:
            bcrypt.checkpw(data[:_MAX_PASSWORD], self._nobody)
            return None
        if self.remembered(name, password) is not None:
            return account
        if len(data) > _MAX_PASSWORD or not bcrypt.checkpw(data, account.hash.encode()):
            return None
        with self._lock:
            if len(self._known) >= _REMEMBER_MOST:
                self._known.clear()
            self._known[self._digest(account, password)] = time.monotonic() + _REMEMBER_SECONDS
        return account

    def _digest(self, account: Account, password: str) -> bytes:
        return hmac.digest(self._key, f"{account.name}\0{account.hash}\0{password}".encode(), "sha256")
