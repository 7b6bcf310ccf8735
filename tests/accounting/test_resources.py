"""Inventories, amounts and traits (docs/reference/placement.md), and the promise that Placement never refuses what a fit accepts."""

from __future__ import annotations

from collections import Counter

import pytest
from msgspec import structs
from tests.build.fits import fits
from tests.build.hosts import NO_RESERVE, state
from tests.build.requests import floating, pinned
from tests.oracle.generate import case

from pinfold.accounting.resources import DISK_GB, MEMORY_MB, OVERHEAD, PCPU, UNLIMITED, VCPU, Inventory, amounts, inventories
from pinfold.core.cpuset import CpuSet
from pinfold.core.fit.answer import Fit
from pinfold.core.fit.engine import fit
from pinfold.core.host import Booking, Foreign, HostState, Ledger, Limits
from pinfold.core.ledger import claim
from pinfold.core.pools import Pools
from pinfold.core.request.model import EmulatorPolicy, GuestRequest, ThreadPolicy


def host(limits: Limits = NO_RESERVE, *, shared: str = "0-1", overhead: str | None = "0-1", disk: int | None = 100) -> HostState:
    return state("pack:2 core:4 pu:2 mem:8192", shared=shared, overhead=overhead, limits=limits, disk_gib=disk)


def _offer(state: HostState, name: str) -> Inventory | None:
    return dict(inventories(state)).get(name)


def _claimed(state: HostState, *requests: GuestRequest) -> HostState:
    for index, request in enumerate(requests):
        state = claim(state, f"00000000-0000-0000-0000-{index:012}", fits(request, state))
    return state


def test_an_empty_host_offers_what_the_table_says() -> None:
    limits = structs.replace(NO_RESERVE, reserved_memory_mib=512, reserved_disk_gib=10)
    assert dict(inventories(host(limits))) == {
        PCPU: Inventory(total=14, max_unit=14),
        VCPU: Inventory(total=2, allocation_ratio=2.0, max_unit=4),
        MEMORY_MB: Inventory(total=16384, reserved=512, max_unit=15872),
        DISK_GB: Inventory(total=100, reserved=10, max_unit=90),
        OVERHEAD: Inventory(total=1000, max_unit=1000),
    }


@pytest.mark.parametrize(
    ("shared", "overhead", "fraction", "millicpu", "vcpus"),
    [
        ("0", "0", 0.5, 500, 2),
        ("0", "0", 0.25, 250, 3),
        ("0", "0", 0.0, None, 4),
        ("0", "0", 1.0, 1000, None),
        ("0-2", "0-2", 0.5, 1500, 6),
        ("0-2", "2-3", 0.5, 1500, 10),
        ("0-1", "2-3", 0.5, 2000, 8),
        ("0-1", None, 0.5, None, 8),
        ("0-1", "", 0.5, None, 8),
    ],
)
def test_no_pcpu_is_sold_twice(shared: str, overhead: str | None, fraction: float, millicpu: int | None, vcpus: int | None) -> None:
    state = host(structs.replace(NO_RESERVE, shared_fraction=fraction), shared=shared, overhead=overhead)
    booked, floats = _offer(state, OVERHEAD), _offer(state, VCPU)
    assert (booked and booked.total) == millicpu
    assert (floats and floats.max_unit) == vcpus
    sold = (booked.total / 1000 if booked else 0) + (floats.capacity / 4 if floats else 0)
    assert sold <= len(CpuSet.parse(shared) | CpuSet.parse(overhead or "")) + 1e-9


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (pinned(4), {PCPU: 4, MEMORY_MB: 64, DISK_GB: 1}),
        (pinned(4, emulator=EmulatorPolicy.ISOLATE), {PCPU: 5, MEMORY_MB: 64, DISK_GB: 1}),
        (pinned(4, emulator=EmulatorPolicy.SHARE), {PCPU: 4, MEMORY_MB: 64, DISK_GB: 1, OVERHEAD: 28}),
        (pinned(2, threads=ThreadPolicy.ISOLATE), {PCPU: 4, MEMORY_MB: 64, DISK_GB: 1}),
        (pinned(2, threads=ThreadPolicy.ISOLATE, emulator=EmulatorPolicy.ISOLATE), {PCPU: 6, MEMORY_MB: 64, DISK_GB: 1}),
        (floating(3), {VCPU: 3, MEMORY_MB: 64}),
    ],
    ids=["pinned", "isolate takes one more", "share books overhead", "idle siblings count", "both", "floating"],
)
def test_a_guest_consumes_what_the_table_says(request_: GuestRequest, expected: dict[str, int]) -> None:
    assert dict(amounts(fits(request_, host()), host())) == expected


def test_share_consumes_no_overhead_where_there_is_no_pool() -> None:
    state = host(overhead=None)
    assert OVERHEAD not in dict(amounts(fits(pinned(4, emulator=EmulatorPolicy.SHARE), state), state))


def test_a_host_that_accounts_no_disk_is_asked_for_none() -> None:
    state = host(disk=None)
    assert DISK_GB not in dict(amounts(fits(pinned(4), state), state))
    assert _offer(state, DISK_GB) is None


