"""The hardware of a guest in domain XML: a golden file, and libvirt's own schema."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.build.hardware import EVERY_HARDWARE
from tests.build.specs import SPECS
from tests.golden import check

from pinfold.core.request.guest_hardware import GuestHardware
from pinfold.drivers.libvirt import definition
from pinfold.drivers.libvirt.capabilities import BuildContext, Platform
from pinfold.drivers.libvirt.template import merged
from pinfold.drivers.port import GuestSpec

GOLDEN = Path(__file__).parent / "golden"
MAKE = BuildContext(platform=Platform(emulator="/usr/bin/qemu-system-x86_64"))


def _spec(wanted: GuestHardware, name: str = "share-with-pool") -> GuestSpec:
    spec = SPECS[name]
    return replace(spec, request=replace(spec.request, hardware=wanted), boot=replace(spec.boot, config_drive="/var/lib/x.iso"))


def test_hardware_is_written_as_reviewed() -> None:
    check(GOLDEN / "hardware.xml", definition.definition(_spec(EVERY_HARDWARE), MAKE))


@pytest.mark.parametrize(
    "wanted", [EVERY_HARDWARE, GuestHardware(watchdog="none"), GuestHardware(random=True), GuestHardware(performance_unit=True)], ids=repr
)
def test_libvirts_schema_accepts_it(wanted: GuestHardware, tmp_path: Path) -> None:
    if not (shutil.which("xmllint") and shutil.which("virt-xml-validate")):
        pytest.skip("virt-xml-validate needs xmllint (package libxml2-utils)")
    (tmp_path / "domain.xml").write_text(definition.definition(_spec(wanted), MAKE), encoding="utf-8")
    done = subprocess.run(["virt-xml-validate", tmp_path / "domain.xml", "domain"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_definition_that_is_written_anew_keeps_its_hardware_once() -> None:
    spec = _spec(EVERY_HARDWARE)
    text = definition.definition(spec, MAKE)
    again = merged(GuestSpec(name=spec.name, request=spec.request, record=spec.record, template=text), MAKE)
    for part in ("<shares>", "<quota>", "<watchdog", "<rng", "<hidden", "machine="):
        assert (text.count(part), again.count(part)) == (1, 1), part


def test_another_architecture_has_the_features_too() -> None:
    text = definition.definition(_spec(GuestHardware(hidden=True, machine="virt-7.2")), BuildContext(platform=Platform(arch="aarch64")))
    assert '<type arch="aarch64" machine="virt-7.2">' in text
    assert '<hidden state="on" />' in text
