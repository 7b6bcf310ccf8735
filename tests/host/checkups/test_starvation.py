"""Realtime vCPUs on pCPUs where overhead threads may run."""

from __future__ import annotations

import pytest

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift.finding import Subject
from pinfold.core.drift.steps import Pin, Step
from pinfold.core.overhead import ObservedThread, ThreadClass
from pinfold.core.pools import Pools
from pinfold.drivers.checkup import Checkup, Health
from pinfold.host.checkups.starvation import RunningGuest, starvation

POOLS = Pools(shared=CpuSet.parse("0-1"), dedicated=CpuSet.parse("2-7"), overhead=CpuSet.parse("0-1"))
ONLINE = CpuSet.parse("0-7")


def vcpu(pcpus: str, scheduler: str = "fifo", number: int = 0) -> ObservedThread:
    allowed = CpuSet.parse(pcpus)
    return ObservedThread(
        tid=11 + number, name=f"CPU {number}/KVM", thread_class=ThreadClass.VCPU, allowed=allowed, vcpu=number, scheduler=scheduler
    )


def emulator(pcpus: str, scheduler: str = "other", kind: ThreadClass = ThreadClass.EMULATOR) -> ObservedThread:
    return ObservedThread(tid=10, name="qemu", thread_class=kind, allowed=CpuSet.parse(pcpus), scheduler=scheduler)


def guest(name: str, *threads: ObservedThread, ours: bool = False, problem: str = "") -> RunningGuest:
    return RunningGuest(subject=Subject(name=name, id=name, pid=10), threads=threads, ours=ours, problem=problem)


def judged(*guests: RunningGuest, pools: Pools = POOLS) -> list[Checkup]:
    def command(subject: Subject, steps: tuple[Step, ...]) -> str:
        return f"pin {subject.name} {','.join(str(step.cpus) for step in steps if isinstance(step, Pin))}"

    return starvation(guests, pools, ONLINE, command)


@pytest.mark.parametrize(
    ("guests", "words"),
    [
        pytest.param((guest("a", vcpu("4", "other"), emulator("4")),), "no running guest has a realtime vCPU", id="no realtime"),
        pytest.param((), "no running guest has a realtime vCPU", id="no guest"),
        pytest.param((guest("a", vcpu("4"), emulator("0-1")),), "1 realtime vCPU on pCPU 4, where no overhead thread may run", id="apart"),
        pytest.param(
            (guest("a", vcpu("4"), emulator("4", kind=ThreadClass.KTHREAD), emulator("4", "fifo")),),
            "no overhead thread",
            id="not overhead",
        ),
    ],
)
def test_overhead_threads_apart_from_realtime_vcpus_are_good(guests: tuple[RunningGuest, ...], words: str) -> None:
    (found,) = judged(*guests)
    assert found.health is Health.GOOD
    assert words in found.words


def test_an_emulator_on_the_pcpu_of_its_own_realtime_vcpu_starves() -> None:
    (found,) = judged(guest("a", vcpu("4"), emulator("4")))
    assert (found.health, found.repair) == (Health.POOR, "pin a 0-1")
    assert found.words == "1 overhead thread of guest a may run only on pCPU 4, beside vCPU 0 of guest a"
    assert [(fact.source, fact.value) for fact in found.seen] == [
        ("/proc/10/task/11", "CPU 0/KVM, fifo, Cpus_allowed_list 4"),
        ("/proc/10/task/10", "qemu, other, Cpus_allowed_list 4"),
    ]


def test_a_guest_may_starve_beside_the_vcpu_of_another() -> None:
    (found,) = judged(guest("rt", vcpu("4", "rr"), emulator("0-1")), guest("web 1", emulator("3-5"), ours=True))
    assert found.words == "1 overhead thread of guest web 1 may run on pCPU 4, beside vCPU 0 of guest rt"
    assert found.repair == "pinfold repair 'web 1'"


def test_a_realtime_vcpu_on_the_overhead_pool_is_told_even_if_no_guest_waits() -> None:
    (found,) = judged(guest("rt", vcpu("1")))
    assert (found.health, found.words) == (Health.POOR, "realtime vCPUs of guest rt run on pCPU 1 of the overhead pool")
    assert [one.value.endswith("fifo, Cpus_allowed_list 1") for one in found.seen] == [True]
    assert found.advice.startswith("pin these vCPUs to dedicated pCPUs") and "take pCPU 1 out of the overhead pool" in found.advice


def test_without_a_pcpu_to_go_to_there_is_advice_and_no_command() -> None:
    everywhere = guest("rt", vcpu("0-7"), emulator("0-7"))
    starved, pool = judged(everywhere)
    assert (starved.repair, starved.advice.startswith("no pCPU of the pools is free")) == ("", True)
    assert "of the overhead pool" in pool.words


def test_a_guest_that_cannot_be_seen_is_named() -> None:
    hidden, good = judged(guest("a", problem="guest a does not answer"), guest("b", vcpu("4"), emulator("0")))
    assert (hidden.health, hidden.words) == (Health.UNUSED, "the threads of guest a cannot be seen: guest a does not answer")
    assert good.health is Health.GOOD
