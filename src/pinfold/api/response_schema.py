"""Building blocks of response schemas: closed TypedDicts. Each route's schema is beside it.

A route's return type is its schema in the OpenAPI document, and FastAPI checks every response against it. A response that differs is a bug:
it becomes a 500 with the text in the log. A key that only some microversions have is `NotRequired`; tempest's schemas check which.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from pydantic import ConfigDict, Field, WithJsonSchema, with_config
from typing_extensions import TypedDict

from pinfold.core.encoding import schema_hook
from pinfold.store.codec_schema import schema

closed: Final = with_config(ConfigDict(extra="forbid", strict=True))
"""Decorates a `TypedDict`: no further keys, and no value of another type. A subclass needs the decorator again."""


def since(minor: int) -> Any:
    """The note on a key that exists from microversion 2.`minor` on."""
    return Field(description=f"From microversion 2.{minor} on.")


def before(minor: int) -> Any:
    """The note on a key that exists only before microversion 2.`minor`."""
    return Field(description=f"Before microversion 2.{minor}.")


def stored(as_type: Any) -> Any:
    """The schema of a value in the form of `store.codec`, for a `dict` that the codec writes or reads. The codec itself checks the
    value.
    """
    return WithJsonSchema(schema(as_type))


def written_as(as_type: Any) -> Any:
    """The schema of a value in the form of msgspec, for a `dict` that msgspec makes or reads."""
    (top,), parts = msgspec.json.schema_components((as_type,), schema_hook=schema_hook, ref_template="{name}")
    return WithJsonSchema(_inlined(top, parts))


def _inlined(schema: Any, parts: Mapping[str, Any]) -> Any:
    """The schema with its parts in the places that refer to them."""
    if isinstance(schema, list):
        return [_inlined(one, parts) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(parts[schema["$ref"]], parts)
    return {key: _inlined(value, parts) for key, value in schema.items()}


@closed
class Link(TypedDict):
    """An absolute link."""

    rel: str
    href: str


@closed
class MediaType(TypedDict):
    """The media type of an API's responses."""

    base: str
    type: str
