"""Accounts that may call the API, with hashed passwords and roles, read from one file. `doorkeeper` checks passwords.

The file has one account a line, `name:role:hash`, with the hash as bcrypt writes it. Blank lines and lines that start with `#` are skipped.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

import bcrypt

from pinfold.core.errors import InvalidRequest
from pinfold.core.file_mode import refusal

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_HASH: Final = re.compile(r"\$2[aby]\$(0[4-9]|1[0-6])\$[./A-Za-z0-9]{53}")
"""bcrypt's form, with a cost from 4 to 16: one check at 16 takes seconds, and every check costs as much as that of the most expensive
account.
"""
_MAX_FILE: Final = 1 << 20
MAX_PASSWORD: Final = 72
"""bcrypt reads only this many bytes; a longer password is refused instead of truncated."""
ROUNDS: Final = 12
"""bcrypt's cost for new passwords, as a power of two."""


class Role(Enum):
    """What a caller may do: READER everything that changes nothing, MEMBER also change what its project owns, ADMIN everything."""

    ADMIN = "admin"
    MEMBER = "member"
    READER = "reader"


_OF_ACCOUNTS: Final = (Role.ADMIN, Role.READER)
"""The roles of accounts in the file. Members come from Keystone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One account; `hash` is bcrypt's text."""

    name: str
    role: Role
    hash: str

    @property
    def rounds(self) -> int:
        """The cost of its hash, as a power of two."""
        return int(self.hash.split("$")[2])


def parse_accounts(text: str, source: str) -> tuple[Account, ...]:
    """The accounts in a file's text, in its order. Raises `InvalidRequest` that names `source`, the line and what is allowed.

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
        if not _NAME.fullmatch(name) or role not in {one.value for one in _OF_ACCOUNTS} or not _HASH.fullmatch(hashed):
            raise InvalidRequest(
                f"{source}, line {number}: not of the form name:admin|reader:bcrypt-hash, with a cost from 04 to 16", key=source
            )
        if any(account.name == name for account in accounts):
            raise InvalidRequest(f"{source}, line {number}: the account {name!r} stands there twice", key=source)
        accounts.append(Account(name=name, role=Role(role), hash=hashed))
    return tuple(accounts)


def read_accounts_text(path: Path) -> str:
    """The text of an accounts file. Raises `InvalidRequest` when it cannot be read, is too large, or can be read or changed by others."""
    try:
        # Opening a FIFO would block.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), encoding="utf-8") as stream:
            info = os.fstat(stream.fileno())
            if not stat.S_ISREG(info.st_mode):
                raise InvalidRequest(f"{path}: cannot be read as an accounts file (it is no regular file)", key=str(path))
            if info.st_size > _MAX_FILE:
                raise InvalidRequest(f"{path}: {info.st_size} bytes are too many for an accounts file, at most {_MAX_FILE}", key=str(path))
            if sentence := refusal(str(path), info.st_mode, 0o640, "0600 or 0640"):
                raise InvalidRequest(sentence, key=str(path))
            return stream.read(_MAX_FILE)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{path}: cannot be read as an accounts file ({error})", key=str(path)) from error


def hash_password(password: str, *, rounds: int = ROUNDS) -> str:
    """The bcrypt hash of a password, with 2 to the power of `rounds` rounds.

    Raises `InvalidRequest` for an empty password and for one of more than 72 bytes.
    """
    data = password.encode()
    if not 0 < len(data) <= MAX_PASSWORD:
        raise InvalidRequest(f"a password of {len(data)} bytes is not allowed, only 1 to {MAX_PASSWORD}")
    return bcrypt.hashpw(data, bcrypt.gensalt(rounds=rounds)).decode()
