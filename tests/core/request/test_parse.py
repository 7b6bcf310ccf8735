"""Reading what `openstack flavor show -f json` prints."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinfold.core.errors import InvalidRequest
from pinfold.core.request.model import Flavor
from pinfold.core.request.parse import MAX_TEXT, flavor_from_openstack_json

SHOWN = {
    "OS-FLV-DISABLED:disabled": False,
    "OS-FLV-EXT-DATA:ephemeral": 5,
    "access_project_ids": None,
    "description": None,
    "disk": 20,
    "id": "8c4f4a5e-5f0c-4f5c-9d1c-0d4c6a3c2a11",
    "name": "nfv.large",
    "os-flavor-access:is_public": True,
    "properties": {"hw:emulator_threads_policy": "share", "hw:cpu_policy": "dedicated", "hw:cpu_realtime_mask": "^0,1"},
    "ram": 8192,
    "rxtx_factor": 1.0,
    "swap": 1536,
    "vcpus": 4,
}
SPECS = (("hw:cpu_policy", "dedicated"), ("hw:cpu_realtime_mask", "^0,1"), ("hw:emulator_threads_policy", "share"))


def test_all_that_places_a_guest_is_read() -> None:
    flavor = flavor_from_openstack_json(json.dumps(SHOWN))
    assert flavor == Flavor(vcpus=4, memory_mib=8192, disk_gib=27, extra_specs=SPECS, name="nfv.large")


@pytest.mark.parametrize(
    "text",
    [
        "hw:cpu_policy='dedicated', hw:cpu_realtime_mask='^0,1', hw:emulator_threads_policy='share'",
        " hw:emulator_threads_policy='share', hw:cpu_policy='dedicated', hw:cpu_realtime_mask='^0,1' ",
    ],
)
def test_the_properties_of_older_clients_are_one_text(text: str) -> None:
    assert flavor_from_openstack_json(json.dumps({**SHOWN, "properties": text})).extra_specs == SPECS


def test_a_value_in_the_text_may_hold_commas_and_quotes() -> None:
    flavor = flavor_from_openstack_json(json.dumps({**SHOWN, "properties": "a:b='it's, so', c='', d='0-1,3'"}))
    assert flavor.extra_specs == (("a:b", "it's, so"), ("c", ""), ("d", "0-1,3"))


@pytest.mark.parametrize("nothing", [None, "", {}])
def test_a_flavor_may_have_no_properties(nothing: object) -> None:
    assert flavor_from_openstack_json(json.dumps({**SHOWN, "properties": nothing})).extra_specs == ()


def test_swap_may_be_empty_and_sizes_may_be_text() -> None:
    flavor = flavor_from_openstack_json('{"vcpus": "2", "ram": "512", "swap": "", "disk": null}')
    assert flavor == Flavor(vcpus=2, memory_mib=512)


def test_numbers_and_truth_values_written_by_hand_are_taken_as_text() -> None:
    flavor = flavor_from_openstack_json(
        '{"vcpus": 2, "ram": 512, "properties": {"hw:numa_nodes": 2, "hw:cpu_realtime": true, "hw:pmu": false}}'
    )
    assert flavor.extra_specs == (("hw:cpu_realtime", "true"), ("hw:numa_nodes", "2"), ("hw:pmu", "false"))


NOT_JSON = "it must be what `openstack flavor show -f json` prints"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[]", f"the flavor's JSON is no object; {NOT_JSON}"),
        ("4", f"the flavor's JSON is no object; {NOT_JSON}"),
        ('{"ram": 512}', "the flavor's vcpus is missing; it must be a whole number"),
        ('{"vcpus": 2}', "the flavor's ram is missing; it must be a whole number"),
        ('{"vcpus": null, "ram": 1}', "the flavor's vcpus is null; it must be a whole number"),
        ('{"vcpus": "", "ram": 1}', "the flavor's vcpus is ''; it must be a whole number"),
        ('{"vcpus": 2.5, "ram": 1}', "the flavor's vcpus is 2.5; it must be a whole number"),
        ('{"vcpus": true, "ram": 1}', "the flavor's vcpus is true; it must be a whole number"),
        ('{"vcpus": -1, "ram": 1}', "the flavor's vcpus is -1; it must be a whole number"),
        ('{"vcpus": [1], "ram": 1}', "the flavor's vcpus is a list; it must be a whole number"),
        ('{"vcpus": {}, "ram": 1}', "the flavor's vcpus is an object; it must be a whole number"),
        ('{"vcpus": 1, "ram": 1, "disk": "big"}', "the flavor's disk is 'big'; it must be a whole number"),
        ('{"vcpus": 1, "ram": 1, "name": 3}', "the flavor's name must be a text"),
        ('{"vcpus": 1, "vcpus": 2, "ram": 1}', "'vcpus' stands twice in the flavor's JSON; it is allowed once"),
        (
            '{"vcpus": 1, "ram": 1, "properties": [1]}',
            "the flavor's properties must be an object or a text like key='value', key='value'",
        ),
        (
            '{"vcpus": 1, "ram": 1, "properties": {"hw:numa_nodes": null}}',
            "the property 'hw:numa_nodes' is null; it must be a text or a whole number",
        ),
        (
            '{"vcpus": 1, "ram": 1, "properties": "hw:cpu_policy"}',
            "the flavor's properties hold 'hw:cpu_policy'; each must be written key='value'",
        ),
        (
            '{"vcpus": 1, "ram": 1, "properties": "a=\'1\', a=\'2\'"}',
            "'a' stands twice in the flavor's JSON; it is allowed once",
        ),
    ],
)
def test_what_is_no_flavor_is_refused_in_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        flavor_from_openstack_json(text)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("text", ["", "{", "No Flavor found for nfv", "[" * 100_000, '{"a":' * 40_000, '{"ram": ' + "9" * 5000 + "}"])
def test_what_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="the flavor is not JSON"):
        flavor_from_openstack_json(text)


def test_the_size_is_bounded() -> None:
    with pytest.raises(InvalidRequest, match="characters; at most 262144 are allowed"):
        flavor_from_openstack_json(" " * (MAX_TEXT + 1))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3)
)
FIELDS = st.sampled_from(["vcpus", "ram", "disk", "swap", "name", "properties", "OS-FLV-EXT-DATA:ephemeral"])


@given(st.one_of(st.text(), st.dictionaries(FIELDS, VALUES).map(json.dumps)))
def test_any_text_is_a_flavor_or_an_invalid_request(text: str) -> None:
    try:
        flavor = flavor_from_openstack_json(text)
    except InvalidRequest:
        return
    assert isinstance(flavor, Flavor)


@given(st.dictionaries(st.from_regex(r"[a-z:_.]{1,12}", fullmatch=True), st.from_regex(r"[a-z0-9,^-]{0,8}", fullmatch=True), min_size=1))
def test_both_spellings_of_properties_are_read_alike(specs: dict[str, str]) -> None:
    text = ", ".join(f"{key}='{value}'" for key, value in sorted(specs.items()))
    assert flavor_from_openstack_json(json.dumps({**SHOWN, "properties": text})).extra_specs == tuple(sorted(specs.items()))
