"""The processor in domain XML: what the operator configured, made of what libvirt says that this host can give. Pure.

A `host-model` is written out as the model and the features that it stands for when the guest is defined. So the guest keeps its processor
when libvirt, QEMU or the microcode changes: libvirt expands the mode `host-model` again at each start.
"""

from __future__ import annotations

from typing import Final
from xml.etree.ElementTree import Element, SubElement

from msgspec import Struct
from msgspec.structs import replace

from pinfold.core.cpu_model import CpuMode, CpuModel
from pinfold.core.errors import InvalidRequest
from pinfold.drivers.libvirt import xmltext

_WHAT: Final = "domain capabilities XML"
_UNSAVABLE: Final = "invtsc"
"""QEMU refuses to save or migrate a guest with an invariant TSC, and libvirt leaves it out of its own expansion of `host-model`."""
_REGISTER: Final = "arch-capabilities"
"""A register of Intel's processors that older kernels showed to guests on AMD too. Newer kernels refuse to set it there, and a QEMU that
asks for it all the same ends at the guest's start: "failed to set MSR 0x10a".
"""
_REGISTERS_BITS: Final = (
    "rdctl-no",
    "ibrs-all",
    "rsba",
    "skip-l1dfl-vmentry",
    "ssb-no",
    "mds-no",
    "pschange-mc-no",
    "tsx-ctrl",
    "taa-no",
    "sbdr-ssdp-no",
    "fbsdp-no",
    "psdp-no",
    "fb-clear",
    "pbrsb-no",
    "gds-no",
    "rfds-no",
)
"""The features that are bits of that register, by libvirt's names."""
_WITHOUT_REGISTER: Final = ("AMD", "Hygon")
"""The vendors of processors that have no such register."""
_MOST: Final = 4096
_SHOWN: Final = 8
"""How many features are shown."""


class HostCpu(Struct, frozen=True, kw_only=True):
    """What guests can get here: the host's own model with `features`, as `(name, policy)`, '' if there is none; and the models that are
    usable by name. `passthrough` says whether a guest can have the host's processor as it is, but for the features `withheld`.
    """

    model: str = ""
    vendor: str = ""
    features: tuple[tuple[str, str], ...] = ()
    usable: tuple[str, ...] = ()
    passthrough: bool = False
    withheld: tuple[str, ...] = ()


def host_cpu(text: str) -> HostCpu:
    """What domain capabilities XML says of processors. Raises `InvalidRequest` for a text that is not libvirt's."""
    modes = {mode.get("name"): mode for mode in xmltext.parsed(text, _WHAT, root="domainCapabilities").iterfind("cpu/mode")}
    usable = modes.get("custom")
    found = HostCpu(
        usable=() if usable is None else tuple(model.text or "" for model in usable.iterfind("model") if model.get("usable") == "yes"),
        passthrough=_supported(modes.get("host-passthrough")),
    )
    own = modes.get("host-model")
    if own is None or not _supported(own):
        return found
    vendor = own.findtext("vendor", default="")
    withheld = (_REGISTER,) if vendor in _WITHOUT_REGISTER else ()
    left_out = {_UNSAVABLE, *withheld, *(_REGISTERS_BITS if withheld else ())}
    features = xmltext.children(own, "feature", _MOST, _WHAT)
    return HostCpu(
        model=own.findtext("model", default=""),
        vendor=vendor,
        features=tuple((one.get("name", ""), one.get("policy", "require")) for one in features if one.get("name") not in left_out),
        usable=found.usable,
        passthrough=found.passthrough,
        withheld=withheld,
    )


