"""`EndpointCall`: answer a request of a simple route in one visit of a thread.

FastAPI itself visits a thread twice, once for the endpoint and once to check what it returns, and walks through the route's declaration for
each request. A visit costs as much as either.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final

from fastapi.datastructures import DefaultPlaceholder
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import request_params_to_args
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import ResponseValidationError
from fastapi.params import Body, Form
from fastapi.routing import APIRoute
from fastapi.utils import is_body_allowed_for_status_code
from starlette.requests import Request
from starlette.responses import Response

from pinfold.api.asgi import App, Receive, Scope, Send, header_of, replayed
from pinfold.api.threads import in_thread

_PARAMETERS: Final = {"path_params": "path_params", "query_params": "query_params", "header_params": "headers", "cookie_params": "cookies"}
"""FastAPI's kinds of parameters, and where in a request they are."""
_OTHERS: Final = (
    "websocket_param_name",
    "http_connection_param_name",
    "response_param_name",
    "background_tasks_param_name",
    "security_scopes_param_name",
    "concurrency",
)
"""What FastAPI can give to an endpoint besides parameters, a body, the request, and what it depends on."""
_JSON: Final = "application/json"


def is_simple(route: APIRoute) -> bool:
    """Whether `EndpointCall` can answer the route's requests: its endpoint is a plain function, which gets parameters, one body of JSON,
    the request, and what coroutines make of the request alone; it returns JSON of a declared type, or a response.
    """
    dependant, endpoint = route.dependant, route.endpoint
    plain = not (inspect.iscoroutinefunction(endpoint) or inspect.isgeneratorfunction(endpoint) or inspect.isasyncgenfunction(endpoint))
    return (
        plain
        and not any(getattr(dependant, name) for name in _OTHERS)
        and all(_is_of_the_request(each) for each in dependant.dependencies)
        and _takes_json(route)
        and (route.response_field is None or isinstance(route.response_class, DefaultPlaceholder))
        and not (route.response_model_include or route.response_model_exclude or route.response_model_exclude_none)
        and not (route.response_model_exclude_unset or route.response_model_exclude_defaults)
        and route.response_model_by_alias
    )


def _is_of_the_request(dependant: Dependant) -> bool:
    """Whether it is what a coroutine makes of the request, and of nothing else."""
    kinds = (*_PARAMETERS, "body_params", "dependencies", *_OTHERS)
    made = inspect.iscoroutinefunction(dependant.call) and dependant.request_param_name is not None
    return made and not any(getattr(dependant, name) for name in kinds)


def _takes_json(route: APIRoute) -> bool:
    """Whether it takes no body, or one of JSON that is the value of one parameter."""
    if route.body_field is None:
        return True
    info = route.body_field.field_info
    return isinstance(info, Body) and not isinstance(info, Form) and len(route.dependant.body_params) == 1 and not route._embed_body_fields


class EndpointCall:
    """ASGI: a simple route. `whole` is the same route by FastAPI. It answers what this one does not: requests that FastAPI would refuse,
    and bodies whose type is written in another way.
    """

    def __init__(self, route: APIRoute, whole: App) -> None:
        self._whole = whole
        self._endpoint = route.endpoint
        self._response_class = route.response_class.value if isinstance(route.response_class, DefaultPlaceholder) else route.response_class
        self._status: dict[str, Any] = {} if route.status_code is None else {"status_code": route.status_code}
        self._answer = route.response_field
        self._body = route.body_field
        self._request = route.dependant.request_param_name
        self._made = [(each.name, each.call, each.request_param_name) for each in route.dependant.dependencies if each.call is not None]
        self._parameters: list[tuple[Sequence[Any], Callable[[Request], Mapping[str, Any]]]] = [
            (getattr(route.dependant, kind), attrgetter(place)) for kind, place in _PARAMETERS.items() if getattr(route.dependant, kind)
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        body = b""
        if self._body is not None:
            body = await request.body()
            receive = replayed(body, receive)
            if header_of(scope, b"content-type").partition(";")[0].strip().lower() != _JSON:
                await self._whole(scope, receive, send)
                return
        given: dict[str, Any] = {}
        if self._request is not None:
            given[self._request] = request
        for name, make, parameter in self._made:
            made = await make(**{parameter or "": request})
            if name is not None:
                given[name] = made
        response = await in_thread(self._visit, request, body, given)
        await (response or self._whole)(scope, receive, send)

    def _visit(self, request: Request, body: bytes, given: dict[str, Any]) -> Response | None:
        """The response; None if the request is not one for the endpoint."""
        for fields, place in self._parameters:
            values, errors = request_params_to_args(fields, place(request))
            if errors:
                return None
            given |= values
        if self._body is not None:
            try:
                read = json.loads(body)
            except ValueError:
                return None
            value, errors = self._body.validate(read, {}, loc=("body",))
            if errors:
                return None
            given[self._body.name] = value
        answer = self._endpoint(**given)
        return answer if isinstance(answer, Response) else self._written(answer)

    def _written(self, answer: Any) -> Response:
        """The response with what the endpoint returned."""
        if self._answer is None:
            response: Response = self._response_class(jsonable_encoder(answer), **self._status)
            if not is_body_allowed_for_status_code(response.status_code):
                response.body = b""
            return response
        checked, errors = self._answer.validate(answer, {}, loc=("response",))
        if errors:
            raise ResponseValidationError(errors=errors, body=answer)
        return Response(self._answer.serialize_json(checked), media_type=_JSON, **self._status)
