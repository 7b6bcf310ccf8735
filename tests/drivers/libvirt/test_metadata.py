"""Records in metadata and back, Nova's metadata, and what cannot be read."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from msgspec.structs import replace
from tests.build.specs import SPECS
from tests.drivers.libvirt import record_1

from pinfold.core.cpuset import CpuSet
from pinfold.core.encoding import encode
from pinfold.core.errors import InvalidRequest
from pinfold.core.fit.answer import EmulatorPlacement, Fit, FitCell
from pinfold.core.fit.count import count_host
from pinfold.core.fit.written import written
from pinfold.core.host import HostState
from pinfold.core.hosttext import host
from pinfold.core.identity import ClaimId
from pinfold.core.ledger import claim, release
from pinfold.core.pools import PoolConfig, build_pools
from pinfold.core.reasons import Kind, Reason, ReasonCode
from pinfold.core.request.model import EmulatorPolicy
from pinfold.drivers.libvirt import metadata
from pinfold.drivers.libvirt.record_1 import NAMESPACE as EARLIER
from pinfold.drivers.port import NovaRecord, Record

WARNING = Reason(code=ReasonCode.OVERHEAD_BOOKED, kind=Kind.INSUFFICIENT, needed=90, available=-40)
NUMBERS = st.integers(min_value=0, max_value=10**9)
SETS = st.builds(CpuSet, st.sets(st.integers(min_value=0, max_value=300), min_size=1, max_size=9))
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=30) | st.just("a\n\t\"<&'>")


@st.composite
def fits(draw: st.DrawFn) -> Fit:
    vcpus = draw(st.integers(min_value=1, max_value=12))
    pcpus = draw(st.permutations(range(40)))
    kinds = draw(st.lists(st.sampled_from(["pin 0", "pin 1", "float 0", "float 1", "host"]), min_size=vcpus, max_size=vcpus))
    cells = []
    hosts = draw(st.permutations(range(16)))
    for index in (0, 1):
        pins = tuple((vcpu, pcpus[vcpu]) for vcpu in range(vcpus) if kinds[vcpu] == f"pin {index}")
        floating = CpuSet(vcpu for vcpu in range(vcpus) if kinds[vcpu] == f"float {index}")
        if pins or floating:
            cells.append(
                FitCell(
                    guest_cell=index,
                    host_cell=hosts[index],
                    pins=pins,
                    float_vcpus=floating,
                    float_set=draw(SETS) if floating else CpuSet(),
                    memory_mib=1024 * draw(st.integers(min_value=0, max_value=10**6)),
                    page_kib=draw(st.sampled_from([4, 64, 2048, 1048576])),
                )
            )
    floating = CpuSet(vcpu for vcpu in range(vcpus) if kinds[vcpu] == "host")
    reasons = st.builds(
        Reason,
        code=st.sampled_from(ReasonCode),
        kind=st.sampled_from(Kind),
        cell=st.none() | st.integers(min_value=0, max_value=15),
        needed=NUMBERS,
        available=st.integers(min_value=-(10**9), max_value=10**9),
        detail=NAMES,
    )
    placement = draw(st.sampled_from(EmulatorPlacement))
    alone = placement is EmulatorPlacement.ISOLATED
    pinned = [vcpu for cell in cells for vcpu, _ in cell.pins]
    hosts = sorted(cell.host_cell for cell in cells) if placement is EmulatorPlacement.POOL else []
    local = tuple((cell, draw(st.integers(min_value=0, max_value=2**20))) for cell in draw(st.sampled_from([hosts, hosts[:1], []])))
    return Fit(
        vcpus=vcpus,
        memory_mib=sum(cell.memory_mib for cell in cells) if cells else draw(NUMBERS),
        disk_gib=draw(NUMBERS),
        cells=tuple(cells),
        float_vcpus=floating,
        float_set=draw(SETS) if floating else CpuSet(),
        realtime=CpuSet(draw(st.lists(st.sampled_from(pinned))) if pinned else ()),
        emulator_placement=placement,
        emulator=CpuSet.of(pcpus[39]) if alone else draw(SETS),
        emulator_pcpu=pcpus[39] if alone else None,
        idle_siblings=CpuSet(pcpus[vcpus : draw(st.integers(min_value=vcpus, max_value=39))]),
        overhead_millicpu=sum(millicpu for _, millicpu in local) if local else draw(NUMBERS),
        overhead_cells=local,
        warnings=tuple(draw(st.lists(reasons, max_size=3))),
    )


RECORDS = st.builds(
    Record,
    guest=st.uuids().map(str),
    policy=st.sampled_from(EmulatorPolicy),
    fit=fits(),
    claim=st.none() | st.uuids().map(str).map(ClaimId),
    revision=NUMBERS,
    flavor=NAMES,
    owner=NAMES,
    server=NAMES,
)


@given(record=RECORDS)
def test_a_record_comes_back_as_it_was_written(record: Record) -> None:
    assert metadata.record_of_text(metadata.text(record)) == record


@given(record=RECORDS)
def test_a_record_that_an_earlier_pinfold_wrote_is_read(record: Record) -> None:
    assert metadata.record_of_text(record_1.text(record)) == record


@given(record=RECORDS, data=st.data())
def test_an_earlier_record_with_any_attribute_spoilt_is_read_or_refused_never_a_crash(record: Record, data: st.DataObject) -> None:
    root = ElementTree.fromstring(record_1.text(record))
    victim = data.draw(st.sampled_from(list(root.iter())))
    attribute = data.draw(st.sampled_from(sorted(victim.attrib)))
    victim.set(attribute, data.draw(st.sampled_from(["", "-1", "x", "9" * 40, "0-", "٣", "1:2:3", "99999:99999", "9999", " 1"])))
    with contextlib.suppress(InvalidRequest):
        metadata.record_of(root)


@given(record=RECORDS, data=st.data())
def test_a_record_with_any_value_spoilt_is_read_or_refused_never_a_crash(record: Record, data: st.DataObject) -> None:
    root = metadata.element(record)
    document = json.loads(root.text or "")
    within = data.draw(st.sampled_from([document, document["value"], document["value"]["fit"], *document["value"]["fit"]["cells"]]))
    key = data.draw(st.sampled_from(sorted(within)))
    within[key] = data.draw(st.sampled_from([None, "", -1, "x", 10**40, "0-", 1.5, [], {}, [[1, 2, 3]], [[99999, 99999]], True]))
    root.text = json.dumps(document)
    with contextlib.suppress(InvalidRequest):
        metadata.record_of(root)


@pytest.mark.parametrize("write", [metadata.text, record_1.text])
def test_a_request_comes_back_with_the_record(write: Callable[[Record], str]) -> None:
    spec = SPECS["unset"]
    asked = replace(spec.record, request=spec.request)
    assert metadata.record_of_text(write(asked)) == asked
    assert metadata.record_of_text(write(spec.record)).request is None


@pytest.mark.parametrize(
    "text",
    ["", "{}", '{"v":9,"value":{"vcpus":4,"memory_mib":64}}', '{"v":1,"value":{"vcpus":1000000000,"memory_mib":64}}', '{"v":1,"value":[]}'],
)
def test_a_spoilt_request_of_an_earlier_record_is_refused_in_one_sentence(text: str) -> None:
    spec = SPECS["unset"]
    root = ElementTree.fromstring(record_1.text(replace(spec.record, request=spec.request)))
    asked = root.find(f"{{{EARLIER}}}request")
    assert asked is not None
    asked.text = text
    with pytest.raises(InvalidRequest, match=r"record") as error:
        metadata.record_of(root)
    assert "\n" not in str(error.value)


def test_the_record_is_one_text_of_the_form_of_the_store() -> None:
    record = replace(SPECS["unset"].record, fit=replace(SPECS["unset"].record.fit, warnings=(WARNING,)))
    element = metadata.element(record)
    assert (element.attrib, len(element)) == ({}, 0)
    found = json.loads(element.text or "")
    assert found["v"] == 1
    assert found["value"]["fit"] == json.loads(encode(written(record.fit)))["value"]
    assert found["value"]["fit"]["warnings"][0]["sentence"] == WARNING.sentence()


def test_libvirt_gets_the_same_text_without_our_prefix() -> None:
    record = SPECS["unset"].record
    bare = ElementTree.fromstring(metadata.text_without_prefix(record))
    assert (bare.tag, bare.text, bare.attrib) == ("guest", metadata.element(record).text, {})


@pytest.mark.parametrize(
    ("changes", "outdated"),
    [
        ({"revision": 9, "claim": ClaimId("5d2c1f60-7a0c-4a53-9c5e-0f4f3f0b6c12")}, False),
        ({"fit": replace(SPECS["unset"].record.fit, overhead_millicpu=99)}, False),
        ({"fit": replace(SPECS["unset"].record.fit, emulator=CpuSet.of(4))}, True),
    ],
    ids=["another revision", "another amount", "another place"],
)
def test_the_record_of_an_earlier_pinfold_stays_as_long_as_it_names_the_place(changes: dict[str, Any], outdated: bool) -> None:
    record = SPECS["unset"].record
    now = replace(record, **changes)
    domain = f"<domain><metadata>{record_1.text(record)}{metadata.text(now)}</metadata></domain>"
    notes = ElementTree.fromstring(domain)[0]
    found = metadata.find(notes)
    assert found is not None and metadata.record_of(found) == now
    assert metadata.outdates_earlier(now, domain) is outdated
    assert metadata.outdates_earlier(now, domain.replace('version="1"', 'version="9"'))
    assert not metadata.outdates_earlier(now, f"<domain><metadata>{metadata.text(now)}</metadata></domain>")


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("a\0b", "a\ufffdb"),
        ("\ud800", "\ufffd"),
        ("\x1b[1m", "\ufffd[1m"),
        ("a\ufffe\uffff", "a\ufffe\uffff"),
        ("]]>\r\t<&", "]]>\ufffd\t<&"),
    ],
)
def test_a_name_with_characters_that_xml_cannot_hold_is_written_as_far_as_it_can(name: str, read: str) -> None:
    record = replace(SPECS["unset"].record, server=name, flavor=name)
    found = metadata.record_of_text(metadata.text(record))
    assert (found.server, found.flavor) == (read, read)


def test_a_long_server_s_name_is_cut_and_another_long_name_is_refused() -> None:
    record = replace(SPECS["unset"].record, server="x" * 2000)
    assert metadata.record_of_text(metadata.text(record)).server == "x" * 1024
    with pytest.raises(InvalidRequest, match="flavor"):
        metadata.text(replace(record, flavor="x" * 2000))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"claim":null', '"claim":"../x"', "`$.claim`"),
        ('"policy":"unset"', '"policy":"sahre"', "Invalid enum value 'sahre' - at `$.policy`"),
        ('"emulator":"4,20"', '"emulator":""', "gives the emulator threads no pCPU"),
        ('"pins":[[0,4],[1,20]]', '"pins":[[0,4]]', "does not place each of 2 vCPUs exactly once"),
        ('"pins":[[0,4],[1,20]]', '"pins":[[0,4],[1,4]]', "pins two vCPUs to one pCPU"),
        ('"pins":[[0,4],[1,20]]', '"pins":[[0,4],[1]]', "Expected `array` of length 2 - at `$.fit.cells[0].pins[1]`"),
        ('"pins":[[0,4],[1,20]]', '"pins":[[0,4],[1,9000]]', "Expected `int` <= 8191 - at `$.fit.cells[0].pins[1][1]`"),
        ('"revision":7', '"revision":"seven"', "Expected `int`, got `str` - at `$.revision`"),
        ('"vcpus":2', '"vcpus":999999999999999999', "Expected `int` <= 8192 - at `$.fit.vcpus`"),
        ('"emulator_pcpu":null', '"emulator_pcpu":4', "does not say whether the emulator threads have a pCPU of their own"),
        ('"idle_siblings":""', '"idle_siblings":"20"', "gives pCPU 20 to two of its own"),
        ('"realtime":""', '"realtime":"2"', "makes vCPU 2 realtime, which is not pinned"),
        ('"page_kib":4', '"page_kib":0', "Expected `int` >= 1 - at `$.fit.cells[0].page_kib`"),
        ('"page_kib":4', '"page_kib":1048576', "which is no whole number of pages of 1048576 KiB"),
        ('"host_cell":0', '"host_cell":1024', "puts guest cell 0 on host cell 1024, which cannot be"),
        ('"disk_gib":0', '"disk_gib":2147483648', "has disk_gib 2147483648, 0 to 2147483647 are allowed"),
        ('{"v":1', '{"v":7', "version 7 is stored"),
        ("urn:pinfold:guest:2", "urn:pinfold:guest:3", "starts with <guest>"),
    ],
)
def test_a_record_that_cannot_be_read_is_refused_in_one_sentence(old: str, new: str, sentence: str) -> None:
    text = metadata.text(SPECS["unset"].record)
    assert old in text
    with pytest.raises(InvalidRequest) as caught:
        metadata.record_of_text(text.replace(old, new))
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('version="1"', 'version="9"', "is of version 9, this pinfold reads version 1 there"),
        ('policy="unset"', 'policy="unset" claim="../x"', "`$.claim`"),
        ('policy="unset"', 'policy="sahre"', "Invalid enum value 'sahre' - at `$.policy`"),
        ('emulator="4,20"', "", "gives the emulator threads no pCPU"),
        ('pins="0:4 1:20"', 'pins="0:4"', "does not place each of 2 vCPUs exactly once"),
        ('pins="0:4 1:20"', 'pins="0:4 1"', "Expected `array` of length 2, got 1"),
        ('pins="0:4 1:20"', 'pins="0:4 1:x"', "Expected `int`, got `str` - at `$.fit.cells[0].pins[1][1]`"),
        ('revision="7"', 'revision="seven"', "Expected `int`, got `str` - at `$.revision`"),
        ('vcpus="2"', 'vcpus="999999999999999999"', "Expected `int` <= 8192 - at `$.fit.vcpus`"),
        ('id="', 'it="', "Expected `str`, got `null` - at `$.guest`"),
        ("pinfold:fit", "pinfold:fitt", "has no <fit>"),
    ],
)
def test_an_earlier_record_that_cannot_be_read_is_refused_in_one_sentence(old: str, new: str, sentence: str) -> None:
    text = record_1.text(SPECS["unset"].record)
    assert old in text
    with pytest.raises(InvalidRequest) as caught:
        metadata.record_of_text(text.replace(old, new))
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"host_cell":1', '"host_cell":0', "puts two guest cells on one host cell"),
        ('"guest_cell":1', '"guest_cell":0', "does not list its guest cells once each, in ascending order"),
        ('"memory_mib":2560', '"memory_mib":512', "has 512 MiB of memory, and its cells have another sum"),
    ],
)
def test_a_record_whose_cells_contradict_each_other_is_refused(old: str, new: str, sentence: str) -> None:
    text = metadata.text(SPECS["two-cells-huge-pages"].record)
    assert old in text
    with pytest.raises(InvalidRequest, match=sentence):
        metadata.record_of_text(text.replace(old, new, 1))


@given(record=RECORDS, data=st.data())
def test_whatever_record_is_read_can_be_claimed_and_released(record: Record, data: st.DataObject) -> None:
    """Claim and release leave the host's counts as they were, also for a record that somebody edited."""
    root = ElementTree.fromstring(record_1.text(record))
    for _ in range(data.draw(st.integers(min_value=0, max_value=3))):
        victim = data.draw(st.sampled_from(list(root.iter())))
        attribute = data.draw(st.sampled_from(sorted(victim.attrib)))
        victim.set(attribute, data.draw(st.sampled_from(["0", "1", "2", "4", "2048", "8191", "0-3", "1:3", "0:1 1:2", ""])))
    try:
        read = metadata.record_of(root)
    except InvalidRequest:
        return
    state = HostState(topology=HOST, pools=build_pools(PoolConfig(dedicated=HOST.online), HOST)[0])
    before = counted(state)
    after = release(claim(state, "g", read.fit), "g")
    assert counted(after) == before == counted(structs.replace(after))


