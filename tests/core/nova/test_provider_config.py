"""The provider configuration file of a Nova node. That an unmodified Nova loads it is shown by `tests/nova/test_unmodified_nova.py`."""

from __future__ import annotations

import jsonschema
import pytest
import yaml

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.host import HostState, Limits
from pinfold.core.hosttext import host
from pinfold.core.nova.provider_config import THIS_NODE, Identification, Ratio, identification, ratio, ratio_sentence, text
from pinfold.core.pools import PoolConfig, build_pools

INVENTORY = {"total": 1000, "reserved": 0, "allocation_ratio": 1.0, "min_unit": 1, "max_unit": 1000, "step_size": 1}
UUID = "3f6a1c52-7c1e-4a5e-9d0b-0a4b6f1f2d11"

_INTEGERS = {key: {"type": "integer"} for key in ("total", "reserved", "min_unit", "max_unit", "step_size")}

NOVA_ACCEPTS = {
    "type": "object",
    "required": ["meta"],
    "properties": {
        "meta": {
            "type": "object",
            "required": ["schema_version"],
            "properties": {"schema_version": {"type": "string", "pattern": "^1.([0-9]|[1-9][0-9]+)$"}},
        },
        "providers": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["identification"],
                "properties": {
                    "identification": {
                        "type": "object",
                        "minProperties": 1,
                        "maxProperties": 1,
                        "additionalProperties": False,
                        "properties": {
                            "uuid": {"type": "string", "pattern": r"^(\$COMPUTE_NODE|[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})$"},
                            "name": {"type": "string", "minLength": 1, "maxLength": 200},
                        },
                    },
                    "inventories": {
                        "type": "object",
                        "properties": {
                            "additional": {
                                "type": "array",
                                "items": {
                                    "additionalProperties": False,
                                    "patternProperties": {
                                        "^CUSTOM_[A-Z0-9_]{1,248}$": {
                                            "type": "object",
                                            "required": ["total"],
                                            "additionalProperties": False,
                                            "properties": {
                                                **_INTEGERS,
                                                "allocation_ratio": {"type": "number"},
                                            },
                                        }
                                    },
                                },
                            }
                        },
                    },
                    "traits": {
                        "type": "object",
                        "properties": {
                            "additional": {"type": "array", "items": {"type": "string", "pattern": "^CUSTOM_[A-Z0-9_]{1,248}$"}}
                        },
                    },
                },
            },
        },
    },
}
"""What Nova 34.0.0 accepts (schema version 1.0 and the checks after it), as the slow test found it."""


@pytest.mark.parametrize(
    "who",
    [
        Identification(),
        Identification(value=UUID),
        Identification(key="name", value='node "1": #x'),
        Identification(key="name", value="größe 𝄞"),
    ],
    ids=["the node that reads it", "a uuid", "a name that YAML must quote", "a name beyond ASCII"],
)
@pytest.mark.parametrize("more", [{}, {"allocation_ratio": float(2**31 - 1), "max_unit": 2**31 - 1}], ids=["enforced", "reported"])
def test_the_file_is_what_nova_accepts(who: Identification, more: dict[str, float]) -> None:
    found = yaml.safe_load(text(INVENTORY | more, who, ("pCPU 0: a note",)))
    jsonschema.validate(found, NOVA_ACCEPTS)
    (provider,) = found["providers"]
    assert provider["identification"] == {who.key: who.value}
    assert provider["inventories"]["additional"] == [{"CUSTOM_OVERHEAD_MILLICPU": INVENTORY | more}]
    assert provider["traits"]["additional"] == ["CUSTOM_OVERHEAD_POOL"]


@pytest.mark.parametrize(
    ("uuid", "name", "message"),
    [
        (UUID, "c1", "--uuid and --name both name the resource provider; one of them is allowed"),
        ("7", None, "--uuid '7' is not allowed; a UUID or $COMPUTE_NODE is"),
        (None, "", "--name '' is not allowed; 1 to 200 printable characters are"),
        (None, "a\nb", "--name 'a\\nb' is not allowed; 1 to 200 printable characters are"),
    ],
)
def test_a_provider_that_nova_would_not_take_is_refused(uuid: str | None, name: str | None, message: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        identification(uuid, name)
    assert str(error.value) == message


def test_without_uuid_and_name_the_node_that_reads_the_file_is_meant() -> None:
    assert (identification(None, None).value, identification(THIS_NODE, None).value) == (THIS_NODE, THIS_NODE)


def _host(**limits: float) -> HostState:
    topology = host("core:8")
    pools, _ = build_pools(PoolConfig(shared=CpuSet.parse("0-1"), dedicated=CpuSet.parse("2-7")), topology)
    return HostState(topology=topology, pools=pools, limits=Limits(**limits))  # type: ignore[arg-type]


@pytest.mark.parametrize(("fraction", "before", "after"), [(0.5, 4.0, 2.0), (0.25, 16.0, 12.0), (0.3, 1.1, 0.77), (1.0, 4.0, 0.0)], ids=str)
def test_the_ratio_falls_with_the_pcpus_that_count_as_overhead(fraction: float, before: float, after: float) -> None:
    assert ratio(_host(shared_fraction=fraction, cpu_allocation_ratio=before)) == Ratio(before=before, after=after)


def test_the_ratio_stays_where_nothing_counts_as_overhead() -> None:
    assert ratio(_host(shared_fraction=0.0)) is None


def test_the_ratio_is_said_in_a_sentence() -> None:
    assert ratio_sentence(Ratio(before=4.0, after=2.0), CpuSet.parse("0-1")) == (
        "pCPUs 0-1 of cpu_shared_set carry overhead threads too: where cpu_allocation_ratio has been 4, set it to 2 in nova.conf, once"
    )
    assert ratio_sentence(Ratio(before=4.0, after=0.0), CpuSet.of(0)) == (
        "pCPU 0 of cpu_shared_set carries overhead threads too and leaves nothing for floating vCPUs: keep guests without pinned vCPUs off "
        "this node"
    )
