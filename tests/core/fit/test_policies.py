"""The emulator policies with and without an overhead pool: the table in docs/reference/policies.md by rows, and what each books."""

from __future__ import annotations

import pytest
from tests.build.fits import fits, refused
from tests.build.hosts import cpus, state
from tests.build.requests import guest

from pinfold.core.errors import InvalidRequest
from pinfold.core.fit.answer import EmulatorPlacement, NoFit
from pinfold.core.fit.engine import fit
from pinfold.core.host import Booking, Limits
from pinfold.core.ledger import claim
from pinfold.core.reasons import Kind, ReasonCode
from pinfold.core.request.model import EmulatorPolicy, GuestRequest, ThreadPolicy

UNSET, SHARE, ISOLATE = EmulatorPolicy.UNSET, EmulatorPolicy.SHARE, EmulatorPolicy.ISOLATE
FLOAT, POOL, ISOLATED = EmulatorPlacement.FLOAT, EmulatorPlacement.POOL, EmulatorPlacement.ISOLATED


@pytest.mark.parametrize(
    ("policy", "overhead", "placement", "emulator"),
    [
        pytest.param(UNSET, "0-1", FLOAT, "2-3", id="unset with a pool floats over the guest's own pCPUs"),
        pytest.param(UNSET, None, FLOAT, "2-3", id="unset without a pool floats over the guest's own pCPUs"),
        pytest.param(SHARE, "0-1", POOL, "0-1", id="share with a pool runs on the whole pool"),
        pytest.param(SHARE, None, FLOAT, "2-3", id="share without a pool floats over the guest's own pCPUs"),
        pytest.param(ISOLATE, "0-1", ISOLATED, "4", id="isolate with a pool takes one more dedicated pCPU"),
        pytest.param(ISOLATE, None, ISOLATED, "4", id="isolate without a pool takes one more dedicated pCPU"),
    ],
)
def test_the_policy_table(policy: EmulatorPolicy, overhead: str | None, placement: EmulatorPlacement, emulator: str) -> None:
    where = state("core:8", shared="0-1", dedicated="2-7", overhead=overhead)
    answer = fits(guest("2", emulator=policy), where)
    assert (answer.emulator_placement, answer.emulator) == (placement, cpus(emulator))
    assert answer.emulator_pcpu == (4 if policy is ISOLATE else None)
    assert answer.taken == cpus("2-4" if policy is ISOLATE else "2-3")


def test_share_runs_on_the_pool_of_all_cells_whatever_the_guest_cell() -> None:
    where = state("pack:2 core:4", shared="0,4", overhead="0,4")
    answer = fits(guest("3", emulator=SHARE), where)
    assert answer.emulator == cpus("0,4")


@pytest.mark.parametrize(
    ("floating", "realtime", "emulator"),
    [
        pytest.param("", "1-3", "2", id="only the vCPU that is not realtime"),
        pytest.param("0", "", "0-1,2-4", id="a mixed guest's float set is the guest's own"),
        pytest.param("0", "1-3", "0-1", id="with all pinned vCPUs realtime the float set is left"),
    ],
)
def test_floating_emulator_threads_keep_off_realtime_vcpus(floating: str, realtime: str, emulator: str) -> None:
    where = state("core:8", shared="0-1")
    assert fits(guest("4", floating=floating, realtime=realtime), where).emulator == cpus(emulator)


def test_a_guest_without_cells_runs_wholly_on_the_shared_pool() -> None:
    where = state("pack:2 core:4", shared="0-1,4", overhead="0-1,4")
    answer = fits(GuestRequest(vcpus=5, memory_mib=64), where)
    assert (answer.float_set, answer.emulator, answer.emulator_placement, answer.taken) == (cpus("0-1,4"), cpus("0-1,4"), FLOAT, cpus(""))
    assert answer.float_vcpus == cpus("0-4")


def test_all_realtime_and_share_go_only_to_hosts_with_a_pool() -> None:
    request = guest("2", emulator=SHARE, realtime="0-1")
    assert fits(request, state("core:4", shared="0", overhead="0")).emulator == cpus("0")
    answer = refused(request, state("core:4", shared="0"))
    assert [(reason.code, reason.kind) for reason in answer.reasons] == [(ReasonCode.NO_OVERHEAD_POOL, Kind.INFEASIBLE)]


def test_all_realtime_without_a_policy_is_no_request() -> None:
    with pytest.raises(InvalidRequest, match="hw:emulator_threads_policy must be share or isolate"):
        fit(guest("2", realtime="0-1"), state("core:4"))