def test_report_never_refuses_and_still_counts() -> None:
    state = host(structs.replace(NO_RESERVE, booking=Booking.REPORT))
    offered = _offer(state, OVERHEAD)
    assert offered is not None
    assert offered.total == 1000
    assert offered.capacity >= UNLIMITED


def test_report_does_not_refuse_where_the_fraction_leaves_less_than_one_millicpu() -> None:
    limits = structs.replace(NO_RESERVE, booking=Booking.REPORT, shared_fraction=0.0004)
    state = host(limits, shared="0", overhead="0")
    answer = fits(pinned(4, emulator=EmulatorPolicy.SHARE), state)
    assert dict(amounts(answer, state))[OVERHEAD] == 28
    assert placement_accepts(state, answer)
    assert _offer(structs.replace(state, limits=structs.replace(limits, shared_fraction=0.0)), OVERHEAD) is None
    assert _offer(structs.replace(state, limits=structs.replace(limits, booking=Booking.ENFORCE)), OVERHEAD) is None


def test_foreign_pins_are_reserved_unless_a_claim_holds_them() -> None:
    state = _claimed(host(), pinned(2))
    taken = state.ledger.claims[0].fit.taken
    foreign = Foreign(name="x", cpus=CpuSet.of(taken.first, 14, 15, 0))
    seen = structs.replace(state, ledger=Ledger(claims=state.ledger.claims, foreign=(foreign,)))
    assert _offer(seen, PCPU) == Inventory(total=14, reserved=2, max_unit=14)


def test_a_pool_that_shrank_offers_what_is_still_claimed() -> None:
    state = _claimed(host(), pinned(2))
    left = structs.replace(state, pools=Pools(shared=CpuSet.parse("0-1"), dedicated=CpuSet(), overhead=None))
    assert _offer(left, PCPU) == Inventory(total=2, max_unit=2)


def test_a_class_in_use_stays_full_when_its_pool_goes() -> None:
    state = _claimed(host(), pinned(2, emulator=EmulatorPolicy.SHARE), floating(2))
    left = structs.replace(state, pools=Pools(shared=CpuSet(), dedicated=state.pools.dedicated, overhead=None))
    assert _offer(left, VCPU) == Inventory(total=2, max_unit=2)
    assert _offer(left, OVERHEAD) == Inventory(total=24, max_unit=24)
    by_others = dict(inventories(left, ((OVERHEAD, 30), (VCPU, 1), ("CUSTOM_FPGA", 3), (PCPU, 99), ("CUSTOM_GPU", 0))))
    assert by_others[OVERHEAD] == Inventory(total=30, max_unit=30)
    assert by_others[VCPU] == Inventory(total=2, max_unit=2)
    assert by_others["CUSTOM_FPGA"] == Inventory(total=3, max_unit=3)
    assert by_others[PCPU] == _offer(left, PCPU)
    assert "CUSTOM_GPU" not in by_others


def placement_accepts(state: HostState, answer: Fit) -> bool:
    """Placement's own check (`_check_capacity_exceeded`), on the inventories and the usage of that state."""
    offered = dict(inventories(state))
    used: Counter[str] = Counter()
    for one in state.ledger.claims:
        used.update(dict(amounts(one.fit, state)))
    for name, amount in amounts(answer, state):
        inventory = offered.get(name)
        if inventory is None or amount > inventory.max_unit or inventory.reserved > inventory.total:
            return False
        if used[name] + amount > inventory.capacity:
            return False
    return True


def test_placement_accepts_whatever_fits() -> None:
    outcomes: Counter[str] = Counter()
    for index in range(3000):
        asked = case(20261122, index)
        answer = fit(asked.request, asked.state, asked.strategy)
        if isinstance(answer, Fit):
            assert placement_accepts(asked.state, answer), asked.seed
            outcomes["accepted"] += 1
        else:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 600


def test_placement_accepts_until_the_host_is_full() -> None:
    for cpu, ram, disk, fraction in ((1.1, 1.3, 1.7, 0.3), (16.0, 1.0, 0.7, 0.5), (0.9, 0.6, 1.1, 0.1), (3.3, 1.1, 1.0, 0.0)):
        limits = structs.replace(
            NO_RESERVE, cpu_allocation_ratio=cpu, ram_allocation_ratio=ram, disk_allocation_ratio=disk, shared_fraction=fraction
        )
        state = host(structs.replace(limits, reserved_memory_mib=300, reserved_disk_gib=7), shared="0-2", overhead="0-2")
        for index in range(400):
            request = floating(1, memory_mib=97) if index % 3 else pinned(1, memory_mib=131, emulator=EmulatorPolicy.SHARE)
            answer = fit(request, state)
            if isinstance(answer, Fit):
                assert placement_accepts(state, answer)
                state = claim(state, f"00000000-0000-0000-0000-{index:012}", answer)
        assert state.ledger.claims


def test_a_plain_value_has_the_capacity_that_placement_computes() -> None:
    assert Inventory(total=10, reserved=4, allocation_ratio=1.5).capacity == 9.0
