"""Every route and every server action of Nova's is served, or refused with a sentence.

`nova_routes.txt` and `nova_actions.txt` have Nova's own lists, with its microversions. `tests/stories` asks for the actions over HTTP.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi.routing import APIRoute

from pinfold.api.app import ROUTERS
from pinfold.api.compute.links import ROOT
from pinfold.api.compute.servers.unsupported_actions import UNSUPPORTED_ACTIONS
from pinfold.api.compute.unsupported import UNSUPPORTED, Unsupported
from pinfold.api.errors import ApiError
from pinfold.api.microversion import Microversion

_NOVA = Path(__file__).with_name("nova_routes.txt")
_NOVA_ACTIONS = Path(__file__).with_name("nova_actions.txt")
ENTRIES = [*(entry for _, _, entry in UNSUPPORTED), *UNSUPPORTED_ACTIONS.values()]


def shape(path: str) -> str:
    """A path without the names of its parameters."""
    return re.sub(r"\{\w+\}", "{}", path)


def nova() -> dict[tuple[str, str], str]:
    """The microversions of each of Nova's routes, by method and path."""
    rows = [line.split() for line in _NOVA.read_text(encoding="ascii").splitlines()]
    return {(row[0], shape(row[1])): "".join(row[2:]) for row in rows}


def nova_actions() -> dict[str, str]:
    """The microversions of each of Nova's actions on a server, by name."""
    rows = [line.partition(" ") for line in _NOVA_ACTIONS.read_text(encoding="ascii").splitlines()]
    return {name: said for name, _, said in rows}


def served() -> set[tuple[str, str]]:
    found = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute) and route.path.startswith(ROOT)]
    return {(method, shape(route.path.removeprefix(ROOT))) for route in found for method in route.methods or ()}


def versions(entry: Unsupported) -> str:
    """As `nova_routes.txt` writes them."""
    if entry.gone:
        return "gone"
    return f"{entry.since or ''}..{entry.until or ''}" if entry.since or entry.until else ""


def test_every_route_of_nova_is_served_or_refused_with_a_sentence() -> None:
    refused = {(method, shape(path)): versions(entry) for method, path, entry in UNSUPPORTED}
    assert refused.keys() & served() == set()
    assert refused.keys() - nova().keys() == set()
    assert nova().keys() - refused.keys() - served() == set()
    assert {route: nova()[route] for route in refused} == refused


def test_every_refused_action_is_one_of_nova_with_its_microversions() -> None:
    assert {action: nova_actions().get(action) for action in UNSUPPORTED_ACTIONS} == {
        action: versions(entry) for action, entry in UNSUPPORTED_ACTIONS.items()
    }


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_each_refusal_says_why_in_one_or_two_short_sentences(entry: Unsupported) -> None:
    assert re.fullmatch(r"[A-Zp][^\n]{20,150}\.", entry.sentence)
    assert entry.sentence.count(". ") <= 1


def test_a_refusal_follows_the_microversions_of_nova() -> None:
    def status(name: str, minor: int) -> tuple[int, str]:
        error = {entry.name: entry for entry in ENTRIES}[name].refuse(Microversion(2, minor))
        assert isinstance(error, ApiError)
        return error.status, str(error)

    assert status("GET /os-snapshots", 35)[0] == 501
    assert status("GET /os-snapshots", 36)[0] == 404
    assert "exists only at Nova's microversions 2.1 to 2.35" in status("GET /os-snapshots", 36)[1]
    assert status("POST /servers/{server_id}/shares", 96)[0] == 404
    assert status("POST /os-cells", 1)[0] == 410
    assert status("The action addFixedIp", 43)[0] == 501
    assert status("The action addFixedIp", 44)[0] == 404
