"""`shared`: compute a response that is the same for everybody once for all requests of the same time."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastapi import Request

from pinfold.api.threads import in_thread

Answer = TypeVar("Answer")


def shared(route: Callable[[Request], Answer]) -> Callable[[Request], Awaitable[Answer]]:
    """The route, called in one thread at a time: requests that arrive meanwhile get the same response or exception.

    Anybody may call such a route; without this, a crowd could fill the threads that agents' requests need.
    """
    under_way: asyncio.Task[Answer] | None = None

    @functools.wraps(route)
    async def answer(request: Request) -> Answer:
        nonlocal under_way
        if under_way is None or under_way.done() or under_way.get_loop() is not asyncio.get_running_loop():
            under_way = asyncio.create_task(in_thread(route, request))
        return await asyncio.shield(under_way)

    return answer
