"""A real Keystone from the package index, on SQLite, in an environment of its own; and what its admin does with it."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from tests.ports import free_port

PACKAGE = "keystone==30.0.0"
_SERVER = Path(__file__).with_name("keystone_server.py")
_PATIENCE = 300.0
ADMIN = "admin"


class Keystone:
    """A running Keystone. Its users have their names as passwords, except `admin`."""

    def __init__(self, url: str, password: str, process: subprocess.Popen[str]) -> None:
        self.url, self.password, self.process = url, password, process
        self.http = httpx.Client(base_url=url, timeout=120)
        self._token = ""

    def project(self, name: str) -> str:
        """Make a project; its id."""
        return str(self._made("projects", "project", {"name": name, "domain_id": "default"}))

    def user(self, name: str, **roles: str) -> str:
        """Make a user with a role in each of some projects, by name; its id. The password is the name."""
        user = str(self._made("users", "user", {"name": name, "password": name, "domain_id": "default"}))
        for project, role in roles.items():
            path = f"/projects/{self.id_of('projects', project)}/users/{user}/roles/{self.id_of('roles', role)}"
            self._admin("PUT", path).raise_for_status()
        return user

    def variables(self, user: str, project: str) -> dict[str, str]:
        """The variables with which a user works in a project, as an OpenRC file sets them."""
        given = {"OS_AUTH_URL": self.url, "OS_USERNAME": user, "OS_PROJECT_NAME": project, "OS_IDENTITY_API_VERSION": "3"}
        given |= {"OS_PASSWORD": self.password if user == ADMIN else user, "OS_REGION_NAME": "RegionOne"}
        return given | {"OS_USER_DOMAIN_NAME": "Default", "OS_PROJECT_DOMAIN_NAME": "Default"}

    def service(self, kind: str, url: str) -> None:
        """Put a service and its public address into the catalogue."""
        service = self._made("services", "service", {"type": kind, "name": f"pinfold-{kind}"})
        self._made("endpoints", "endpoint", {"service_id": service, "interface": "public", "url": url, "region_id": "RegionOne"})

    def token(self, user: str, project: str | None) -> str:
        """A token of a user for a project by name, None for an unscoped one."""
        password = self.password if user == ADMIN else user
        who = {"name": user, "domain": {"id": "default"}, "password": password}
        scope = "unscoped" if project is None else {"project": {"name": project, "domain": {"id": "default"}}}
        body = {"auth": {"identity": {"methods": ["password"], "password": {"user": who}}, "scope": scope}}
        answer = self.http.post("/auth/tokens", json=body)
        assert answer.status_code == 201, answer.text
        return answer.headers["X-Subject-Token"]

    def short_token(self, user: str, project: str) -> str:
        """A token that has expired."""
        self.process.send_signal(signal.SIGUSR1)
        token = self.token(user, project)
        self.process.send_signal(signal.SIGUSR2)
        time.sleep(2)  # it is good for one second
        return token

    def revoke(self, token: str) -> None:
        """Revoke a token."""
        self._admin("DELETE", "/auth/tokens", headers={"X-Subject-Token": token}).raise_for_status()

    def id_of(self, collection: str, name: str) -> str:
        """The id of what has that name."""
        (found,) = self._admin("GET", f"/{collection}?name={name}").json()[collection]
        return str(found["id"])

    def _made(self, collection: str, noun: str, values: dict[str, Any]) -> str:
        answer = self._admin("POST", f"/{collection}", json={noun: values})
        assert answer.status_code == 201, answer.text
        return str(answer.json()[noun]["id"])

    def _admin(self, method: str, path: str, *, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
        self._token = self._token or self.token(ADMIN, ADMIN)
        token = {"X-Auth-Token": self._token}
        return self.http.request(method, path, headers={**(headers or {}), **token}, **more)


def python_with_keystone(folder: Path) -> Path:
    """The interpreter of a new environment with Keystone; `$PINFOLD_TEST_KEYSTONE` names one that is there already."""
    if given := os.environ.get("PINFOLD_TEST_KEYSTONE"):
        return Path(given)
    uv, made = str(Path(sys.executable).with_name("uv")), folder / "bin" / "python"
    subprocess.run([uv, "venv", "-q", "-p", sys.executable, str(folder)], check=True)
    subprocess.run([uv, "pip", "install", "-q", "--python", str(made), PACKAGE], check=True)
    return made


@contextmanager
def running_keystone(folder: Path, python: Path | None = None) -> Iterator[Keystone]:
    """A Keystone with its first admin, until the block ends. `python` is the interpreter of an environment that has it."""
    port, password, state = free_port(), secrets.token_hex(8), folder / "state"
    state.mkdir()
    python = python or python_with_keystone(folder / "venv")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "PINFOLD", "PYTEST"))}
    with (folder / "log").open("w") as log:
        command = [str(python), "-P", str(_SERVER), str(state), str(port), password]
        process = subprocess.Popen(command, env=kept, cwd=folder, stdout=log, stderr=log, text=True)
    try:
        keystone, end = Keystone(f"http://127.0.0.1:{port}/v3", password, process), time.monotonic() + _PATIENCE
        while not _answers(keystone):
            assert process.poll() is None and time.monotonic() < end, (folder / "log").read_text()[-4000:]
            time.sleep(0.1)
        yield keystone
    finally:
        process.kill()
        process.wait()


def _answers(keystone: Keystone) -> bool:
    try:
        return keystone.http.get("/").status_code == 200
    except httpx.TransportError:
        return False