def element(wanted: CpuModel, virt_type: str, host: HostCpu) -> Element:
    """`<cpu>` of a new guest, without topology and cells; without attributes and children where the guest gets QEMU's default.

    Raises `InvalidRequest` if this host cannot give what is configured.
    """
    cpu = Element("cpu")
    match mode_of(wanted, virt_type, host):
        case CpuMode.HOST_MODEL:
            if not host.model:
                raise _refused(
                    "cpu_mode is host-model, but libvirt knows no model of this host; host-passthrough, custom or none is allowed"
                )
            _custom(cpu, host.model, host.vendor)
            _features(cpu, dict(host.features), wanted)
        case CpuMode.HOST_PASSTHROUGH:
            if virt_type != "kvm" or not host.passthrough:
                raise _refused("cpu_mode is host-passthrough, but this guest does not run under KVM; host-model, custom or none is allowed")
            cpu.attrib |= {"mode": "host-passthrough", "check": "none"}
            _features(cpu, dict.fromkeys(host.withheld, "disable"), wanted)
        case CpuMode.CUSTOM:
            model = next((name for name in wanted.models if name in host.usable), "")
            if not model:
                raise _refused(f"this host can give no processor of cpu_models ({', '.join(wanted.models)}); {_some(host.usable)}")
            _custom(cpu, model, "")
            _features(cpu, {}, wanted)
    return cpu


def mode_of(wanted: CpuModel, virt_type: str, host: HostCpu) -> CpuMode:
    """The mode for a guest, which depends on the kind of virtualization where none is configured."""
    if wanted.mode is not CpuMode.DEFAULT:
        return wanted.mode
    return CpuMode.HOST_MODEL if virt_type == "kvm" and host.model else CpuMode.NONE


def written_out(wanted: CpuModel, virt_type: str, host: HostCpu) -> Element | None:
    """The `<cpu>` with a model whose features guests surely get; None where they depend on QEMU's default. Raises as `element`.

    It is that of `element`, but for `host-passthrough`: of that processor, libvirt knows the features that `host-model` has.
    """
    cpu = element(wanted, virt_type, host)
    if cpu.get("mode") == "host-passthrough":
        if not host.model:
            return None
        cpu = element(replace(wanted, mode=CpuMode.HOST_MODEL), virt_type, host)
    return cpu if cpu.attrib else None


def features_of(text: str) -> frozenset[str]:
    """The features of a `<cpu>` that libvirt has written out. Raises `InvalidRequest` for a text that is not libvirt's."""
    features = xmltext.children(xmltext.parsed(text, "processor XML", root="cpu"), "feature", _MOST, "processor XML")
    return frozenset(one.get("name", "") for one in features if one.get("policy") == "require")


def words(cpu: Element) -> str:
    """The processor of a definition for people.

    >>> words(Element("cpu")), words(Element("cpu", {"mode": "host-passthrough"}))
    ("QEMU's default processor", "the host's own processor")
    """
    if not cpu.attrib:
        return "QEMU's default processor"
    given = [f"{'+' if one.get('policy') == 'require' else '-'}{one.get('name')}" for one in cpu.iterfind("feature")]
    model = cpu.findtext("model", default="the host's own processor")
    more = f" and {len(given) - _SHOWN} more features" if len(given) > _SHOWN else ""
    return f"{model} ({', '.join(given[:_SHOWN])}{more})" if given else model


def assumed(wanted: CpuModel, host: HostCpu) -> HostCpu:
    """The host, as if it could give the first model if it can give none. A comparison then tells which features are missing."""
    if set(wanted.models).isdisjoint(host.usable):
        return replace(host, usable=(*wanted.models[:1], *host.usable))
    return host


def _custom(cpu: Element, model: str, vendor: str) -> None:
    cpu.attrib |= {"mode": "custom", "match": "exact", "check": "partial"}
    SubElement(cpu, "model", {"fallback": "forbid"}).text = model
    if vendor:
        SubElement(cpu, "vendor").text = vendor


def _features(cpu: Element, features: dict[str, str], wanted: CpuModel) -> None:
    for name, policy in (features | {flag.name: flag.policy for flag in wanted.flags}).items():
        SubElement(cpu, "feature", {"policy": policy, "name": name})


def _some(usable: tuple[str, ...]) -> str:
    shown = ", ".join(usable[:8])
    return f"it can give {shown}{' and others' if len(usable) > 8 else ''}" if shown else "it can give none by name"


def _supported(mode: Element | None) -> bool:
    return mode is not None and mode.get("supported") == "yes"


def _refused(sentence: str) -> InvalidRequest:
    return InvalidRequest(f"[libvirt] {sentence}", key="cpu_mode")
