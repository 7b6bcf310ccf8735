"""Values to text and back: nothing is lost, wrong text is refused, and version 1 stays version 1."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import fields
from tests.build.hosts import report
from tests.build.requests import pinned

from pinfold.core.cpuset import CpuSet
from pinfold.core.encoding import decoder, encode, json_text, plain, reader
from pinfold.core.errors import InvalidRequest
from pinfold.core.fit.answer import EmulatorPlacement, Fit, FitCell
from pinfold.core.host import Foreign, ForeignMemory, Limits, OverheadRates, ReservedPages
from pinfold.core.networks import HostNetwork, NetworkKind, StaticRange
from pinfold.core.pools import Pools
from pinfold.core.request.model import Flavor, GuestRequest
from pinfold.core.topology import HostCell, PagePool, Topology
from pinfold.store.records import Amounts, Fault, HostReport, Pairs

_CPUS = st.frozensets(st.integers(0, 200), max_size=8).map(CpuSet)
_TEXT = st.text(st.one_of(st.characters(exclude_categories=("Cs", "Cc")), st.sampled_from("\n\t")), max_size=8)
_SMALL = st.integers(1, 1023)
_RATIO = st.floats(0.1, 64, allow_nan=False)

for _type, _strategy in ((CpuSet, _CPUS), (str, _TEXT), (int, _SMALL), (float, _RATIO)):
    st.register_type_strategy(_type, _strategy)  # type: ignore[arg-type]

_NAME = st.from_regex(r"\A[a-z0-9][A-Za-z0-9._-]{0,8}\Z")
_ADDRESS = st.ip_addresses(v=4).map(str)
st.register_type_strategy(StaticRange, st.builds(StaticRange, cidr=_TEXT, first=_ADDRESS, last=_ADDRESS, gateway=st.just("") | _ADDRESS))
st.register_type_strategy(
    HostNetwork,
    st.builds(
        HostNetwork,
        name=_NAME,
        kind=st.sampled_from(NetworkKind),
        source=st.just("") | _NAME,
        mtu=_SMALL,
        vlan=_SMALL,
        static=st.none() | st.from_type(StaticRange),
    ),
)
_TRAITS = st.lists(st.from_regex(r"\A[A-Z0-9_]{1,8}\Z"), max_size=3).map(tuple)
_FIELDS = {field.name: ... for field in fields(HostReport)}
st.register_type_strategy(HostReport, st.builds(HostReport, **(_FIELDS | {"processor_traits": st.just(UNSET) | _TRAITS})))


@pytest.mark.parametrize(
    "as_type",
    [Topology, Pools, Limits, Fit, GuestRequest, Flavor, Fault, HostReport, Pairs, Amounts, tuple[Foreign, ...]],
    ids=lambda found: getattr(found, "__name__", str(found)),
)
def test_every_value_comes_back_as_it_went(as_type: Any) -> None:
    read, read_plain = decoder(as_type), reader(as_type)

    # A report is made of the values that have their own cases, and takes most of a second to make up.
    @settings(max_examples=10 if as_type is HostReport else 40, deadline=None)
    @given(st.from_type(as_type) if isinstance(as_type, type) else _sequences(as_type))
    def comes_back(value: Any) -> None:
        text = encode(value)
        assert read(text, "it") == value
        assert encode(read(text, "it")) == text
        assert read_plain(plain(value), "it") == value

    comes_back()


def test_a_character_that_no_text_may_hold_is_replaced_on_both_ways() -> None:
    clean = (("a\ufffd", "\ufffd\n"), ("\ufffd", "ü"))
    dirty = (("a\x1b", "\ud800\n"), ("\x9b", "ü"))
    assert decoder(Pairs)(encode(dirty), "it") == clean
    assert json_text(dirty) == '[["a\ufffd","\ufffd\\n"],["\ufffd","ü"]]'
    assert decoder(Pairs)('{"v":1,"value":[["a\\u001b","\\ud800\\n"],["\x9b","ü"]]}', "it") == clean
    assert reader(Pairs)(json.loads(json.dumps(dirty)), "it") == clean


def _sequences(as_type: Any) -> st.SearchStrategy[Any]:
    if as_type is Pairs:
        return st.lists(st.tuples(_TEXT, _TEXT), max_size=3).map(tuple)
    if as_type is Amounts:
        return st.lists(st.tuples(_TEXT, _SMALL), max_size=3).map(tuple)
    return st.lists(st.from_type(Foreign), max_size=3).map(tuple)


FIT = Fit(
    vcpus=2,
    memory_mib=64,
    cells=(FitCell(guest_cell=0, host_cell=1, pins=((0, 8), (1, 9)), memory_mib=64, page_kib=2048),),
    realtime=CpuSet.of(1),
    emulator_placement=EmulatorPlacement.ISOLATED,
    emulator=CpuSet.of(10),
    emulator_pcpu=10,
    idle_siblings=CpuSet.of(11),
)
FIT_TEXT = (
    '{"v":1,"value":{"cells":[{"float_set":"","float_vcpus":"","guest_cell":0,"host_cell":1,"memory_mib":64,"page_kib":2048,'
    '"pins":[[0,8],[1,9]]}],"disk_gib":0,"emulator":"10","emulator_pcpu":10,"emulator_placement":"isolated","float_set":"",'
    '"float_vcpus":"","idle_siblings":"11","memory_mib":64,"overhead_millicpu":0,"realtime":"1","vcpus":2,"warnings":[]}}'
)
LIMITS = Limits(reserved_pages=(ReservedPages(cell=0, size_kib=2048, count=2),), rates=OverheadRates(guest=1))
LIMITS_TEXT = (
    '{"v":1,"value":{"booking":"enforce","cpu_allocation_ratio":4.0,"disk_allocation_ratio":1.0,"ram_allocation_ratio":1.0,'
    '"rates":{"disk":10,"guest":1,"nic":10,"vcpu":2},"reserved_disk_gib":0,"reserved_memory_mib":512,'
    '"reserved_pages":[{"cell":0,"count":2,"size_kib":2048}],"shared_fraction":0.5}}'
)
FOREIGN = (Foreign(name="x", cpus=CpuSet.of(4), pages=(ForeignMemory(cell=0, size_kib=4, count=9),)),)
FOREIGN_TEXT = '{"v":1,"value":[{"cpus":"4","memory_mib":0,"name":"x","pages":[{"cell":0,"count":9,"size_kib":4}]}]}'


@pytest.mark.parametrize(
    ("value", "as_type", "text"),
    [(FIT, Fit, FIT_TEXT), (LIMITS, Limits, LIMITS_TEXT), (FOREIGN, tuple[Foreign, ...], FOREIGN_TEXT)],
    ids=["a fit", "limits", "foreign domains"],
)
def test_text_of_version_1_is_still_read(value: Any, as_type: Any, text: str) -> None:
    assert decoder(as_type)(text, "row") == value
    assert set(json.loads(text)) == {"v", "value"}


def test_a_request_and_a_topology_of_the_suite_come_back() -> None:
    request, topology = pinned(3), report().topology
    assert decoder(GuestRequest)(encode(request), "it") == request
    assert decoder(Topology)(encode(topology), "it") == topology


def test_a_field_that_is_not_known_is_ignored() -> None:
    text = '{"v":1,"value":{"size_kib":4,"total":1,"later":{}}}'
    assert decoder(PagePool)(text, "row") == PagePool(size_kib=4, total=1)


@pytest.mark.parametrize(
    ("text", "as_type", "sentence"),
    [
        ("{", Pools, "truncated"),
        ("[]", Pools, "Expected `object`"),
        ('{"v":2,"value":{}}', Pools, "version 2 is stored"),
        ('{"v":1}', Pools, "missing required field `value`"),
        ('{"v":1,"value":[]}', Pools, "Expected `object`, got `array`"),
        ('{"v":1,"value":{"shared":"0"}}', Pools, "missing required field `dedicated`"),
        ('{"v":1,"value":{"shared":"0","dedicated":"x"}}', Pools, "CPU list 'x': 'x' is neither a CPU index nor a range"),
        ('{"v":1,"value":{"size_kib":true,"total":1}}', PagePool, "Expected `int`, got `bool` - at `$.size_kib`"),
        ('{"v":1,"value":{"size_kib":1.5,"total":1}}', PagePool, "`$.size_kib`"),
        ('{"v":1,"value":{"size_kib":4,"total":123456789012345678901}}', PagePool, "`$.total`"),
        ('{"v":1,"value":{"booking":"maybe"}}', Limits, "Invalid enum value 'maybe' - at `$.booking`"),
        ('{"v":1,"value":{"shared_fraction":NaN}}', Limits, "invalid"),
        ('{"v":1,"value":{"shared_fraction":NaN,"rates":"\\u001b"}}', Limits, "invalid"),
        ('{"v":1,"value":{"shared_fraction":"0.5"}}', Limits, "Expected `float`, got `str`"),
        ('{"v":1,"value":{"id":0,"cores":["0",4]}}', HostCell, "4 is not a list of CPUs - at `$.cores[1]`"),
        ('{"v":1,"value":{"vcpus":1,"memory_mib":1,"cells":[{"guest_cell":0,"host_cell":0,"pins":[[0]]}]}}', Fit, "`$.cells[0].pins[0]`"),
        ('{"v":1,"value":' + "[" * 100_000, Pairs, "recursion"),
        ('{"v":1,"value":"\\u001b' + "[" * 100_000, Pairs, ""),
    ],
)
def test_what_is_wrong_is_refused_by_its_path(text: str, as_type: Any, sentence: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decoder(as_type)(text, "row 7")
    assert sentence in str(caught.value)
    assert str(caught.value).startswith("row 7: ")
    assert "\n" not in str(caught.value)


def test_a_type_without_a_written_form_is_a_bug() -> None:
    with pytest.raises(NotImplementedError):
        encode(object())
