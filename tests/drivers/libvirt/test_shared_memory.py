"""Memory that other processes can map, as vhost-user needs it: what is written, what stays of a template, and what is read back."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs
from msgspec.structs import replace
from tests.build.specs import SPECS
from tests.golden import check

from pinfold.core.request.guest_hardware import GuestHardware
from pinfold.drivers.libvirt import definition, guest_memory
from pinfold.drivers.libvirt.capabilities import BuildContext, Platform
from pinfold.drivers.libvirt.guest_memory import HostPages
from pinfold.drivers.port import Boot, GuestSpec

FOLDER = Path(__file__).parent
MAKE = BuildContext(platform=Platform(emulator="/usr/bin/qemu-system-x86_64"))
TEMPLATE = "<domain type='kvm'><memoryBacking>{}</memoryBacking><os><type>hvm</type></os></domain>"


def _sharing(name: str) -> GuestSpec:
    return replace(SPECS[name], request=replace(SPECS[name].request, hardware=GuestHardware(shared_memory=True)))


def _from(template: str, name: str = "share-with-pool") -> GuestSpec:
    return replace(_sharing(name), template=template, boot=Boot())


@pytest.mark.parametrize("name", ["floating", "two-cells-huge-pages", "huge-and-small-pages", "locked-memory"])
def test_it_is_written_as_reviewed_and_read_back(name: str) -> None:
    text = definition.definition(_sharing(name), MAKE)
    check(FOLDER / "golden" / f"shared-{name}.xml", text)
    assert guest_memory.shape(text, HostPages(cells=(0, 1))).shared
    assert not guest_memory.shape(definition.definition(SPECS[name], MAKE), HostPages(cells=(0, 1))).shared


def test_a_template_keeps_its_backing_unless_the_flavor_or_image_asks_for_another() -> None:
    own = TEMPLATE.format("<source type='file'/><access mode='private'/><discard/>")
    asked = definition.definition(_from(own), MAKE)
    assert (asked.count("<source"), asked.count("<access"), asked.count("<discard/>")) == (1, 1, 1)
    assert '<source type="memfd" />' in asked
    assert '<access mode="shared" />' in asked
    again = definition.definition(_from(asked), MAKE)
    assert (again.count("<source"), again.count("<access")) == (1, 1)
    unasked = definition.definition(replace(_from(own), request=SPECS["share-with-pool"].request), MAKE)
    assert "<source type='file'/><access mode='private'/><discard/>" in unasked


def test_huge_pages_need_no_other_file() -> None:
    text = definition.definition(_from(TEMPLATE.format("<source type='anonymous'/>"), "two-cells-huge-pages"), MAKE)
    assert "<source" not in text
    assert '<access mode="shared" />' in text


@pytest.mark.parametrize(
    ("backing", "cells", "shared"),
    [
        ("<access mode='shared'/>", "", True),
        ("", "", False),
        ("", "<cell id='0' memory='1' memAccess='shared'/>", True),
        ("<access mode='shared'/>", "<cell id='0' memory='1'/><cell id='1' memory='1' memAccess='private'/>", False),
    ],
)
def test_each_cell_may_say_for_itself_whether_its_memory_is_shared(backing: str, cells: str, shared: bool) -> None:
    text = f"<domain><vcpu>1</vcpu><memoryBacking>{backing}</memoryBacking><cpu><numa>{cells}</numa></cpu></domain>"
    assert guest_memory.shape(text, HostPages()).shared is shared


def test_libvirt_says_whether_memory_can_be_a_file_in_memory() -> None:
    recorded = (FOLDER / "recorded" / "domain-capabilities-qemu.xml").read_text(encoding="utf-8")
    assert guest_memory.can_be_shared(recorded)
    assert not guest_memory.can_be_shared(recorded.replace("<value>memfd</value>", ""))
    assert guest_memory.can_be_shared("<domainCapabilities/>")


def test_nothing_is_shared_unless_asked_for() -> None:
    for spec in SPECS.values():
        assert "shared_memory" not in structs.asdict(spec.request)
        assert "<access" not in definition.definition(spec, MAKE)
