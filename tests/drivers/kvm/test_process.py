"""Ending a guest's process without libvirt's help, on real processes."""

from __future__ import annotations

import subprocess
import sys
import uuid

from pinfold.drivers.kvm import process


def _asleep(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", *arguments])


def test_only_the_guests_own_process_is_ended_not_who_asks_for_the_guest() -> None:
    guest = str(uuid.uuid4())
    emulator, bystander = _asleep("-uuid", guest, "-S"), _asleep("show", guest)
    try:
        process.kill(guest)
        assert emulator.wait(60) == -9
        assert bystander.poll() is None
    finally:
        for one in (emulator, bystander):
            one.kill()
            one.wait()
