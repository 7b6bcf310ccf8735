"""The live and the persistent definition of a guest against its record."""

from __future__ import annotations

import pytest
from tests.build.hosts import cpus
from tests.build.threads import ASKED, MAIN, MASKS, ONLINE, RIGHT, VCPU0, VCPU1, WEB, compare, thread

from pinfold.core.drift import Definitions, Severity, Subject
from pinfold.core.overhead import Masks, ThreadClass
from pinfold.drivers.port import DefinedPins


def test_one_wrong_emulator_pin_is_one_finding_that_lists_its_threads() -> None:
    follow = [thread(ThreadClass.EMULATOR, "4", tid=tid, name=name) for tid, name in ((100, "qemu"), (103, "worker"), (104, "worker"))]
    wrong = DefinedPins(vcpus=ASKED.vcpus, emulator=cpus("4"))
    (finding,) = compare(WEB, MASKS, (*follow, VCPU0, VCPU1), ONLINE, definitions=Definitions(live=wrong, kept=wrong))
    assert finding.sentence() == (
        "guest web: the definition puts the emulator on 4, recorded is 0-1; 3 threads are astray with it: 100 (qemu), 103, 104 (worker)"
    )
    assert finding.repair == (
        "virsh -c qemu:///system emulatorpin web 0-1 --live --config && for tid in 103 104; do taskset -pc 0-1 $tid; done"
    )


def test_kvm_s_thread_that_a_cgroup_took_along_belongs_to_the_wrong_emulator_pin() -> None:
    follow = (thread(ThreadClass.EMULATOR, "4", tid=100, name="qemu"), thread(ThreadClass.KTHREAD, "4", tid=120, name="kvm-nx-lpage-re"))
    wrong = DefinedPins(vcpus=ASKED.vcpus, emulator=cpus("4"))
    (finding,) = compare(WEB, MASKS, (*follow, VCPU0, VCPU1), ONLINE, definitions=Definitions(live=wrong, kept=ASKED))
    assert [tid for tid, _ in finding.threads] == [100, 120]
    assert finding.severity is Severity.DRIFT


@pytest.mark.parametrize(
    ("live", "kept", "sentence", "repair"),
    [
        pytest.param(
            "6",
            "4",
            "guest web: the live definition puts vCPU 0 on 6, recorded is 4",
            "virsh -c qemu:///system vcpupin web 0 4 --live",
            id="re-pinned live alone",
        ),
        pytest.param(
            "4",
            "6",
            "guest web: the persistent definition puts vCPU 0 on 6, recorded is 4",
            "virsh -c qemu:///system vcpupin web 0 4 --config",
            id="changed for the next start alone",
        ),
        pytest.param(
            "6",
            "7",
            "guest web: the definition puts vCPU 0 on 6 now and on 7 from the next start on, recorded is 4",
            "virsh -c qemu:///system vcpupin web 0 4 --live --config",
            id="each changed in its own way",
        ),
    ],
)
def test_the_live_and_the_persistent_definition_are_each_compared(live: str, kept: str, sentence: str, repair: str) -> None:
    live_pins, kept_pins = (DefinedPins(vcpus=((0, cpus(text)), (1, cpus("5"))), emulator=cpus("0-1")) for text in (live, kept))
    threads = (MAIN, thread(ThreadClass.VCPU, live, tid=110, vcpu=0), VCPU1)
    (finding,) = compare(WEB, MASKS, threads, ONLINE, definitions=Definitions(live=live_pins, kept=kept_pins))
    assert finding.sentence().startswith(sentence)
    assert finding.repair == repair


def test_a_transient_guest_is_never_told_to_change_a_definition_that_it_does_not_have() -> None:
    transient = Subject(name="web", pid=100, persistent=False)
    wrong = DefinedPins(vcpus=ASKED.vcpus, emulator=cpus("4"))
    (finding,) = compare(transient, MASKS, RIGHT, ONLINE, definitions=Definitions(live=wrong))
    assert finding.repair == "virsh -c qemu:///system emulatorpin web 0-1 --live"


def test_an_offline_pcpu_of_a_pool_is_kept_in_the_persistent_pin_and_no_thread_is_astray_for_it() -> None:
    masks = Masks(vcpus=(cpus("4"), cpus("5")), overhead=cpus("0-1"))
    online = cpus("0,2-15")
    assert compare(WEB, masks, RIGHT, online, definitions=Definitions(live=ASKED, kept=ASKED)) == ()
    wrong = DefinedPins(vcpus=ASKED.vcpus, emulator=cpus("6"))
    (finding,) = compare(WEB, masks, RIGHT, online, definitions=Definitions(live=wrong, kept=wrong))
    assert finding.repair == "virsh -c qemu:///system emulatorpin web 0 --live && virsh -c qemu:///system emulatorpin web 0-1 --config"


@pytest.mark.parametrize(
    ("asked", "iothreads", "sentences", "repairs"),
    [
        pytest.param(ASKED, 0, [], [], id="as recorded"),
        pytest.param(
            DefinedPins(vcpus=((0, cpus("6")), (1, cpus("5"))), emulator=cpus("0-1")),
            0,
            ["guest web: the definition puts vCPU 0 on 6, recorded is 4"],
            ["virsh -c qemu:///system vcpupin web 0 4 --live --config"],
            id="a vCPU was re-pinned",
        ),
        pytest.param(
            DefinedPins(vcpus=((0, cpus("4")), (1, cpus("5")))),
            0,
            ["guest web: the definition puts the emulator on every pCPU, recorded is 0-1"],
            ["virsh -c qemu:///system emulatorpin web 0-1 --live --config"],
            id="the emulator's pin is gone",
        ),
        pytest.param(
            DefinedPins(vcpus=((0, cpus("4")), (1, cpus("5"))), placement=cpus("0-1")),
            0,
            [],
            [],
            id="the default set serves where no pin is",
        ),
        pytest.param(
            ASKED,
            1,
            ["guest web: the definition puts iothread 1 on every pCPU, recorded is 0-1"],
            ["virsh -c qemu:///system iothreadpin web 1 0-1 --live --config"],
            id="an iothread without a pin",
        ),
        pytest.param(
            DefinedPins(vcpus=ASKED.vcpus, emulator=cpus("0-1,31")), 0, [], [], id="an absent pCPU in the definition makes no difference"
        ),
        pytest.param(
            DefinedPins(vcpus=ASKED.vcpus, emulator=cpus("0-1"), realtime=cpus("0")),
            0,
            ["guest web: the definition makes vCPUs 0 realtime, recorded is nothing"],
            [""],
            id="a realtime scheduler that was never recorded",
        ),
    ],
)
def test_the_definition_against_the_record(asked: DefinedPins, iothreads: int, sentences: list[str], repairs: list[str]) -> None:
    findings = compare(WEB, MASKS, None, ONLINE, definitions=Definitions(live=asked, kept=asked, iothreads=iothreads))
    assert [finding.sentence() for finding in findings] == sentences
    assert [finding.repair for finding in findings] == repairs
    assert all(bool(finding.repair) != bool(finding.advice) for finding in findings)


def test_a_stopped_guest_is_repaired_in_its_definition_alone() -> None:
    stopped = Subject(name="web", active=False)
    (finding,) = compare(stopped, MASKS, None, ONLINE, definitions=Definitions(kept=DefinedPins(vcpus=ASKED.vcpus)))
    assert finding.repair == "virsh -c qemu:///system emulatorpin web 0-1 --config"