@pytest.mark.parametrize("policy", [SHARE, ISOLATE])
def test_a_policy_without_pinned_vcpus_is_no_request(policy: EmulatorPolicy) -> None:
    with pytest.raises(InvalidRequest, match="needs hw:cpu_policy=dedicated or mixed"):
        fit(guest("2", floating="0-1", emulator=policy), state("core:4", shared="0-3"))


def test_an_offline_overhead_pool_refuses_share_and_never_lets_it_float() -> None:
    where = state("core:4", overhead="")
    assert refused(guest("2", emulator=SHARE), where).reasons[0].code is ReasonCode.OVERHEAD_POOL_OFFLINE
    assert fits(guest("2"), where).emulator == cpus("0-1")


def test_a_host_whose_overhead_pool_is_offline_now_does_not_refuse_for_ever() -> None:
    offline = state("core:4", overhead="")
    assert refused(guest("2", emulator=SHARE), offline).kind is Kind.INSUFFICIENT
    assert refused(guest("2", emulator=SHARE, realtime="0-1"), offline).kind is Kind.INSUFFICIENT
    assert refused(guest("5", emulator=SHARE), offline).kind is Kind.INFEASIBLE


def test_a_booked_pool_refuses_the_next_share_guest() -> None:
    where = state("core:8", shared="0", overhead="0", limits=Limits(reserved_memory_mib=0, shared_fraction=0.05))
    request = guest("1", emulator=SHARE, disks=1)
    first = fits(request, where)
    assert first.overhead_millicpu == 20 + 2 + 10
    answer = refused(request, claim(where, "a", first))
    assert answer.sentence() == "overhead pool has 18 of 32 millicpu free"
    assert answer.kind is Kind.INSUFFICIENT
    assert fits(guest("1", emulator=ISOLATE, disks=1), claim(where, "a", first)).overhead_millicpu == 0


def test_a_booking_up_to_the_last_millicpu_fits() -> None:
    limits = Limits(reserved_memory_mib=0, shared_fraction=0.022)
    where = state("core:8", shared="0", overhead="0", limits=limits)
    assert fits(guest("1", emulator=SHARE), where).overhead_millicpu == 22
    assert refused(guest("2", emulator=SHARE), where).kind is Kind.INFEASIBLE


def test_booking_report_warns_and_does_not_refuse() -> None:
    limits = Limits(reserved_memory_mib=0, shared_fraction=0.01, booking=Booking.REPORT)
    where = state("core:8", shared="0", overhead="0", limits=limits)
    answer = fits(guest("1", emulator=SHARE), where)
    assert [warning.code for warning in answer.warnings] == [ReasonCode.OVERHEAD_BOOKED]
    assert answer.overhead_millicpu == 22


def test_a_fraction_of_nothing_books_nothing_and_never_refuses() -> None:
    where = state("core:8", shared="0", overhead="0", limits=Limits(reserved_memory_mib=0, shared_fraction=0))
    for name in "abcdefg":
        answer = fits(guest("1", emulator=SHARE), where)
        assert (answer.overhead_millicpu, answer.warnings) == (0, ())
        where = claim(where, name, answer)


@pytest.mark.parametrize("threads", list(ThreadPolicy))
@pytest.mark.parametrize("policy", [UNSET, SHARE, ISOLATE])
@pytest.mark.parametrize("overhead", [None, "0-1"])
@pytest.mark.parametrize("floating", ["", "3"])
def test_every_combination_finds_its_place_on_a_roomy_host(
    threads: ThreadPolicy, policy: EmulatorPolicy, overhead: str | None, floating: str
) -> None:
    where = state("core:10 pu:2", shared="0-1", dedicated="2-19", overhead=overhead)
    answer = fits(guest("4", floating=floating, threads=threads, emulator=policy), where)
    whole = 2 if threads is ThreadPolicy.ISOLATE else 1
    assert len(answer.taken) == (4 - len(cpus(floating)) + (policy is ISOLATE)) * whole
    assert answer.emulator_placement is (ISOLATED if policy is ISOLATE else POOL if policy is SHARE and overhead else FLOAT)


def test_a_host_without_the_dedicated_pool_is_no_place_for_pins() -> None:
    answer = fit(guest("2"), state("core:4", dedicated="", shared="0-3"))
    assert isinstance(answer, NoFit)
    assert answer.sentence() == "no dedicated pool is configured (cpu_dedicated_set), 2 dedicated pCPUs needed"
