"""Read the flavors file: TOML in, `Flavor` out. Every error is one sentence.

[flavors."rt.share"]
vcpus = 4
ram = 2048                      # MiB
disk = 1                        # GiB, 0 where left out
[flavors."rt.share".properties]
"hw:cpu_policy" = "dedicated"
"hw:emulator_threads_policy" = "share"
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final

from pinfold.config.parse import read_tables
from pinfold.core.errors import InvalidRequest
from pinfold.core.printable import quoted, shortened
from pinfold.core.request.compile import MAX_DISK_GIB, MAX_VCPUS
from pinfold.core.request.merge import MAX_KEY_LENGTH, MAX_KEYS, MAX_MEMORY_MIB, MAX_VALUE_LENGTH
from pinfold.core.request.model import Flavor

MAX_FLAVORS: Final = 1000
_MAX_CHARACTERS: Final = 255
_LIMITS: Final = {"vcpus": (1, MAX_VCPUS), "ram": (1, MAX_MEMORY_MIB), "disk": (0, MAX_DISK_GIB)}
_FIELDS: Final = (*_LIMITS, "properties")


def read_flavors(file: str) -> Mapping[str, Flavor]:
    """Every flavor of the file by name, in the file's order.

    Raises `InvalidRequest` naming the file, the flavor, the key, the value and what is allowed.
    """
    return {name: _flavor(file, name, table) for name, table in _tables(file).items()}


def check_flavors(file: str) -> tuple[tuple[Flavor, ...], tuple[InvalidRequest, ...]]:
    """The valid flavors of the file, and an error for each of the others."""
    flavors, errors = [], []
    try:
        tables = _tables(file)
    except InvalidRequest as error:
        return (), (error,)
    for name, table in tables.items():
        try:
            flavors.append(_flavor(file, name, table))
        except InvalidRequest as error:
            errors.append(error)
    return tuple(flavors), tuple(errors)


def _tables(file: str) -> Mapping[str, object]:
    """The tables of the file by flavor. Raises `InvalidRequest`."""
    return read_tables(file, "flavors file", "flavors", table='[flavors."NAME"]', most=MAX_FLAVORS)


def find_flavor(file: str, name: str) -> Flavor:
    """The flavor of that name. Raises `InvalidRequest` with the nearest name if the file has none."""
    flavors = read_flavors(file)
    if name in flavors:
        return flavors[name]
    near = get_close_matches(name, flavors, n=1)
    hint = f"{near[0]} is near" if near else f"it has {', '.join(list(flavors)[:8]) or 'none'}{' and more' if len(flavors) > 8 else ''}"
    raise InvalidRequest(f"flavors file {file} has no flavor {quoted(name)}; {hint}", key="flavor")


def _flavor(file: str, name: str, table: object) -> Flavor:
    where = f"flavors file {file}: flavor {quoted(name)}"
    if not name.strip() or len(name) > _MAX_CHARACTERS or not name.isprintable():
        raise InvalidRequest(f"{where} has a name that is not allowed; 1 to {_MAX_CHARACTERS} printable characters are", key=name)
    if not isinstance(table, dict):
        raise InvalidRequest(f"{where} is not a table with vcpus, ram, disk and properties", key=name)
    for key in table:
        if key not in _FIELDS:
            raise InvalidRequest(f"{where}: {quoted(key)} is not allowed; {_near_field(key)}", key=key)
    for key in ("vcpus", "ram"):
        if key not in table:
            raise InvalidRequest(f"{where} has no {key}; vcpus and ram (in MiB) are needed", key=key)
    return Flavor(
        name=name,
        vcpus=_amount(where, "vcpus", table["vcpus"]),
        memory_mib=_amount(where, "ram", table["ram"]),
        disk_gib=_amount(where, "disk", table.get("disk", 0)),
        extra_specs=_properties(where, table.get("properties", {})),
    )


def _near_field(key: str) -> str:
    if key.startswith(("hw:", "resources:", "trait:")):
        return "extra specs stand in its table properties"
    near = get_close_matches(key, _FIELDS, n=1, cutoff=0.5)
    return f"{near[0]} is meant" if near else "vcpus, ram (MiB), disk (GiB) and properties are"


def _amount(where: str, key: str, value: object) -> int:
    low, high = _LIMITS[key]
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InvalidRequest(f"{where}: {key} is {quoted(str(value))}; a whole number from {low} to {high} is allowed", key=key)
    return value


def _properties(where: str, table: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(table, dict) or len(table) > MAX_KEYS:
        raise InvalidRequest(f'{where}: properties is not a table of at most {MAX_KEYS} lines "KEY" = "VALUE"', key="properties")
    found: list[tuple[str, str]] = []
    for key, value in table.items():
        if isinstance(value, dict):
            raise InvalidRequest(f'{where}: property {quoted(key)} is a table; quote the key, as in "hw:cpu_policy"', key=key)
        if isinstance(value, bool):
            value = str(value).lower()
        if not isinstance(value, str | int) or len(str(value)) > MAX_VALUE_LENGTH or len(key) > MAX_KEY_LENGTH:
            shown = f"property {shortened(key)} is {quoted(str(value))}"
            allowed = f"a text of at most {MAX_VALUE_LENGTH} characters, in a key of at most {MAX_KEY_LENGTH},"
            raise InvalidRequest(f"{where}: {shown}; {allowed} is allowed", key=key)
        found.append((key, str(value)))
    return tuple(sorted(found))
