"""`AccountsFile`: keep the doorkeeper's accounts equal to their file. The caller decides when to read it again."""

from __future__ import annotations

import logging
from pathlib import Path

from pinfold.api.accounts import Account, parse_accounts, read_accounts_text
from pinfold.api.doorkeeper import Doorkeeper
from pinfold.core.errors import InvalidRequest

_log = logging.getLogger(__name__)


class AccountsFile:
    """A file of accounts, and the doorkeeper that uses them. Raises `InvalidRequest` when the file cannot be used at the start.

    If the file later cannot be used, is gone or has no accounts, the earlier accounts stay valid, and `doorkeeper.stale` says why.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text = read_accounts_text(path)
        self._accounts = parse_accounts(self._text, str(path))
        self.doorkeeper = Doorkeeper(self._accounts)

    def refresh(self, *, asked: bool = False) -> None:
        """Read the file and take over changes. It is read whole each time, so the clock of a file system cannot hide a change.

        `asked` says that an operator waits for a log entry, even if nothing has changed.
        """
        try:
            text = read_accounts_text(self._path)
            if text == self._text and not self.doorkeeper.stale:
                if asked:
                    _log.warning("the accounts file %s was read again; it is as it was", self._path)
                return
            accounts = parse_accounts(text, str(self._path))
            if self._accounts and not accounts:
                raise InvalidRequest(f"{self._path}: names no account", key=str(self._path))
        except InvalidRequest as error:
            if asked or str(error) != self.doorkeeper.stale:
                _log.error("the accounts stay as they were, since their file cannot be used: %s", error)
            self.doorkeeper.stale = str(error)
            return
        self.doorkeeper.replace(accounts)
        _log.warning("the accounts file %s was read again: %s", self._path, difference(self._accounts, accounts))
        self._text, self._accounts = text, accounts


def difference(before: tuple[Account, ...], after: tuple[Account, ...]) -> str:
    """Which accounts were added, removed and changed.

    >>> difference((), ())
    'no account differs'
    """
    old, new = ({account.name: account for account in accounts} for accounts in (before, after))
    parts = {
        "added": sorted(new.keys() - old.keys()),
        "removed": sorted(old.keys() - new.keys()),
        "changed": sorted(name for name in old.keys() & new.keys() if old[name] != new[name]),
    }
    return "; ".join(f"{verb} {', '.join(names)}" for verb, names in parts.items() if names) or "no account differs"
