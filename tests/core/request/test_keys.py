"""The registry: complete, readable, and right about near misses."""

from __future__ import annotations

import re

import pytest

from pinfold.core.request.key_table import ACTED_UPON, IMAGE_ONLY, REGISTRY, UNSUPPORTED, Disposition, Key
from pinfold.core.request.keys import find, find_image, flavor_spelling, nearest
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


# `nova.api.validation.extra_specs` and `ImageMetaProps` of Nova 34.0.0, without `hw:`, `resources` and `trait`.
NOVA_OTHER = (
    "accel:device_profile aggregate_instance_extra_specs:ssd capabilities:vcpus group_policy hide_hypervisor_id hw_rng:allowed "
    "hw_rng:rate_bytes hw_rng:rate_period hw_video:ram_max_mb os:secure_boot pci_passthrough:alias quota:cpu_quota quota:cpu_limit "
    "quota:disk_read_bytes_sec quota:memory_limit quota:vif_inbound_average vmware:hw_version vmware:storage_policy"
)
NOVA_IMAGE = (
    "hw_architecture hw_auto_disk_config hw_boot_menu hw_cdrom_bus hw_cpu_cores hw_cpu_max_cores hw_cpu_max_sockets hw_cpu_max_threads "
    "hw_cpu_policy hw_cpu_realtime_mask hw_cpu_sockets hw_cpu_thread_policy hw_cpu_threads hw_device_id hw_disk_bus hw_disk_type "
    "hw_emulation_architecture hw_ephemeral_encryption hw_ephemeral_encryption_format hw_ephemeral_encryption_secret_uuid "
    "hw_firmware_stateless hw_firmware_type hw_floppy_bus hw_input_bus hw_ipxe_boot hw_locked_memory hw_machine_type hw_maxphysaddr_bits "
    "hw_maxphysaddr_mode hw_mem_encryption hw_mem_encryption_model hw_mem_page_size hw_numa_cpus.0 hw_numa_mem.0 hw_numa_nodes "
    "hw_pci_numa_affinity_policy hw_pmu hw_pointer_model hw_qemu_guest_agent hw_redirected_usb_ports hw_rescue_bus hw_rescue_device "
    "hw_rng_model hw_scsi_model hw_serial_port_count hw_sound_model hw_time_hpet hw_tpm_model hw_tpm_version hw_usb_model hw_video_model "
    "hw_video_ram hw_vif_model hw_vif_multiqueue_enabled hw_viommu_model hw_virtio_packed_ring hw_vm_mode hw_watchdog_action img_bdm_v2 "
    "img_bittorrent img_block_device_mapping img_cache_in_nova img_compression_level img_config_drive img_hide_hypervisor_id "
    "img_hv_requested_version img_hv_type img_linked_clone img_mappings img_owner_id img_root_device_name img_signature "
    "img_signature_certificate_uuid img_signature_hash_method img_signature_key_type img_use_agent img_version os_admin_user "
    "os_command_line os_distro os_require_quiesce os_secure_boot os_skip_agent_inject_files_at_boot os_skip_agent_inject_ssh os_type"
)


@pytest.mark.parametrize("name", NOVA_OTHER.split())
def test_every_other_key_of_nova_has_a_place_of_its_own_in_the_tables(name: str) -> None:
    key = find(name)
    assert key is not None
    assert key.name not in ("NAME", "NAMESPACE:NAME")


@pytest.mark.parametrize("name", NOVA_IMAGE.split())
def test_every_image_property_of_nova_is_known(name: str) -> None:
    assert find_image(name) is not None


def test_no_hw_key_is_known_that_nova_lacks() -> None:
    ours = {key.name.removeprefix("hw:").replace(".N", ".0") for key in REGISTRY if key.name.startswith("hw:")}
    assert ours == set(NOVA_HW)


def test_names_and_image_properties_are_unique() -> None:
    names = [key.name for key in REGISTRY]
    images = [key.image for key in REGISTRY if key.image]
    assert len(names) == len(set(names))
    assert len(images) == len(set(images))


@pytest.mark.parametrize("key", REGISTRY + IMAGE_ONLY, ids=lambda key: key.name)
def test_the_texts_read_as_sentences(key: Key) -> None:
    assert re.fullmatch(r"[A-Z][^\n]*[^.]\.", key.meaning), "the meaning is one sentence"
    assert key.meaning.count(". ") == 0
    assert key.allowed
    assert not key.allowed.endswith(".")
    assert bool(key.reason) == (key.disposition in (Disposition.UNSUPPORTED, Disposition.UNKEPT))
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
        ("quota:cpu_shares", "quota:cpu_shares", Disposition.ACTED_UPON),
        ("quota:disk_total_iops_sec", "quota:NAME", Disposition.UNKEPT),
        ("os:secure_boot", "os:secure_boot", Disposition.ACTED_UPON),
        ("hw:vif_multiqueue_enabled", "hw:vif_multiqueue_enabled", Disposition.ACTED_UPON),
        ("hw_rng:allowed", "hw_rng:allowed", Disposition.ACTED_UPON),
        ("hw_video:ram_max_mb", "hw_video:NAME", Disposition.ACCEPTED),
        ("aggregate_instance_extra_specs:ssd", "aggregate_instance_extra_specs:NAME", Disposition.BY_SERVICE),
        ("capabilities:cpu_info:arch", "capabilities:NAME", Disposition.UNKEPT),
        ("ours:tier", "NAMESPACE:NAME", Disposition.ACCEPTED),
        ("hide_hypervisor_id", "hide_hypervisor_id", Disposition.ACCEPTED),
        ("ssd", "NAME", Disposition.BY_SERVICE),
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
    for name in ("hw_emulator_threads_policy", "hw_cpu_dedicated_mask", "hw_cpu_realtime", "hw_pmem", "hw_disk_buss", "owner"):
        assert find_image(name) is None


def test_a_flavor_key_spelled_like_an_image_property_is_recognised() -> None:
    assert flavor_spelling("hw_cpu_policy") == "hw:cpu_policy"
    assert flavor_spelling("hw_numa_cpus.3") == "hw:numa_cpus.3"
    assert flavor_spelling("hw_rng:allowed") == ""
