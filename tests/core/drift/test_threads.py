"""The threads of a guest against its record: one row per way in which they can differ."""

from __future__ import annotations

import pytest
from msgspec import structs
from tests.build.hosts import cpus
from tests.build.threads import MAIN, MASKS, ONLINE, REALTIME, RIGHT, VCPU0, VCPU1, WEB, compare, thread

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Definitions, Finding, FindingCode, InferredMasks, Severity, expected
from pinfold.core.overhead import Masks, ObservedThread, ThreadClass
from pinfold.drivers.port import DefinedPins


def codes(findings: tuple[Finding, ...]) -> list[str]:
    return [finding.code.value for finding in findings]


def test_a_guest_as_recorded_has_no_findings() -> None:
    assert compare(WEB, MASKS, RIGHT, ONLINE) == ()


@pytest.mark.parametrize(
    ("stray", "sentence", "repair"),
    [
        pytest.param(
            thread(ThreadClass.VCPU, "0-15", name="CPU 0/KVM", vcpu=0),
            "guest web: vCPU thread 101 (CPU 0/KVM) may run on 0-15, recorded is 4",
            "virsh -c qemu:///system vcpupin web 0 4 --live",
            id="a vCPU that may run anywhere is put back by virsh",
        ),
        pytest.param(
            thread(ThreadClass.EMULATOR, "4-5", tid=100, name="qemu-system-x86"),
            "guest web: emulator thread 100 (qemu-system-x86) may run on 4-5, recorded is 0-1",
            "virsh -c qemu:///system emulatorpin web 0-1 --live",
            id="the main thread is put back by virsh",
        ),
        pytest.param(
            thread(ThreadClass.EMULATOR, "4-5", name="worker"),
            "guest web: emulator thread 101 (worker) may run on 4-5, recorded is 0-1",
            "taskset -pc 0-1 101",
            id="any other emulator thread needs taskset, since emulatorpin moves the main thread alone without a cgroup",
        ),
        pytest.param(
            thread(ThreadClass.EMULATOR, "0", name="worker"),
            "guest web: emulator thread 101 (worker) may run on 0, recorded is 0-1",
            "taskset -pc 0-1 101",
            id="narrower than recorded is drift too",
        ),
        pytest.param(
            thread(ThreadClass.IOTHREAD, "5", name="IO iothread12"),
            "guest web: iothread 101 (IO iothread12) may run on 5, recorded is 0-1",
            "virsh -c qemu:///system iothreadpin web 12 0-1 --live",
            id="an iothread is put back by its number",
        ),
        pytest.param(
            thread(ThreadClass.IOTHREAD, "5", name="IO iothread1234"),
            "guest web: iothread 101 (IO iothread1234) may run on 5, recorded is 0-1",
            "taskset -pc 0-1 101",
            id="an iothread whose name was cut short may have another number",
        ),
        pytest.param(
            thread(ThreadClass.VHOST, "0-15", name="vhost-100"),
            "guest web: vhost thread 101 (vhost-100) may run on 0-15, recorded is 0-1",
            "taskset -pc 0-1 101",
            id="vhost belongs with the overhead",
        ),
        pytest.param(
            thread(ThreadClass.KTHREAD, "0-15", name="kvm-pit/100"),
            "guest web: kernel thread 101 (kvm-pit/100) may run on 0-15, its place is 4",
            "taskset -pc 4 101",
            id="the PIT belongs beside vCPU 0",
        ),
        pytest.param(
            thread(ThreadClass.KTHREAD, "4", name="kvm-nx-lpage-re"),
            "guest web: kernel thread 101 (kvm-nx-lpage-re) may run on 4, its place is 0-1",
            "taskset -pc 0-1 101",
            id="the huge page recovery belongs with the overhead",
        ),
    ],
)
def test_a_thread_outside_its_mask(stray: ObservedThread, sentence: str, repair: str) -> None:
    keep = tuple(t for t in RIGHT if t.tid != stray.tid and not (stray.vcpu is not None and t.vcpu == stray.vcpu))
    (finding,) = compare(WEB, MASKS, (*keep, stray), ONLINE)
    assert finding.sentence() == sentence
    assert finding.repair == repair
    assert finding.advice == ""
    assert finding.severity is (Severity.NOTE if stray.thread_class is ThreadClass.KTHREAD else Severity.DRIFT)


