"""The overlays of a host's guests, as files."""

from pathlib import Path

from pinfold.core.settings import HostSettings
from pinfold.host import disk


def test_only_overlays_of_no_guest_are_swept(tmp_path: Path) -> None:
    here = HostSettings(state_dir=str(tmp_path), uri="qemu:///system")
    elsewhere = HostSettings(state_dir=str(tmp_path), uri="qemu+unix:///system?socket=/other")
    kept, left, others = disk.overlay_path(here, "a"), disk.overlay_path(here, "b"), disk.overlay_path(elsewhere, "c")
    for path in (kept, left, others):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    disk.sweep(here, ["a"])
    assert (kept.exists(), left.exists(), others.exists()) == (True, False, True)


def test_a_host_without_overlays_has_nothing_to_sweep(tmp_path: Path) -> None:
    disk.sweep(HostSettings(state_dir=str(tmp_path)), [])
