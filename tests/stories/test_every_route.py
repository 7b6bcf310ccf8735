"""Every route with every role: who is let in and who is not, by one table. A route that the table lacks fails the test.

A FORM of the web page answers 403 to all of them, because none of these requests comes from a page of this service; a CHANGING_FORM does so
to those who are signed in, and 401 to the others.

| | OPEN | READ | ASK | CHANGE | AGENT |
|---|---|---|---|---|---|
| nobody, a wrong password, an unknown name, no credentials at all, a removed account | in | 401 | 401 | 401 | 401 |
| a reader | in | in | in | 403 | 401 |
| an admin | in | in | in | in | 401 |
| an agent | in | 401 | 401 | 401 | in, for its own host alone |
| an agent whose token was renewed | in | 401 | 401 | 401 | 401 |

Whoever is not let in changes nothing, in the store or in Placement.
"""

from __future__ import annotations

import base64
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.routing import APIRoute
from placement import handler
from starlette.routing import Mount, Route
from tests.rig.client import server_body
from tests.rig.databases import placement_file, sqlite_file
from tests.rig.in_process import ADMIN, READER, Fleet, open_fleet
from tests.rig.route_table import KINDS, OPERATORS_ROUTES

from pinfold.accounting.embedded import EmbeddedPlacement, load, unload
from pinfold.agent.wire import Hello
from pinfold.api.accounts import Role, hash_password, parse_accounts
from pinfold.api.app import create_app
from pinfold.api.caller import Caller
from pinfold.api.compute.links import ROOT
from pinfold.api.compute.unsupported import UNSUPPORTED
from pinfold.api.policy import refusal
from pinfold.core.encoding import plain
from pinfold.store.schema import metadata

__all__ = ["placement_file", "sqlite_file"]

STRANGERS = ("nobody", "a wrong password", "an unknown name", "no credentials", "a removed account")
AGENTS = ("the agent of the host", "the agent of another host", "an agent whose token was renewed")
ROLES = (*STRANGERS, "a reader", "an admin", *AGENTS)
REMOVED = ("carol", "left the company")


FORBIDDEN = {
    ("PUT", "/agent/v1/host", "the agent of another host"): 403,  # it speaks in the name of another host than its own
    ("GET", "/v1/hosts/{name}/history", "a reader"): 503,  # no agent answers here
    ("GET", "/compute/v2.1/servers/{server_id}/diagnostics", "a reader"): 503,  # no agent answers here
    ("GET", "/ui/guests/{guest_id}/repair", "a reader"): 403,
    ("GET", "/ui/hosts/{name}/disable", "a reader"): 403,  # the form for it is for admins
    ("GET", "/ui/hosts/{name}/enable", "a reader"): 403,
    ("GET", "/ui/hosts/{name}/pools", "a reader"): 403,
    ("GET", "/ui/hosts/{name}/repin", "a reader"): 403,
    ("POST", "/placement/reshaper", "an admin"): 403,  # by Placement's own policy it is for services alone
}
"""What a role is let in to, and is refused there by what it asks."""


def expected(kind: str, role: str) -> int | None:
    """The status that keeps a role out of a kind of route; None where it is let in. This is the table above."""
    if kind == "OPEN":
        return None
    if kind == "FORM" or (kind == "CHANGING_FORM" and role in ("a reader", "an admin")):
        return 403
    if kind == "AGENT":
        return None if role in AGENTS[:2] else 401
    if role == "an admin" or (role == "a reader" and kind != "CHANGE"):
        return None
    return 403 if role == "a reader" else 401


def table() -> dict[tuple[str, str], str]:
    """The kind of each route, by method and path."""
    found = {}
    for kind, text in KINDS.items():
        for line in text.strip().splitlines():
            *methods, path = line.split()
            for method in methods:
                assert (method, path) not in found, f"{method} {path} stands there twice"
                found[method, path] = kind
    for method, path, _ in UNSUPPORTED:
        assert (method, ROOT + path) not in found, f"{method} {path} is served, though the table of unsupported routes has it"
        found[method, ROOT + path] = "READ" if method == "GET" else "CHANGE"
    return found


