"""Guests of somebody else's as they run, and the records that they get when they are adopted, or what conflicts."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from tests.build import fits as build
from tests.build.guests import HOST, ours, surveyed, theirs
from tests.build.hosts import cpus, pools

from pinfold.core.cpuset import CpuSet
from pinfold.core.fit.answer import EmulatorPlacement
from pinfold.core.fit.check import violations
from pinfold.core.hosttext import host
from pinfold.core.identity import ClaimId
from pinfold.core.overhead import ObservedThread, ThreadClass, masks
from pinfold.core.request.model import EmulatorPolicy, ThreadPolicy
from pinfold.core.settings import HostSettings
from pinfold.drivers.port import DefinedPins, GuestShape, HostGuest, Observation, ShapeCell
from pinfold.host.adoption import NOVAS, Adoption, adoption

UNSET, SHARE, ISOLATE = EmulatorPolicy.UNSET, EmulatorPolicy.SHARE, EmulatorPolicy.ISOLATE
CLAIM = ClaimId("00000000-0000-0000-0000-00000000c1a1")
ROOMY = host("cell:2 core:4 pu:2 mem:4096")


def one_cell(guest: HostGuest, bound: str = "0", page_kib: int = 0) -> GuestShape:
    cell = ShapeCell(id=0, vcpus=CpuSet(range(guest.vcpus)), memory_mib=guest.memory_mib, page_kib=page_kib, host_cells=cpus(bound))
    return GuestShape(cells=(cell,))


def adopted(guest: HostGuest, *others: HostGuest, shape: GuestShape | None = None, threads: Any = (), **more: Any) -> Adoption:
    """What adopting the guest means on a host of two cells, 0-7 and 8-15, with 2-15 dedicated."""
    given = {key: more.pop(key) for key in ("pools",) if key in more}
    seen = surveyed(guest, *others, topology=ROOMY, **given)
    seen = replace(seen, state=replace(seen.state, limits=replace(seen.state.limits, reserved_memory_mib=0)))
    observation = Observation(threads=tuple(threads), witness="procfs") if threads else None
    policy = more.pop("policy", None)
    return adoption(HostSettings(), seen, guest, shape or one_cell(guest), observation, policy=policy, claim=CLAIM)


def test_a_guest_pinned_by_hand_keeps_its_pcpus_and_its_emulator_threads_join_the_pool() -> None:
    found = adopted(theirs(1, "vm", ["2", "3"]))
    record = found.record
    assert record is not None and not found.conflicts
    assert (record.fit.pins, record.policy, record.fit.emulator, record.claim) == (((0, 2), (1, 3)), SHARE, cpus("0-1"), CLAIM)
    assert record.fit.overhead_millicpu == 24 and record.fit.cells[0].memory_mib == 128
    assert record.request is not None and violations(record.request, surveyed(topology=ROOMY).state, record.fit) == ()
    assert found.before.overhead == HOST.online, "nothing pins its emulator threads yet"


@pytest.mark.parametrize(
    ("emulator", "policy"), [("2-3", UNSET), ("0-1", SHARE), ("5", ISOLATE), ("0", SHARE)], ids=["own", "pool", "alone", "part of the pool"]
)
def test_the_emulator_pin_shows_the_policy(emulator: str, policy: EmulatorPolicy) -> None:
    record = adopted(theirs(1, "vm", ["2", "3"], emulator=emulator)).record
    assert record is not None and record.policy is policy
    assert (record.fit.emulator_pcpu, record.fit.taken) == ((5, cpus("2-3,5")) if policy is ISOLATE else (None, cpus("2-3")))


def test_the_policy_can_be_chosen() -> None:
    record = adopted(theirs(1, "vm", ["2", "3"], emulator="0-1"), policy=UNSET).record
    assert record is not None and record.fit.emulator_placement is EmulatorPlacement.FLOAT and record.fit.emulator == cpus("2-3")
    (why,) = adopted(theirs(1, "vm", ["2", "3"]), policy=ISOLATE).conflicts
    assert "needs emulator threads that are pinned to one dedicated pCPU" in why


def test_without_an_overhead_pool_the_threads_float_over_its_own_pcpus() -> None:
    record = adopted(theirs(1, "vm", ["2", "3"]), pools=pools("0-1", "2-15")).record
    assert record is not None and (record.policy, record.fit.emulator) == (UNSET, cpus("2-3"))


def test_vcpus_without_a_pcpu_of_their_own_float_over_the_shared_pool() -> None:
    floats = adopted(theirs(1, "vm", 2)).record
    assert floats is not None and (floats.policy, floats.fit.cells, masks(floats.fit).vcpus) == (UNSET, (), (cpus("0-1"),) * 2)
    mixed = theirs(1, "vm", ["2", "0-15"])
    record = adopted(mixed).record
    assert record is not None and masks(record.fit).vcpus == (cpus("2"), cpus("0-1"))


def test_what_taskset_pinned_counts_where_the_definition_pins_nothing() -> None:
    threads = [
        ObservedThread(tid=vcpu, name=f"CPU {vcpu}/KVM", thread_class=ThreadClass.VCPU, vcpu=vcpu, allowed=cpus(str(4 + vcpu)))
        for vcpu in (0, 1)
    ]
    record = adopted(theirs(1, "vm", 2), threads=threads).record
    assert record is not None and record.fit.pins == ((0, 4), (1, 5))


def test_realtime_vcpus_huge_pages_and_cells_of_the_guest_are_recorded() -> None:
    shape = GuestShape(
        cells=tuple(
            ShapeCell(id=cell, vcpus=CpuSet.of(cell), memory_mib=64, page_kib=2048, host_cells=CpuSet.of(cell)) for cell in range(2)
        ),
        numa=True,
        locked=True,
    )
    guest = theirs(1, "vm", ["2", "8"], emulator="0-1", realtime="1")
    seen = surveyed(guest, topology=host("cell:2 core:4 pu:2 mem:4096 huge:2048x64"))
    seen = replace(seen, state=replace(seen.state, limits=replace(seen.state.limits, reserved_memory_mib=0)))
    record = adoption(HostSettings(), seen, guest, shape, None, policy=None, claim=CLAIM).record
    assert record is not None and record.request is not None
    assert [(cell.host_cell, cell.pins, cell.page_kib) for cell in record.fit.cells] == [(0, ((0, 2),), 2048), (1, ((1, 8),), 2048)]
    assert (record.fit.realtime, record.request.locked_memory) == (cpus("1"), True)


def test_novas_policies_count_and_nova_is_named() -> None:
    specs = {"hw:cpu_policy": "dedicated", "hw:emulator_threads_policy": "share", "hw:cpu_thread_policy": "isolate"}
    found = adopted(theirs(1, "instance-1", ["2", "4"], emulator="0-1", nova=True, specs=specs, server="web"))
    assert found.notes == (NOVAS,) and found.record is not None
    assert (found.record.flavor, found.record.server, found.record.policy) == ("m1", "web", SHARE)
    assert found.record.fit.idle_siblings == cpus("3,5")
    assert found.record.request is not None and found.record.request.thread_policy is ThreadPolicy.ISOLATE


CONFLICTS = {
    "a pCPU has two owners": (theirs(1, "vm", ["2", "3"]), "pCPUs 2-3 have more than one owner: guest ours, guest vm"),
    "outside the pools": (theirs(1, "vm", ["2"], emulator="2"), "its pins"),
    "several dedicated pCPUs": (theirs(1, "vm", ["2-5"]), "vCPU 0 may run on pCPUs 2-5, and 2-5 of these are dedicated"),
    "several cells": (theirs(1, "vm", ["2", "9"]), "its vCPUs are pinned to several host cells, and a guest cell lies on one: vCPU 0 on"),
    "another cell's memory": (theirs(1, "vm", ["9"]), "its vCPUs are pinned to host cell 1, but its memory is bound to host cell 0"),
    "two vCPUs on one pCPU": (theirs(1, "vm", ["6", "6"]), "its place pins two vCPUs to one pCPU"),
    "not persistent": (replace(theirs(1, "vm", ["6"]), persistent=False), "it has no persistent definition"),
    "isolate without pins": (theirs(1, "vm", 1), "emulator policy isolate needs pinned vCPUs"),
    "no room in memory": (replace(theirs(1, "vm", ["6"]), memory_mib=9000), "cell 0 has"),
}


@pytest.mark.parametrize("case", CONFLICTS, ids=str)
def test_a_conflict_is_explained(case: str) -> None:
    guest, sentence = CONFLICTS[case]
    others = [ours(9, "ours", build.fit("2-3", emulator="0-1"))] if case == "a pCPU has two owners" else []
    more: dict[str, Any] = {"pools": pools("0-1", "3-15", "0-1")} if case == "outside the pools" else {}
    found = adopted(guest, *others, policy=ISOLATE if case == "isolate without pins" else None, **more)
    assert found.record is None and sentence in "; ".join(found.conflicts), found.conflicts


def test_memory_that_is_bound_to_no_cell_is_a_conflict_only_where_there_are_several() -> None:
    guest = theirs(1, "vm", ["2", "3"])
    (why,) = adopted(guest, shape=one_cell(guest, bound="")).conflicts
    assert "(`virsh numatune vm --mode strict --nodeset 0 --config`)" in why
    seen = surveyed(guest, topology=host("core:8 pu:2 mem:4096"))
    assert adoption(HostSettings(), seen, guest, one_cell(guest, bound=""), None, policy=None, claim=CLAIM).record is not None


def test_vcpus_that_are_not_plugged_in_are_a_conflict() -> None:
    guest = theirs(1, "vm", ["2", "3"])
    (why,) = adopted(guest, shape=replace(one_cell(guest), unplugged=1)).conflicts
    assert why == "only 1 of its 2 vCPUs are plugged in, and a guest of pinfold's has all of them"


def test_pins_of_the_next_start_are_not_the_running_ones() -> None:
    guest = theirs(1, "vm", ["2", "3"], kept=DefinedPins(vcpus=((0, cpus("4")), (1, cpus("5")))))
    record = adopted(guest).record
    assert record is not None and record.fit.pins == ((0, 2), (1, 3))
