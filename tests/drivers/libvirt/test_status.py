"""Domain XML, status files and QMP answers: pins, memory, thread classes."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from tests.build.specs import SPECS

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.host import ForeignMemory
from pinfold.core.overhead import ThreadClass
from pinfold.drivers.libvirt import definition, guest_memory, hardware, pins, status
from pinfold.drivers.libvirt.capabilities import BuildContext, Platform
from pinfold.drivers.libvirt.guest_memory import HostPages
from pinfold.drivers.port import DefinedPins, GuestState, HostGuest

HUGE_IN_CELL_1 = "<memoryBacking><hugepages><page size='2048' unit='KiB' nodeset='1'/></hugepages></memoryBacking>"
TUNED = "<numatune><memory mode='strict' nodeset='0-1'/><memnode cellid='1' mode='strict' nodeset='0'/></numatune>"
CELLS = "<cpu><numa><cell id='0' cpus='0' memory='1' unit='GiB'/><cell id='1' cpus='1' memory='3145728'/></numa></cpu>"
TWO = HostPages(cells=(0, 1))


def domain(inner: str) -> ElementTree.Element:
    return ElementTree.fromstring(f"<domain><uuid>u</uuid><name>n</name><memory unit='KiB'>4194304</memory>{inner}</domain>")


def guest(text: str) -> HostGuest:
    return definition.host_guest(text, state=GuestState.RUNNING, persistent=True, pid=7, pages=TWO)


def test_a_domain_that_asks_for_nothing_has_no_pins() -> None:
    assert pins.asked_pins(domain("<vcpu>2</vcpu>")) == DefinedPins()


def test_every_kind_of_pin_is_read() -> None:
    found = pins.asked_pins(
        domain(
            "<vcpu cpuset='0-7,^3'>2</vcpu><cputune><vcpupin vcpu='1' cpuset='5'/><vcpupin vcpu='0' cpuset='4'/><emulatorpin cpuset='0-1'/>"
            "<iothreadpin iothread='2' cpuset='1'/><vcpusched vcpus='0' scheduler='fifo' priority='1'/>"
            "<vcpusched vcpus='1' scheduler='batch'/></cputune>"
        )
    )
    assert found.vcpus == ((0, CpuSet.of(4)), (1, CpuSet.of(5)))
    assert (found.emulator, found.iothreads) == (CpuSet.of(0, 1), ((2, CpuSet.of(1)),))
    assert (found.placement, found.realtime) == (CpuSet.parse("0-2,4-7"), CpuSet.of(0))


@pytest.mark.parametrize(
    ("inner", "pages", "memory_mib"),
    [
        ("", (), 4096),
        ("<memoryBacking><locked/></memoryBacking>", (), 4096),
        (
            "<memoryBacking><hugepages/></memoryBacking><numatune><memory mode='strict' nodeset='1'/></numatune>",
            (ForeignMemory(cell=1, size_kib=2048, count=2048),),
            0,
        ),
        (
            "<memoryBacking><hugepages><page size='1' unit='G'/></hugepages></memoryBacking>",
            (ForeignMemory(cell=0, size_kib=1048576, count=2), ForeignMemory(cell=1, size_kib=1048576, count=2)),
            0,
        ),
        (
            f"{HUGE_IN_CELL_1}{TUNED}{CELLS}",
            (ForeignMemory(cell=0, size_kib=2048, count=1536),),
            1024,
        ),
    ],
    ids=["small", "locked", "default huge page in one cell", "cells not said", "one guest cell of two"],
)
def test_memory_is_counted_by_page_size_and_host_cell(inner: str, pages: tuple[ForeignMemory, ...], memory_mib: int) -> None:
    assert guest_memory.taken(domain(inner), TWO) == (pages, memory_mib)
    text = f"<domain><name>g</name><memory unit='MiB'>4096</memory>{inner}</domain>"
    seen = definition.host_guest(text, state=GuestState.RUNNING, persistent=True, pid=7, pages=TWO)
    assert (seen.memory_mib, seen.huge_mib) == (4096, 4096 - memory_mib), "huge pages count as memory"


def test_the_default_huge_page_is_the_host_s() -> None:
    pages, _ = guest_memory.taken(domain("<memoryBacking><hugepages/></memoryBacking>"), HostPages(cells=(0,), default_huge_kib=1048576))
    assert pages == (ForeignMemory(cell=0, size_kib=1048576, count=4),)


def test_a_record_that_cannot_be_read_is_the_guest_s_problem() -> None:
    text = definition.definition(SPECS["unset"], BuildContext(platform=Platform()))
    seen = guest(text.replace('"policy":"unset"', '"policy":"x"'))
    assert seen.record is None
    assert "Invalid enum value 'x' - at `$.policy`" in seen.problem


def test_a_copied_definition_is_not_the_guest_that_its_record_names() -> None:
    text = definition.definition(SPECS["unset"], BuildContext(platform=Platform())).replace("<uuid>5d2c1f60", "<uuid>ffffffff")
    assert guest(text).record is None
    assert "the definition was copied" in guest(text).problem


def test_a_cpulist_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="<emulatorpin> has cpuset='a'"):
        guest("<domain><cputune><emulatorpin cpuset='a'/></cputune></domain>")


@pytest.mark.parametrize(
    ("nvram", "own"),
    [
        ("", False),
        ("<nvram>/var/lib/libvirt/qemu/nvram/n_VARS.fd</nvram>", True),
        ("<nvram>/srv/golden_VARS.fd</nvram>", False),
        ("<nvram>/srv/nn_VARS.fd</nvram>", False),
        ("<loader readonly='yes' type='pflash'>/srv/CODE.fd</loader>", False),
    ],
    ids=["none", "made by libvirt", "of a template", "of a guest with a longer name", "of a loader that a template names"],
)
def test_only_firmware_variables_that_libvirt_made_for_the_guest_are_its_own(nvram: str, own: bool) -> None:
    assert hardware.has_own_nvram(ElementTree.tostring(domain(f"<os>{nvram}</os>"), encoding="unicode")) is own


def test_the_variables_of_a_firmware_that_libvirt_chooses_are_its_own() -> None:
    assert hardware.has_own_nvram("<domain><name>n</name><os firmware='efi'><type>hvm</type></os></domain>")
    assert not hardware.has_own_nvram("<domain><name>n</name><os firmware='efi'><nvram>/srv/golden_VARS.fd</nvram></os></domain>")


STATUS = """<!--
WARNING: THIS IS AN AUTO-GENERATED FILE.
-->

<domstatus state='running' reason='booted' pid='100'>
  <monitor path='/x/monitor.sock' type='unix'/>
  <vcpus>
    <vcpu id='0' pid='104'/>
    <vcpu id='1' pid='105'/>
    <vcpu id='2'/>
  </vcpus>
  <qemuCaps>
    <flag name='kvm'/>
  </qemuCaps>
  <domain type='kvm' id='1'/>
</domstatus>
"""


def test_a_status_file_tells_process_and_vcpu_threads() -> None:
    told = status.status_file(STATUS)
    assert (told.pid, dict(told.vcpus)) == (100, {104: 0, 105: 1})


def test_a_status_file_without_vcpu_threads_tells_the_process() -> None:
    assert dict(status.status_file("<domstatus pid='9'><vcpus/></domstatus>").vcpus) == {}


def test_a_hypervisor_s_word_has_no_thread_ids() -> None:
    told = status.unverified_threads([CpuSet.of(4)], CpuSet.of(0), {1: CpuSet.of(0)})
    assert [(item.tid, item.thread_class) for item in told] == [(0, ThreadClass.VCPU), (0, ThreadClass.EMULATOR), (0, ThreadClass.IOTHREAD)]
