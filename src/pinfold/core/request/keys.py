"""The registry of extra specs and image properties: meaning, allowed values, and what pinfold does with each.

The reference is generated from it. `values` reads values, and `merge` merges flavor and image.
"""

from __future__ import annotations

import difflib
import re
from enum import Enum
from typing import Final

from msgspec import Struct


class Disposition(Enum):
    """What pinfold does with a key."""

    ACTED_UPON = "acted upon"
    """It affects CPUs or memory."""
    ACCEPTED = "accepted"
    """It has no effect on CPUs and memory; the request lists it as not acted upon."""
    UNSUPPORTED = "unsupported"
    """It would affect the placement in a way that pinfold does not implement. It is refused, with the reason."""


class Key(Struct, frozen=True, kw_only=True):
    """One extra spec.

    In `name`, capitals stand for what varies: `hw:numa_cpus.N` for the guest cell's index, `trait:NAME`. `allowed` completes "it must
    be …". `meaning` is one sentence. `image` is the image property that mirrors it, '' where there is none. `reason` says why a key is
    UNSUPPORTED, and completes "it is not supported: …".
    """

    name: str
    allowed: str
    meaning: str
    disposition: Disposition = Disposition.ACTED_UPON
    image: str = ""
    reason: str = ""


def _accepted(name: str, allowed: str, meaning: str, image: str = "") -> Key:
    return Key(name=name, allowed=allowed, meaning=meaning, disposition=Disposition.ACCEPTED, image=image)


def _unsupported(name: str, allowed: str, meaning: str, reason: str, image: str = "") -> Key:
    return Key(name=name, allowed=allowed, meaning=meaning, disposition=Disposition.UNSUPPORTED, image=image, reason=reason)


_BOOLEAN: Final = "true or false (also yes, no, on, off, t, f, y, n, 1, 0)"
_MASK: Final = "a list of the flavor's vCPUs such as 0-3,8 or 0-7,^2; with a leading ^, as in ^0-1, it means all but those"
_COUNT: Final = "a whole number from 1 to 8192"
_PAGE: Final = "small, large, any, or a power of two from 4 KiB to 16 GiB such as 2048 (KiB), 2MB, 2MiB, 2M or 1GB"
_ANYTHING: Final = "any text"
_NO_LIMITS: Final = "limits on what an image may choose as guest CPU topology are not applied"
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
        name="trait:NAME",
        allowed="required or forbidden (in an image: required)",
        meaning="A trait that the host has to have or must not have; HW_CPU_HYPERTHREADING also sets the thread policy, to require when "
        "required and to isolate when forbidden.",
        image="trait:NAME",
    ),
)

