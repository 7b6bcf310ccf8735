"""The threads in which requests are served. The event loop's own thread must not wait for a database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, ParamSpec, TypeVar

MOST: Final = 40
"""How many requests one process serves in these threads at a time; more wait. An embedded Placement has connections for so many.

FastAPI has as many of its own, for plain routes that are not simple (`api.endpoint_call`). None of those asks Placement.
"""
_THREADS: Final = ThreadPoolExecutor(MOST, thread_name_prefix="pinfold-request")
Given = ParamSpec("Given")
Found = TypeVar("Found")


async def in_thread(call: Callable[Given, Found], *arguments: Given.args, **options: Given.kwargs) -> Found:
    """What the call returns or raises in one of the threads. If the task is cancelled meanwhile, the call goes on; one that has not begun
    is left out.
    """
    return await asyncio.get_running_loop().run_in_executor(_THREADS, partial(call, *arguments, **options))
