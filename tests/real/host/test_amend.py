"""A claim is amended while its guest runs: the record follows, and the threads where the places differ. Real guests."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs
from msgspec.structs import replace
from tests.real.host.bench import DEDICATED, Bench, FailsLate

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest, Unavailable
from pinfold.core.identity import ClaimId
from pinfold.core.overhead import masks
from pinfold.drivers.port import Driver, GuestState, Record
from pinfold.host.amend import NotMoved, amend
from pinfold.host.start import restart
from pinfold.host.stop import stop
from pinfold.host.verify import verify

CLAIM = ClaimId("00000000-0000-4000-8000-0000000000c1")


def test_a_running_guest_keeps_its_process_when_its_claim_is_amended(synthetic_bench: Bench) -> None:
    bench = synthetic_bench.with_pools(shared="0-1", dedicated="2-7")
    bench.start(bench.order("vm", DEDICATED, vcpus=2))
    began = bench.guest("vm")
    assert began.record is not None and began.record.claim is not None, "a host without a service makes the id at the start"
    named = replace(began.record, claim=CLAIM, revision=7)
    amend(bench.driver, bench.settings, named)
    now = bench.guest("vm")
    assert (now.state, now.pid, now.record, now.pins) == (GuestState.RUNNING, began.pid, named, began.pins)

    (cell,) = named.fit.cells
    free = [pcpu for pcpu in CpuSet.parse("2-7") if pcpu not in named.fit.taken]
    pins = tuple((vcpu, pcpu) for (vcpu, _), pcpu in zip(cell.pins, free, strict=False))
    moved = replace(
        named, revision=8, fit=structs.replace(named.fit, cells=(structs.replace(cell, pins=pins),), emulator=CpuSet.of(*free[:2]))
    )
    amend(bench.driver, bench.settings, moved)
    now = bench.guest("vm")
    assert (now.pid, now.record) == (began.pid, moved)
    verdict = verify(bench.driver, bench.settings, now, online=bench.driver.topology().online)
    assert (verdict.masks, verdict.drift) == (masks(moved.fit), ())

    stop(bench.driver, bench.settings, "vm")
    amend(bench.driver, bench.settings, replace(named, revision=9))
    assert bench.guest("vm").state is GuestState.STOPPED
    again = restart(bench.driver, bench.settings, "vm")
    assert again.guest.record == replace(named, revision=9)
    assert again.masks == masks(named.fit)
    with pytest.raises(InvalidRequest, match="is of pinfold, not of somebody"):
        amend(bench.driver, bench.settings, replace(named, owner="somebody"))


def test_a_record_of_an_earlier_pinfold_gets_the_id_of_its_claim_at_the_next_start(synthetic_bench: Bench) -> None:
    bench = synthetic_bench
    bench.start(bench.order("vm"))
    record = bench.guest("vm").record
    assert record is not None
    bench.driver.amend(record.guest, replace(record, claim=None))
    stop(bench.driver, bench.settings, "vm")
    started = restart(bench.driver, bench.settings, "vm").guest.record
    assert started is not None and started.claim is not None and started.claim != record.claim
    assert replace(started, claim=record.claim) == record


def _elsewhere(record: Record, pcpu: int) -> Record:
    """The record of a guest of one vCPU with another pCPU."""
    cell = structs.replace(record.fit.cells[0], pins=((0, pcpu),))
    return replace(record, claim=CLAIM, revision=9, fit=structs.replace(record.fit, cells=(cell,), emulator=CpuSet.of(pcpu)))


def test_a_guest_is_not_moved_to_a_pcpu_that_another_one_holds(synthetic_bench: Bench) -> None:
    bench = synthetic_bench.with_pools(shared="0-1", dedicated="2-7")
    for name in ("first", "second"):
        bench.start(bench.order(name, DEDICATED))
    before, other = bench.guest("first"), bench.guest("second")
    assert before.record is not None and other.record is not None
    with pytest.raises(NotMoved, match="has more than one owner: guest first, guest second"):
        amend(bench.driver, bench.settings, _elsewhere(before.record, other.record.fit.taken.first))
    assert bench.guest("first") == before


def test_a_guest_whose_threads_cannot_be_moved_is_moved_back_and_keeps_its_record(synthetic_bench: Bench) -> None:
    bench = synthetic_bench.with_pools(shared="0-1", dedicated="2-7")
    bench.start(bench.order("vm", DEDICATED))
    before = bench.guest("vm")
    assert before.record is not None
    failing = FailsLate(bench.driver, "amend", at=1)
    with pytest.raises(NotMoved, match="libvirt went away"):
        amend(failing, bench.settings, _elsewhere(before.record, 5))  # type: ignore[arg-type]
    now = bench.guest("vm")
    assert (now.record, now.pins, now.pid) == (before.record, before.pins, before.pid)
    verdict = verify(bench.driver, bench.settings, now, online=bench.driver.topology().online)
    assert (verdict.masks, verdict.drift) == (masks(before.record.fit), ())
    with pytest.raises(NotMoved, match="pCPU 99"):
        amend(bench.driver, bench.settings, _elsewhere(before.record, 99))
    assert bench.guest("vm").pins == before.pins
    amend(bench.driver, bench.settings, _elsewhere(before.record, 5))
    assert bench.guest("vm").pins.vcpus == ((0, CpuSet.of(5)),)


class _WentAway:
    """A driver whose libvirt went away before it could pin."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    def pin(self, *_: Any, **__: Any) -> None:
        raise Unavailable("libvirt went away")


def test_a_guest_whose_libvirt_went_away_during_its_move_is_moved_at_the_next_try(synthetic_bench: Bench) -> None:
    bench = synthetic_bench.with_pools(shared="0-1", dedicated="2-7")
    bench.start(bench.order("vm", DEDICATED))
    record = bench.guest("vm").record
    assert record is not None
    with pytest.raises(Unavailable):
        amend(_WentAway(bench.driver), bench.settings, _elsewhere(record, 5))  # type: ignore[arg-type]
    amend(bench.driver, bench.settings, _elsewhere(record, 5))
    assert bench.guest("vm").pins.vcpus == ((0, CpuSet.of(5)),)
