"""Routes are made when they are used, and then they are FastAPI's."""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated

import httpx
import pytest
from fastapi import FastAPI, Query
from fastapi.exceptions import FastAPIError
from fastapi.routing import APIRoute
from tests.rig.in_process import InProcess
from tests.rig.loaded import importing

from pinfold.api.app import ROUTERS
from pinfold.api.compute import unsupported
from pinfold.api.router import DeferredRoute, Router

_MADE_AT_IMPORT = """
from pinfold.api.app import ROUTERS
print(*(route.path for router in ROUTERS for route in router.routes if "dependant" in vars(route)))
"""


def application(router: Router) -> httpx.Client:
    app = FastAPI(openapi_url=None)
    app.router.routes.extend(router.routes)
    return httpx.Client(transport=InProcess(app), base_url="http://localhost")


def test_importing_the_application_makes_no_route() -> None:
    done = subprocess.run([sys.executable, "-c", _MADE_AT_IMPORT], env=importing(), capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_every_route_can_be_made() -> None:
    made = [route for router in (*ROUTERS, unsupported.router) for route in router.routes]
    for route in made:
        assert isinstance(route, DeferredRoute)
        assert route.dependant.call is route.endpoint
    assert len(made) > 300


def test_a_route_checks_what_it_is_given_from_its_first_request_on() -> None:
    router = Router(prefix="/v0")

    @router.get("/double/{number}")
    def double(number: int, times: Annotated[int, Query(ge=1)] = 2) -> int:
        return number * times

    with application(router) as http:
        assert http.get("/v0/double/7?times=0").status_code == 422
        assert http.get("/v0/double/7").json() == 14
        assert http.get("/v0/double/x").status_code == 422
        assert http.post("/v0/double/7").status_code == 405
        assert http.get("/v0/double/7/8").status_code == http.get("/v0/doubl").status_code == 404


def test_a_route_knows_its_path_methods_and_name_before_it_is_made_and_keeps_them() -> None:
    router = Router(prefix="/v0", tags=["noun"])

    @router.put("/things/{name}", status_code=201)
    def put_thing(name: str) -> str:
        """Put it."""
        return name

    def known(route: APIRoute) -> tuple[object, ...]:
        return route.path, route.methods, route.name, route.endpoint, route.include_in_schema, route.path_regex.pattern, route.path_format

    (route,) = router.routes
    assert isinstance(route, DeferredRoute)
    before = known(route)
    assert "dependant" not in vars(route)
    assert (route.description, route.status_code, route.tags) == ("Put it.", 201, ["noun"])
    assert known(route) == before == known(APIRoute("/v0/things/{name}", put_thing, methods=["put"]))


def test_what_no_route_has_is_an_attribute_error() -> None:
    router = Router()
    router.add_api_route("/", lambda: None)
    with pytest.raises(AttributeError, match="colour"):
        _ = router.routes[0].colour  # type: ignore[attr-defined]


def test_a_wrong_declaration_is_refused_when_the_route_is_made() -> None:
    router = Router()

    @router.get("/")
    def wrong() -> object:
        return None

    wrong.__annotations__["return"] = Router
    with pytest.raises(FastAPIError):
        _ = router.routes[0].response_field  # type: ignore[attr-defined]
