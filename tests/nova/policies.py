"""Asks an unmodified Nova which vCPUs it pins for pairs of a flavor and an image, and prints its answers as JSON, a line each.

`python policies.py [COUNT [SEED]]`, in an environment that has Nova. Without a count it asks the pairs of `policies.jsonl` anew, in its
order, so that its output is that file; with a count it draws pairs. `dedicated` is None if Nova refused. `test_policies.py` reads the file.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from itertools import product
from typing import Any

Pair = tuple[int, dict[str, str], dict[str, str]]
NOTHING = (None, None, None)
FLAVOR: dict[str, tuple[str | None, ...]] = {
    "hw:cpu_policy": (*NOTHING, "shared", "dedicated", "mixed"),
    "hw:emulator_threads_policy": (None, "share", "isolate"),
    "resources:VCPU": (*NOTHING, "0", "4", "3"),
    "resources:PCPU": (*NOTHING, "0", "4", "5"),
    "resources1:PCPU": (*NOTHING, *NOTHING, "0", "4"),
    "hw:cpu_dedicated_mask": (*NOTHING, "0-1", "^0"),
    "hw:cpu_realtime": (*NOTHING, "yes"),
    "hw:cpu_realtime_mask": (*NOTHING, "^0", "2-3"),
    "hw:numa_nodes": (*NOTHING, "1", "2"),
    "hw:mem_page_size": (*NOTHING, "large"),
}
IMAGE: dict[str, tuple[str | None, ...]] = {
    "hw_cpu_policy": (*NOTHING, "shared", "dedicated", "mixed"),
    "hw_numa_nodes": (*NOTHING, *NOTHING, "2"),
}


def table() -> Iterator[Pair]:
    """The pairs of the file: each way to name a CPU policy, with each emulator policy, with and without cells."""
    ways: tuple[tuple[dict[str, str], dict[str, str]], ...] = (
        ({}, {}),
        *(({"hw:cpu_policy": policy}, {}) for policy in ("shared", "dedicated")),
        ({"hw:cpu_policy": "mixed", "hw:cpu_dedicated_mask": "0-1"}, {}),
        *(({}, {"hw_cpu_policy": policy}) for policy in ("shared", "dedicated")),
        ({"hw:cpu_policy": "shared"}, {"hw_cpu_policy": "dedicated"}),
        ({"hw:cpu_policy": "dedicated"}, {"hw_cpu_policy": "shared"}),
        *(({f"resources:{name}": amount}, {}) for name, amount in product(("VCPU", "PCPU"), ("0", "3", "4", "5"))),
        ({"resources1:PCPU": "4"}, {}),
        ({"resources:PCPU": "2", "resources1:PCPU": "2"}, {}),
        ({"resources:VCPU": "0"}, {"hw_cpu_policy": "dedicated"}),
        ({"resources:VCPU": "4"}, {"hw_cpu_policy": "dedicated"}),
        ({"resources:VCPU": "0", "resources:PCPU": "4"}, {}),
        ({"hw:cpu_policy": "dedicated", "resources:PCPU": "0"}, {}),
        ({"hw:cpu_policy": "dedicated", "resources:VCPU": "0"}, {}),
        ({"hw:cpu_realtime": "yes", "hw:cpu_realtime_mask": "^0"}, {}),
    )
    emulators: tuple[dict[str, str], ...] = ({}, {"hw:emulator_threads_policy": "share"}, {"hw:emulator_threads_policy": "isolate"})
    cells: tuple[dict[str, str], ...] = ({}, {"hw:numa_nodes": "2"})
    for (specs, properties), emulator, more in product(ways, emulators, cells):
        yield 4, {**specs, **emulator, **more}, properties


def drawn(count: int, seed: int) -> Iterator[Pair]:
    """Pairs with any values, whether they make sense or not."""
    draw = random.Random(seed)
    for _ in range(count):
        specs, properties = ({key: value for key, one in keys.items() if (value := draw.choice(one))} for keys in (FLAVOR, IMAGE))
        yield 4, specs, properties


def answer(pair: Pair) -> dict[str, Any]:
    """The pair and what Nova says about it."""
    from nova import exception, objects
    from nova.virt.hardware import numa_get_constraints

    vcpus, specs, properties = pair
    flavor = objects.Flavor(vcpus=vcpus, memory_mb=1024, extra_specs=specs)
    image = objects.ImageMeta.from_dict({"properties": properties})
    try:
        topology = numa_get_constraints(flavor, image)
    except (exception.NovaException, ValueError):
        dedicated = None
    else:
        dedicated = sorted({cpu for cell in topology.cells for cpu in cell.pcpuset}) if topology is not None else []
    return {"vcpus": vcpus, "extra_specs": specs, "image_properties": properties, "dedicated": dedicated}


def main() -> None:
    """Print the answers."""
    from nova import objects

    objects.register_all()
    numbers = [int(word) for word in sys.argv[1:]]
    for pair in drawn(numbers[0], *(numbers[1:] or [1])) if numbers else table():
        print(json.dumps(answer(pair)))


if __name__ == "__main__":
    main()