HOST = host("cell:8 core:10 mem:65536 huge:2048x1024,1048576x8")


def counted(state: HostState) -> object:
    """What the host has left, in numbers."""
    counts = count_host(state)
    cells = [(cell.free, cell.floats, cell.small_free_mib, cell.huge) for cell in counts.cells]
    return cells, counts.free, counts.floating_room_mib, counts.strict_room_mib, counts.vcpu_room, counts.disk_room


NOVA = """<metadata><nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/{version}">
  <nova:package version="31.0.0"/>
  <nova:name>vm-1</nova:name>
  <nova:flavor name="pinned" id="42">
    <nova:memory>2048</nova:memory><nova:disk>1</nova:disk><nova:swap>0</nova:swap><nova:ephemeral>0</nova:ephemeral>
    <nova:vcpus>4</nova:vcpus>{specs}
  </nova:flavor>
  <nova:owner><nova:user uuid="u">admin</nova:user></nova:owner>
</nova:instance></metadata>"""
EXTRA = (
    '<nova:extraSpecs><nova:extraSpec name="hw:emulator_threads_policy">share</nova:extraSpec>'
    '<nova:extraSpec name="hw:cpu_policy">dedicated</nova:extraSpec></nova:extraSpecs>'
)


@pytest.mark.parametrize(
    ("version", "specs", "expected"),
    [
        ("1.0", "", None),
        ("1.1", "", None),
        ("1.1", "<nova:extraSpecs/>", ()),
        ("1.1", EXTRA, (("hw:cpu_policy", "dedicated"), ("hw:emulator_threads_policy", "share"))),
    ],
    ids=["old", "before extra specs", "no extra specs", "extra specs"],
)
def test_nova_s_flavor_is_read_in_every_release(version: str, specs: str, expected: tuple[tuple[str, str], ...] | None) -> None:
    notes = ElementTree.fromstring(NOVA.format(version=version, specs=specs))
    assert metadata.nova_record(notes) == NovaRecord(flavor="pinned", vcpus=4, memory_mib=2048, extra_specs=expected, name="vm-1")


def test_nova_s_image_properties_are_read() -> None:
    image = (
        '<nova:image uuid=""><nova:diskFormat>raw</nova:diskFormat><nova:properties>'
        '<nova:property name="hw_cpu_policy">dedicated</nova:property></nova:properties></nova:image>'
    )
    text = NOVA.format(version="1.1", specs="").replace("<nova:owner>", f"{image}<nova:owner>")
    record = metadata.nova_record(ElementTree.fromstring(text))
    assert record is not None
    assert record.image_properties == (("hw_cpu_policy", "dedicated"),)


def test_metadata_without_nova_is_nobody_s() -> None:
    assert metadata.nova_record(ElementTree.fromstring("<metadata><x:y xmlns:x='urn:x'/></metadata>")) is None


def test_a_nova_flavor_without_its_size_is_refused() -> None:
    text = NOVA.format(version="1.1", specs="").replace("<nova:vcpus>4</nova:vcpus>", "")
    with pytest.raises(InvalidRequest, match="without vcpus or memory"):
        metadata.nova_record(ElementTree.fromstring(text))
