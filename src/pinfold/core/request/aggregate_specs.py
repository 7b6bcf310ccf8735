"""What a flavor asks of the metadata of a host's aggregates, by the rules of Nova's `AggregateInstanceExtraSpecsFilter`.

| a flavor says | the host is a candidate if one of its values |
|---|---|
| `ssd` | is exactly that |
| `<or> ssd <or> nvme` | is one of those |
| `<in> ss`, `<all-in> s d` | contains that text, all those texts |
| `s== a`, `s!= a`, `s< a`, `s<= a`, `s> a`, `s>= a` | compares so as a text |
| `== 4`, `!= 4`, `<= 4`, `>= 4`, `= 4` | compares so as a number; `=` means at least |

The values of a key are those of all aggregates of the host; a comma in the metadata separates values.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from msgspec import Struct

from pinfold.core.errors import InvalidRequest
from pinfold.core.request.key_table import Disposition
from pinfold.core.request.keys import find
from pinfold.core.request.model import Flavor

_SCOPE: Final = "aggregate_instance_extra_specs:"
_TEXTS: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "s==": operator.eq,
    "s!=": operator.ne,
    "s<": operator.lt,
    "s<=": operator.le,
    "s>": operator.gt,
    "s>=": operator.ge,
}
_NUMBERS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
}
_OPERATORS: Final = frozenset({*_TEXTS, *_NUMBERS, "<or>", "<in>", "<all-in>"})


class AggregateSpec(Struct, frozen=True, kw_only=True):
    """A key of aggregate metadata and what its value must be, as the flavor says it."""

    key: str
    asked: str

    def describe(self) -> str:
        """How a refusal says it, after "an aggregate whose".

        >>> AggregateSpec(key="ssd", asked="true").describe(), AggregateSpec(key="cores", asked=">= 4").describe()
        ("ssd is 'true'", "cores matches '>= 4'")
        """
        first = self.asked.split(maxsplit=1)[:1]
        return f"{self.key} {'matches' if first and first[0] in _OPERATORS else 'is'} {self.asked[:64]!r}"


def aggregate_specs(flavor: Flavor) -> tuple[AggregateSpec, ...]:
    """What the flavor asks of aggregates, in the order of its keys.

    >>> aggregate_specs(Flavor(vcpus=1, memory_mib=64, extra_specs=(("aggregate_instance_extra_specs:ssd", "true"), ("hw:pmu", "no"))))
    (AggregateSpec(key='ssd', asked='true'),)
    """
    return tuple(AggregateSpec(key=name.removeprefix(_SCOPE), asked=text) for name, text in flavor.extra_specs if by_aggregates(name))


def by_aggregates(name: str) -> bool:
    """Whether the extra spec of that name asks something of aggregates."""
    key = find(name)
    return key is not None and key.disposition is Disposition.BY_SERVICE


def check_operand(name: str, text: str) -> None:
    """Raise `InvalidRequest` for an operator without an operand, and for one that compares numbers with a text."""
    operator_, *operands = text.split() or [""]
    if operator_ in _OPERATORS and not operands:
        raise InvalidRequest(f"{name} is {text[:64]!r}, which compares with nothing; a value must follow {operator_}", key=name)
    if operator_ in _NUMBERS and _number(operands[0]) is None:
        raise InvalidRequest(
            f"{name} is {text[:64]!r}, but {operator_} compares numbers; a number must follow, or write s== to compare texts", key=name
        )


def values_of(metadata: Iterable[tuple[str, str]]) -> dict[str, frozenset[str]]:
    """The values of each key in the metadata of all aggregates of one host.

    >>> sorted(values_of([("disk", "ssd, nvme"), ("disk", "hdd")])["disk"])
    ['hdd', 'nvme', 'ssd']
    """
    found: dict[str, frozenset[str]] = {}
    for key, text in metadata:
        found[key] = found.get(key, frozenset()) | {value.strip() for value in text.split(",")}
    return found


def met(spec: AggregateSpec, values: Mapping[str, frozenset[str]]) -> bool:
    """Whether a host whose aggregates have these values is a candidate.

    >>> met(AggregateSpec(key="disk", asked="<or> ssd <or> nvme"), {"disk": frozenset({"nvme"})})
    True
    """
    return any(_matches(value, spec.asked) for value in values.get(spec.key, ()))


def _matches(value: str, asked: str) -> bool:
    operator_, *operands = asked.split() or [""]
    if operator_ == "<or>":
        # Every second word is the next <or>, whatever it says: Nova does not look at it.
        return value in operands[::2]
    if operator_ not in _OPERATORS:
        return value == asked
    if not operands:
        return False
    if operator_ == "<in>":
        return operands[0] in value
    if operator_ == "<all-in>":
        return all(part in value for part in operands)
    if operator_ in _TEXTS:
        return _TEXTS[operator_](value, operands[0])
    left, right = _number(value), _number(operands[0])
    return left is not None and right is not None and _NUMBERS[operator_](left, right)


def _number(text: str) -> float | None:
    """The number that a text is; None where Nova fails."""
    try:
        return float(text)
    except ValueError:
        return None
