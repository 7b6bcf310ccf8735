"""Read the hardware of a guest from its flavor and image. `guest_hardware` has the values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol, TypeVar

from pinfold.core.errors import InvalidRequest
from pinfold.core.request.guest_hardware import PLAIN, TEMPLATE_NAME, GuestHardware, SecureBoot, interface_queues
from pinfold.core.request.values import TRUE, SpecValue, boolean, not_allowed, whole_number, word

T = TypeVar("T")
MOST_SHARES: Final = 262144
_LEAST_PERIOD: Final = 1000
_MOST_PERIOD: Final = 1_000_000
_MOST_QUOTA: Final = 17_592_186_044_415
"""The bounds of libvirt's `<period>` in microseconds and of its `<quota>`, 2^44 - 1."""
_MACHINE: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_TEMPLATE: Final = "pinfold:template"
_MULTIQUEUE: Final = "hw:vif_multiqueue_enabled"
_MEMORY_ACCESS: Final = {"private": False, "shared": True}
_FIRMWARE: Final = {"bios": False, "uefi": True}
_SECURE_BOOT: Final = {policy.value: policy for policy in SecureBoot}
_TPM_1, _TPM_2 = "1.2", "2.0"
_TPM_VERSIONS: Final = {version: version for version in (_TPM_1, _TPM_2)}
_TPM_TIS, _TPM_CRB = "tpm-tis", "tpm-crb"
_TPM_MODELS: Final = {model: model for model in (_TPM_TIS, _TPM_CRB)}
CD_ROM_BUSES: Final = ("ide", "sata", "scsi", "usb", "virtio")
_WATCHDOG: Final = {action: action for action in ("none", "pause", "poweroff", "reset", "disabled")}


class One(Protocol):
    """The value on which flavor and image agree, read by the function; None if neither gives one."""

    def __call__(self, key: str, read: Callable[[str, str], T], /) -> SpecValue[T] | None:
        """The value of a key."""
        ...


def flavor_queues(vcpus: int, extra_specs: Iterable[tuple[str, str]]) -> int:
    """The queues of each network interface of a flavor's guests. Images may ask for them too, which a flavor does not know.

    As Nova reads it, which takes a value that it does not know for false: the flavor may be one of a Nova cloud.

    >>> flavor_queues(16, [("hw:vif_multiqueue_enabled", "True")]), flavor_queues(16, [])
    (16, 1)
    """
    asked = dict(extra_specs).get(_MULTIQUEUE, "")
    return interface_queues(vcpus, multiqueue=asked.strip().lower() in TRUE)


def read_hardware(one: One) -> GuestHardware:
    """The hardware that flavor and image ask for. Raises `InvalidRequest` for a malformed value."""

    def value(key: str, read: Callable[[str, str], T], default: T) -> T:
        found = one(key, read)
        return default if found is None else found.value

    watchdog = value("hw:watchdog_action", lambda name, text: word(_WATCHDOG, name, text), "disabled")
    device, allowed = one("hw_rng_model", _random_model), one("hw_rng:allowed", boolean)
    rate, period = one("hw_rng:rate_bytes", _amount), one("hw_rng:rate_period", _amount)
    random = device is not None and (allowed is None or allowed.value)
    uefi = value("hw_firmware_type", lambda name, text: word(_FIRMWARE, name, text), False)
    tpm = value("hw:tpm_version", _tpm_version, "")
    tpm_model = value("hw:tpm_model", _tpm_model, _TPM_TIS)
    secure_boot = value("os:secure_boot", _secure_boot, SecureBoot.DISABLED)
    return GuestHardware(
        machine=value("hw_machine_type", _machine, ""),
        template=value(_TEMPLATE, _template, ""),
        shared_memory=value("pinfold:memory_access", lambda name, text: word(_MEMORY_ACCESS, name, text), False),
        uefi=uefi,
        secure_boot=secure_boot if uefi or secure_boot is SecureBoot.REQUIRED else SecureBoot.DISABLED,
        tpm=tpm,
        tpm_model=tpm_model if tpm else "",
        cd_rom_bus=value("hw_cdrom_bus", _cd_rom_bus, ""),
        watchdog="" if watchdog == "disabled" else watchdog,
        random=random,
        random_bytes=rate.value if random and rate is not None else 0,
        random_ms=period.value if random and period is not None else 0,
        performance_unit=_given(one("hw:pmu", boolean)),
        hidden=value("hw:hide_hypervisor_id", boolean, False),
        multiqueue=value(_MULTIQUEUE, boolean, False),
        cpu_shares=value("quota:cpu_shares", lambda name, text: whole_number(name, text, least=2, most=MOST_SHARES), 0),
        cpu_period_us=value("quota:cpu_period", lambda name, text: whole_number(name, text, least=_LEAST_PERIOD, most=_MOST_PERIOD), 0),
        cpu_quota_us=value("quota:cpu_quota", lambda name, text: whole_number(name, text, least=_LEAST_PERIOD, most=_MOST_QUOTA), 0),
    )


