"""What a flavor asks of aggregates means what Nova's filter makes of it.

`NOVA` was recorded from `nova.scheduler.filters.extra_specs_ops.match` of Nova 34.0.0. Where that raises, because a value is no number, it
counts as no match.
"""

from __future__ import annotations

from typing import Final

import pytest

from pinfold.core.errors import InvalidRequest
from pinfold.core.request.aggregate_specs import AggregateSpec, aggregate_specs, met, values_of
from pinfold.core.request.compile import compile_request
from pinfold.core.request.model import Flavor

VALUES: Final = ("true", "ssd", "4", "4.0", "10", "a b", "nvme", "", "abc")
NOVA: Final = (
    ("true", ["true"]),
    ("True", []),
    ("ssd", ["ssd"]),
    ("4", ["4"]),
    ("<or> ssd <or> nvme", ["ssd", "nvme"]),
    ("<or> nvme", ["nvme"]),
    ("<or> ssd nvme", ["ssd"]),
    ("<in> ss", ["ssd"]),
    ("<in> a", ["a b", "abc"]),
    ("<all-in> a b", ["a b", "abc"]),
    ("<all-in> a z", []),
    ("s== ssd", ["ssd"]),
    ("s!= ssd", ["true", "4", "4.0", "10", "a b", "nvme", "", "abc"]),
    ("s< b", ["4", "4.0", "10", "a b", "", "abc"]),
    ("s<= abc", ["4", "4.0", "10", "a b", "", "abc"]),
    ("s> b", ["true", "ssd", "nvme"]),
    ("s>= ssd", ["true", "ssd"]),
    ("= 4", ["4", "4.0", "10"]),
    ("== 4", ["4", "4.0"]),
    ("!= 4", ["10"]),
    ("<= 4", ["4", "4.0"]),
    (">= 4", ["4", "4.0", "10"]),
    ("= 10", ["10"]),
    ("s== a b", []),
    ("<IN> ss", []),
    (" ssd", []),
    ("== nan", []),
)


@pytest.mark.parametrize(("asked", "matching"), NOVA, ids=[asked for asked, _ in NOVA])
def test_a_value_matches_where_novas_does(asked: str, matching: list[str]) -> None:
    spec = AggregateSpec(key="key", asked=asked)
    assert [value for value in VALUES if met(spec, {"key": frozenset({value})})] == matching


def test_a_host_without_the_key_never_matches() -> None:
    assert not met(AggregateSpec(key="ssd", asked="s!= true"), {"other": frozenset({"false"})})


def test_a_host_has_the_values_of_all_its_aggregates_and_a_comma_separates_them() -> None:
    values = values_of([("disk", "ssd, nvme"), ("disk", "hdd"), ("rack", "r1")])
    assert values == {"disk": frozenset({"ssd", "nvme", "hdd"}), "rack": frozenset({"r1"})}


def test_a_key_without_a_colon_and_one_of_the_scope_ask_aggregates_and_no_other_does() -> None:
    specs = (("aggregate_instance_extra_specs:ssd", "true"), ("hw:cpu_policy", "shared"), ("ours:tier", "gold"), ("rack", "<or> r1"))
    found = aggregate_specs(Flavor(vcpus=1, memory_mib=64, extra_specs=specs))
    assert [(spec.key, spec.asked) for spec in found] == [("ssd", "true"), ("rack", "<or> r1")]


def test_old_and_foreign_names_ask_no_aggregate() -> None:
    assert aggregate_specs(Flavor(vcpus=1, memory_mib=64, extra_specs=(("hide_hypervisor_id", "true"), ("vmware:hw_version", "9")))) == ()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (">= many", "rack is '>= many', but >= compares numbers; a number must follow, or write s== to compare texts"),
        ("<or>", "rack is '<or>', which compares with nothing; a value must follow <or>"),
    ],
)
def test_an_operator_that_can_match_nothing_is_refused(asked: str, words: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        compile_request(Flavor(vcpus=1, memory_mib=64, extra_specs=(("rack", asked),)))
    assert str(error.value) == words


def test_an_image_property_in_a_flavor_asks_no_aggregate_but_is_refused() -> None:
    with pytest.raises(InvalidRequest) as error:
        compile_request(Flavor(vcpus=1, memory_mib=64, extra_specs=(("hw_machine_type", "q35"),)))
    assert str(error.value) == "hw_machine_type is an image property; no extra spec means the same, so set it on the image"
