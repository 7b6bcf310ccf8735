"""Which vCPUs an unmodified Nova pins for a flavor and an image, beside what pinfold reads of the domain that Nova then writes.

`policies.py` asked Nova 34 for `policies.jsonl`: `PYTHON-WITH-NOVA tests/nova/policies.py > tests/nova/policies.jsonl`.
`test_unmodified_nova.py` asks it again, and for pairs that are drawn.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from tests.build.guests import HOST, POOLS, surveyed, theirs
from tests.build.hosts import cpus

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Finding, Subject
from pinfold.core.pools import Pools
from pinfold.core.request.model import EmulatorPolicy
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import DefinedPins, HostGuest, NovaRecord
from pinfold.host import nova
from pinfold.host.nova_accounting import node_of

ANSWERS = [json.loads(line) for line in Path(__file__).with_name("policies.jsonl").read_text(encoding="utf-8").splitlines()]
ACCEPTED = [one for one in ANSWERS if one["dedicated"] is not None]


def definition(answer: dict[str, Any]) -> DefinedPins:
    """What Nova writes for it: pins, if there are cells. A floating vCPU's cell has one pCPU of the shared pool here."""
    pinned, share = set(answer["dedicated"]), answer["extra_specs"].get("hw:emulator_threads_policy") == "share"
    cells = pinned or any("numa_nodes" in key or "mem_page_size" in key for key in {**answer["extra_specs"], **answer["image_properties"]})
    if not cells:
        return DefinedPins(placement=cpus("0-1"))
    pins = tuple((vcpu, cpus(str(4 + vcpu) if vcpu in pinned else "0")) for vcpu in range(answer["vcpus"]))
    own = CpuSet.union(where for _, where in pins)
    isolate = answer["extra_specs"].get("hw:emulator_threads_policy") == "isolate"
    return DefinedPins(vcpus=pins, emulator=cpus("0-1") if share else cpus("12") if isolate else own)


def guest(answer: dict[str, Any], *, image_known: bool = True) -> HostGuest:
    """The guest of Nova's that runs by that definition."""
    record = NovaRecord(
        flavor="m1",
        vcpus=answer["vcpus"],
        memory_mib=1024,
        extra_specs=tuple(sorted(answer["extra_specs"].items())),
        image_properties=tuple(sorted(answer["image_properties"].items())) if image_known else None,
    )
    both = definition(answer)
    return structs.replace(theirs(1, "vm", answer["vcpus"], nova=True, kept=both), nova=record, pins=both, kept_first=True)


def said(answer: dict[str, Any]) -> str:
    """The pair as a test's name."""
    pairs = {**answer["extra_specs"], **answer["image_properties"]}
    return " ".join(f"{key}={value}" for key, value in pairs.items()) or "nothing"


@pytest.mark.parametrize("answer", ACCEPTED, ids=said)
def test_the_vcpus_that_nova_pins_are_read_as_pinned_and_no_others(answer: dict[str, Any]) -> None:
    found = nova.read(Subject(name="vm", pid=1001), guest(answer), POOLS, HOST.online)
    assert found.dedicated == CpuSet(answer["dedicated"])
    assert found.findings == ()
    if answer["dedicated"]:
        stated = answer["extra_specs"].get("hw:emulator_threads_policy", "unset")
        assert found.policy is EmulatorPolicy(stated)
    else:
        assert (found.policy, found.beyond, found.place.alone) == (None, cpus(""), cpus(""))
        assert found.wanted.overhead == (definition(answer).emulator or cpus("0-1"))


SHARE_ALONE = {"hw:emulator_threads_policy": "share"}


def judged(one: HostGuest, pools: Pools | None) -> tuple[Finding, ...]:
    """What is found about its definitions on a host of two cells."""
    subject = Subject(name="vm", pid=1001)
    return nova.judged(subject, one, nova.read(subject, one, pools, HOST.online, cells=2), None, pools, HOST.online)


def test_a_guest_with_share_alone_that_has_a_pcpu_of_its_own_was_pinned_by_something_unwritten() -> None:
    pinned = {"vcpus": 2, "extra_specs": SHARE_ALONE, "image_properties": {}, "dedicated": [0, 1]}
    found = nova.read(Subject(name="vm", pid=1001), guest(pinned, image_known=False), POOLS, HOST.online)
    assert (found.dedicated, found.policy) == (CpuSet([0, 1]), EmulatorPolicy.SHARE)


@pytest.mark.parametrize("emulator", ["0", "0-1"], ids=["beside its vCPUs", "on the whole pool, as Nova writes it"])
@pytest.mark.parametrize("specs", [None, SHARE_ALONE | {"hw:numa_nodes": "1"}], ids=["an older Nova", "share"])
def test_the_emulator_of_a_floating_guest_with_cells_may_be_on_the_whole_pool(specs: dict[str, str] | None, emulator: str) -> None:
    both = DefinedPins(vcpus=((0, cpus("0")), (1, cpus("0"))), emulator=cpus(emulator))
    one = structs.replace(theirs(1, "vm", 2, nova=True, specs=specs, kept=both), pins=both)
    assert judged(one, POOLS) == ()


def test_without_pools_the_emulator_of_a_floating_guest_may_be_on_more_than_its_vcpus() -> None:
    both = DefinedPins(vcpus=((0, cpus("0-1")), (1, cpus("0-1"))), emulator=cpus("0-1,8-9"))
    specs = SHARE_ALONE | {"hw:numa_nodes": "1"}
    assert judged(structs.replace(theirs(1, "vm", 2, nova=True, specs=specs, kept=both), pins=both), None) == ()


def test_the_emulator_of_a_floating_guest_is_drift_on_a_dedicated_pcpu() -> None:
    both = DefinedPins(vcpus=((0, cpus("0")), (1, cpus("0"))), emulator=cpus("9"))
    one = structs.replace(theirs(1, "vm", 2, nova=True, specs=SHARE_ALONE | {"hw:numa_nodes": "1"}, kept=both), pins=both)
    (finding,) = judged(one, POOLS)
    assert "9" in finding.sentence()


def test_only_guests_with_pinned_vcpus_count_as_share_in_the_accounting() -> None:
    floating = guest({"vcpus": 2, "extra_specs": SHARE_ALONE, "image_properties": {}, "dedicated": []})
    pinned = theirs(2, "pinned", ["4"], emulator="0-1", nova=True, specs=SHARE_ALONE)
    node = node_of(surveyed(floating, pinned), HostSettings(), 1)
    assert [one.name for one in node.guests] == ["pinned"]
