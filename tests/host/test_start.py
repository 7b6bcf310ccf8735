"""What is refused before a start touches anything, and the guest's disk by the real qemu-img."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.build.guests import uuid

from pinfold.core.errors import InvalidRequest
from pinfold.core.request.model import GuestRequest
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Boot
from pinfold.host import disk
from pinfold.host.description import check_name

REQUEST = GuestRequest(vcpus=1, memory_mib=64)
needs_qemu_img = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")


@pytest.mark.parametrize("name", ["a", "web-1", "db_2.example", "9lives", "x" * 63])
def test_names_that_are_allowed(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", "-x", "a/b", "a b", "a\n", "a;b", "$(x)", "ä", "x" * 64, "a\0b", "../../etc"])
def test_names_that_are_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="1 to 63 letters"):
        check_name(name)


@pytest.fixture
def settings(tmp_path: Path) -> HostSettings:
    return HostSettings(state_dir=str(tmp_path / "state"))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "base.img"
    with path.open("wb") as file:
        file.truncate(3 << 20)
    return path


def info(path: str) -> dict[str, object]:
    out = subprocess.run(["qemu-img", "info", "--output=json", "-U", path], capture_output=True, check=True).stdout
    parsed = json.loads(out)
    assert isinstance(parsed, dict)
    return parsed


@needs_qemu_img
@pytest.mark.parametrize(("disk_gib", "size"), [(0, 3 << 20), (2, 2 << 30)])
def test_the_overlay_is_the_guests_own(settings: HostSettings, image: Path, disk_gib: int, size: int) -> None:
    boot = disk.prepare(settings, uuid(1), Boot(disk=str(image)), disk_gib)
    assert (boot.disk, boot.disk_format) == (str(disk.overlay_path(settings, uuid(1))), "qcow2")
    told = info(boot.disk)
    assert (told["virtual-size"], told["backing-filename"], told["backing-filename-format"]) == (size, str(image), "raw")
    disk.remove(settings, uuid(1))
    disk.remove(settings, uuid(1))
    assert not Path(boot.disk).exists()


@needs_qemu_img
def test_an_image_larger_than_the_flavors_disk_is_refused(settings: HostSettings, image: Path) -> None:
    with image.open("r+b") as file:
        file.truncate((1 << 30) + 512)
    with pytest.raises(InvalidRequest, match="is 2 GiB large, the flavor's disk only 1 GiB"):
        disk.prepare(settings, uuid(1), Boot(disk=str(image)), 1)


@needs_qemu_img
def test_a_raw_image_that_looks_like_qcow2_stays_raw(settings: HostSettings, tmp_path: Path) -> None:
    trap = tmp_path / "trap.img"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", str(trap)], check=True)
    boot = disk.prepare(settings, uuid(1), Boot(disk=str(trap), disk_format="raw"), 0)
    assert info(boot.disk)["backing-filename-format"] == "raw"


@pytest.mark.parametrize(
    ("boot", "sentence"),
    [
        (Boot(rom="/nonexistent/x.rom"), "ROM /nonexistent/x.rom does not exist"),
        (Boot(kernel="/nonexistent/vmlinuz"), "kernel /nonexistent/vmlinuz does not exist"),
        (Boot(disk="/nonexistent/disk.img"), "image /nonexistent/disk.img does not exist"),
        (Boot(disk="/"), "image / is not a file"),
        (Boot(rom="x.rom"), "ROM x.rom is not an absolute path"),
        (Boot(disk="/etc/passwd", disk_format="vmdk"), "disk format 'vmdk' is not known, allowed are raw and qcow2"),
    ],
)
def test_files_that_cannot_be_booted(settings: HostSettings, boot: Boot, sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        disk.prepare(settings, uuid(1), boot, 0)
    assert not disk.overlay_path(settings, uuid(1)).exists()


@needs_qemu_img
def test_a_broken_image_is_one_sentence(settings: HostSettings, tmp_path: Path) -> None:
    broken = tmp_path / "broken.qcow2"
    broken.write_bytes(b"not qcow2 at all" * 100)
    with pytest.raises(InvalidRequest, match=r"the guest's disk cannot be made: .*not in qcow2 format") as error:
        disk.prepare(settings, uuid(1), Boot(disk=str(broken), disk_format="qcow2"), 0)
    assert "\n" not in str(error.value)