def routes(fleet: Fleet) -> set[tuple[str, str]]:
    """Every method and path that the application serves, the embedded Placement's among them."""
    found: set[tuple[str, str]] = set()
    waiting = list(create_app(fleet.services).routes)
    while waiting:
        route = waiting.pop()
        if (included := getattr(route, "original_router", None)) is not None:  # newer FastAPI includes routers lazily (0.165)
            waiting += included.routes
        elif isinstance(route, Mount):
            assert route.path == "/placement", f"nobody has said what is below {route.path}"
            declared = handler.ROUTE_DECLARATIONS.items()
            found |= {(method, route.path + path) for path, methods in declared if path for method in methods}
        elif isinstance(route, APIRoute | Route):
            found |= {(method, route.path) for method in route.methods or {"GET"}}
        else:
            raise AssertionError(f"nobody has said what {route} is")
    return found


@dataclass
class Rig:
    """A fleet of two hosts, one of them with a server, and what each role sends to be let in."""

    fleet: Fleet
    headers: dict[str, dict[str, str]]
    known: dict[str, str]

    def ask(self, method: str, path: str, role: str) -> int:
        """What a role is answered. An admin names what is not there, everybody else what is: they would do harm if they could."""
        values = {} if role == "an admin" else self.known
        filled = re.sub(r"\{(\w+)(:\w+)?\}", lambda match: values.get(match[1], "7"), path)
        headers = {"OpenStack-API-Version": "placement 1.39" if path.startswith("/placement") else "compute 2.96", **self.headers[role]}
        body = None if method in ("GET", "HEAD", "DELETE") else self.body(method, path)
        return self.fleet.http.request(method, filled, headers=headers, json=body, auth=_AS_IT_IS).status_code

    def body(self, method: str, path: str) -> Any:
        """A body that would do something."""
        c1 = self.fleet.agents["c1"]
        match method, path:
            case "PUT", "/agent/v1/host":
                return plain(Hello(name="c1", report=c1.reported))
            case "POST", "/compute/v2.1/servers":
                return {"server": server_body("vm", "tiny")}
            case "POST", "/compute/v2.1/servers/{server_id}/action":
                return {"os-stop": None}
            case "POST", "/v1/hosts":
                return {"name": "c9"}
            case "POST", "/v1/hosts/{name}/fence":
                return {"powered_off": True}
            case "POST", "/v1/fits":
                return {"flavor": "tiny"}
            case _:
                return {}

    def state(self) -> dict[str, Any]:
        """Everything in the store, but what only time moves; and Placement's providers, traits and allocations."""
        found: dict[str, Any] = {}
        with self.fleet.database.read() as connection:
            for name, entries in metadata.tables.items():
                found[name] = sorted(str(tuple(row)) for row in connection.execute(sa.select(entries)))
        c1 = self.fleet.agents["c1"].id
        for path in ("/resource_providers", "/traits", "/resource_classes", *(f"/resource_providers/{c1}/{noun}" for noun in _NOUNS)):
            found[path] = self.fleet.placement(path)
        return found


_NOUNS = ("inventories", "traits", "aggregates", "allocations")


