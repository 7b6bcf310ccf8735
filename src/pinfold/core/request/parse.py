"""Parse the output of `openstack flavor show -f json` into a `Flavor`."""

from __future__ import annotations

import json
import re
from typing import Final

from pinfold.core.errors import InvalidRequest
from pinfold.core.request.model import Flavor
from pinfold.core.request.values import shown

MAX_TEXT: Final = 1 << 18
"""The longest accepted text, in characters."""

_PAIR_ENDS: Final = re.compile(r"', (?=[^=']+=')")
EPHEMERAL: Final = "OS-FLV-EXT-DATA:ephemeral"


def flavor_from_openstack_json(text: str) -> Flavor:
    """The flavor that `openstack flavor show NAME -f json` printed.

    `ram` is MiB, `disk` and `OS-FLV-EXT-DATA:ephemeral` are GiB, `swap` is MiB. The flavor's disk is the sum of the last three, with swap
    rounded up to whole GiB, as Nova allocates it. `properties` is an object, or the text of older clients
    (`hw:cpu_policy='dedicated', …`). Other fields are ignored.
    Raises `InvalidRequest`.

    >>> flavor_from_openstack_json('{"name": "nfv", "vcpus": 2, "ram": 512, "disk": 1, "properties": {"hw:cpu_policy": "dedicated"}}')
    Flavor(vcpus=2, memory_mib=512, disk_gib=1, extra_specs=(('hw:cpu_policy', 'dedicated'),), name='nfv')
    """
    fields = _object(text)
    name = fields.get("name", "")
    if not isinstance(name, str):
        raise InvalidRequest("the flavor's name must be a text", key="name")
    swap_gib = -(-amount(fields, "swap", 0) // 1024)
    return Flavor(
        vcpus=amount(fields, "vcpus", None),
        memory_mib=amount(fields, "ram", None),
        disk_gib=amount(fields, "disk", 0) + amount(fields, EPHEMERAL, 0) + swap_gib,
        extra_specs=tuple(sorted(properties(fields.get("properties")).items())),
        name=name,
    )


def _object(text: str) -> dict[str, object]:
    if len(text) > MAX_TEXT:
        raise InvalidRequest(f"the flavor's JSON has {len(text)} characters; at most {MAX_TEXT} are allowed")
    try:
        fields: object = json.loads(text, object_pairs_hook=object_once)
    except InvalidRequest:
        raise
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"the flavor is not JSON ({error}); it must be what `openstack flavor show -f json` prints") from error
    if not isinstance(fields, dict):
        raise InvalidRequest("the flavor's JSON is no object; it must be what `openstack flavor show -f json` prints")
    return fields


def object_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """The object with these pairs, for `json.loads`. Raises `InvalidRequest` for a name that stands twice."""
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise InvalidRequest(f"{shown(name)} stands twice in the flavor's JSON; it is allowed once", key=name)
        found[name] = value
    return found


def amount(fields: dict[str, object], name: str, default: int | None) -> int:
    """A whole number of the flavor. '' and null mean the default, because older clients print '' for no swap."""
    value = fields.get(name)
    if value in (None, "") and default is not None:
        return default
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 16:
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        said = f"is {_described(value)}" if name in fields else "is missing"
        raise InvalidRequest(f"the flavor's {name} {said}; it must be a whole number", key=name)
    return value


def properties(value: object) -> dict[str, str]:
    """The extra specs of a flavor: an object, or the text of older clients. Raises `InvalidRequest`."""
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        return _property_text(value)
    if not isinstance(value, dict):
        raise InvalidRequest("the flavor's properties must be an object or a text like key='value', key='value'", key="properties")
    return {name: _property(name, entry) for name, entry in value.items()}


def _property(name: str, value: object) -> str:
    """The text of one property. Hand-written numbers and booleans become texts as Nova spells them."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    raise InvalidRequest(f"the property {shown(name)} is {_described(value)}; it must be a text or a whole number", key=name)


def _described(value: object) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return shown(value) if isinstance(value, str) else json.dumps(value)


def _property_text(text: str) -> dict[str, str]:
    """The pairs of `key='value', key='value'`."""
    found: list[tuple[str, object]] = []
    for pair in _PAIR_ENDS.split(text.strip().removesuffix("'")):
        name, equals, value = pair.partition("='")
        if not equals or not name.strip():
            raise InvalidRequest(f"the flavor's properties hold {shown(pair)}; each must be written key='value'", key="properties")
        found.append((name.strip(), value))
    return {name: str(value) for name, value in object_once(found).items()}
