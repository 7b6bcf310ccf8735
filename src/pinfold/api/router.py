"""`Router`: routes that are declared when their module is imported, and made when they are first used.

FastAPI makes a route by reading its endpoint's signature and building pydantic's schemas of everything in it. For all our routes together
that takes longer than the rest of a start, and a process uses few of them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from fastapi import APIRouter
from fastapi.routing import APIRoute, request_response
from starlette.routing import Match, compile_path, get_name

from pinfold.api.asgi import Receive, Scope, Send
from pinfold.api.endpoint_call import EndpointCall, is_simple

_OF_PATH: Final = frozenset({"path_regex", "path_format", "param_convertors"})
_MADE: Final = frozenset(APIRoute.__annotations__)
"""What FastAPI makes of an endpoint, and what it keeps of the declaration."""


class Router(APIRouter):
    """A router whose routes are `DeferredRoute`. It takes the options of an `APIRouter`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(route_class=DeferredRoute, **options)


class DeferredRoute(APIRoute):
    """A route that knows its path, methods and endpoint. It is made at the first request that it takes, or when anything else of it is
    read, as for the OpenAPI document.

    Two threads that need it at once may both make it: the results are equal. A declaration that FastAPI refuses raises only then.
    """

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        *,
        methods: set[str] | list[str] | None = None,
        name: str | None = None,
        include_in_schema: bool = True,
        **options: Any,
    ) -> None:
        self.path = path
        self.endpoint = endpoint
        self.methods = {method.upper() for method in methods or ("GET",)}
        self.name = name or get_name(endpoint)
        self.include_in_schema = include_in_schema
        self.app = self._first
        self._stem = path.partition("{")[0]
        self._declare = partial(
            super().__init__, path, endpoint, methods=methods, name=name, include_in_schema=include_in_schema, **options
        )

    def _make(self) -> None:
        self._declare()
        if is_simple(self):
            self.app = EndpointCall(self, request_response(self.get_route_handler()))

    def __getattr__(self, name: str) -> Any:
        """Python calls it for what is not there yet."""
        if name in _OF_PATH:
            self.path_regex, self.path_format, self.param_convertors = compile_path(self.path)
        elif name in _MADE:
            self._make()
        return super().__getattribute__(name)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As any route's. Paths that begin otherwise are told apart without the regular expression, which is compiled at its first use."""
        if scope["path"].startswith(self._stem) or scope.get("root_path"):
            return super().matches(scope)
        return Match.NONE, {}

    async def _first(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._make()
        await self.app(scope, receive, send)
