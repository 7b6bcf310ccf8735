"""What is found on a whole host: pCPUs with two owners, foreign guests and foreign processes."""

from __future__ import annotations

from typing import Any

import pytest
from tests.build.hosts import cpus
from tests.build.repairs import repairable
from tests.build.threads import ONLINE, POOLS, WEB, thread

from pinfold.core import drift
from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Finding, Holder, Process, Subject, two_owners
from pinfold.core.overhead import ThreadClass


def foreign_floating(subject: Subject, *rest: Any) -> tuple[Finding, ...]:
    """`drift.foreign_floating`, with the commands of libvirt."""
    return repairable(subject, drift.foreign_floating(subject, *rest))


def foreign_process(*rest: Any) -> tuple[Finding, ...]:
    """`drift.foreign_process`, with its commands."""
    return repairable(Subject(name=""), drift.foreign_process(*rest))


def test_two_owners_are_grouped_by_who_they_are() -> None:
    findings = two_owners(
        [
            Holder(name="guest a", cpus=cpus("4-7")),
            Holder(name="guest b", cpus=cpus("6-9")),
            Holder(name="guest c", cpus=cpus("9")),
            Holder(name="guest d", cpus=cpus("12")),
        ]
    )
    assert [finding.sentence() for finding in findings] == [
        "pCPUs 6-7 have more than one owner: guest a, guest b",
        "pCPU 9 has more than one owner: guest b, guest c",
    ]


def test_a_foreign_guest_that_floats_over_the_dedicated_pool_is_shown_the_way_out() -> None:
    worker = thread(ThreadClass.EMULATOR, "0-15", tid=105, name="worker")
    everywhere = [thread(ThreadClass.EMULATOR, "0-15", tid=100), worker, thread(ThreadClass.VCPU, "2-4", tid=110, vcpu=0)]
    (finding,) = foreign_floating(WEB, everywhere, CpuSet(), 2, POOLS, ONLINE)
    assert finding.sentence() == "guest web: it may run on the dedicated pCPUs 4-15, none of which is its own"
    assert finding.repair == (
        "virsh -c qemu:///system vcpupin web 0 2-3 --live --config && virsh -c qemu:///system vcpupin web 1 0-3 --live --config"
        " && virsh -c qemu:///system emulatorpin web 0-3 --live --config && taskset -pc 0-3 105"
    )
    assert foreign_floating(WEB, [thread(ThreadClass.VCPU, "0-3,8", vcpu=0)], cpus("8"), 2, POOLS, ONLINE) == ()


@pytest.mark.parametrize(
    ("allowed", "observed"),
    [
        pytest.param(["0-15"], None, id="a process that may run everywhere is bound to nothing"),
        pytest.param(["0-7"], None, id="a process on the host's default set is bound to nothing"),
        pytest.param(["0-3"], None, id="a process on the shared pool"),
        pytest.param(["3-5"], "4-5", id="a process on two dedicated pCPUs"),
        pytest.param(["0-15", "8", "9", "0-7"], "8-9", id="only the bound threads count"),
    ],
)
def test_foreign_processes(allowed: list[str], observed: str | None) -> None:
    process = Process(pid=9, name="dpdk", allowed=tuple(map(cpus, allowed)))
    findings = foreign_process(process, POOLS, ONLINE, cpus("0-7"))
    assert [finding.observed for finding in findings] == ([] if observed is None else [observed])
    assert [finding.repair for finding in findings] == ([] if observed is None else ["taskset -apc 0-3 9"])


def test_guests_that_merely_share_their_pins_are_no_two_owners() -> None:
    shared = Holder(name="a", cpus=cpus("4-7"), alone=False)
    assert two_owners([shared, Holder(name="b", cpus=cpus("4-7"), alone=False)]) == ()
    assert len(two_owners([shared, Holder(name="b", cpus=cpus("7"))])) == 1
