"""Judge which firmware and which emulated TPMs guests can have here, beside what the flavors ask for. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from pinfold.core import host_features
from pinfold.core.request.model import GuestRequest
from pinfold.drivers.checkup import Check, Checkup, Health

_SECURE: Final = "secure boot"
_SECURE_ADVICE: Final = (
    "secure boot needs a UEFI firmware for q35 that has it, and a KVM with System Management Mode, which KVM inside a guest often lacks; "
    "place such guests on other hosts"
)
_CHOICES: Final = (
    ("UEFI", (host_features.UEFI, host_features.UEFI_Q35), "ovmf"),
    (_SECURE, (host_features.SECURE_BOOT,), "ovmf"),
    ("an emulated TPM", tuple(host_features.tpm("2.0", model) for model in ("tpm-tis", "tpm-crb")), "swtpm swtpm-tools"),
)
"""What guests may have, the features of which one makes it possible, and Debian's packages that bring it."""


def firmware_checkups(features: Collection[str], requests: Iterable[GuestRequest]) -> list[Checkup]:
    """Which of them guests can have; nothing for a driver that starts no guests."""
    if host_features.HARDWARE not in features:
        return []
    has = {name for name, needed, _ in _CHOICES if any(one in features for one in needed)}
    if len(has) == len(_CHOICES):
        return [Check.FIRMWARE.found(Health.GOOD, f"guests can have {', '.join(name for name, _, _ in _CHOICES)}")]
    asked = frozenset[str]().union(*map(host_features.needed, requests))
    lacks = [(name, package) for name, needed, package in _CHOICES if name not in has]
    health = Health.POOR if any(asked.intersection(needed) for name, needed, _ in _CHOICES if name not in has) else Health.UNUSED
    words = f"guests cannot have {' nor '.join(name for name, _ in lacks)}"
    packages = sorted({package for name, package in lacks if name != _SECURE or "UEFI" not in has})
    advice = [f"on Debian, install the packages {' '.join(packages)}"] if packages else []
    if _SECURE not in has and "UEFI" in has:
        advice.append(_SECURE_ADVICE)
    return [Check.FIRMWARE.found(health, words, advice="; ".join(advice))]
