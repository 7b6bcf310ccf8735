"""The reports of guests: by state, by last boot, and without a definition."""

import pytest
from msgspec.structs import replace
from tests.build.guests import recorded
from tests.build.orders import order

from pinfold.agent.reconcile import LastBoot, Memory, PresentGuest
from pinfold.agent.report import guest_report, lost_guests
from pinfold.agent.wire import GuestReport, Orders, ThreadReport
from pinfold.core.cpuset import CpuSet
from pinfold.core.fit.answer import Fit
from pinfold.core.request.model import EmulatorPolicy
from pinfold.drivers.port import GuestState, HostGuest, Record
from pinfold.store.records import Desired, Observed

FIT = Fit(vcpus=1, memory_mib=64, float_vcpus=CpuSet.of(0), float_set=CpuSet.of(0), emulator=CpuSet.of(0))
RECORD = Record(guest="g", policy=EmulatorPolicy.UNSET, fit=FIT, revision=5)
FAILED = LastBoot(guest="g", boot=2, host_boot="b", failure="no such image")
FINE = LastBoot(guest="g", boot=2, host_boot="b")
SEEN = ThreadReport(witness="procfs")


def guest(state: GuestState) -> HostGuest:
    return recorded(RECORD, state=state)


def test_a_guest_that_is_off_after_a_boot_that_failed_says_why() -> None:
    told = guest_report(guest(GuestState.STOPPED), FAILED, SEEN)
    assert told == GuestReport(revision=5, observed=Observed.STOPPED, boot=2, failure="no such image")


def test_a_guest_that_somebody_else_let_run_has_no_failure() -> None:
    told = guest_report(guest(GuestState.RUNNING), FAILED, SEEN)
    assert told == GuestReport(revision=5, observed=Observed.RUNNING, boot=2, threads=SEEN)


@pytest.mark.parametrize(("rebuild", "failure"), [(0, ""), (1, "no such image"), (2, "no such image"), (3, "")])
def test_a_guest_that_runs_from_its_old_disk_has_the_failure_of_its_rebuild(rebuild: int, failure: str) -> None:
    told = guest_report(guest(GuestState.RUNNING), FAILED, SEEN, rebuild=rebuild)
    assert told == GuestReport(revision=5, observed=Observed.RUNNING, boot=2, threads=SEEN, failure=failure)


def test_a_guest_that_is_paused_has_a_failure_only_if_it_stays_so_although_it_is_to_run() -> None:
    said = {stays: guest_report(guest(GuestState.PAUSED), FAILED, SEEN, stays_paused=stays).failure for stays in (False, True)}
    assert said == {False: "", True: "no such image"}


def test_a_guest_that_this_agent_never_booted_says_nothing_of_boots() -> None:
    assert guest_report(guest(GuestState.PAUSED), None, None) == GuestReport(revision=5, observed=Observed.PAUSED)


@pytest.mark.parametrize(
    ("desired", "booted", "told"),
    [
        (Desired.RUNNING, FAILED, GuestReport(revision=5, observed=Observed.ABSENT, boot=2, failure="no such image")),
        (Desired.RUNNING, FINE, None),
        (Desired.RUNNING, None, None),
        (Desired.STOPPED, FINE, GuestReport(revision=5, observed=Observed.ABSENT, boot=2)),
        (Desired.STOPPED, None, GuestReport(revision=5, observed=Observed.ABSENT)),
        (Desired.ABSENT, FAILED, None),
    ],
    ids=[
        "its start failed",
        "it is about to be started",
        "it was never started",
        "it is off for good",
        "it is off, whoever knows since when",
        "it is about to be confirmed gone",
    ],
)
def test_a_guest_without_a_definition(desired: Desired, booted: LastBoot | None, told: GuestReport | None) -> None:
    wanted = order("g", desired, revision=5, boot=2)
    orders, memory = Orders(count=1, orders=(wanted,)), Memory(booted=(booted,) if booted else ())
    assert lost_guests(orders, (), memory) == ((("g", replace(told, claim=wanted.claim.id)),) if told else ())
    assert lost_guests(orders, (PresentGuest(guest="g", state=GuestState.STOPPED, revision=5),), memory) == ()