UNSUPPORTED: Final = (
    _unsupported("hw:cpu_max_sockets", _COUNT, "The most sockets that an image may choose.", _NO_LIMITS, "hw_cpu_max_sockets"),
    _unsupported("hw:cpu_max_cores", _COUNT, "The most cores per socket that an image may choose.", _NO_LIMITS, "hw_cpu_max_cores"),
    _unsupported("hw:cpu_max_threads", _COUNT, "The most threads per core that an image may choose.", _NO_LIMITS, "hw_cpu_max_threads"),
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

ACCEPTED: Final = (
    _accepted("hw:boot_menu", _BOOLEAN, "Shows a boot menu when the guest starts.", "hw_boot_menu"),
    _accepted("hw:ephemeral_encryption", _BOOLEAN, "Encrypts the guest's ephemeral disks.", "hw_ephemeral_encryption"),
    _accepted(
        "hw:ephemeral_encryption_format",
        "plain, luks or luksv2",
        "The format of encrypted ephemeral disks.",
        "hw_ephemeral_encryption_format",
    ),
    _accepted("hw:hide_hypervisor_id", _BOOLEAN, "Hides from the guest that it is one.", "img_hide_hypervisor_id"),
    _accepted("hw:maxphysaddr_bits", "a whole number", "The width of the guest's physical addresses.", "hw_maxphysaddr_bits"),
    _accepted("hw:maxphysaddr_mode", "emulate or passthrough", "Who decides on the width of physical addresses.", "hw_maxphysaddr_mode"),
    _accepted(
        "hw:mem_encryption_model",
        "amd-sev, amd-sev-es, amd-sev-snp or intel-tdx",
        "The feature that encrypts memory; without hw:mem_encryption it does nothing.",
        "hw_mem_encryption_model",
    ),
    _accepted("hw:pmu", _BOOLEAN, "Gives the guest a performance monitoring unit.", "hw_pmu"),
    _accepted("hw:redirected_usb_ports", "a whole number from 0 to 15", "The number of redirected USB ports.", "hw_redirected_usb_ports"),
    _accepted("hw:serial_port_count", "a whole number", "The number of serial ports.", "hw_serial_port_count"),
    _accepted("hw:sound_model", "sb16, es1370, pcspk, ac97, ich6, ich9, usb or virtio", "The sound device.", "hw_sound_model"),
    _accepted("hw:tpm_model", "tpm-tis or tpm-crb", "The model of the emulated TPM.", "hw_tpm_model"),
    _accepted("hw:tpm_secret_security", "user, host or deployment", "Who may open the secrets of the emulated TPM."),
    _accepted(
        "hw:tpm_version",
        "1.2 or 2.0",
        "The version of the emulated TPM; the service refuses it, because no server gets one.",
        "hw_tpm_version",
    ),
    _accepted("hw:usb_model", "none, nec-xhci or qemu-xhci", "The USB controller.", "hw_usb_model"),
    _accepted("hw:vif_multiqueue_enabled", _BOOLEAN, "Gives network devices a queue per vCPU.", "hw_vif_multiqueue_enabled"),
    _accepted("hw:viommu_model", "intel, smmuv3, virtio or auto", "The model of the guest's IOMMU.", "hw_viommu_model"),
    _accepted("hw:virtio_packed_ring", _BOOLEAN, "Lets the guest use packed virtio rings.", "hw_virtio_packed_ring"),
    _accepted("hw:watchdog_action", "none, pause, poweroff, reset or disabled", "What the watchdog does.", "hw_watchdog_action"),
    _accepted(
        "resources:CUSTOM_OVERHEAD_MILLICPU",
        "a whole number",
        "What a guest books of the overhead pool in a Nova cloud; pinfold counts that itself, by [overhead].",
    ),
    _accepted(
        "aggregate_instance_extra_specs:NAME", _ANYTHING, "Metadata that Nova looks for in a host's aggregates; the service refuses it."
    ),
    _accepted("capabilities:NAME", _ANYTHING, "A capability that Nova compares with what the host reports."),
    _accepted("hw_rng:NAME", _ANYTHING, "The guest's random number device."),
    _accepted("hw_video:NAME", _ANYTHING, "The guest's video device."),
    _accepted("os:NAME", _ANYTHING, "How the guest's operating system is started; the service refuses os:secure_boot=required."),
    _accepted("quota:NAME", _ANYTHING, "Limits on CPU time, disk and network that Nova sets; the service refuses them."),
    _accepted("NAMESPACE:NAME", _ANYTHING, "A key of any other namespace; it belongs to somebody else."),
    _accepted("NAME", _ANYTHING, "A key without a namespace; it belongs to somebody else."),
)

REGISTRY: Final = ACTED_UPON + UNSUPPORTED + ACCEPTED
"""Every key, in the order of the reference: acted upon, unsupported, accepted."""

_BY_NAME: Final = {key.name: key for key in REGISTRY}
_BY_IMAGE: Final = {key.image: key for key in REGISTRY if key.image}
_NEAR: Final = {key.name.removeprefix("hw:"): key.name for key in REGISTRY if key.name.startswith("hw:")}
_CELL_KEY: Final = re.compile(r"(hw[:_]numa_(?:cpus|mem)\.)(0|[1-9][0-9]*)")
_GROUPED: Final = re.compile(r"(resources|trait)[A-Za-z0-9_-]+:.*", re.DOTALL)


def find(name: str) -> Key | None:
    """The registered key for the name of an extra spec; None for an unknown `hw:` key.

    Every name outside `hw:` has a key, in the last resort `NAMESPACE:NAME` or `NAME`.

    >>> find("hw:numa_mem.1").name, find("resources1:PCPU").name, find("quota:cpu_shares").name, find("hw:cpu_polisy")
    ('hw:numa_mem.N', 'resourcesGROUP:CLASS', 'quota:NAME', None)
    """
    # The registry writes `hw:numa_cpus.N` with the letter N; nobody can set that as a key.
    exact = None if name.endswith(".N") else _BY_NAME.get(general_name(name))
    if exact is not None:
        return exact
    namespace, colon, _ = name.partition(":")
    if not colon:
        return _BY_NAME["NAME"]
    if namespace.lower() == "hw":
        return None
    if namespace == "resources":
        return _BY_NAME["resources:CLASS"]
    grouped = _GROUPED.fullmatch(name)
    if grouped:
        return _BY_NAME["resourcesGROUP:CLASS" if grouped[1] == "resources" else "traitGROUP:NAME"]
    return _BY_NAME.get(f"{namespace}:NAME", _BY_NAME["NAMESPACE:NAME"])


def find_image(name: str) -> Key | None:
    """The registered key that an image property mirrors; None for a property that pinfold does not know.

    >>> find_image("hw_numa_cpus.0").name, find_image("os_distro"), find_image("hw_emulator_threads_policy")
    ('hw:numa_cpus.N', None, None)
    """
    if name.startswith("trait:"):
        return _BY_NAME["trait:NAME"]
    return None if name.endswith(".N") else _BY_IMAGE.get(general_name(name))


def general_name(name: str) -> str:
    """The name with a guest cell's index replaced by N.

    >>> general_name("hw:numa_cpus.12"), general_name("hw_numa_mem.0"), general_name("hw:numa_nodes")
    ('hw:numa_cpus.N', 'hw_numa_mem.N', 'hw:numa_nodes')
    """
    match = _CELL_KEY.fullmatch(name)
    return f"{match[1]}N" if match else name


def cell_index(name: str) -> int:
    """The guest cell's index in `hw:numa_cpus.N` and its like. Raises `ValueError` for other names.

    >>> cell_index("hw:numa_mem.3")
    3
    """
    match = _CELL_KEY.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} has no cell index")
    return int(match[2])


def nearest(name: str) -> str:
    """The known `hw:` key with the spelling closest to `name`, '' if none is close. Ties follow difflib's fixed order.

    >>> nearest("hw:emulator_threads"), nearest("hw:emulator_thread_policy"), nearest("hw:xyz")
    ('hw:emulator_threads_policy', 'hw:emulator_threads_policy', '')
    """
    spelled = re.sub(r"\d+$", "N", name.lower().removeprefix("hw:"))
    found = difflib.get_close_matches(spelled, _NEAR, n=1, cutoff=0.6)
    return _NEAR[found[0]] if found else ""


def flavor_spelling(name: str) -> str:
    """The extra spec that a flavor key spelled like an image property should be; '' if it is not spelled so.

    >>> flavor_spelling("hw_cpu_policy"), flavor_spelling("hw_emulator_threads_policy"), flavor_spelling("hw_disk_bus")
    ('hw:cpu_policy', 'hw:emulator_threads_policy', '')
    """
    meant = name.replace("_", ":", 1) if name.startswith("hw_") else ""
    return meant if general_name(meant) in _BY_NAME else ""