@pytest.mark.parametrize(
    ("masks", "threads", "expected_codes"),
    [
        pytest.param(MASKS, (MAIN, VCPU0), ["vcpu-missing"], id="a vCPU without a thread"),
        pytest.param(MASKS, (), ["threads-unseen"], id="no thread at all is one finding"),
        pytest.param(MASKS, (*RIGHT, thread(ThreadClass.VCPU, "6", vcpu=2)), ["vcpu-unexpected"], id="a vCPU that was never recorded"),
        pytest.param(MASKS, (*RIGHT, thread(ThreadClass.VCPU, "6")), ["vcpu-unexpected"], id="a vCPU without an index"),
        pytest.param(REALTIME, RIGHT, ["realtime-missing"], id="a realtime vCPU without FIFO"),
        pytest.param(
            REALTIME,
            (MAIN, VCPU0, thread(ThreadClass.VCPU, "5", vcpu=1, sched="fifo")),
            [],
            id="a realtime vCPU with FIFO",
        ),
        pytest.param(
            MASKS,
            (MAIN, VCPU0, thread(ThreadClass.VCPU, "5", vcpu=1, sched="fifo")),
            ["realtime-unexpected"],
            id="an ordinary vCPU with FIFO",
        ),
        pytest.param(
            MASKS, (*RIGHT, thread(ThreadClass.EMULATOR, "0-1", sched="rr")), ["realtime-unexpected"], id="an emulator thread with RR"
        ),
        pytest.param(MASKS, (*RIGHT, thread(ThreadClass.EMULATOR, "0-1", sched="idle")), [], id="an idle-class thread disturbs nobody"),
    ],
)
def test_threads_against_the_record(masks: Masks, threads: tuple[ObservedThread, ...], expected_codes: list[str]) -> None:
    assert codes(compare(WEB, masks, threads, ONLINE)) == expected_codes


def test_the_scheduler_is_repaired_with_the_priority_of_the_settings() -> None:
    (missing,) = compare(WEB, REALTIME, RIGHT, ONLINE)
    assert missing.repair == "chrt --fifo --pid 3 111"


def test_threads_that_strayed_alike_are_one_finding() -> None:
    strays = [thread(ThreadClass.EMULATOR, allowed, tid=tid, name="worker") for tid, allowed in ((103, "0-15"), (104, "0-15"), (105, "9"))]
    found = compare(WEB, MASKS, (*RIGHT, *strays), ONLINE)
    assert [finding.sentence() for finding in found] == [
        "guest web: emulator threads 103, 104 (worker) may run on 0-15, recorded is 0-1",
        "guest web: emulator thread 105 (worker) may run on 9, recorded is 0-1",
    ]
    assert found[0].repair == "for tid in 103 104; do taskset -pc 0-1 $tid; done"


def test_a_thread_in_a_cgroup_that_is_not_its_own_is_taken_out_first() -> None:
    lost = structs.replace(thread(ThreadClass.KTHREAD, "4", name="kvm-nx-lpage-re"), leave_for="/cg/emulator/tasks")
    (finding,) = compare(WEB, MASKS, (*RIGHT, lost), ONLINE)
    assert finding.repair == "echo 101 | tee /cg/emulator/tasks && taskset -pc 0-1 101"


def test_kernel_threads_of_a_guest_without_a_record_stay_where_kvm_makes_them() -> None:
    wanted = InferredMasks(vcpus=MASKS.vcpus, overhead=MASKS.overhead)
    assert compare(WEB, wanted, (*RIGHT, thread(ThreadClass.KTHREAD, "4", name="kvm-nx-lpage-re")), ONLINE) == ()


def test_what_no_evidence_tells_is_not_judged() -> None:
    wanted = InferredMasks(vcpus=(CpuSet(), cpus("5")), overhead=CpuSet())
    anywhere = DefinedPins(vcpus=((0, cpus("9")), (1, cpus("5"))), emulator=cpus("9"))
    threads = (thread(ThreadClass.EMULATOR, "9", tid=100), thread(ThreadClass.VCPU, "9", tid=110, vcpu=0), VCPU1)
    assert compare(WEB, wanted, threads, ONLINE, definitions=Definitions(live=anywhere, kept=anywhere, iothreads=1)) == ()


def test_offline_pcpus_are_left_out_of_both_sides() -> None:
    masks = Masks(vcpus=(cpus("4"), cpus("5")), overhead=cpus("0-1,20"))
    assert compare(WEB, masks, RIGHT, ONLINE) == ()


def test_a_vcpu_whose_only_pcpu_is_offline_is_one_finding_with_the_switch() -> None:
    masks = Masks(vcpus=(cpus("20"), cpus("5")), overhead=cpus("0-1"))
    loose = thread(ThreadClass.VCPU, "0-15", vcpu=0)
    (finding,) = compare(WEB, masks, (MAIN, loose, VCPU1), ONLINE)
    assert finding.sentence() == "guest web: vCPU 0 was recorded on 20, of which 20 is offline"
    assert finding.repair == "echo 1 | tee /sys/devices/system/cpu/cpu20/online"


def test_an_unsettled_walk_is_a_note() -> None:
    (finding,) = compare(WEB, MASKS, RIGHT, ONLINE, stable=False)
    assert (finding.code, finding.severity) == (FindingCode.THREADS_UNSETTLED, Severity.NOTE)


def test_the_place_of_each_class() -> None:
    assert expected(MASKS, VCPU1) == cpus("5")
    assert expected(MASKS, thread(ThreadClass.IOTHREAD, "9")) == cpus("0-1")
    assert expected(MASKS, thread(ThreadClass.VCPU, "9", vcpu=7)) is None
