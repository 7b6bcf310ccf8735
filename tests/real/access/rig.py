"""An API process of its own, with an embedded Placement and SQLite, and its accounts file."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from tests.rig.processes import Process

from pinfold.api.accounts import hash_password

ADMIN = ("admin", "correct horse")
READER = ("reader", "battery staple")
ROUNDS = 4
"""As cheap as bcrypt goes; a test of its cost says so."""


def account(name: str, role: str, password: str, *, rounds: int = ROUNDS) -> str:
    """A line of the accounts file."""
    return f"{name}:{role}:{hash_password(password, rounds=rounds)}\n"


def both(*, rounds: int = ROUNDS) -> str:
    """An accounts file with an admin and a reader."""
    return account(ADMIN[0], "admin", ADMIN[1], rounds=rounds) + account(READER[0], "reader", READER[1], rounds=rounds)


def write_private(path: Path, text: str) -> None:
    """Replace a file whole, as `install` does, so that its owner alone can read it."""
    part = path.with_name(f"{path.name}.part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    part.replace(path)


@dataclass
class Api:
    """One `pinfold api`. `options` are lines of `[pinfold_api]`."""

    folder: Path
    options: str = ""
    arguments: tuple[str, ...] = ()
    process: Process = field(init=False)

    def __post_init__(self) -> None:
        self.accounts = self.folder / "accounts"
        if not self.accounts.exists():
            write_private(self.accounts, both())
        config = self.folder / "api.conf"
        write_private(
            config,
            f"[pinfold]\nstate_dir = {self.folder}/state\nimages_dir = {self.folder}\n"
            f"[pinfold_api]\nport = 0\naccounts_file = {self.accounts}\n{self.options}\n",
        )
        self.process = Process(("api", "--config", str(config), *self.arguments), self.folder, "api")

    def ask(self, method: str, path: str, who: tuple[str, str] | None = ADMIN, **more: object) -> httpx.Response:
        """One request on a connection of its own. It needs no certificates, whose loading costs more than the request."""
        with httpx.Client(base_url=self.process.told["url"], timeout=120, verify=False) as http:
            return http.request(method, path, auth=who, **more)  # type: ignore[arg-type]

    def status(self, who: tuple[str, str] | None = ADMIN) -> int:
        """What a question is answered."""
        return self.ask("GET", "/v1/hosts", who).status_code