def check_hardware(one: One) -> None:
    """Raise `InvalidRequest` for a key that needs another one, or that another one excludes."""
    rate, period, allowed = one("hw_rng:rate_bytes", _amount), one("hw_rng:rate_period", _amount), one("hw_rng:allowed", boolean)
    for limit in (rate, period):
        if limit is not None and allowed is not None and not allowed.value:
            raise InvalidRequest(f"{limit.said()}, but {allowed.said()}; a limit needs the device", key=limit.name)
    if period is not None and rate is None:
        raise InvalidRequest(f"{period.said()}, but hw_rng:rate_bytes is not set; a period needs an amount", key=period.name)
    version, model = one("hw:tpm_version", _tpm_version), one("hw:tpm_model", _tpm_model)
    if model is not None and version is None:
        raise InvalidRequest(f"{model.said()}, but hw:tpm_version is not set; a model needs a version", key=model.name)
    if model is not None and version is not None and model.value == _TPM_CRB and version.value == _TPM_1:
        raise InvalidRequest(f"{model.said()}, but {version.said()}; {_TPM_CRB} needs {_TPM_2}", key=model.name)
    bus, boot, template, wants = (
        one("hw_cdrom_bus", _cd_rom_bus),
        one("os:secure_boot", _secure_boot),
        one(_TEMPLATE, _template),
        read_hardware(one),
    )
    if template is not None and wants.beside_template != PLAIN:
        raise InvalidRequest(
            f"{template.said()}, and a template brings its machine, devices and limits; leave out the keys of flavor and image that ask "
            "for some",
            key=template.name,
        )
    if bus is not None and wants.cd_rom_bus == "ide" and wants.is_q35:
        raise InvalidRequest(f"{bus.said()}, but hw_machine_type is {wants.machine}, which has no IDE; sata is allowed", key=bus.name)
    if boot is not None and boot.value is SecureBoot.REQUIRED and not (wants.uefi and wants.is_q35):
        lacking = "hw_machine_type is not q35" if wants.uefi else "hw_firmware_type is not uefi"
        raise InvalidRequest(
            f"{boot.said()}, but the image's {lacking}; secure boot needs hw_firmware_type=uefi and hw_machine_type=q35", key=boot.name
        )


def _given(found: SpecValue[Any] | None) -> Any:
    return None if found is None else found.value


def _amount(name: str, text: str) -> int:
    return whole_number(name, text, least=1, most=2**31 - 1)


def _template(name: str, text: str) -> str:
    if not TEMPLATE_NAME.fullmatch(text):
        raise not_allowed(name, text)
    return text


def _secure_boot(name: str, text: str) -> SecureBoot:
    return word(_SECURE_BOOT, name, text)


def _tpm_version(name: str, text: str) -> str:
    return word(_TPM_VERSIONS, name, text)


def _tpm_model(name: str, text: str) -> str:
    return word(_TPM_MODELS, name, text)


def _random_model(name: str, text: str) -> str:
    return word({"virtio": "virtio"}, name, text)


def _cd_rom_bus(name: str, text: str) -> str:
    return word({bus: bus for bus in CD_ROM_BUSES}, name, text)


def _machine(name: str, text: str) -> str:
    if not _MACHINE.fullmatch(text):
        raise not_allowed(name, text)
    return text
