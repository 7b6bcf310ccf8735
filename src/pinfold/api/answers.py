"""How routes say what they answer: objects that have the keys that are named and no others. Which keys those are stands beside each route.

A route's return type is its schema in the OpenAPI document, and FastAPI checks every answer against it: an answer that differs is a bug of
ours, and becomes a 500 with its text in the log. A key that only some microversions have is `NotRequired`; tempest's schemas check which.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import ConfigDict, Field, WithJsonSchema, with_config
from typing_extensions import TypedDict

from pinfold.store.codec_schema import schema

closed: Final = with_config(ConfigDict(extra="forbid", strict=True))
"""Decorates a `TypedDict`: no further keys, and no value of another type. A subclass needs it again."""


def since(minor: int) -> Any:
    """The note on a key that is there from microversion 2.`minor` on."""
    return Field(description=f"From microversion 2.{minor} on.")


def before(minor: int) -> Any:
    """The note on a key that is there before microversion 2.`minor` alone."""
    return Field(description=f"Before microversion 2.{minor}.")


def stored(as_type: Any) -> Any:
    """The schema of a value in the form of `store.codec`, for a `dict` that the codec writes or reads; the codec itself checks it."""
    return WithJsonSchema(schema(as_type))


@closed
class Link(TypedDict):
    """A link to a thing, absolute."""

    rel: str
    href: str


@closed
class MediaType(TypedDict):
    """In which form an API answers."""

    base: str
    type: str
