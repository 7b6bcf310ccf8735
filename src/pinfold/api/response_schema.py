"""Building blocks of response schemas: closed TypedDicts. Each route's schema is beside it.

A route's return type is its schema in the OpenAPI document, and FastAPI checks every response against it. A response that differs is a bug:
it becomes a 500 with the text in the log. A key that only some microversions have is `NotRequired`; tempest's schemas check which.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from pinfold.core.form_schema import schema

closed: Final = with_config(ConfigDict(extra="forbid", strict=True))
"""Decorates a `TypedDict`: no further keys, and no value of another type. A subclass needs the decorator again."""


def since(minor: int) -> Any:
    """The note on a key that exists from microversion 2.`minor` on."""
    return Field(description=f"From microversion 2.{minor} on.")


def before(minor: int) -> Any:
    """The note on a key that exists only before microversion 2.`minor`."""
    return Field(description=f"Before microversion 2.{minor}.")


@dataclass(frozen=True, slots=True)
class _WrittenForm:
    """Tells pydantic the schema of a written form when the OpenAPI document is made. A start does not need it."""

    as_type: Any
    others: tuple[dict[str, Any], ...]

    def __get_pydantic_json_schema__(self, _core_schema: object, _handler: object) -> dict[str, Any]:
        made = schema(self.as_type)
        return {"anyOf": [made, *self.others]} if self.others else made

    def __hash__(self) -> int:
        return hash(self.as_type)


def written_as(as_type: Any, *others: dict[str, Any]) -> Any:
    """The schema of a value in its written form, for JSON types that `core.encoding` makes or reads. `others`: schemas of other forms."""
    return _WrittenForm(as_type, others)


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
