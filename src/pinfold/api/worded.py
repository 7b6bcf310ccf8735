"""`Worded`: a pattern for a text in a body, whose refusal says in words what is allowed. What a name may be does not belong here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Worded:
    """Put it last into an `Annotated[str, …]`: the text must match `pattern`, and a refusal has `allowed` in place of it.

    The schema shows the pattern all the same. Bounds of the length stand before it, in a `Field`, with their own words.
    """

    pattern: str
    allowed: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        matching = core_schema.custom_error_schema(
            core_schema.str_schema(pattern=self.pattern), custom_error_type="worded_pattern", custom_error_message=self.allowed
        )
        return core_schema.chain_schema([handler(source), matching])

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "pattern": self.pattern}
