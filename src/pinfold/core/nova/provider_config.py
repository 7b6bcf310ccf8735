"""The provider configuration file of one compute node, in Nova's format (schema version 1.0). Pure.

Nova reads every `*.yaml` in `[compute] provider_config_location` once, when nova-compute starts, and does not start if one is wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Final

from msgspec import Struct

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.host import HostState, exact
from pinfold.core.overhead import RESOURCE_CLASS, floating_pcpus
from pinfold.core.plural import pcpus
from pinfold.core.traits import OVERHEAD_POOL

THIS_NODE: Final = "$COMPUTE_NODE"
"""Nova's name for every node of the nova-compute that reads the file."""

SUFFIX: Final = ".yaml"
"""Nova reads no file without it."""

_MAX_NAME: Final = 200
_UUID: Final = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)


class Identification(Struct, frozen=True, kw_only=True):
    """Which resource provider a file is about: `key` is `uuid` or `name`."""

    key: str = "uuid"
    value: str = THIS_NODE


class Ratio(Struct, frozen=True, kw_only=True):
    """The `cpu_allocation_ratio` of a node before and after a part of its shared pool counts as overhead.

    `after` is 0 if nothing is left for floating vCPUs.
    """

    before: float
    after: float


def identification(uuid: str | None, name: str | None) -> Identification:
    """The provider with that uuid or name; without both, the node that reads the file. Raises `InvalidRequest`."""
    if uuid is not None and name is not None:
        raise InvalidRequest("--uuid and --name both name the resource provider; one of them is allowed", key="--name")
    if uuid is not None:
        if uuid != THIS_NODE and not _UUID.fullmatch(uuid):
            raise InvalidRequest(f"--uuid {uuid[:64]!r} is not allowed; a UUID or {THIS_NODE} is", key="--uuid")
        return Identification(value=uuid)
    if name is not None:
        if not 1 <= len(name) <= _MAX_NAME or not name.isprintable():
            raise InvalidRequest(f"--name {name[:64]!r} is not allowed; 1 to {_MAX_NAME} printable characters are", key="--name")
        return Identification(key="name", value=name)
    return Identification()


def ratio(host: HostState) -> Ratio | None:
    """What `cpu_allocation_ratio` becomes where the overhead pool overlaps the shared pool; None if no pCPU counts as both.

    It falls in the proportion of the pCPUs that are left for floating vCPUs.
    """
    shared, left = len(host.pools.shared), floating_pcpus(host.pools, host.limits)
    if left == shared:
        return None
    before = exact(host.limits.cpu_allocation_ratio)
    return Ratio(before=float(before), after=float(round(before * Fraction(left, shared), 6)))


def ratio_sentence(found: Ratio, shared: CpuSet) -> str:
    """What to do about the ratio, in one sentence."""
    one = len(shared) == 1
    subject = f"{pcpus(str(shared))} of cpu_shared_set {'carries' if one else 'carry'} overhead threads too"
    if not found.after:
        nothing = f"{'leaves' if one else 'leave'} nothing for floating vCPUs"
        return f"{subject} and {nothing}: keep guests without pinned vCPUs off this node"
    return f"{subject}: where cpu_allocation_ratio has been {found.before:g}, set it to {found.after:g} in nova.conf, once"


def text(inventory: Mapping[str, int | float], who: Identification, notes: tuple[str, ...] = ()) -> str:
    """The file. `inventory` has Placement's fields; `notes` become comments on top, one line each.

    >>> print(text({"total": 1000, "max_unit": 1000}, Identification(key="name", value="c1"), ("a note",)))
    # a note
    meta:
      schema_version: "1.0"
    providers:
      - identification:
          name: "c1"
        inventories:
          additional:
            - CUSTOM_OVERHEAD_MILLICPU:
                total: 1000
                max_unit: 1000
        traits:
          additional:
            - CUSTOM_OVERHEAD_POOL
    <BLANKLINE>
    """
    lines = [
        *(f"# {note}" for note in notes),
        "meta:",
        '  schema_version: "1.0"',
        "providers:",
        "  - identification:",
        f"      {who.key}: {json.dumps(who.value, ensure_ascii=False)}",
        "    inventories:",
        "      additional:",
        f"        - {RESOURCE_CLASS}:",
        *(f"            {name}: {json.dumps(value)}" for name, value in inventory.items()),
        "    traits:",
        "      additional:",
        f"        - {OVERHEAD_POOL}",
    ]
    return "\n".join(lines) + "\n"
