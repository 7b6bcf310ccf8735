"""Nova's side: its own objects and functions, imported from the `nova` package. Runs in the environment that `environment` makes."""

from __future__ import annotations

import copy
import logging
from importlib.metadata import version
from typing import Any

from nova import objects
from nova.virt import hardware

from benchmarks.fit.scenarios import Scenario
from benchmarks.fit.timing import median_ns, serve


def host_topology(scenario: Scenario) -> Any:
    """The host as the scheduler holds it: a parsed `NUMATopology`."""
    cells = []
    for cell in scenario.cells:
        pages = [objects.NUMAPagesTopology(size_kb=size, total=total, used=used) for size, total, used in cell.pages]
        cells.append(
            objects.NUMACell(
                id=cell.id,
                cpuset=set(cell.shared),
                pcpuset=set(cell.dedicated),
                memory=sum(size * total for size, total, _ in cell.pages) // 1024,
                cpu_usage=cell.floating,
                memory_usage=sum(size * used for size, _, used in cell.pages) // 1024,
                pinned_cpus=set(cell.pinned),
                siblings=[set(core) for core in cell.cores],
                mempages=pages,
                network_metadata=objects.NetworkMetadata(physnets=set(), tunneled=False),
                socket=0,
            )
        )
    return objects.NUMATopology(cells=cells)


def constraints(scenario: Scenario) -> Any:
    """The guest's topology, by Nova's own reading of the flavor."""
    flavor = objects.Flavor(vcpus=scenario.vcpus, memory_mb=scenario.memory_mib, extra_specs=dict(scenario.extra_specs))
    return hardware.numa_get_constraints(flavor, objects.ImageMeta.from_dict({}))


def limits() -> Any:
    """The ratios that the scheduler passes; those of our side."""
    return objects.NUMATopologyLimits(cpu_allocation_ratio=4.0, ram_allocation_ratio=1.0)


def decide(scenario: Scenario) -> dict[str, Any]:
    """Nova's answer: host cell, pins and the emulator's pCPUs of each guest cell, or that it refuses."""
    answer = hardware.numa_fit_instance_to_host(host_topology(scenario), constraints(scenario), {}, limits=limits())
    if answer is None:
        return {"accepted": False}
    cells = []
    for cell in answer.cells:
        pins = sorted((cell.cpu_pinning or {}).items())
        cells.append(
            {"host_cell": cell.id, "pins": pins, "dedicated": sorted(cell.pcpuset), "reserved": sorted(cell.cpuset_reserved or ())}
        )
    return {"accepted": True, "cells": cells}


def timed(scenario: Scenario) -> dict[str, Any]:
    """The median of one decision on parsed objects; each call has a copy of the guest's topology, since Nova writes into it."""
    topology, guest, bounds = host_topology(scenario), constraints(scenario), limits()

    def prepare(count: int) -> list[Any]:
        return [copy.deepcopy(guest) for _ in range(count)]

    return {"ns": median_ns(prepare, lambda one: hardware.numa_fit_instance_to_host(topology, one, {}, limits=bounds))}


def aside(scenario: Scenario) -> dict[str, Any]:
    """What stands outside the decision: reading the flavor, copying the guest's topology, parsing the host's from its stored text."""
    guest, text = constraints(scenario), host_topology(scenario)._to_json()
    return {
        "request": median_ns(lambda count: [scenario] * count, constraints, 200),
        "copy": median_ns(lambda count: [guest] * count, lambda one: one.obj_clone(), 200),
        "host": median_ns(lambda count: [text] * count, objects.NUMATopology.obj_from_db_obj, 200),
    }


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    objects.register_all()
    serve({"decide": decide, "time": timed, "aside": aside}, {"nova": version("nova")})
