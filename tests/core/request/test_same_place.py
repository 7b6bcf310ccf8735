"""Which images a guest may get without another place."""

from __future__ import annotations

import pytest

from pinfold.core.errors import InvalidRequest
from pinfold.core.request.compile import compile_request
from pinfold.core.request.model import Flavor, GuestRequest, Image
from pinfold.core.request.same_place import refuse_another_place

FLAVOR = Flavor(vcpus=4, memory_mib=1024, extra_specs=(("hw:cpu_policy", "dedicated"), ("hw:mem_page_size", "any")))


def request(*properties: tuple[str, str], disks: int = 1, flavor: Flavor = FLAVOR) -> GuestRequest:
    return compile_request(flavor, Image(properties=tuple(sorted(properties))), disks=disks)


@pytest.mark.parametrize(
    "properties",
    [
        (("hw_machine_type", "q35"),),
        (("hw_firmware_type", "uefi"), ("hw_machine_type", "q35"), ("os_secure_boot", "required")),
        (("hw_rng_model", "virtio"), ("hw_watchdog_action", "reset")),
        (("hw_cpu_sockets", "4"),),
        (("hw_video_model", "vga"), ("os_distro", "debian")),
        (("hw_cpu_policy", "dedicated"), ("hw_cpu_thread_policy", "prefer")),
    ],
)
def test_what_a_guest_finds_in_its_place_may_differ(properties: tuple[tuple[str, str], ...]) -> None:
    refuse_another_place(request(), request(*properties))
    refuse_another_place(request(*properties), request())


@pytest.mark.parametrize(
    ("properties", "key"),
    [
        ((("hw_cpu_thread_policy", "isolate"),), "hw_cpu_thread_policy"),
        ((("hw_numa_nodes", "2"),), "hw_numa_nodes"),
        ((("hw_mem_page_size", "2048"),), "hw_mem_page_size"),
        ((("hw_locked_memory", "true"),), "hw_locked_memory"),
        ((("trait:CUSTOM_X", "required"),), "trait:NAME=required"),
    ],
)
def test_what_decides_the_place_must_be_the_same_and_is_named(properties: tuple[tuple[str, str], ...], key: str) -> None:
    for before, after in ((request(), request(*properties)), (request(*properties), request())):
        with pytest.raises(InvalidRequest, match="asks for another place than the server has") as refused:
            refuse_another_place(before, after)
        assert refused.value.key == key


def test_the_policy_and_the_number_of_disks_are_named_too() -> None:
    plain = Flavor(vcpus=4, memory_mib=1024)
    with pytest.raises(InvalidRequest, match="hw_cpu_policy asks for another place than the server has: dedicated instead of shared"):
        refuse_another_place(request(flavor=plain), request(("hw_cpu_policy", "dedicated"), flavor=plain))
    with pytest.raises(InvalidRequest, match="disk format asks for another place than the server has: 0 disks instead of 1 disks"):
        refuse_another_place(request(), request(disks=0))
