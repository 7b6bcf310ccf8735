"""Hardware and limits that a flavor or an image asks for: what is read, what is refused, and what a host must have for it."""

from __future__ import annotations

import re

import pytest
from tests.build.hardware import EVERY_HARDWARE

from pinfold.core import host_features
from pinfold.core.encoding import decoder, encode
from pinfold.core.errors import InvalidRequest
from pinfold.core.host import OverheadRates
from pinfold.core.overhead import booked_millicpu
from pinfold.core.request.compile import compile_request
from pinfold.core.request.guest_hardware import GuestHardware
from pinfold.core.request.model import EmulatorPolicy, Flavor, GuestCpuTopology, GuestRequest, Image
from pinfold.core.request.vet import vet_extra_spec

_read = decoder(GuestRequest)


def _asked(flavor: dict[str, str], image: dict[str, str] | None = None, vcpus: int = 8) -> GuestRequest:
    specs = tuple(sorted(flavor.items()))
    return compile_request(Flavor(vcpus=vcpus, memory_mib=64, extra_specs=specs), Image(properties=tuple(sorted((image or {}).items()))))


def test_every_key_is_read() -> None:
    specs = {
        "os:secure_boot": "required",
        "hw:tpm_version": "2.0",
        "hw:watchdog_action": "reset",
        "hw:pmu": "no",
        "hw:hide_hypervisor_id": "true",
        "hw_rng:rate_bytes": "2048",
        "hw_rng:rate_period": "500",
        "quota:cpu_shares": "2048",
        "quota:cpu_period": "10000",
        "quota:cpu_quota": "5000",
        "hw:vif_multiqueue_enabled": "true",
    }
    image = {"hw_machine_type": "q35", "hw_rng_model": "virtio", "hw_firmware_type": "uefi", "hw_tpm_model": "tpm-crb"}
    request = _asked(specs, image)
    assert request.wants == EVERY_HARDWARE
    assert request.not_acted_upon == ()
    assert host_features.needed(request) == {
        host_features.HARDWARE,
        host_features.CPU_CONTROLLER,
        host_features.MULTIQUEUE,
        host_features.UEFI_Q35,
        host_features.SECURE_BOOT,
        "an emulated TPM 2.0 with the model tpm-crb",
        "the machine q35",
    }
    assert _read(encode(request), "request") == request


def test_a_guest_that_asks_for_nothing_is_written_as_before_and_needs_nothing() -> None:
    flavor = {"hw:watchdog_action": "disabled", "hw_rng:allowed": "false", "os:secure_boot": "optional"}
    request = _asked(flavor, {"hw_rng_model": "virtio", "hw_firmware_type": "bios"})
    assert request.wants == GuestHardware()
    assert "hardware" not in encode(request)
    assert host_features.needed(request) == frozenset()


