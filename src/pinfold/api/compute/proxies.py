"""The microversion at which Nova ended an earlier route of its own.

Nova calls its routes to images and networks proxies, because other services have those. Until the end the routes answer what those
services answer; after it they answer 404 with a sentence that names the service.
"""

from __future__ import annotations

from typing import Any

from fastapi import Depends

from pinfold.api.compute.headers import Version
from pinfold.api.errors import ApiError
from pinfold.api.microversion import Microversion


def until(minor: int, sentence: str) -> Any:
    """A dependency of routes that Nova has until microversion 2.`minor`. Later requests are answered 404 with the sentence."""

    async def check(version: Version) -> None:
        if version > Microversion(2, minor):
            raise ApiError(404, f"Nova has this route only at microversions 2.1 to 2.{minor}. {sentence}")

    return Depends(check)
