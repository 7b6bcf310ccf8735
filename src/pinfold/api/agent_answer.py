"""Ask an agent, and wait for its answer without holding a thread. The answer may reach another API process, which notifies this one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from pinfold.api.dependencies import ApiServices
from pinfold.api.threads import in_thread

_LOOK_SECONDS: Final = 1.0
"""How often the rows are read while no notification arrives, because notifications may be lost."""

Answer = TypeVar("Answer")


async def agent_answer(
    services: ApiServices, topic: str, ask: Callable[[], Awaitable[Callable[[], Answer | None]]], seconds: float
) -> Answer | None:
    """The answer, None if there is none within so many seconds, or if the API ends meanwhile.

    `ask` asks, and returns what reads the answer, None while there is none. A notification on `topic` says that there may be one.
    """
    loop, arrived = asyncio.get_running_loop(), asyncio.Event()

    def hear(told: str) -> None:
        if told in ("*", topic):
            loop.call_soon_threadsafe(arrived.set)

    unsubscribe = services.database.wakeups.subscribe(hear)
    try:
        look, deadline = await ask(), time.monotonic() + seconds
        while True:
            arrived.clear()
            found = await in_thread(look)
            left = deadline - time.monotonic()
            if found is not None or left <= 0 or services.ended.is_set():
                return found
            try:
                await asyncio.wait_for(arrived.wait(), min(left, _LOOK_SECONDS))
            except TimeoutError:
                continue
    finally:
        unsubscribe()