@pytest.mark.parametrize(
    ("flavor", "image", "said"),
    [
        ({"hw:watchdog_action": "bark"}, {}, "hw:watchdog_action is 'bark'; it must be none, pause, poweroff, reset or disabled"),
        ({"hw:watchdog_action": "reset"}, {"hw_watchdog_action": "pause"}, "they must agree, or only one be set"),
        ({}, {"hw_machine_type": "q35 -device evil"}, "it must be a machine of QEMU such as pc, q35 or pc-q35-7.2"),
        ({}, {"hw_cdrom_bus": "fdc"}, "hw_cdrom_bus is 'fdc'; it must be ide, sata, scsi, usb or virtio"),
        ({}, {"hw_cdrom_bus": "ide", "hw_machine_type": "pc-q35-7.2"}, "but hw_machine_type is pc-q35-7.2, which has no IDE"),
        ({}, {"hw_rng_model": "pseudo"}, "hw_rng_model is 'pseudo'; it must be virtio"),
        ({"hw_rng:allowed": "false", "hw_rng:rate_bytes": "9"}, {}, "hw_rng:rate_bytes is '9', but hw_rng:allowed is 'false'"),
        ({"hw_rng:rate_period": "9"}, {}, "hw_rng:rate_bytes is not set; a period needs an amount"),
        ({}, {"hw_firmware_type": "coreboot"}, "hw_firmware_type is 'coreboot'; it must be bios or uefi"),
        ({"hw:tpm_version": "3"}, {}, "hw:tpm_version is '3'; it must be 1.2 or 2.0"),
        ({"hw:tpm_model": "tpm-crb"}, {}, "hw:tpm_model is 'tpm-crb', but hw:tpm_version is not set; a model needs a version"),
        ({"hw:tpm_version": "1.2"}, {"hw_tpm_model": "tpm-crb"}, "hw_tpm_model is 'tpm-crb', but hw:tpm_version is '1.2'; tpm-crb needs"),
        ({"os:secure_boot": "required"}, {"hw_machine_type": "q35"}, "but the image's hw_firmware_type is not uefi; secure boot needs"),
        ({"os:secure_boot": "required"}, {"hw_firmware_type": "uefi"}, "but the image's hw_machine_type is not q35; secure boot needs"),
        ({"os:secure_boot": "required"}, {"os_secure_boot": "disabled"}, "they must agree, or only one be set"),
        ({"quota:cpu_shares": "1"}, {}, "quota:cpu_shares is '1'; it must be a whole number from 2 to 262144"),
        ({"quota:cpu_quota": "999"}, {}, "it must be a whole number of microseconds from 1000"),
        ({"quota:cpu_period": "1000001"}, {}, "it must be a whole number of microseconds from 1000 to 1000000"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(flavor: dict[str, str], image: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        _asked(flavor, image)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("flavor", "image", "features"),
    [
        ({}, {"hw_firmware_type": "uefi"}, {host_features.UEFI}),
        ({"os:secure_boot": "optional"}, {"hw_firmware_type": "uefi"}, {host_features.UEFI}),
        ({}, {"hw_cdrom_bus": "virtio"}, {"a config drive on the bus virtio"}),
        ({"hw:tpm_version": "1.2"}, {}, {"an emulated TPM 1.2 with the model tpm-tis"}),
    ],
)
def test_firmware_tpm_and_config_drive_need_hosts_that_have_them(flavor: dict[str, str], image: dict[str, str], features: set[str]) -> None:
    assert host_features.needed(_asked(flavor, image)) == {host_features.HARDWARE, *features}


@pytest.mark.parametrize(("asked", "vcpus", "queues"), [("true", 1, 1), ("true", 8, 8), ("yes", 300, 256), ("false", 8, 1), (None, 8, 1)])
def test_interfaces_have_a_queue_for_each_vcpu_as_far_as_the_kernel_has_them(asked: str | None, vcpus: int, queues: int) -> None:
    specs = () if asked is None else (("hw:vif_multiqueue_enabled", asked),)
    request = compile_request(Flavor(vcpus=vcpus, memory_mib=64, extra_specs=specs), nics=2)
    assert (request.queues, request.nic_queues) == (queues, 2 * queues)
    book = OverheadRates(guest=0, vcpu=0, disk=0, nic=10)
    assert booked_millicpu(request, book) == 20 * queues


@pytest.mark.parametrize(("key", "value"), [("os:secure_boot", "required"), ("hw:tpm_model", "tpm-crb"), ("hw_rng:rate_period", "9")])
def test_a_flavor_may_get_a_key_before_the_one_that_it_needs(key: str, value: str) -> None:
    vet_extra_spec(key, value)


# Recorded by reading `_get_possible_cpu_topologies` of Nova 34: fewest threads, then most sockets.
@pytest.mark.parametrize(
    ("flavor", "image", "seen"),
    [
        ({"hw:cpu_max_sockets": "1"}, {}, (1, 8, 1)),
        ({"hw:cpu_max_sockets": "2"}, {}, (2, 4, 1)),
        ({"hw:cpu_max_sockets": "3"}, {}, (2, 4, 1)),
        ({"hw:cpu_max_sockets": "2", "hw:cpu_max_cores": "2"}, {}, (2, 2, 2)),
        ({"hw:cpu_max_cores": "1"}, {}, (8, 1, 1)),
        ({"hw:cpu_max_sockets": "4"}, {"hw_cpu_max_sockets": "1"}, (1, 8, 1)),
        ({"hw:cpu_max_sockets": "4", "hw:cpu_threads": "2"}, {}, (4, 1, 2)),
        ({"hw:cpu_max_threads": "1"}, {"hw_cpu_sockets": "2"}, (2, 4, 1)),
    ],
)
def test_limits_choose_the_topology_as_nova_does(flavor: dict[str, str], image: dict[str, str], seen: tuple[int, int, int]) -> None:
    sockets, cores, threads = seen
    assert _asked(flavor, image).cpu_topology == GuestCpuTopology(sockets=sockets, cores=cores, threads=threads)


@pytest.mark.parametrize(
    ("flavor", "image", "said"),
    [
        ({"hw:cpu_max_sockets": "2"}, {"hw_cpu_max_sockets": "4"}, "the image may only lower it"),
        ({"hw:cpu_max_sockets": "2"}, {"hw_cpu_sockets": "4"}, "hw_cpu_sockets is '4', but hw:cpu_max_sockets is '2'"),
        ({"hw:cpu_max_sockets": "1", "hw:cpu_max_cores": "2", "hw:cpu_max_threads": "1"}, {}, "no topology within that has 8 vCPUs"),
    ],
)
def test_limits_that_cannot_be_kept_are_refused(flavor: dict[str, str], image: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        _asked(flavor, image)
    assert said in str(error.value)


def test_an_emulator_policy_of_a_flavor_may_rest_on_the_pins_of_its_image() -> None:
    """As in Nova, which looks at the policies of flavor and image together."""
    request = _asked({"hw:emulator_threads_policy": "share"}, {"hw_cpu_policy": "dedicated"})
    assert request.emulator_policy is EmulatorPolicy.SHARE
    with pytest.raises(InvalidRequest, match="hw:emulator_threads_policy"):
        _asked({"hw:emulator_threads_policy": "share"})


def test_a_template_is_named_by_flavor_or_image_and_needs_a_host_that_has_it() -> None:
    for flavor, image in (({"pinfold:template": "web"}, {}), ({}, {"pinfold:template": "web"})):
        request = _asked(flavor, image)
        assert request.wants == GuestHardware(template="web")
        assert host_features.needed(request) == {host_features.HARDWARE, "the template web"}


@pytest.mark.parametrize(
    ("flavor", "image", "said"),
    [
        ({"pinfold:template": "../etc/passwd"}, {}, "it must be the name of a template"),
        ({"pinfold:template": "web"}, {"pinfold:template": "db"}, "they must agree, or only one be set"),
        ({"pinfold:template": "web", "pinfold:memory_access": "shared"}, {"hw_machine_type": "q35"}, "a template brings its machine"),
        ({"pinfold:template": "web"}, {"hw_machine_type": "q35"}, "a template brings its machine, devices and limits"),
    ],
)
def test_a_template_that_cannot_be_taken_is_refused(flavor: dict[str, str], image: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(said)):
        _asked(flavor, image)


def test_memory_is_shared_beside_a_template_too_and_needs_a_host_that_can() -> None:
    for flavor, image in (({"pinfold:memory_access": "shared"}, {}), ({}, {"pinfold:memory_access": "shared"})):
        request = _asked(flavor | {"pinfold:template": "web"}, image)
        assert request.wants == GuestHardware(template="web", shared_memory=True)
        assert host_features.needed(request) == {host_features.HARDWARE, host_features.SHARED_MEMORY, "the template web"}
        assert _read(encode(request), "request") == request
    assert _asked({"pinfold:memory_access": "private"}).wants == GuestHardware()
    for flavor, image, said in (
        ({"pinfold:memory_access": "share"}, {}, "pinfold:memory_access is 'share'; it must be private or shared"),
        ({"pinfold:memory_acess": "shared"}, {}, "pinfold:memory_acess is not a known extra spec; did you mean pinfold:memory_access?"),
        ({}, {"pinfold:memory": "shared"}, "pinfold:memory is not a known image property; did you mean pinfold:memory_access?"),
        ({"pinfold:memory_access": "private"}, {"pinfold:memory_access": "shared"}, "they must agree, or only one be set"),
    ):
        with pytest.raises(InvalidRequest, match=re.escape(said)):
            _asked(flavor, image)