def _AS_IT_IS(request: Any) -> Any:  # noqa: N802
    return request


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, sqlite_file: Path, placement_file: Path) -> Iterator[Rig]:
    folder = tmp_path_factory.mktemp("routes")
    shutil.copy(placement_file, folder / "placement.db")
    with open_fleet(folder, sqlite_file, load(EmbeddedPlacement(url=f"sqlite:///{folder}/placement.db"))) as fleet:
        c1, c2, old = fleet.host("c1"), fleet.host("c2"), fleet.host("c3")
        assert fleet.http.post("/v1/hosts/c3/token", json={}).status_code == 200
        server = fleet.create("vm", fleet.flavor("tiny", vcpus=1, hw_cpu_policy="dedicated"), host="c1", metadata={"a": "b"})
        c1.obey()
        group = fleet.ask("POST", "/os-aggregates", {"aggregate": {"name": "a"}}, status=200).json()["aggregate"]["id"]
        image = fleet.http.get("/image/v2/images").json()["images"][0]["id"]
        assert fleet.services.checks is not None
        doorkeeper = fleet.services.checks.doorkeeper
        before = tuple(account for who in (ADMIN, READER) if (account := doorkeeper.admit(*who)))
        doorkeeper.replace((*before, *parse_accounts(f"{REMOVED[0]}:admin:{hash_password(REMOVED[1], rounds=4)}", "accounts")))
        assert fleet.http.get("/v1/hosts", auth=REMOVED).status_code == 200
        doorkeeper.replace(before)
        known = {"server_id": server, "guest_id": server, "hypervisor_id": c1.id, "service_id": c1.id, "uuid": c1.id, "name": "c1"}
        known |= {"consumer_uuid": server, "flavor_id": "tiny", "aggregate_id": str(group), "image_id": image, "key": "a"}
        known |= {"resource_class": "PCPU", "rest": f"images/{image}"}
        headers = {
            "nobody": {},
            "a wrong password": _basic(ADMIN[0], "wrong"),
            "an unknown name": _basic("mallory", ADMIN[1]),
            "no credentials": {"Authorization": "Basic ???"},
            "a removed account": _basic(*REMOVED),
            "a reader": _basic(*READER),
            "an admin": _basic(*ADMIN),
            "the agent of the host": {"Authorization": f"Bearer {c1.token}"},
            "the agent of another host": {"Authorization": f"Bearer {c2.token}"},
            "an agent whose token was renewed": {"Authorization": f"Bearer {old.token}"},
        }
        fleet.services.ended.set()  # no live update goes on
        yield Rig(fleet, headers, known)
    unload()


def test_every_route_is_in_the_table_and_no_other(rig: Rig) -> None:
    known, served = set(table()), routes(rig.fleet)
    assert served - known == set(), "say in this file who may call these routes"
    assert known - served == set(), "these routes are gone"


def test_only_what_reads_is_read() -> None:
    for (method, path), kind in table().items():
        if kind in ("OPEN", "READ"):
            assert method in ("GET", "HEAD"), f"{method} {path}"
        elif kind == "CHANGE":
            assert method not in ("GET", "HEAD"), f"{method} {path}"


def test_every_route_is_either_for_members_of_projects_or_for_operators() -> None:
    kept = {(method, line.split()[-1]) for line in OPERATORS_ROUTES.strip().splitlines() for method in line.split()[:-1]}
    member = Caller(user="1", name="eve", project="p1", role=Role.MEMBER, everywhere=False)
    wrong = []
    for (method, path), kind in table().items():
        if kind in ("READ", "ASK", "CHANGE", "CHANGING_FORM"):
            due = (method, path) in kept or path.startswith(("/v1/", "/placement/", "/ui"))
            if bool(refusal(member, method, path)) != due:
                wrong.append(f"{method} {path}")
    assert wrong == []


@pytest.mark.parametrize("role", ROLES)
def test_every_route_lets_in_whom_it_should_and_nobody_else(rig: Rig, role: str) -> None:
    before, wrong = rig.state(), []
    kept_out = [route for route, kind in table().items() if expected(kind, role) is not None]
    let_in = [route for route, kind in table().items() if expected(kind, role) is None]
    for method, path in sorted(kept_out):
        status, due = rig.ask(method, path, role), expected(table()[method, path], role)
        if status != due:
            wrong.append(f"{method} {path}: {status} instead of {due}")
    assert rig.state() == before, "who is kept out changes nothing"
    for method, path in sorted(let_in):
        status = rig.ask(method, path, role)
        due = FORBIDDEN.get((method, path, role))
        if (status in (401, 403, 415, 429) or (status >= 500 and status != 501)) if due is None else status != due:
            wrong.append(f"{method} {path}: {status} though it may")
    assert wrong == []


@pytest.mark.parametrize("method", ["PATCH", "OPTIONS", "TRACE", "PROPFIND", "get"])
def test_no_other_method_opens_a_route_to_strangers(rig: Rig, method: str) -> None:
    paths = {path for (_, path), kind in table().items() if kind in ("READ", "ASK", "CHANGE")}
    assert {path: status for path in paths if (status := rig.ask(method, path, "nobody")) != 401} == {}


def _basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"}
