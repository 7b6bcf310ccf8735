"""The tables of extra specs and image properties: meaning, allowed values, and what pinfold does with each.

The reference is generated from them. `keys` finds a key by its name, `values` reads values, and `merge` merges flavor and image.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from msgspec import Struct


class Disposition(Enum):
    """What pinfold does with a key."""

    ACTED_UPON = "acted upon"
    """It decides something about the guest, or where it runs."""
    BY_SERVICE = "acted upon by the service"
    """It decides which hosts of a fleet are candidates. On a host without a service it is listed as not acted upon."""
    UNSUPPORTED = "unsupported"
    """It would affect the placement in a way that pinfold does not implement. It is refused, with the reason."""
    UNKEPT = "unkept"
    """It promises something that no guest gets. The service refuses it; on a host without a service it is listed as not acted upon."""
    ACCEPTED = "accepted"
    """It has no effect; the request lists it as not acted upon."""
    DESCRIPTION = "description"
    """It says what an image is, and asks for nothing."""


class Key(Struct, frozen=True, kw_only=True):
    """One extra spec, or one image property that no extra spec mirrors.

    In `name`, capitals stand for what varies: `hw:numa_cpus.N` for the guest cell's index, `trait:NAME`. `allowed` completes "it must
    be …". `meaning` is one sentence. `image` is the image property that mirrors it, '' where there is none. `reason` says why a key is
    UNSUPPORTED, and completes "it is not supported: …"; of an UNKEPT key it completes "a server gets no …". `harmless` are the values of
    an UNKEPT key, in lower case, that promise nothing, and `instead` is what else a user can do.
    """

    name: str
    allowed: str
    meaning: str
    disposition: Disposition = Disposition.ACTED_UPON
    image: str = ""
    reason: str = ""
    harmless: tuple[str, ...] = ()
    instead: str = "use another flavor or image"


def _accepted(name: str, allowed: str, meaning: str, image: str = "") -> Key:
    return Key(name=name, allowed=allowed, meaning=meaning, disposition=Disposition.ACCEPTED, image=image)


def _unsupported(name: str, allowed: str, meaning: str, reason: str, image: str = "") -> Key:
    return Key(name=name, allowed=allowed, meaning=meaning, disposition=Disposition.UNSUPPORTED, image=image, reason=reason)


def _unkept(name: str, allowed: str, meaning: str, reason: str, image: str = "", harmless: tuple[str, ...] = ()) -> Key:
    return Key(name=name, allowed=allowed, meaning=meaning, disposition=Disposition.UNKEPT, image=image, reason=reason, harmless=harmless)


def _describes(name: str, meaning: str) -> Key:
    return Key(name=name, allowed=_ANYTHING, meaning=meaning, disposition=Disposition.DESCRIPTION)


_BOOLEAN: Final = "true or false (also yes, no, on, off, t, f, y, n, 1, 0)"
_MASK: Final = "a list of the flavor's vCPUs such as 0-3,8 or 0-7,^2; with a leading ^, as in ^0-1, it means all but those"
_COUNT: Final = "a whole number from 1 to 8192"
_PAGE: Final = "small, large, any, or a power of two from 4 KiB to 16 GiB such as 2048 (KiB), 2MB, 2MiB, 2M or 1GB"
_ANYTHING: Final = "any text"
_NUMBER: Final = "a whole number"
_AMOUNT: Final = "a whole number from 1 to 2147483647"
_OFF: Final = ("false", "no", "off", "f", "n", "0")
_NO_DEVICES: Final = "devices are not placed with the guest"
_NO_RESOURCES: Final = "only vCPUs, memory and disk of the flavor are counted, together with the overhead that they cause"
_NO_GROUPS: Final = "a host is one resource provider, so there are no groups of resources or traits to keep apart"

MAX_CELLS: Final = 128
"""The largest number of guest cells, as in Nova."""

ACTED_UPON: Final = (
    Key(
        name="hw:cpu_policy",
        allowed="dedicated, shared or mixed",
        meaning="Whether each vCPU gets a pCPU of its own (dedicated), all float over the shared pool (shared, the default), or some do "
        "one and the rest the other (mixed).",
        image="hw_cpu_policy",
    ),
    Key(
        name="hw:cpu_thread_policy",
        allowed="prefer, isolate or require",
        meaning="How pinned vCPUs use the hardware threads of a core: siblings where that keeps cores whole (prefer, the default), a core "
        "for each vCPU whose other threads stay idle (isolate), or only cores with two or more free threads (require).",
        image="hw_cpu_thread_policy",
    ),
    Key(
        name="hw:emulator_threads_policy",
        allowed="share or isolate",
        meaning="Where the emulator threads run: on the host's overhead pool (share), on one more dedicated pCPU (isolate), or, when "
        "unset, on the guest's own pCPUs.",
    ),
    Key(
        name="hw:cpu_dedicated_mask",
        allowed=_MASK,
        meaning="The vCPUs of a mixed guest that are pinned; the others float.",
    ),
    Key(
        name="hw:cpu_realtime",
        allowed=_BOOLEAN,
        meaning="Whether pinned vCPUs run under a realtime scheduler; the guest's memory is then locked.",
    ),
    Key(
        name="hw:cpu_realtime_mask",
        allowed=_MASK,
        meaning="The vCPUs that are realtime, all of them by default; in a mixed guest they are the pinned ones.",
        image="hw_cpu_realtime_mask",
    ),
    Key(
        name="hw:numa_nodes",
        allowed=f"a whole number from 1 to {MAX_CELLS}",
        meaning="How many NUMA cells the guest has; each is placed on a host cell of its own.",
        image="hw_numa_nodes",
    ),
    Key(
        name="hw:numa_cpus.N",
        allowed="a list of the flavor's vCPUs such as 0-3,8",
        meaning="The vCPUs of guest cell N; it is given for every cell or for none, together with hw:numa_mem.N.",
        image="hw_numa_cpus.N",
    ),
    Key(
        name="hw:numa_mem.N",
        allowed="a whole number of MiB, at least 1",
        meaning="The memory of guest cell N in MiB; it is given for every cell or for none, together with hw:numa_cpus.N.",
        image="hw_numa_mem.N",
    ),
    Key(
        name="hw:mem_page_size",
        allowed=_PAGE,
        meaning="The pages that back the guest's memory: the host's smallest, any larger ones, whichever are free, or one size; a bare "
        "number is KiB, and units are powers of 1024.",
        image="hw_mem_page_size",
    ),
    Key(
        name="hw:locked_memory",
        allowed=_BOOLEAN,
        meaning="Whether the guest's memory is locked, so that the host never swaps it.",
        image="hw_locked_memory",
    ),
    Key(
        name="hw:cpu_sockets",
        allowed=_COUNT,
        meaning="The sockets that the guest sees.",
        image="hw_cpu_sockets",
    ),
    Key(
        name="hw:cpu_cores",
        allowed=_COUNT,
        meaning="The cores that the guest sees in each socket.",
        image="hw_cpu_cores",
    ),
    Key(
        name="hw:cpu_threads",
        allowed=_COUNT,
        meaning="The hardware threads that the guest sees in each core.",
        image="hw_cpu_threads",
    ),
    Key(
        name="hw:cpu_max_sockets",
        allowed=_COUNT,
        meaning="The most sockets that the guest sees; an image may lower it.",
        image="hw_cpu_max_sockets",
    ),
    Key(
        name="hw:cpu_max_cores",
        allowed=_COUNT,
        meaning="The most cores that the guest sees in each socket; an image may lower it.",
        image="hw_cpu_max_cores",
    ),
    Key(
        name="hw:cpu_max_threads",
        allowed=_COUNT,
        meaning="The most hardware threads that the guest sees in each core; an image may lower it.",
        image="hw_cpu_max_threads",
    ),
    Key(
        name="hw:hide_hypervisor_id",
        allowed=_BOOLEAN,
        meaning="Whether KVM hides its signature from the guest.",
        image="img_hide_hypervisor_id",
    ),
    Key(
        name="hw:pmu",
        allowed=_BOOLEAN,
        meaning="Whether the guest has a performance monitoring unit; the hypervisor decides where this is not set.",
        image="hw_pmu",
    ),
    Key(
        name="hw:tpm_version",
        allowed="1.2 or 2.0",
        meaning="The version of the guest's emulated TPM; its state is not encrypted on the host, and hosts without swtpm are no "
        "candidates.",
        image="hw_tpm_version",
    ),
    Key(
        name="hw:tpm_model",
        allowed="tpm-tis or tpm-crb",
        meaning="The model of the emulated TPM, tpm-tis by default; tpm-crb needs version 2.0.",
        image="hw_tpm_model",
    ),
    Key(
        name="os:secure_boot",
        allowed="disabled, optional or required",
        meaning="Whether the guest's firmware boots only what is signed, for images with hw_firmware_type=uefi and hw_machine_type=q35; "
        "with optional it does where the host can.",
        image="os_secure_boot",
    ),
    Key(
        name="hw:watchdog_action",
        allowed="none, pause, poweroff, reset or disabled",
        meaning="What happens when the guest no longer feeds its watchdog; with disabled, the default, it has none.",
        image="hw_watchdog_action",
    ),
    Key(
        name="hw_rng:allowed",
        allowed=_BOOLEAN,
        meaning="Whether the guest gets the random number device that its image asks for; true by default.",
    ),
    Key(name="hw_rng:rate_bytes", allowed=_AMOUNT, meaning="How many random bytes the guest gets in each period."),
    Key(
        name="hw_rng:rate_period",
        allowed=_AMOUNT,
        meaning="The period of hw_rng:rate_bytes in milliseconds, one second by default.",
    ),
    Key(
        name="quota:cpu_shares",
        allowed="a whole number from 2 to 262144",
        meaning="The weight of the guest's CPU time where guests share pCPUs; the hosts need the cpu controller of cgroups.",
    ),
    Key(
        name="quota:cpu_period",
        allowed="a whole number of microseconds from 1000 to 1000000",
        meaning="The period of quota:cpu_quota.",
    ),
    Key(
        name="quota:cpu_quota",
        allowed="a whole number of microseconds from 1000 to 17592186044415",
        meaning="How long each vCPU may run in each period; the hosts need the cpu controller of cgroups.",
    ),
    Key(
        name="resources:VCPU",
        allowed="the flavor's number of vCPUs, or 0 beside resources:PCPU",
        meaning="Says that all vCPUs float, as hw:cpu_policy=shared does; only one of the two is given.",
    ),
    Key(
        name="resources:PCPU",
        allowed="the flavor's number of vCPUs, plus one with hw:emulator_threads_policy=isolate, or 0 beside resources:VCPU",
        meaning="Says that all vCPUs are pinned, as hw:cpu_policy=dedicated does; only one of the two is given.",
    ),
    Key(
        name="hw:vif_multiqueue_enabled",
        allowed=_BOOLEAN,
        meaning="Whether each network interface has a queue for each vCPU, 256 at most, and books as many times its overhead; hosts that "
        "offer a network of the server in user mode alone are no candidates.",
        image="hw_vif_multiqueue_enabled",
    ),
    Key(
        name="pinfold:template",
        allowed="the name of a template, 1 to 63 letters, digits and any of '._-'",
        meaning="The domain XML in templates_dir of the host that brings what the guest boots and all its devices; hosts without it are no "
        "candidates.",
        image="pinfold:template",
    ),
    Key(
        name="pinfold:memory_access",
        allowed="private or shared",
        meaning="Whether other processes of the host can map the guest's memory (shared), as vhost-user interfaces of a template need, or "
        "only its own (private, the default); Nova has no key for it, and shares the memory of guests on huge pages.",
        image="pinfold:memory_access",
    ),
    Key(
        name="trait:NAME",
        allowed="required or forbidden (in an image: required)",
        meaning="A trait that the host has to have or must not have, such as HW_CPU_X86_AVX2 of the processor that guests get there; "
        "HW_CPU_HYPERTHREADING also sets the thread policy, to require when required and to isolate when forbidden.",
        image="trait:NAME",
    ),
)

UNSUPPORTED: Final = (
    _unsupported(
        "hw:mem_encryption",
        _BOOLEAN,
        "Whether the guest's memory is encrypted by the processor; false is accepted.",
        "the slots for encrypted guests are not counted",
        "hw_mem_encryption",
    ),
    _unsupported(
        "hw:pci_numa_affinity_policy",
        "required, preferred, legacy or socket",
        "How near to the guest's cells its PCI devices have to be.",
        _NO_DEVICES,
        "hw_pci_numa_affinity_policy",
    ),
    _unsupported(
        "hw:pmem", "a comma-separated list of labels", "The persistent memory that the guest gets.", "it is not placed with the guest"
    ),
    _unsupported("resources:CLASS", "a whole number", "An amount of any other resource class of Placement.", _NO_RESOURCES),
    _unsupported("resourcesGROUP:CLASS", "a whole number", "An amount of a resource class in a group of its own.", _NO_GROUPS),
    _unsupported("traitGROUP:NAME", "required or forbidden", "A trait for a group of resources; use trait:NAME for the host.", _NO_GROUPS),
    _unsupported("group_policy", "none or isolate", "Whether groups of resources may share a provider.", _NO_GROUPS),
    _unsupported("pci_passthrough:NAME", "NAME:COUNT", "PCI devices that are passed through to the guest.", _NO_DEVICES),
    _unsupported("accel:NAME", _ANYTHING, "Accelerators that the guest gets.", _NO_DEVICES),
)

UNKEPT: Final = (
    _unkept(
        "hw:ephemeral_encryption",
        _BOOLEAN,
        "Encrypts the guest's ephemeral disks.",
        "encrypted disks",
        "hw_ephemeral_encryption",
        _OFF,
    ),
    _unkept(
        "hw:maxphysaddr_bits", _NUMBER, "The width of the guest's physical addresses.", "chosen width of addresses", "hw_maxphysaddr_bits"
    ),
    _unkept(
        "hw:maxphysaddr_mode",
        "emulate or passthrough",
        "Who decides on the width of physical addresses.",
        "chosen width of addresses",
        "hw_maxphysaddr_mode",
    ),
    _unkept("hw:viommu_model", "intel, smmuv3, virtio or auto", "The model of the guest's IOMMU.", "IOMMU", "hw_viommu_model"),
    Key(
        name="capabilities:NAME",
        allowed=_ANYTHING,
        meaning="A capability that Nova compares with what the host reports.",
        disposition=Disposition.UNKEPT,
        reason="host chosen by its capabilities",
        instead="use trait:NAME or the metadata of an aggregate",
    ),
    _unkept("quota:NAME", _ANYTHING, "Any other limit, on memory, disk and network.", "limits on memory, disk and network"),
)

BY_SERVICE: Final = (
    Key(
        name="aggregate_instance_extra_specs:NAME",
        allowed="a value, or an operator and its operand, such as <or> ssd <or> nvme",
        meaning="What NAME must be in the metadata of the host's aggregates.",
        disposition=Disposition.BY_SERVICE,
    ),
    Key(
        name="NAME",
        allowed="a value, or an operator and its operand, such as >= 4",
        meaning="The same as aggregate_instance_extra_specs:NAME, as in Nova: any key without a colon is one.",
        disposition=Disposition.BY_SERVICE,
    ),
)

ACCEPTED: Final = (
    _accepted("hw:boot_menu", _BOOLEAN, "Shows a boot menu when the guest starts.", "hw_boot_menu"),
    _accepted(
        "hw:ephemeral_encryption_format",
        "plain, luks or luksv2",
        "The format of encrypted ephemeral disks; without hw:ephemeral_encryption it does nothing.",
        "hw_ephemeral_encryption_format",
    ),
    _accepted(
        "hw:mem_encryption_model",
        "amd-sev, amd-sev-es, amd-sev-snp or intel-tdx",
        "The feature that encrypts memory; without hw:mem_encryption it does nothing.",
        "hw_mem_encryption_model",
    ),
    _accepted("hw:redirected_usb_ports", "a whole number from 0 to 15", "The number of redirected USB ports.", "hw_redirected_usb_ports"),
    _accepted("hw:serial_port_count", _NUMBER, "The number of serial ports; a guest has one.", "hw_serial_port_count"),
    _accepted("hw:sound_model", "sb16, es1370, pcspk, ac97, ich6, ich9, usb or virtio", "The sound device.", "hw_sound_model"),
    _accepted(
        "hw:tpm_secret_security",
        "user, host or deployment",
        "Who may open the secrets of the emulated TPM; a guest has none, because what its TPM keeps is not encrypted.",
    ),
    _accepted("hw:usb_model", "none, nec-xhci or qemu-xhci", "The USB controller; a guest has none.", "hw_usb_model"),
    _accepted("hw:virtio_packed_ring", _BOOLEAN, "Lets the guest use packed virtio rings.", "hw_virtio_packed_ring"),
    _accepted(
        "resources:CUSTOM_OVERHEAD_MILLICPU",
        _NUMBER,
        "What a guest books of the overhead pool in a Nova cloud; pinfold counts that itself, by [overhead].",
    ),
    _accepted("hide_hypervisor_id", _BOOLEAN, "The old name of hw:hide_hypervisor_id, which Nova deprecates."),
    _accepted("hw_video:NAME", _ANYTHING, "The guest's video device; a guest has none."),
    _accepted("os:NAME", _ANYTHING, "How the guest's operating system is started."),
    _accepted("vmware:NAME", _ANYTHING, "A key for VMware's hypervisor."),
    _accepted("NAMESPACE:NAME", _ANYTHING, "A key of any other namespace, which other programs read."),
)

IMAGE_ONLY: Final = (
    Key(
        name="hw_machine_type",
        allowed="a machine of QEMU such as pc, q35 or pc-q35-7.2",
        meaning="The machine that the guest sees, pc by default on x86; hosts without it are no candidates.",
    ),
    Key(
        name="hw_cdrom_bus",
        allowed="ide, sata, scsi, usb or virtio",
        meaning="The bus of the config drive: ide by default, and sata with the machine q35, which has no ide; with virtio it is a "
        "disk that cannot be written, because there is no such CD-ROM drive.",
    ),
    Key(name="hw_rng_model", allowed="virtio", meaning="Gives the guest a random number device, unless the flavor forbids it."),
    Key(
        name="hw_firmware_type",
        allowed="bios or uefi",
        meaning="The firmware that the guest boots with, bios by default; hosts without UEFI firmware are no candidates.",
    ),
    _unkept("hw_firmware_stateless", _BOOLEAN, "Whether the firmware keeps no variables.", "stateless firmware", "", _OFF),
    _unkept("hw_disk_bus", "virtio", "The bus of the guest's disks.", "disk on another bus than virtio", "", ("virtio",)),
    _unkept(
        "hw_vif_model", "virtio", "The model of network interfaces.", "network interface of another model than virtio", "", ("virtio",)
    ),
    _unkept("hw_emulation_architecture", _ANYTHING, "The architecture to emulate.", "emulated architecture"),
    _unkept("hw_vm_mode", "hvm", "The mode of virtualization.", "mode of virtualization other than hvm", "", ("hvm",)),
    _unkept(
        "img_hv_type", "kvm or qemu", "The hypervisor that the image is for.", "hypervisor other than KVM and QEMU", "", ("kvm", "qemu")
    ),
    _unkept("img_hv_requested_version", _ANYTHING, "The version of the hypervisor.", "hypervisor chosen by its version"),
    *(
        _accepted(name, allowed, meaning)
        for name, allowed, meaning in (
            ("hw_architecture", "a processor architecture such as x86_64", "The architecture of the image; hosts are not chosen by it."),
            ("hw_auto_disk_config", _ANYTHING, "Whether Nova resizes partitions."),
            ("hw_device_id", _ANYTHING, "A device's id."),
            ("hw_disk_type", _ANYTHING, "The kind of disk."),
            ("hw_ephemeral_encryption_secret_uuid", _ANYTHING, "The secret of encrypted ephemeral disks."),
            ("hw_floppy_bus", _ANYTHING, "The bus of floppy drives; a guest has none."),
            ("hw_input_bus", _ANYTHING, "The bus of input devices; a guest has none."),
            ("hw_ipxe_boot", _BOOLEAN, "Whether the guest boots from the network."),
            ("hw_pointer_model", _ANYTHING, "The pointing device; a guest has none."),
            ("hw_qemu_guest_agent", _BOOLEAN, "Whether the guest runs QEMU's guest agent, for which it gets no channel."),
            ("hw_rescue_bus", _ANYTHING, "The bus of the disk of a rescue."),
            ("hw_rescue_device", _ANYTHING, "The device of a rescue."),
            ("hw_scsi_model", _ANYTHING, "The SCSI controller; a guest has none."),
            ("hw_time_hpet", _BOOLEAN, "Whether the guest has a high precision event timer."),
            ("hw_video_model", _ANYTHING, "The video device; a guest has none."),
            ("hw_video_ram", _NUMBER, "The memory of the video device in MiB."),
            ("img_signature", _ANYTHING, "The image's signature; it is not checked."),
            ("img_signature_certificate_uuid", _ANYTHING, "The certificate of the signature; it is not checked."),
            ("img_signature_hash_method", _ANYTHING, "The hash of the signature; it is not checked."),
            ("img_signature_key_type", _ANYTHING, "The key of the signature; it is not checked."),
            ("os_command_line", _ANYTHING, "The command line of a kernel."),
            ("os_require_quiesce", _BOOLEAN, "Whether snapshots need a quiet file system; there are no snapshots."),
        )
    ),
    Key(name="img_config_drive", allowed="mandatory or optional", meaning="Whether each guest of the image gets a config drive."),
    *(
        _describes(name, meaning)
        for name, meaning in (
            ("img_bdm_v2", "The version of the image's block devices."),
            ("img_bittorrent", "Whether the image can be fetched by BitTorrent."),
            ("img_block_device_mapping", "The image's block devices."),
            ("img_cache_in_nova", "Whether Xen caches the image."),
            ("img_compression_level", "How Xen compresses the image."),
            ("img_linked_clone", "Whether VMware clones the image."),
            ("img_mappings", "The image's device names."),
            ("img_owner_id", "The image's owner."),
            ("img_root_device_name", "The name of the root device."),
            ("img_use_agent", "Whether the image has Xen's agent."),
            ("img_version", "The version of the image."),
            ("os_admin_user", "The user that a password is set for."),
            ("os_distro", "The operating system of the image."),
            ("os_skip_agent_inject_files_at_boot", "Whether Xen's agent writes files."),
            ("os_skip_agent_inject_ssh", "Whether Xen's agent writes keys."),
            ("os_type", "The family of operating systems, such as linux."),
        )
    ),
)
"""The image properties that no extra spec mirrors."""

REGISTRY: Final = ACTED_UPON + BY_SERVICE + UNSUPPORTED + UNKEPT + ACCEPTED
"""Every extra spec, in the order of the reference."""
