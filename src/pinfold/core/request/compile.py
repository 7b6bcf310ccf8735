"""`compile_request`: turn a flavor and an image into the request that the engine reads. It does not depend on a host."""

from __future__ import annotations

from typing import Final

from msgspec import UNSET

from pinfold.core.cpuset import MAX_CPU, CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.request.cells import build_cells, check_pages, guest_cpu_topology
from pinfold.core.request.guest_hardware import PLAIN
from pinfold.core.request.merge import MAX_MEMORY_MIB, EffectiveSpecs, merge
from pinfold.core.request.model import Flavor, GuestCell, GuestRequest, Image, PageKind, PageRequest
from pinfold.core.request.policies import decide_policies

MAX_VCPUS: Final = MAX_CPU + 1
"""One vCPU for each pCPU that a kernel can have."""
MAX_DISK_GIB: Final = (1 << 31) - 1
MAX_DEVICES: Final = 1024


def compile_request(flavor: Flavor, image: Image | None = None, *, disks: int = 0, nics: int = 0) -> GuestRequest:
    """The request of a guest with this flavor and image, every default filled in.

    `disks` and `nics` count its devices. Compile a request once for any number of hosts. Flavors are untrusted: sizes are bounded
    (8192 vCPUs, 2^31 - 1 MiB and GiB, 1024 devices of a kind, 512 keys). Raises `InvalidRequest` naming the key, its value and what is
    allowed.

    >>> specs = (("hw:cpu_policy", "dedicated"), ("hw:emulator_threads_policy", "share"), ("hw:numa_nodes", "2"))
    >>> request = compile_request(Flavor(vcpus=4, memory_mib=2048, extra_specs=specs))
    >>> [(str(cell.dedicated), cell.memory_mib) for cell in request.cells], request.emulator_policy.value
    ([('0-1', 1024), ('2-3', 1024)], 'share')
    """
    _check_sizes(flavor, disks, nics)
    asked = merge(flavor, image)
    policies = decide_policies(flavor.vcpus, asked)
    cells = build_cells(flavor, asked, policies.dedicated)
    check_pages(asked.page, cells)
    return GuestRequest(
        vcpus=flavor.vcpus,
        memory_mib=flavor.memory_mib,
        disk_gib=flavor.disk_gib,
        cpu_policy=policies.cpu,
        thread_policy=policies.thread,
        emulator_policy=policies.emulator,
        realtime=policies.realtime,
        cells=cells,
        page=asked.page.value if asked.page is not None else PageRequest(kind=PageKind.SMALL),
        explicit_page=asked.page is not None,
        locked_memory=_locked_memory(asked, policies.realtime, cells),
        cpu_topology=guest_cpu_topology(flavor.vcpus, asked),
        traits_required=frozenset(trait.name.removeprefix("trait:") for trait in asked.traits if trait.value),
        traits_forbidden=frozenset(trait.name.removeprefix("trait:") for trait in asked.traits if not trait.value),
        disks=disks,
        nics=nics,
        not_acted_upon=asked.not_acted_upon,
        hardware=UNSET if asked.hardware == PLAIN else asked.hardware,
    )


def _check_sizes(flavor: Flavor, disks: int, nics: int) -> None:
    for name, value, least, most in (
        ("vcpus", flavor.vcpus, 1, MAX_VCPUS),
        ("memory_mib", flavor.memory_mib, 1, MAX_MEMORY_MIB),
        ("disk_gib", flavor.disk_gib, 0, MAX_DISK_GIB),
        ("disks", disks, 0, MAX_DEVICES),
        ("nics", nics, 0, MAX_DEVICES),
    ):
        if not least <= value <= most:
            raise InvalidRequest(f"{name} is {value}; it must be from {least} to {most}", key=name)


def _locked_memory(asked: EffectiveSpecs, realtime: CpuSet, cells: tuple[GuestCell, ...]) -> bool:
    """Whether the memory is locked: if asked for, and always for realtime guests."""
    given = asked.locked_memory
    if given is None:
        return bool(realtime)
    if given.value and not cells:
        raise InvalidRequest(
            f"{given.said()}, but the guest's memory is not bound to cells; it needs hw:mem_page_size, hw:numa_nodes or pinned vCPUs",
            key=given.name,
        )
    if realtime and not given.value:
        raise InvalidRequest(f"{given.said()}, but hw:cpu_realtime locks the guest's memory; it must be true or not set", key=given.name)
    return given.value
