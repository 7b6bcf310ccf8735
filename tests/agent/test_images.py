"""The files that an agent keeps for a guest beside its disk."""

from __future__ import annotations

from pathlib import Path

from pinfold.agent.images import forget_serial_log
from pinfold.core.settings import HostSettings

GUEST, OTHER = "11111111-2222-4333-8444-555555555555", "66666666-7777-4888-9999-aaaaaaaaaaaa"


def test_the_rotated_serial_logs_of_a_guest_go_with_it(tmp_path: Path) -> None:
    serial = tmp_path / "serial"
    serial.mkdir()
    kept = [f"{OTHER}.log", f"{OTHER}.log.0", f"{GUEST}.log.mine", f"{GUEST}.logbook"]
    for name in [*kept, f"{GUEST}.log", f"{GUEST}.log.0", f"{GUEST}.log.12"]:
        (serial / name).touch()
    forget_serial_log(HostSettings(state_dir=str(tmp_path)), GUEST)
    assert sorted(path.name for path in serial.iterdir()) == sorted(kept)
    forget_serial_log(HostSettings(state_dir=str(tmp_path / "none")), GUEST)
