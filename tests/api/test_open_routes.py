"""Routes without a password are answered by the event loop: in the threads, a crowd of strangers would delay the agents."""

from __future__ import annotations

import inspect

from fastapi.routing import APIRoute

from pinfold.api.app import ROUTERS
from pinfold.api.auth import OPEN


def test_no_open_route_takes_a_thread() -> None:
    found = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute) and route.path in OPEN]
    assert {route.path for route in found} == OPEN - {"/healthz", "/placement", "/placement/"}
    assert [route.path for route in found if not inspect.iscoroutinefunction(route.endpoint)] == []
