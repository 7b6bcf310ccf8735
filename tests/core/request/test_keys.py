"""The registry: complete, readable, and right about near misses."""

from __future__ import annotations

import re

import pytest

from pinfold.core.request.keys import ACTED_UPON, REGISTRY, UNSUPPORTED, Disposition, Key, find, find_image, flavor_spelling, nearest
from pinfold.core.request.model import CpuPolicy, EmulatorPolicy, ThreadPolicy

# The `hw:` namespace as Nova's reference of extra specs lists it, to be compared by eye when Nova adds to it.
NOVA_HW = [
    "boot_menu",
    "cpu_cores",
    "cpu_dedicated_mask",
    "cpu_max_cores",
    "cpu_max_sockets",
    "cpu_max_threads",
    "cpu_policy",
    "cpu_realtime",
    "cpu_realtime_mask",
    "cpu_sockets",
    "cpu_thread_policy",
    "cpu_threads",
    "emulator_threads_policy",
    "ephemeral_encryption",
    "ephemeral_encryption_format",
    "hide_hypervisor_id",
    "locked_memory",
    "maxphysaddr_bits",
    "maxphysaddr_mode",
    "mem_encryption",
    "mem_encryption_model",
    "mem_page_size",
    "numa_cpus.0",
    "numa_mem.0",
    "numa_nodes",
    "pci_numa_affinity_policy",
    "pmem",
    "pmu",
    "redirected_usb_ports",
    "serial_port_count",
    "sound_model",
    "tpm_model",
    "tpm_secret_security",
    "tpm_version",
    "usb_model",
    "vif_multiqueue_enabled",
    "viommu_model",
    "virtio_packed_ring",
    "watchdog_action",
]


@pytest.mark.parametrize("name", NOVA_HW)
def test_every_hw_key_of_nova_is_known(name: str) -> None:
    assert find(f"hw:{name}") is not None


def test_no_hw_key_is_known_that_nova_lacks() -> None:
    ours = {key.name.removeprefix("hw:").replace(".N", ".0") for key in REGISTRY if key.name.startswith("hw:")}
    assert ours == set(NOVA_HW)


def test_names_and_image_properties_are_unique() -> None:
    names = [key.name for key in REGISTRY]
    images = [key.image for key in REGISTRY if key.image]
    assert len(names) == len(set(names))
    assert len(images) == len(set(images))


@pytest.mark.parametrize("key", REGISTRY, ids=lambda key: key.name)
def test_the_texts_read_as_sentences(key: Key) -> None:
    assert re.fullmatch(r"[A-Z][^\n]*[^.]\.", key.meaning), "the meaning is one sentence"
    assert key.meaning.count(". ") == 0
    assert key.allowed
    assert not key.allowed.endswith(".")
    assert bool(key.reason) == (key.disposition is Disposition.UNSUPPORTED)
    assert not key.reason.endswith(".")


def test_dispositions_and_tuples_agree() -> None:
    assert all(key.disposition is Disposition.ACTED_UPON for key in ACTED_UPON)
    assert all(key.disposition is Disposition.UNSUPPORTED for key in UNSUPPORTED)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hw:cpu_policy", [policy.value for policy in CpuPolicy]),
        ("hw:cpu_thread_policy", [policy.value for policy in ThreadPolicy]),
        ("hw:emulator_threads_policy", [policy.value for policy in EmulatorPolicy if policy is not EmulatorPolicy.UNSET]),
    ],
)
def test_what_is_allowed_names_every_policy(name: str, words: list[str]) -> None:
    key = find(name)
    assert key is not None
    assert set(re.findall(r"\w+", key.allowed)) - {"or"} == set(words)


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("hw:emulator_threads", "hw:emulator_threads_policy"),
        ("hw:emulator_thread_policy", "hw:emulator_threads_policy"),
        ("hw:cpu_threads_policy", "hw:cpu_thread_policy"),
        ("hw:cpu_realtime_maskk", "hw:cpu_realtime_mask"),
        ("hw:cpu_polcy", "hw:cpu_policy"),
        ("hw:mem_pagesize", "hw:mem_page_size"),
        ("hw:numa_node", "hw:numa_nodes"),
        ("hw:numa_cpu.0", "hw:numa_cpus.N"),
        ("hw:numa_cpus.00", "hw:numa_cpus.N"),
        ("hw:cpu_maxthreads", "hw:cpu_max_threads"),
        ("HW:cpu_policy", "hw:cpu_policy"),
        ("hw:lock_memory", "hw:locked_memory"),
        ("hw:qqq", ""),
        ("hw:", ""),
    ],
)
def test_a_slip_has_its_nearest_key(slip: str, meant: str) -> None:
    assert find(slip) is None
    assert nearest(slip) == meant


@pytest.mark.parametrize(
    ("name", "general", "disposition"),
    [
        ("trait:HW_CPU_X86_AVX2", "trait:NAME", Disposition.ACTED_UPON),
        ("trait1:HW_CPU_X86_AVX2", "traitGROUP:NAME", Disposition.UNSUPPORTED),
        ("trait_NET:CUSTOM_A", "traitGROUP:NAME", Disposition.UNSUPPORTED),
        ("resources:VCPU", "resources:VCPU", Disposition.ACTED_UPON),
        ("resources:PCPU", "resources:PCPU", Disposition.ACTED_UPON),
        ("resources:CUSTOM_GOLD", "resources:CLASS", Disposition.UNSUPPORTED),
        ("resources:VGPU", "resources:CLASS", Disposition.UNSUPPORTED),
        ("resources1:PCPU", "resourcesGROUP:CLASS", Disposition.UNSUPPORTED),
        ("group_policy", "group_policy", Disposition.UNSUPPORTED),
        ("pci_passthrough:alias", "pci_passthrough:NAME", Disposition.UNSUPPORTED),
        ("accel:device_profile", "accel:NAME", Disposition.UNSUPPORTED),
        ("quota:cpu_shares", "quota:NAME", Disposition.ACCEPTED),
        ("os:secure_boot", "os:NAME", Disposition.ACCEPTED),
        ("hw_rng:allowed", "hw_rng:NAME", Disposition.ACCEPTED),
        ("hw_video:ram_max_mb", "hw_video:NAME", Disposition.ACCEPTED),
        ("aggregate_instance_extra_specs:ssd", "aggregate_instance_extra_specs:NAME", Disposition.ACCEPTED),
        ("capabilities:cpu_info:arch", "capabilities:NAME", Disposition.ACCEPTED),
        ("ours:tier", "NAMESPACE:NAME", Disposition.ACCEPTED),
        ("hide_hypervisor_id", "NAME", Disposition.ACCEPTED),
    ],
)
def test_each_namespace_has_its_treatment(name: str, general: str, disposition: Disposition) -> None:
    key = find(name)
    assert key is not None
    assert (key.name, key.disposition) == (general, disposition)


def test_the_letter_of_the_registry_is_no_cell_index() -> None:
    assert find("hw:numa_cpus.N") is None
    assert find_image("hw_numa_mem.N") is None


def test_image_properties_that_nova_lacks_are_foreign() -> None:
    for name in ("hw_emulator_threads_policy", "hw_cpu_dedicated_mask", "hw_cpu_realtime", "hw_pmem", "hw_disk_bus", "os_type"):
        assert find_image(name) is None


def test_a_flavor_key_spelled_like_an_image_property_is_recognised() -> None:
    assert flavor_spelling("hw_cpu_policy") == "hw:cpu_policy"
    assert flavor_spelling("hw_numa_cpus.3") == "hw:numa_cpus.3"
    assert flavor_spelling("hw_rng:allowed") == ""
