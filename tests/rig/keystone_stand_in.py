"""A stand-in for Keystone at its HTTP boundary, for runs that cannot install the real one: it starts in no time.

It has users, projects, roles and tokens, and answers what keystonemiddleware, keystoneauth and the openstack client ask of the identity API
v3 to log in, to check a token and to name a project. `tests/real/identity` asks the same questions of a real Keystone.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

_DOMAIN = {"id": "default", "name": "Default"}
SERVICE_TYPES = {"compute": "/compute/v2.1", "image": "/image", "network": "/network"}


@dataclass
class KeystoneStandIn:
    """A running stand-in at `url`. Passwords are the users' names. `asked` counts requests by method and path."""

    url: str = ""
    roles: dict[str, dict[str, str]] = field(default_factory=dict)
    """User -> project -> role."""
    tokens: dict[str, dict[str, Any]] = field(default_factory=dict)
    catalogue: str = ""
    """The address of the service that the catalogue names."""
    seconds: float = 3600.0
    """How long new tokens are good for."""
    failing: bool = False
    """Whether every answer is 503."""
    asked: list[tuple[str, str]] = field(default_factory=list)

    def variables(self, user: str, project: str) -> dict[str, str]:
        """The variables with which a user works in a project, as an OpenRC file sets them."""
        given = {"OS_AUTH_URL": self.url, "OS_USERNAME": user, "OS_PASSWORD": user, "OS_PROJECT_NAME": project}
        given |= {"OS_USER_DOMAIN_NAME": "Default", "OS_PROJECT_DOMAIN_NAME": "Default"}
        return given | {"OS_IDENTITY_API_VERSION": "3", "OS_REGION_NAME": "RegionOne"}

    def issue(self, user: str, project: str | None) -> tuple[str, dict[str, Any]]:
        """A new token and what it says; for no project with None."""
        ends = datetime.now(UTC) + timedelta(seconds=self.seconds)
        shown: dict[str, Any] = {
            "methods": ["password"],
            "user": {"id": f"id-{user}", "name": user, "domain": _DOMAIN},
            "audit_ids": [secrets.token_hex(8)],
            "issued_at": _moment(datetime.now(UTC)),
            "expires_at": _moment(ends),
        }
        if project is not None:
            shown |= {"project": _project(project), "roles": [{"id": role, "name": role} for role in [self.roles[user][project]]]}
            shown |= {"catalog": self._catalogue()}
        token = secrets.token_urlsafe(24)
        self.tokens[token] = shown
        return token, shown

    def token(self, user: str, project: str | None) -> str:
        """A token of a user for a project, None for an unscoped one."""
        return self.issue(user, project)[0]

    def projects(self) -> set[str]:
        """Every project in which somebody has a role."""
        return {project for given in self.roles.values() for project in given}

    def _catalogue(self) -> list[dict[str, Any]]:
        served = {"identity": self.url} | {kind: self.catalogue + path for kind, path in SERVICE_TYPES.items() if self.catalogue}
        return [
            {"id": kind, "type": kind, "name": kind, "endpoints": [_endpoint(kind, face, url) for face in ("public", "internal")]}
            for kind, url in served.items()
        ]

    def answer(self, method: str, target: str, headers: Any, body: Any) -> tuple[int, Any, dict[str, str]]:
        """Status, body and headers of one answer."""
        parts = urlsplit(target)
        path, query = parts.path.rstrip("/"), parse_qs(parts.query)
        self.asked.append((method, path))
        if self.failing:
            return 503, {"error": {"code": 503, "message": "busy", "title": "Service Unavailable"}}, {}
        if path in ("", "/v3") and method == "GET":
            version = {
                "id": "v3.14",
                "status": "stable",
                "updated": "2020-04-07T00:00:00Z",
                "links": [{"rel": "self", "href": f"{self.url}/"}],
            }
            return (200, {"version": version}, {}) if path else (300, {"versions": {"values": [version]}}, {})
        if (method, path) == ("POST", "/v3/auth/tokens"):
            return self._log_in(body["auth"])
        mine = self._valid(headers.get("X-Auth-Token", ""))
        if mine is None:
            return _error(401, "The request you have made requires authentication.")
        if path == "/v3/auth/tokens":
            subject = headers.get("X-Subject-Token", "")
            found = self._valid(subject)
            if found is None:
                return _error(404, "Could not find token.")
            if method == "DELETE":
                del self.tokens[subject]
                return 204, None, {}
            return 200, {"token": found}, {"X-Subject-Token": subject}
        if path == "/v3/auth/projects":
            return 200, {"projects": [_project(name) for name in self.roles[mine["user"]["name"]]], "links": {}}, {}
        if path == "/v3/projects":
            return 200, {"projects": [_project(name) for name in self.projects() if name in query.get("name", [name])], "links": {}}, {}
        if path.startswith("/v3/projects/") and (name := path.rpartition("/")[2].removeprefix("id-")) in self.projects():
            return 200, {"project": _project(name)}, {}
        return _error(404, f"Could not find {path}.")

    def _valid(self, token: str) -> dict[str, Any] | None:
        found = self.tokens.get(token)
        return found if found is not None and datetime.fromisoformat(found["expires_at"]) > datetime.now(UTC) else None

    def _log_in(self, auth: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        wanted = auth.get("scope", {})
        if "token" in auth["identity"]:
            known = self._valid(auth["identity"]["token"]["id"])
            name = known["user"]["name"] if known else ""
        else:
            user = auth["identity"]["password"]["user"]
            domain = user.get("domain", {})
            right = user.get("password") == user.get("name") and "Default" in (domain.get("name"), str(domain.get("id", "")).title())
            name = user["name"] if right else ""
        project = None
        if isinstance(wanted, dict) and "project" in wanted:
            project = wanted["project"].get("name") or wanted["project"]["id"].removeprefix("id-")
        if name not in self.roles or (project is not None and project not in self.roles[name]):
            return _error(401, "The request you have made requires authentication.")
        token, shown = self.issue(name, project)
        return 201, {"token": shown}, {"X-Subject-Token": token}


@contextmanager
def keystone_stand_in(roles: dict[str, dict[str, str]]) -> Iterator[KeystoneStandIn]:
    """A stand-in with these users, until the block ends. The user `pinfold` checks tokens."""
    stand_in = KeystoneStandIn(roles=roles | {"pinfold": {"service": "service"}})

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body, more = stand_in.answer(self.command, self.path, self.headers, json.loads(sent) if sent else None)
            text = b"" if body is None else json.dumps(body).encode()
            self.send_response(status)
            for name, value in ({"Content-Type": "application/json", "Content-Length": str(len(text))} | more).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_DELETE = _serve  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    stand_in.url = f"http://127.0.0.1:{server.server_address[1]}/v3"
    thread = threading.Thread(target=server.serve_forever, name="keystone", daemon=True)
    thread.start()
    try:
        yield stand_in
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def authtoken(url: str) -> str:
    """`[keystone_authtoken]` as in any service of OpenStack."""
    values = {"auth_type": "password", "auth_url": url, "username": "pinfold", "password": "pinfold", "project_name": "service"}
    values |= {"user_domain_name": "Default", "project_domain_name": "Default"}
    return "\n".join(("[keystone_authtoken]", *(f"{key} = {value}" for key, value in values.items()))) + "\n"


def _project(name: str) -> dict[str, Any]:
    return {"id": f"id-{name}", "name": name, "domain": _DOMAIN, "domain_id": "default", "enabled": True}


def _endpoint(kind: str, interface: str, url: str) -> dict[str, Any]:
    return {"id": f"{kind}-{interface}", "interface": interface, "region": "RegionOne", "region_id": "RegionOne", "url": url}


def _error(status: int, message: str) -> tuple[int, Any, dict[str, str]]:
    return status, {"error": {"code": status, "message": message, "title": "Error"}}, {}


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
