"""Find an extra spec or an image property in the tables of `key_table`, also by a wrong spelling."""

from __future__ import annotations

import difflib
import re
from typing import Final

from pinfold.core.request.key_table import IMAGE_ONLY, REGISTRY, Key

_BY_NAME: Final = {key.name: key for key in REGISTRY}
_BY_IMAGE: Final = {key.image: key for key in REGISTRY if key.image} | {key.name: key for key in IMAGE_ONLY}
_IMAGE_ONLY: Final = frozenset(key.name for key in IMAGE_ONLY)
_STRICT: Final = ("hw", "pinfold")
"""The namespaces in which an unknown key is refused. No other program reads it, so whoever wrote it meant another one."""
_NEAR: Final = {name: {key.name.partition(":")[2]: key.name for key in REGISTRY if key.name.startswith(f"{name}:")} for name in _STRICT}
_CELL_KEY: Final = re.compile(r"(hw[:_]numa_(?:cpus|mem)\.)(0|[1-9][0-9]*)")
_GROUPED: Final = re.compile(r"(resources|trait)[A-Za-z0-9_-]+:.*", re.DOTALL)


def find(name: str) -> Key | None:
    """The registered key for the name of an extra spec; None for an unknown `hw:` or `pinfold:` key.

    Every other name has a key, in the last resort `NAMESPACE:NAME` or `NAME`.

    >>> find("hw:numa_mem.1").name, find("resources1:PCPU").name, find("quota:cpu_shares").name, find("hw:cpu_polisy")
    ('hw:numa_mem.N', 'resourcesGROUP:CLASS', 'quota:cpu_shares', None)
    """
    # The registry writes `hw:numa_cpus.N` with the letter N; nobody can set that as a key.
    exact = None if name.endswith(".N") else _BY_NAME.get(general_name(name))
    if exact is not None:
        return exact
    namespace, colon, _ = name.partition(":")
    if not colon:
        return _BY_NAME["NAME"]
    if namespace.lower() in _STRICT:
        return None
    if namespace == "resources":
        return _BY_NAME["resources:CLASS"]
    grouped = _GROUPED.fullmatch(name)
    if grouped:
        return _BY_NAME["resourcesGROUP:CLASS" if grouped[1] == "resources" else "traitGROUP:NAME"]
    return _BY_NAME.get(f"{namespace}:NAME", _BY_NAME["NAMESPACE:NAME"])


def find_image(name: str) -> Key | None:
    """The registered key that an image property mirrors; None for a property that pinfold does not know.

    >>> find_image("hw_numa_cpus.0").name, find_image("our_note"), find_image("hw_emulator_threads_policy")
    ('hw:numa_cpus.N', None, None)
    """
    if name.startswith("trait:"):
        return _BY_NAME["trait:NAME"]
    return None if name.endswith(".N") else _BY_IMAGE.get(general_name(name))


def is_image_only(name: str) -> bool:
    """Whether an image property has this name, and no extra spec mirrors it.

    >>> is_image_only("hw_machine_type"), is_image_only("hw_cpu_policy"), is_image_only("ssd")
    (True, False, False)
    """
    return name in _IMAGE_ONLY


def general_name(name: str) -> str:
    """The name with a guest cell's index replaced by N.

    >>> general_name("hw:numa_cpus.12"), general_name("hw_numa_mem.0"), general_name("hw:numa_nodes")
    ('hw:numa_cpus.N', 'hw_numa_mem.N', 'hw:numa_nodes')
    """
    match = _CELL_KEY.fullmatch(name)
    return f"{match[1]}N" if match else name


def cell_index(name: str) -> int:
    """The guest cell's index in `hw:numa_cpus.N` and its like. Raises `ValueError` for other names.

    >>> cell_index("hw:numa_mem.3")
    3
    """
    match = _CELL_KEY.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} has no cell index")
    return int(match[2])


def nearest(name: str) -> str:
    """The known key of `hw:` or `pinfold:` with the spelling closest to `name`, '' if none is close. Ties follow difflib's fixed order.

    >>> nearest("hw:emulator_threads"), nearest("pinfold:memory"), nearest("hw:xyz")
    ('hw:emulator_threads_policy', 'pinfold:memory_access', '')
    """
    namespace, _, spelled = name.lower().partition(":")
    known = _NEAR.get(namespace, {})
    found = difflib.get_close_matches(re.sub(r"\d+$", "N", spelled), known, n=1, cutoff=0.6)
    return known[found[0]] if found else ""


def is_ours(name: str) -> bool:
    """Whether the name is in pinfold's own namespace.

    >>> is_ours("pinfold:template"), is_ours("hw_cpu_policy")
    (True, False)
    """
    return name.lower().startswith("pinfold:")


def flavor_spelling(name: str) -> str:
    """The extra spec that a flavor key spelled like an image property should be; '' if it is not spelled so.

    >>> flavor_spelling("hw_cpu_policy"), flavor_spelling("hw_emulator_threads_policy"), flavor_spelling("hw_disk_bus")
    ('hw:cpu_policy', 'hw:emulator_threads_policy', '')
    """
    meant = name.replace("_", ":", 1) if name.startswith("hw_") else ""
    return meant if general_name(meant) in _BY_NAME else ""
