"""A simple route is answered in one visit of a thread, and every answer is the one that FastAPI gives."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Body, Depends, FastAPI, Header, Query, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel
from tests.rig.in_process import InProcess
from typing_extensions import TypedDict

from pinfold.api.app import ROUTERS
from pinfold.api.compute.servers import create as servers
from pinfold.api.endpoint_call import EndpointCall, is_simple
from pinfold.api.router import DeferredRoute, Router
from pinfold.core.errors import InvalidRequest

JSON = {"content-type": "application/json"}


class Thing(BaseModel):
    size: Annotated[int, Body(ge=1)]
    tags: list[str] = []


class Seen(TypedDict):
    number: int
    size: int
    times: int
    agent: str
    path: str


async def path_of(request: Request) -> str:
    return request.url.path


def put_thing(
    number: int,
    body: Annotated[Thing, Body()],
    path: Annotated[str, Depends(path_of)],
    times: Annotated[int, Query(ge=1)] = 2,
    user_agent: Annotated[str, Header()] = "",
) -> Seen:
    """Say what was given."""
    if "raise" in body.tags:
        raise InvalidRequest("it was asked to raise", key="tags")
    if "lie" in body.tags:
        return {"number": number}  # type: ignore[typeddict-item]
    return {"number": number, "size": body.size, "times": times, "agent": user_agent, "path": path}


def delete_thing(number: int) -> None:
    """Return nothing."""


def say_thing(number: int) -> Response:
    return Response(f"{number}", media_type="text/plain")


def get_thing(number: int) -> Seen | None:
    return None if number else PlainTextResponse("a response of its own", 203)  # type: ignore[return-value]


REQUESTS: list[dict[str, Any]] = [
    {"content": b'{"size": 3}', "headers": JSON},
    {"content": b'{"size": 3}', "headers": {"content-type": "Application/JSON; charset=utf-8"}},
    {"content": b'{"size": 3}', "headers": {"content-type": "application/merge-patch+json"}},
    {"content": b'{"size": 3}', "headers": {"content-type": "text/plain"}},
    {"content": b'{"size": 3}', "headers": {}},
    {"content": b'{"size": "3", "tags": ["a"], "other": 1}', "headers": JSON, "params": {"times": "4"}},
    {"content": b'{"size": 3}', "headers": JSON, "params": {"times": "0"}},
    {"content": b'{"size": 0}', "headers": JSON},
    {"content": b'{"size": 3', "headers": JSON},
    {"content": b"\xff", "headers": JSON},
    {"content": b"null", "headers": JSON},
    {"content": b"", "headers": JSON},
    {"content": b'{"size": 3, "tags": ["raise"]}', "headers": JSON},
]


@pytest.fixture
def clients() -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """The same routes, by `Router` and by FastAPI's own."""
    ours, theirs = FastAPI(openapi_url=None), FastAPI(openapi_url=None)
    router = Router()
    for add in (router.add_api_route, theirs.add_api_route):
        add("/things/{number}", put_thing, methods=["PUT"], status_code=202)
        add("/things/{number}", get_thing, methods=["GET"], dependencies=[Depends(path_of)])
        add("/things/{number}", delete_thing, methods=["DELETE"], status_code=204)
        add("/things/{number}", delete_thing, methods=["PATCH"], status_code=202, response_class=Response)
        add("/things/{number}", say_thing, methods=["POST"])
    ours.router.routes.extend(router.routes)
    for app in (ours, theirs):

        @app.exception_handler(InvalidRequest)
        async def refused(_: Request, error: Exception) -> PlainTextResponse:
            return PlainTextResponse(str(error), 400)

    with (
        httpx.Client(transport=InProcess(ours), base_url="http://localhost") as first,
        httpx.Client(transport=InProcess(theirs), base_url="http://localhost") as second,
    ):
        yield first, second


def test_every_request_is_answered_as_by_fastapi(clients: tuple[httpx.Client, httpx.Client]) -> None:
    bare: list[tuple[str, dict[str, Any]]] = [(method, {}) for method in ("GET", "DELETE", "PATCH", "POST", "OPTIONS")]
    asked = [(path, *one) for path in ("/things/7", "/things/0", "/things/x") for one in (*bare, *(("PUT", more) for more in REQUESTS))]
    seen = set()
    for path, method, more in asked:
        one, other = (client.request(method, path, **more) for client in clients)
        assert _shown(one) == _shown(other), (method, path, more)
        seen.add(one.status_code)
    assert seen == {200, 202, 203, 204, 400, 405, 422}


def _shown(answer: httpx.Response) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    return answer.status_code, answer.headers.raw, answer.content


def test_an_answer_that_is_not_of_its_type_is_an_error_as_with_fastapi(clients: tuple[httpx.Client, httpx.Client]) -> None:
    said = []
    for client in clients:
        with pytest.raises(Exception, match="4 validation errors") as raised:
            client.put("/things/7", json={"size": 1, "tags": ["lie"]})
        said.append((type(raised.value), getattr(raised.value, "errors", lambda: None)()))
    assert said[0] == said[1]


def test_what_is_not_simple_is_fastapis() -> None:
    router = Router()

    @router.get("/awaited")
    async def awaited() -> int:
        return 1

    @router.get("/text", response_class=PlainTextResponse)
    def text() -> str:
        return "x"

    @router.get("/given")
    def given(value: Annotated[int, Depends(lambda: 1)]) -> int:
        return value

    @router.put("/two")
    def two(one: Annotated[int, Body()], other: Annotated[int, Body()]) -> int:
        return one + other

    assert [route.path for route in router.routes if isinstance(route, DeferredRoute) and is_simple(route)] == []


def test_the_create_of_a_server_is_simple_once_it_is_made() -> None:
    (create,) = (route for route in servers.router.routes if isinstance(route, DeferredRoute) and route.path.endswith("/servers"))
    assert is_simple(create)
    assert isinstance(create.app, EndpointCall)


def test_the_plain_routes_that_are_fastapis_are_known_and_none_asks_placement() -> None:
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, DeferredRoute)]
    plain = [route for route in routes if not is_simple(route) and not inspect.iscoroutinefunction(route.endpoint)]
    modules = [module for module in {inspect.getmodule(route.endpoint) for route in plain} if module is not None]
    assert {module.__name__.removeprefix("pinfold.api.compute.") for module in modules} == {
        *("hypervisors.os_hosts", "image_proxy", "key_pairs", "network_proxy", "servers.tags"),
    }
    assert not [module for module in modules if "placement" in inspect.getsource(module)]
