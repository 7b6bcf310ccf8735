"""The user's own domain XML with our parts in it: golden pairs, and what must survive."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from msgspec.structs import replace
from tests.build.specs import SPECS
from tests.golden import check

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.fit.answer import Fit, FitCell
from pinfold.core.overhead import Masks, masks
from pinfold.drivers.libvirt import definition, guest_memory, hardware, template
from pinfold.drivers.libvirt.capabilities import BuildContext, Platform
from pinfold.drivers.libvirt.guest_memory import HostPages
from pinfold.drivers.port import Boot, GuestSpec, GuestState, HostGuest

MAKE = BuildContext(platform=Platform())
FOLDER = Path(__file__).parent / "templates"
PAIRS = [
    ("virt-manager", "share-with-pool"),
    ("virt-manager", "realtime-share"),
    ("virt-manager", "two-cells-huge-pages"),
    ("virt-manager", "floating"),
    ("virt-manager", "guest-topology"),
    ("bare", "mixed"),
    ("bare", "realtime-unset"),
    ("tabs", "isolate"),
]


def read(name: str) -> str:
    return (FOLDER / f"{name}.in.xml").read_bytes().decode("utf-8")


def using(text: str, spec: str, **boot: object) -> GuestSpec:
    return replace(SPECS[spec], template=text, boot=Boot(**boot))  # type: ignore[arg-type]


def guest(text: str) -> HostGuest:
    return definition.host_guest(text, state=GuestState.STOPPED, persistent=True, pid=None, pages=HostPages(cells=(0, 1)))


@pytest.mark.parametrize(("name", "spec"), PAIRS, ids=[f"{name} as {spec}" for name, spec in PAIRS])
def test_each_pair_is_the_one_that_was_reviewed(name: str, spec: str) -> None:
    text = definition.definition(using(read(name), spec), MAKE)
    # One of them has the line ends of another system, which survive; a golden file should not depend on them.
    check(FOLDER / f"{name}.{spec}.out.xml", text.replace("\r\n", "\n"))


@pytest.mark.parametrize(("name", "spec"), PAIRS, ids=[f"{name} as {spec}" for name, spec in PAIRS])
def test_our_parts_are_read_back_from_a_template_as_they_were_meant(name: str, spec: str) -> None:
    wanted = using(read(name), spec)
    seen, sets = guest(definition.definition(wanted, MAKE)), masks(wanted.record.fit)
    assert (seen.id, seen.name, seen.record) == (wanted.id, wanted.name, wanted.record)
    assert tuple(cpus for _, cpus in seen.pins.vcpus) == sets.vcpus
    assert (seen.pins.emulator, seen.pins.placement, seen.pins.realtime) == (sets.overhead, sets.overhead, sets.realtime)
    assert seen.memory_mib == wanted.record.fit.memory_mib


@pytest.mark.parametrize(("name", "spec"), PAIRS, ids=[f"{name} as {spec}" for name, spec in PAIRS])
def test_merging_twice_changes_nothing_more(name: str, spec: str) -> None:
    once = definition.definition(using(read(name), spec), MAKE)
    assert definition.definition(using(once, spec), MAKE) == once


def test_every_line_that_is_not_ours_survives_byte_for_byte() -> None:
    before, after = read("virt-manager"), definition.definition(using(read("virt-manager"), "share-with-pool"), MAKE)
    ours = re.compile(
        r"name>|uuid>|memory |currentMemory|memory mode|vcpu|emulatorpin|numatune|hugepages|topology|^    </?vcpus|^\s*<vcpu id"
    )
    kept = [line for line in before.splitlines() if not ours.search(line)]
    lines = iter(after.splitlines())
    assert all(line in lines for line in kept), "a line was lost or moved"


def test_the_iothreads_of_a_template_keep_their_ids_and_are_all_pinned() -> None:
    seen = guest(definition.definition(using(read("virt-manager"), "share-with-pool"), MAKE))
    assert [index for index, _ in seen.pins.iothreads] == [4, 7]
    more = guest(definition.definition(using(read("virt-manager"), "share-with-pool", iothreads=3), MAKE))
    assert [index for index, _ in more.pins.iothreads] == [1, 4, 7]


def test_a_template_s_kind_of_virtualization_stays_unless_another_was_asked_for() -> None:
    spec = using(read("virt-manager"), "unset")
    assert "<domain type='kvm' xmlns:qemu" in definition.definition(spec, MAKE)
    assert "<domain type='qemu' xmlns:qemu" in definition.definition(replace(spec, virt_type="qemu"), MAKE)


def test_realtime_takes_the_pit_away_unless_the_template_speaks_of_it() -> None:
    without = definition.definition(using(read("virt-manager"), "realtime-share"), MAKE)
    assert '<timer name="pit" present="no" />' in without
    spoken = read("virt-manager").replace("<timer name='hpet'", "<timer name='pit' tickpolicy='delay'/><timer name='hpet'")
    assert 'name="pit"' not in definition.definition(using(spoken, "realtime-share"), MAKE)


def test_pins_are_replaced_in_a_definition_and_schedulers_stay() -> None:
    before = definition.definition(using(read("virt-manager"), "realtime-share"), MAKE)
    wanted = Masks(vcpus=(CpuSet.of(8), CpuSet.of(9), CpuSet.of(10)), overhead=CpuSet.of(2, 3))
    seen = guest(template.repinned(before, wanted))
    assert tuple(cpus for _, cpus in seen.pins.vcpus) == wanted.vcpus
    assert (seen.pins.emulator, seen.pins.placement, seen.pins.realtime) == (wanted.overhead, wanted.overhead, CpuSet.of(1, 2))
    assert [cpus for _, cpus in seen.pins.iothreads] == [wanted.overhead] * 2


def test_emulator_threads_get_other_pcpus_and_not_a_byte_besides_changes() -> None:
    before = definition.definition(using(read("virt-manager"), "realtime-share"), MAKE)
    after = template.with_emulator_on(before, CpuSet.of(2, 3, 9))
    assert guest(after).pins.emulator == CpuSet.of(2, 3, 9)
    changed = [line for line in after.splitlines() if line not in before.splitlines()]
    assert [line.strip() for line in changed] == ['<emulatorpin cpuset="2-3,9" />']
    assert len(after.splitlines()) == len(before.splitlines())


@pytest.mark.parametrize("name", ["virt-manager", "bare", "tabs"])
def test_a_definition_gets_its_own_pins_back_and_keeps_what_else_has_changed(name: str) -> None:
    before = read(name)
    assert template.with_pins_of(before, before) == before
    vcpus = tuple(CpuSet.of(40 + vcpu) for vcpu in range(guest(before).vcpus))
    moved = template.repinned(before, Masks(vcpus=vcpus, overhead=CpuSet.of(2, 3)))
    assert guest(moved).pins.emulator == CpuSet.of(2, 3)
    changed = moved.replace("</domain>", "<title>renamed</title></domain>")
    after = template.with_pins_of(changed, before)
    assert guest(after).pins == guest(before).pins and "<title>renamed</title>" in after
    assert template.with_pins_of(after, before) == after, "there is nothing left to change"
    assert _lines(template.with_pins_of(moved, before)) == _lines(before)


def _lines(text: str) -> list[str]:
    """The elements of a domain with their attributes and text, without an empty `<cputune>`, which libvirt leaves out."""
    found = [element for element in ElementTree.fromstring(text).iter() if element.tag != "cputune" or len(element)]
    return sorted(f"{element.tag} {sorted(element.attrib.items())} {(element.text or '').strip()}" for element in found)


def test_huge_pages_are_made_on_the_guest_s_own_pcpus_of_their_cells_alone() -> None:
    small, huge = FitCell(guest_cell=0, host_cell=0, pins=((0, 4),)), FitCell(guest_cell=1, host_cell=1, pins=((1, 20),), page_kib=2048)
    mixed = FitCell(guest_cell=2, host_cell=2, pins=((2, 36),), float_vcpus=CpuSet.of(3), float_set=CpuSet.of(32, 33), page_kib=1048576)
    fit = Fit(vcpus=4, memory_mib=64, cells=(small, huge, mixed), emulator=CpuSet.of(0))
    assert guest_memory.allocating(fit, 4) == CpuSet.of(20, 32, 33, 36)
    assert guest_memory.allocating(structs.replace(fit, cells=(small,)), 4) == CpuSet()


def test_small_pages_that_a_template_wants_at_once_are_made_on_their_cells_too() -> None:
    small = FitCell(guest_cell=0, host_cell=0, pins=((0, 4),))
    fit = Fit(vcpus=1, memory_mib=64, cells=(small,), emulator=CpuSet.of(0))
    assert guest_memory.allocating(fit, 4, at_once=True) == CpuSet.of(4)


def test_the_devices_of_a_template_are_counted() -> None:
    assert hardware.device_counts(read("virt-manager")) == (1, 1)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("<domain>\n  <name>x</nam>\n</domain>", "template is not well-formed XML: mismatched tag in line 2, column 12"),
        ("<network/>", "template starts with <network>, <domain> is expected"),
        ("<domain/>", "template is an empty <domain/>"),
        ("<!DOCTYPE d [<!ENTITY a 'aaaa'>]><domain>&a;</domain>", "document type or entities"),
        ("<?xml version='1.0' encoding='utf-16'?><domain></domain>", "template is not well-formed XML"),
        ("<domain><metadata><p:x/></metadata></domain>", "unbound prefix in line 1"),
        ("<domain>" + "<a>" * 100 + "</domain>", "mismatched tag in line 1"),
        ("<domain>\ud800</domain>", "template is not text in UTF-8"),
        ("<domain>" + " " * 2_000_000 + "</domain>", "at most 1048576 are allowed"),
        ("<domain><iothreads>999999999</iothreads></domain>", "<iothreads> with '999999999'; a number from 0 to 1024 is allowed"),
        ("<domain><iothreads>²</iothreads></domain>", "<iothreads> with '²'"),
        ("<domain><iothreadids><iothread id='x'/></iothreadids></domain>", "<iothread> with the id 'x'"),
    ],
    ids=[
        "mismatched",
        "a network",
        "empty",
        "entities",
        "another encoding",
        "unbound prefix",
        "unclosed",
        "surrogate",
        "too long",
        "iothreads without end",
        "iothreads that are no number",
        "an iothread's id that is no number",
    ],
)
def test_a_template_that_cannot_be_used_is_refused_in_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        definition.definition(using(text, "unset"), MAKE)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["rom", "kernel", "disk"])
def test_a_boot_source_beside_a_template_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match=f"{name} '/x' cannot stand beside it"):
        definition.definition(using(read("bare"), "unset", **{name: "/x"}), MAKE)


NOISE = st.sampled_from(
    ["", " ", "\n", "\n    ", "<!-- <vcpu>9</vcpu> -->", "<![CDATA[<cputune>]]>", "<x:y xmlns:x='urn:x'><vcpu/></x:y>", "\t"]
)
PARTS = st.sampled_from(
    [
        "<vcpu>3</vcpu>",
        "<cputune/>",
        "<cputune>\n<vcpupin vcpu='0' cpuset='1'/><period>9</period></cputune>",
        "<cpu><numa><cell id='0' memory='1'/></numa><topology sockets='1'/></cpu>",
        '<cpu mode = "a>b" />',
        "<numatune><memory mode='strict' nodeset='1'/></numatune>",
        "<memoryBacking><locked/></memoryBacking>",
        "<metadata></metadata>",
        "<name>é</name>",
        "<devices a='/>'/>",
        "<os/>",
        "<clock offset='utc'/>",
    ]
)


@given(
    parts=st.lists(st.tuples(NOISE, PARTS), max_size=8, unique_by=lambda one: re.split(r"[ >/]", one[1])[0]),
    spec=st.sampled_from(["mixed", "realtime-share", "two-cells-huge-pages", "floating"]),
)
def test_any_template_comes_out_well_formed_and_with_our_parts(parts: list[tuple[str, str]], spec: str) -> None:
    text = "<domain type='kvm'>" + "".join(noise + part for noise, part in parts) + "\n</domain>"
    wanted = using(text, spec)
    out = definition.definition(wanted, MAKE)
    domain, seen, sets = ElementTree.fromstring(out), guest(out), masks(wanted.record.fit)
    assert (seen.record, tuple(cpus for _, cpus in seen.pins.vcpus), seen.pins.emulator) == (wanted.record, sets.vcpus, sets.overhead)
    assert len(domain.findall("vcpu")) == len(domain.findall("name")) == 1
    # The blanks before a part that goes are gone with it.
    assert all(noise in out for noise, _ in parts if noise.strip())
