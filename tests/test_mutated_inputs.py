"""Whatever becomes of a recorded input, its reader gives a value or one sentence, in bounded time and memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.build.specs import SPECS
from tests.config.test_host import NOVA
from tests.drivers.libvirt import record_1
from tests.mutated import letters, read_or_refused, xml

from pinfold.config import load
from pinfold.core import topology as topologies
from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.fit.invariants import broken
from pinfold.core.hosttext import host
from pinfold.core.overhead import masks
from pinfold.core.topology import Topology
from pinfold.drivers.libvirt import capabilities, definition, hardware, metadata, pins, template, xmltext
from pinfold.drivers.libvirt.capabilities import BuildContext
from pinfold.drivers.libvirt.guest_memory import HostPages
from pinfold.drivers.port import Boot, GuestState, HostGuest, Record

HERE = Path(__file__).parent
HOSTS = [path.read_text(encoding="utf-8") for path in sorted(HERE.glob("hosts/*/capabilities.xml"))]
HOST_TEXTS = [path.read_text(encoding="utf-8").strip() for path in sorted(HERE.glob("hosts/*/topology.txt"))]
DOMAINS = [path.read_text(encoding="utf-8") for path in sorted(HERE.glob("drivers/libvirt/golden/*.xml"))]
TEMPLATES = [path.read_text(encoding="utf-8") for path in sorted(HERE.glob("drivers/libvirt/templates/*.in.xml"))]
RECORDS = [write(spec.record) for spec in SPECS.values() for write in (metadata.text, record_1.text)]
PLATFORM = capabilities.Platform()
PAGES = HostPages(cells=(0, 1))


@given(text=xml(HOSTS))
def test_capabilities_become_a_topology_that_keeps_its_invariants(text: str) -> None:
    read: Any = read_or_refused(lambda: capabilities.topology(text, offline=CpuSet.of(3)))
    if read is not None:
        topologies.check(read)
    read_or_refused(lambda: capabilities.platform(text))


@given(text=st.sampled_from(HOST_TEXTS).flatmap(letters))
def test_host_texts_become_a_topology_that_keeps_its_invariants(text: str) -> None:
    read: Any = read_or_refused(lambda: host(text))
    if read is not None:
        topologies.check(read)


@given(text=xml(RECORDS))
def test_records_become_a_fit_that_keeps_its_invariants_and_is_written_again(text: str) -> None:
    read: Any = read_or_refused(lambda: metadata.record_of_text(text))
    if read is not None:
        assert isinstance(read, Record) and broken(read.fit) == ""
        assert metadata.record_of_text(metadata.text(read)) == read


@given(text=xml(DOMAINS))
def test_domains_become_guests(text: str) -> None:
    read: Any = read_or_refused(lambda: definition.host_guest(text, state=GuestState.RUNNING, persistent=True, pid=7, pages=PAGES))
    if read is not None:
        assert isinstance(read, HostGuest) and read.memory_mib >= 0 and read.iothreads <= 1024
    read_or_refused(lambda: hardware.has_own_nvram(text))
    read_or_refused(lambda: template.repinned(text, masks(SPECS["mixed"].record.fit)))
    read_or_refused(lambda: template.with_emulator_on(text, CpuSet.of(1)))
    read_or_refused(lambda: template.with_pins_of(text, DOMAINS[0]))


@given(text=xml(TEMPLATES))
def test_templates_become_domains_with_our_record(text: str) -> None:
    spec = replace(SPECS["mixed"], template=text, boot=Boot())
    read_or_refused(lambda: hardware.device_counts(text))
    merged: Any = read_or_refused(lambda: template.merged(spec, BuildContext(platform=PLATFORM)))
    if merged is not None:
        domain = xmltext.parsed(merged, "what was made", root="domain")
        assert len(domain.findall(f"metadata/{metadata.TAG}")) == 1
        assert domain.findtext("uuid") == spec.id


@given(text=letters(NOVA))
def test_a_nova_conf_becomes_settings(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated-nova.conf"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    read_or_refused(lambda: load([str(path)]))
    read_or_refused(lambda: load([str(path)], audits=True))


def cells(body: str) -> str:
    return f"<capabilities><host><topology><cells>{body}</cells></topology></host></capabilities>"


def domain(body: str) -> str:
    return f"<domain type='kvm'><name>a</name><uuid>u</uuid><memory>1024</memory>{body}</domain>"


LARGE = {
    "iothreads beyond count": domain("<iothreads>1000000000</iothreads>"),
    "iothreads listed": domain("<iothreadids>" + "<iothread id='1'/>" * 80_000 + "</iothreadids>"),
    "pages": domain("<memoryBacking><hugepages>" + "<page size='2048' nodeset='0-127'/>" * 80_000 + "</hugepages></memoryBacking>"),
    "pages of every cell": domain(
        "<memoryBacking><hugepages>" + "<page size='2048' nodeset='0-8191'/>" * 80_000 + "</hugepages></memoryBacking>"
    ),
    "pages of nothing": domain("<memoryBacking><hugepages><page size='0'/></hugepages></memoryBacking>"),
    "guest cells": domain("<cpu><numa>" + "<cell memory='1024'/>" * 80_000 + "</numa></cpu>"),
    "guest cells on all host cells": domain(
        "<memoryBacking><hugepages/></memoryBacking><numatune><memory nodeset='0-1023'/></numatune><cpu><numa>"
        + "<cell memory='1048576'/>" * 128
        + "</numa></cpu>"
    ),
    "memory nodes": domain(
        "<numatune>" + "<memnode cellid='9' nodeset='0'/>" * 80_000 + "</numatune><memoryBacking><hugepages/></memoryBacking>"
    ),
    "vCPUs beyond count": domain("<vcpu>999999999999999999</vcpu>"),
    "pins": domain("<cputune>" + "<vcpupin vcpu='1' cpuset='0-8191'/>" * 80_000 + "</cputune>"),
    "memory beyond count": domain("<cpu><numa><cell memory='999999999999999999' unit='EiB'/></numa></cpu>"),
    "elements": domain("<a/>" * 1_000_000),
    "elements within elements": domain("<a>" * 120_000 + "</a>" * 120_000),
    "deep": domain("<a>" * 500_000),
    "text": domain("<description>" + "\n" * 4_000_000 + "</description>"),
    "entities": domain("<description>" + "&amp;" * 190_000 + "</description>"),
    "blanks before pins": domain("<cputune>" + ("<vcpupin vcpu='1' cpuset='1'/>" + " " * 60) * 10_000 + "</cputune>"),
    "attributes": domain("<a " + " ".join(f"a{number}=''" for number in range(80_000)) + "/>"),
    "a long list": domain("<vcpu cpuset='" + "0-8191," * 500_000 + "'>1</vcpu>"),
    "a long name of a list": domain("<vcpu cpuset='" + "x" * 4_000_000 + "'>1</vcpu>"),
    "a record": domain(f"<metadata>{RECORDS[0].replace('</pinfold:fit>', '<pinfold:warning/>' * 80_000 + '</pinfold:fit>')}</metadata>"),
}
"""Domains that are large in one way each; all but one of them were read in minutes, or in gigabytes."""


@pytest.mark.parametrize("name", LARGE)
def test_a_large_domain_is_read_or_refused_within_the_limits(name: str) -> None:
    text = LARGE[name]
    read_or_refused(lambda: definition.host_guest(text, state=GuestState.RUNNING, persistent=True, pid=7, pages=PAGES))
    read_or_refused(lambda: pins.asked_pins(xmltext.parsed(text, "domain XML", root="domain")))
    read_or_refused(lambda: template.repinned(text, masks(SPECS["mixed"].record.fit)))
    read_or_refused(lambda: template.merged(replace(SPECS["mixed"], template=text, boot=Boot()), BuildContext(platform=PLATFORM)))


@pytest.mark.parametrize(
    "text",
    [
        cells("<cell id='0'/>" * 80_000),
        cells("".join(f"<cell id='{number}'/>" for number in range(5000))),
        cells("<cell id='999999999999999999'/>"),
        cells("<cell id='0'><memory>999999999999999999</memory></cell>"),
        cells("<cell id='0'>" + "<pages size='4'>1</pages>" * 80_000 + "</cell>"),
        cells("<cell id='0'><pages size='4'>999999999999999999</pages></cell>"),
        cells("<cell id='0'><cpus>" + "<cpu id='1' siblings='0-8191'/>" * 80_000 + "</cpus></cell>"),
        cells("<cell id='0'><distances>" + "<sibling id='0' value='10'/>" * 80_000 + "</distances></cell>"),
        cells("<cell id='0'><cpus>" + "".join(f"<cpu id='{n}' socket_id='0' siblings='{n}'/>" for n in range(8192)) + "</cpus></cell>"),
    ],
    ids=["cells", "cells with ids", "an id", "memory", "pages", "pages in number", "pCPUs", "distances", "8192 cores"],
)
def test_large_capabilities_are_read_or_refused_within_the_limits(text: str) -> None:
    read: Any = read_or_refused(lambda: capabilities.topology(text))
    if read is not None:
        topologies.check(read)


@pytest.mark.parametrize(
    "text",
    [
        "core:8 pu:42949672952",
        "cell:99999999",
        "pack:999999999999 cell:999999999999",
        "/".join(["cell:1024"] * 5000),
        "cell:1024 core:8",
        "core:8192",
        f"core:1 huge:{'2048x1,' * 9000}",
        f"core:1 ids:{'1,' * 30_000}",
        f"core:1 offline:{'0-8191,' * 9000}",
    ],
    ids=["threads", "cells", "packages", "groups", "most cells", "most cores", "page sizes", "ids", "offline pCPUs"],
)
def test_large_host_texts_are_read_or_refused_within_the_limits(text: str) -> None:
    read: Any = read_or_refused(lambda: host(text))
    assert read is None or isinstance(read, Topology)


@pytest.mark.parametrize("uri", ["urn:a b", " ", "urn:a&#10;b", "urn:a}b", "urn:{a}", "a&#9;", "urn:ä"])
def test_a_template_may_have_any_namespace(uri: str) -> None:
    text = TEMPLATES[0].replace("</domain>", f"<x:y xmlns:x='{uri}'><x:z/></x:y></domain>")
    merged: Any = read_or_refused(
        lambda: template.merged(replace(SPECS["mixed"], template=text, boot=Boot()), BuildContext(platform=PLATFORM))
    )
    if "}" in uri:
        assert merged is None  # ElementTree's own mark
    else:
        assert f"<x:y xmlns:x='{uri}'><x:z/></x:y></domain>" in merged
        ElementTree.fromstring(merged)


@pytest.mark.parametrize("name", ["metadata", "memoryBacking", "cputune", "cpu", "clock", "features", "os"])
def test_a_template_with_two_of_what_ours_goes_into_is_refused(name: str) -> None:
    text = TEMPLATES[0].replace("</domain>", f"<{name}/><{name}/></domain>")
    with pytest.raises(InvalidRequest, match=f"<{name}>, at most one is allowed"):
        template.merged(replace(SPECS["mixed"], template=text, boot=Boot()), BuildContext(platform=PLATFORM))


def test_distances_to_nodes_that_are_no_cells_are_left_out() -> None:
    one = "<cell id='{}'><distances><sibling id='0' value='10'/>{}<sibling id='7' value='40'/></distances></cell>"
    both = "<sibling id='1' value='20'/>"
    assert capabilities.topology(cells(one.format(0, both) + one.format(1, both))).cells[0].distances == ((0, 10), (1, 20))
    assert [cell.distances for cell in capabilities.topology(cells(one.format(0, "") + one.format(1, both))).cells] == [
        (),
        ((0, 10), (1, 20)),
    ]
    with pytest.raises(InvalidRequest, match="tells distances to the cells"):
        capabilities.topology(cells(one.format(0, both + both) + one.format(1, both)))
