"""The OpenAPI document is true: whatever schemathesis makes of it is answered with what it declares, and never with 5xx."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks
from tests.fleet_fixtures import placement_file, sqlite_file
from tests.stories.rig import Fleet, open_fleet

from pinfold.accounting.embedded import EmbeddedPlacement, load, unload
from pinfold.api.app import ROUTERS
from pinfold.api.openapi import describe

__all__ = ["placement_file", "sqlite_file"]

_EXAMPLES = 16
_CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
_NOT_OFFERED = 501
"""The one answer of 5xx that says what it means: what is asked for is no part of pinfold."""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, sqlite_file: Path, placement_file: Path) -> Iterator[Fleet]:
    """The application with a host, a flavor and a server."""
    folder = tmp_path_factory.mktemp("openapi")
    shutil.copy(placement_file, folder / "placement.db")
    with open_fleet(folder, sqlite_file, load(EmbeddedPlacement(url=f"sqlite:///{folder}/placement.db"))) as made:
        made.host("c1")
        made.create("vm", made.flavor("tiny", vcpus=1))
        made.obey()
        yield made
    unload()


@cache
def _document() -> dict[str, Any]:
    app = FastAPI(title="pinfold", version="0")
    for router in ROUTERS:
        app.include_router(router)
    return describe(app)()


_OPERATIONS = sorted((path, verb) for path, verbs in _document()["paths"].items() for verb in verbs)


def test_the_document_is_the_applications(fleet: Fleet) -> None:
    served = fleet.http.get("/openapi.json").json()
    assert set(_document()["paths"]) <= set(served["paths"])
    assert served["openapi"].startswith("3.1")
    assert not any("422" in operation["responses"] for verbs in served["paths"].values() for operation in verbs.values())


@pytest.mark.parametrize(("path", "verb"), _OPERATIONS, ids=[f"{verb} {path}" for path, verb in _OPERATIONS])
def test_whatever_is_asked_is_answered_as_declared(fleet: Fleet, path: str, verb: str) -> None:
    operation = schemathesis.openapi.from_dict(_document())[path][verb.upper()]
    right, wrong = (operation.as_strategy(generation_mode=mode) for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE))
    auth = _Bearer(fleet.agents["c1"].token) if path.startswith("/agent/") else httpx.USE_CLIENT_DEFAULT

    @settings(max_examples=_EXAMPLES, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=st.one_of(right, wrong))
    def ask(case: Any) -> None:
        asked = case.as_transport_kwargs(base_url="http://pinfold.test")
        asked["headers"].pop("Authorization", None)
        if isinstance(asked.get("data"), bytes | str):
            asked["content"] = asked.pop("data")
        try:
            answer = fleet.http.request(**asked, auth=auth)
        except (httpx.InvalidURL, UnicodeEncodeError, ValueError):
            return  # No client can send that.
        excluded = [not_a_server_error] if answer.status_code == _NOT_OFFERED else []
        case.validate_response(answer, checks=_CHECKS, excluded_checks=excluded)

    ask()


class _Bearer(httpx.Auth):
    def __init__(self, token: str) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Iterator[httpx.Request]:
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request
