"""Parse Placement's responses: JSON of the expected shape into values, refusals into errors.

The source is the Placement API reference, microversion 1.39. Every parser of a body raises `ValueError`, which says what it found, for JSON
of another shape: the server is then not Placement.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

import httpx

from pinfold.accounting.resources import Amounts, Inventories, Inventory
from pinfold.core.errors import Conflict, InvalidRequest, PinfoldError, Unavailable

CONSUMER_TYPE: Final = "PINFOLD_GUEST"
_PREFIX: Final = "There was a conflict when trying to complete your request. "
_KINDS: Final = {str: "text", int: "whole number", float: "number", list: "list", dict: "object"}
"""JSON's words for the types that are parsed."""

T = TypeVar("T")


class OverCapacity(PinfoldError):
    """Placement has no room for an allocation on that provider. The message includes Placement's own sentence."""


class ConcurrentUpdate(Conflict):
    """Somebody else has changed what a call names since its generation was read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One resource provider. `generation` changes with its inventories, traits, aggregates and allocations."""

    uuid: str
    name: str
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """All that one consumer consumes: `(provider, amounts)` pairs, ordered by provider."""

    consumer: str
    generation: int
    consumer_type: str
    project: str
    user: str
    providers: tuple[tuple[str, Amounts], ...]

    @property
    def ours(self) -> bool:
        """Whether a pinfold service made it; the healer touches no other."""
        return self.consumer_type == CONSUMER_TYPE


def refusal(call: str, answer: httpx.Response) -> PinfoldError:
    """The error for a refusal; `call` says what was refused."""
    code, detail = _error(answer)
    sentence = f"Placement refused {call} with {answer.status_code}: {detail}"
    if answer.status_code == httpx.codes.CONFLICT:
        # Placement has no separate error code for a lack of room (1.39); its sentence is stable since 1.0.
        lacking = code == "placement.undefined_code" and ("exceed the capacity" in detail or "Unable to allocate inventory" in detail)
        if lacking:
            return OverCapacity(detail.removeprefix(_PREFIX))
        return ConcurrentUpdate(sentence) if code == "placement.concurrent_update" else Conflict(sentence)
    if answer.status_code >= 500 or answer.status_code in (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.REQUEST_TIMEOUT):
        return Unavailable(sentence)
    if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return Unavailable(f"{sentence} (the credentials for Placement are wrong)")
    return InvalidRequest(sentence)


def _error(answer: httpx.Response) -> tuple[str, str]:
    """Placement's error code, and one line of its explanation."""
    try:
        first = answer.json()["errors"][0]
        return str(first.get("code", "")), " ".join(str(first["detail"]).split())
    except (ValueError, LookupError, TypeError, AttributeError):
        return "", " ".join(answer.text.split())[:200]


def json_of(answer: httpx.Response) -> Any:
    """The JSON of a response. Raises `ValueError` for any other body."""
    try:
        return answer.json()
    except ValueError as error:
        raise ValueError("what is no JSON") from error


def _take(body: Any, key: str, kind: type[T]) -> T:
    """The value of a key in a JSON object. Raises `ValueError` when there is no object or key, or when the value has another type."""
    found = body.get(key) if isinstance(body, dict) else None
    # Accept a whole number as a float, but no boolean as a number.
    if not isinstance(found, (int, float) if kind is float else kind) or isinstance(found, bool):
        raise ValueError(f"JSON without the {_KINDS[kind]} {key!r}")
    return cast("T", found)


def _rows(body: Any, key: str) -> list[Any]:
    """The list `key`, which must not be empty."""
    found = _take(body, key, list)
    if not found:
        raise ValueError(f"JSON whose list {key!r} is empty")
    return found


def names(body: Any, key: str) -> frozenset[str]:
    """The names in the list `key`."""
    found = _take(body, key, list)
    if not all(isinstance(name, str) for name in found):
        raise ValueError(f"JSON whose list {key!r} has more than texts in it")
    return frozenset(found)


def newest_version(body: Any) -> str:
    """The newest microversion in the version document."""
    return _take(_rows(body, "versions")[0], "max_version", str)


def generation(body: Any) -> int:
    """The generation of the requested resource provider."""
    return _take(body, "resource_provider_generation", int)


def provider(row: Any) -> Provider:
    """One resource provider."""
    return Provider(uuid=_take(row, "uuid", str), name=_take(row, "name", str), generation=_take(row, "generation", int))


def providers(body: Any) -> tuple[Provider, ...]:
    """Resource providers, in Placement's order."""
    return tuple(provider(row) for row in _take(body, "resource_providers", list))


def inventories(body: Any) -> Inventories:
    """A provider's inventories, ordered by resource class."""
    found = _take(body, "inventories", dict)
    return tuple(sorted(((name, _inventory(values)) for name, values in found.items()), key=lambda pair: pair[0]))


def _inventory(values: Any) -> Inventory:
    return Inventory(
        total=_take(values, "total", int),
        reserved=_take(values, "reserved", int),
        allocation_ratio=_take(values, "allocation_ratio", float),
        min_unit=_take(values, "min_unit", int),
        max_unit=_take(values, "max_unit", int),
        step_size=_take(values, "step_size", int),
    )


def amounts(body: Any, key: str) -> Amounts:
    """The amounts in the object `key`, ordered by resource class."""
    resources = _take(body, key, dict)
    return tuple(sorted((name, _take(resources, name, int)) for name in resources))


def consumed(body: Any) -> tuple[tuple[str, Amounts], ...]:
    """What each consumer consumes, or what is consumed of each provider, ordered by its id."""
    return tuple(sorted((uuid, amounts(found, "resources")) for uuid, found in _take(body, "allocations", dict).items()))


def allocation(consumer: str, body: Any) -> Allocation | None:
    """Everything that the consumer consumes; None when it consumes nothing."""
    providers = consumed(body)
    if not providers:
        return None
    return Allocation(
        consumer=consumer,
        generation=_take(body, "consumer_generation", int),
        consumer_type=_take(body, "consumer_type", str),
        project=_take(body, "project_id", str),
        user=_take(body, "user_id", str),
        providers=providers,
    )
