"""Whether a guest that gets another image still asks for the place that it has. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import UNSET
from msgspec.structs import replace

from pinfold.core.errors import InvalidRequest
from pinfold.core.request.model import GuestRequest

_ASKED_BY: Final[tuple[tuple[str, Callable[[GuestRequest], object]], ...]] = (
    ("hw_cpu_policy", lambda request: request.cpu_policy.value),
    ("hw_cpu_thread_policy", lambda request: request.thread_policy.value),
    ("hw_cpu_realtime_mask", lambda request: str(request.realtime) or "none"),
    ("hw_mem_page_size", lambda request: _pages(request)),
    ("hw_locked_memory", lambda request: str(request.locked_memory).lower()),
    ("hw_numa_nodes", lambda request: _cells(request)),
    ("trait:NAME=required", lambda request: _names(request.traits_required)),
    ("trait:NAME=forbidden", lambda request: _names(request.traits_forbidden)),
    ("hw_vif_multiqueue_enabled", lambda request: f"{request.nic_queues} queues"),
    ("disk format", lambda request: f"{request.disks} disks"),
)
"""What of an image decides the place of a guest, and how to say what it asks for; the first that differs is named."""


def refuse_another_place(before: GuestRequest, after: GuestRequest) -> None:
    """Raise `InvalidRequest`, naming the image's property, if the two requests differ in anything on which a fit depends. What the guest
    finds in its place may differ: machine, firmware, devices, the sockets and cores that it sees.
    """
    if _of_place(before) == _of_place(after) and before.nic_queues == after.nic_queues:
        return
    for name, said in _ASKED_BY:
        if said(before) != said(after):
            raise InvalidRequest(
                f"the image's {name} asks for another place than the server has: {said(after)} instead of {said(before)}; a rebuild keeps "
                "the place, so take an image that asks for the same, or delete the server and create it anew",
                key=name,
            )
    raise InvalidRequest("the image asks for another place than the server has; delete the server and create it anew", key="imageRef")


def _of_place(request: GuestRequest) -> GuestRequest:
    return replace(request, hardware=UNSET, not_acted_upon=(), cpu_topology=None)


def _pages(request: GuestRequest) -> str:
    if not request.explicit_page:
        return "no size"
    return f"{request.page.size_kib} KiB" if request.page.size_kib else request.page.kind.value


def _cells(request: GuestRequest) -> str:
    """The cells in words: `cell 0 with vCPUs 0-1 (pinned 0-1) and 512 MiB`."""
    return (
        "; ".join(
            f"cell {cell.id} with vCPUs {cell.vcpus} (pinned {str(cell.dedicated) or 'none'}) and {cell.memory_mib} MiB"
            for cell in request.cells
        )
        or "no cells"
    )


def _names(traits: frozenset[str]) -> str:
    return ", ".join(sorted(traits)) or "no trait"
