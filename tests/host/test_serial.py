"""The serial logs of guests."""

from __future__ import annotations

from pathlib import Path

from pinfold.core.settings import HostSettings
from pinfold.host import serial

GUEST, OTHER = "11111111-2222-4333-8444-555555555555", "66666666-7777-4888-9999-aaaaaaaaaaaa"


def test_the_rotated_serial_logs_of_a_guest_go_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "serial"
    folder.mkdir()
    kept = [f"{OTHER}.log", f"{OTHER}.log.0", f"{GUEST}.log.mine", f"{GUEST}.logbook"]
    for name in [*kept, f"{GUEST}.log", f"{GUEST}.log.0", f"{GUEST}.log.12"]:
        (folder / name).touch()
    serial.forget(HostSettings(state_dir=str(tmp_path)), GUEST)
    assert sorted(path.name for path in folder.iterdir()) == sorted(kept)
    serial.forget(HostSettings(state_dir=str(tmp_path / "none")), GUEST)
