"""`TextPattern`: a pattern for a text in a body, with a sentence that says what is allowed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPattern:
    """Put it last into an `Annotated[str, …]`: the text must match `pattern`, and a refusal shows `allowed` instead of the pattern.

    The schema still shows the pattern. Put bounds on the length before it, in a `Field`; they have their own messages.
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
