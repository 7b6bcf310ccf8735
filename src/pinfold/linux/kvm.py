"""Ask `/dev/kvm` what KVM can do on this processor. Source: `KVM_CHECK_EXTENSION` in the kernel's Documentation/virt/kvm/api.rst."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

DEVICE: Final = Path("/dev/kvm")
_CHECK_EXTENSION: Final = 0xAE03
_SYSTEM_MANAGEMENT_MODE: Final = 117
"""`KVM_CAP_X86_SMM` of linux/kvm.h."""


def has_system_management_mode(device: Path = DEVICE) -> bool | None:
    """Whether guests can have System Management Mode, which a nested KVM may lack; None if KVM cannot be asked."""
    try:
        handle = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return fcntl.ioctl(handle, _CHECK_EXTENSION, _SYSTEM_MANAGEMENT_MODE) > 0
    except OSError:
        return None
    finally:
        os.close(handle)
