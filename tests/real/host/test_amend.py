"""A claim is amended while its guest runs: the record follows, and the threads where the places differ. Real guests."""

from __future__ import annotations

import pytest
from msgspec import structs
from msgspec.structs import replace
from tests.real.host.bench import DEDICATED, Bench

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.identity import ClaimId
from pinfold.core.overhead import masks
from pinfold.drivers.port import GuestState
from pinfold.host.amend import amend
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
