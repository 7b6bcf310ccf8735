"""A guest that asks for all hardware that pinfold knows."""

from __future__ import annotations

from pinfold.core.request.guest_hardware import GuestHardware, SecureBoot

EVERY_HARDWARE = GuestHardware(
    machine="q35",
    uefi=True,
    secure_boot=SecureBoot.REQUIRED,
    tpm="2.0",
    tpm_model="tpm-crb",
    watchdog="reset",
    random=True,
    random_bytes=2048,
    random_ms=500,
    performance_unit=False,
    hidden=True,
    cpu_shares=2048,
    cpu_period_us=10000,
    cpu_quota_us=5000,
    multiqueue=True,
)
