"""The base of the bodies of requests: a key that a body does not have is refused."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class RequestBody(BaseModel):
    """The body of a request, or an object in one."""

    model_config = ConfigDict(extra="forbid")
