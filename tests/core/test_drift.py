"""What counts as drift, as tables: one row per way in which a host can differ from the record."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs
from msgspec.structs import replace
from tests.repairs import repairable

from pinfold.core import drift
from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import (
    Definitions,
    Finding,
    FindingCode,
    Holder,
    InferredMasks,
    Place,
    Process,
    Severity,
    Subject,
    expected,
    outside_pools,
    place_of,
    record_unreadable,
    steps,
    two_owners,
)
from pinfold.core.fit.model import EmulatorPlacement, Fit, FitCell
from pinfold.core.overhead import Masks, ObservedThread, ThreadClass, memory_cell
from pinfold.core.pools import Pools
from pinfold.drivers.kvm import thread_moves
from pinfold.drivers.kvm.thread_class import of_class
from pinfold.drivers.libvirt.commands import repair_command
from pinfold.drivers.port import DefinedPins, Observation
from pinfold.linux.procfs import Thread

ONLINE = CpuSet.parse("0-15")
WEB = Subject(name="web", id="00000000-0000-0000-0000-000000000001", pid=100, realtime_priority=3, owner="pinfold")


def cpus(text: str) -> CpuSet:
    return CpuSet.parse(text)


MASKS = Masks(vcpus=(cpus("4"), cpus("5")), overhead=cpus("0-1"))
REALTIME = Masks(vcpus=(cpus("4"), cpus("5")), overhead=cpus("0-1"), realtime=cpus("1"))


def thread(
    kind: ThreadClass, allowed: str, *, tid: int = 101, name: str = "x", vcpu: int | None = None, sched: str = "other"
) -> ObservedThread:
    return of_class(Thread(tid=tid, comm=name, allowed=cpus(allowed), scheduler=sched), kind, vcpu)


MAIN = thread(ThreadClass.EMULATOR, "0-1", tid=100, name="qemu-system-x86")
VCPU0 = thread(ThreadClass.VCPU, "4", tid=110, name="CPU 0/KVM", vcpu=0)
VCPU1 = thread(ThreadClass.VCPU, "5", tid=111, name="CPU 1/KVM", vcpu=1)
RIGHT = (MAIN, VCPU0, VCPU1)
ASKED = DefinedPins(vcpus=((0, cpus("4")), (1, cpus("5"))), emulator=cpus("0-1"))


def context(name: str, kind: ThreadClass = ThreadClass.THREAD_CONTEXT) -> ObservedThread:
    return thread(kind, "8-15", tid=104, name=name)


CONTEXT = context("TC tc-ram-node0")


def compare(subject: Subject, *rest: Any, uri: str = "qemu:///system", local: bool = True, **more: Any) -> tuple[Finding, ...]:
    """`drift.compare`, with the commands of libvirt."""
    return repairable(subject, drift.compare(subject, *rest, **more), uri=uri, local=local)


def foreign_floating(subject: Subject, *rest: Any) -> tuple[Finding, ...]:
    """`drift.foreign_floating`, with the commands of libvirt."""
    return repairable(subject, drift.foreign_floating(subject, *rest))


def foreign_process(*rest: Any) -> tuple[Finding, ...]:
    """`drift.foreign_process`, with its commands."""
    return repairable(Subject(name=""), drift.foreign_process(*rest))


def codes(findings: tuple[Finding, ...]) -> list[str]:
    return [finding.code.value for finding in findings]


def test_a_guest_as_recorded_has_no_findings() -> None:
    assert compare(WEB, MASKS, RIGHT, ONLINE) == ()


@pytest.mark.parametrize("allowed", ["8-15", "0-1", "4", "0-15"])
def test_a_thread_context_is_never_drift_wherever_libvirt_bound_it(allowed: str) -> None:
    maker = thread(ThreadClass.THREAD_CONTEXT, allowed, tid=104, name="TC tc-ram-node0", sched="fifo")
    assert expected(MASKS, maker) is None
    assert compare(WEB, REALTIME, (MAIN, VCPU0, thread(ThreadClass.VCPU, "5", vcpu=1, sched="fifo"), maker), ONLINE) == ()


def test_a_thread_context_is_never_moved() -> None:
    assert thread_moves.misplaced(Observation(threads=(*RIGHT, CONTEXT), witness="procfs"), MASKS) == ()


def test_a_thread_context_tells_the_host_cell_whose_memory_it_made() -> None:
    cells = tuple(FitCell(guest_cell=guest, host_cell=host, pins=((guest, 4 + guest),)) for guest, host in ((0, 3), (1, 2)))
    fit = Fit(vcpus=2, memory_mib=64, cells=cells, emulator=cpus("0"))
    assert memory_cell(CONTEXT, fit) == 3
    assert memory_cell(context("TC tc-ram-node1"), fit) == 2
    assert memory_cell(context("TC tc-pc.ram"), fit) is None
    assert memory_cell(context("TC tc-ram-node0", ThreadClass.EMULATOR), fit) is None


def test_a_name_that_the_kernel_cut_tells_no_host_cell() -> None:
    cells = tuple(FitCell(guest_cell=index, host_cell=index, pins=((index, index),)) for index in range(11))
    fit = Fit(vcpus=11, memory_mib=64, cells=cells, emulator=cpus("0"))
    assert memory_cell(context("TC tc-ram-node1"), fit) is None


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


def test_threads_that_strayed_alike_are_one_finding() -> None:
    strays = [thread(ThreadClass.EMULATOR, allowed, tid=tid, name="worker") for tid, allowed in ((103, "0-15"), (104, "0-15"), (105, "9"))]
    found = compare(WEB, MASKS, (*RIGHT, *strays), ONLINE)
    assert [finding.sentence() for finding in found] == [
        "guest web: emulator threads 103, 104 (worker) may run on 0-15, recorded is 0-1",
        "guest web: emulator thread 105 (worker) may run on 9, recorded is 0-1",
    ]
    assert found[0].repair == "for tid in 103 104; do taskset -pc 0-1 $tid; done"


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


def test_commands_quote_what_a_shell_would_read() -> None:
    uri, subject = "qemu+unix:///system?socket=/x y", Subject(name="a b;c", pid=100)
    (finding,) = compare(subject, MASKS, (thread(ThreadClass.EMULATOR, "9", tid=100), VCPU0, VCPU1), ONLINE, uri=uri)
    assert finding.repair == "virsh -c 'qemu+unix:///system?socket=/x y' emulatorpin 'a b;c' 0-1 --live"


@pytest.mark.parametrize(
    ("name", "named"),
    [("web", "web"), ("7a", "7a"), ("7", "an-id"), ("+7", "an-id"), ("--live", "an-id"), ("5d2c1f60-7a0c-4a53-9c5e-0f4f3f0b6c11", "an-id")],
)
def test_a_guest_whose_name_virsh_would_take_for_another_is_named_by_id(name: str, named: str) -> None:
    pin = steps.Pin(what=steps.Pinned.EMULATOR, cpus=CpuSet.of(4), online=CpuSet.of(4), live=True, kept=True)
    assert repair_command("qemu:///system", Subject(name=name, id="an-id"), (pin,)) == (
        f"virsh -c qemu:///system emulatorpin {named} 4 --live --config"
    )


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


POOLS = Pools(shared=cpus("0-3"), dedicated=cpus("4-15"), overhead=cpus("0-3"))


@pytest.mark.parametrize(
    ("place", "sentences"),
    [
        pytest.param(Place(alone=cpus("4-5"), floating=cpus("0-3"), pooled=cpus("0-3")), [], id="within every pool"),
        pytest.param(
            Place(alone=cpus("3-5")),
            ["guest web: its pins lie on 3, outside the pool of today (4-15)"],
            id="a pinned pCPU that has left the dedicated pool",
        ),
        pytest.param(Place(alone=cpus("4,20")), [], id="an offline pCPU is reported elsewhere"),
        pytest.param(
            Place(floating=cpus("2-4")),
            ["guest web: its floating vCPUs lie on 4, outside the pool of today (0-3)"],
            id="a float set beyond the shared pool",
        ),
        pytest.param(
            Place(pooled=cpus("0-1")),
            ["guest web: its overhead threads lie on 0-1, only a part of the pool of today (0-3)"],
            id="an overhead pool that has grown",
        ),
        pytest.param(
            Place(pooled=cpus("3-4")),
            ["guest web: its overhead threads lie on 4, outside the pool of today (0-3)"],
            id="an overhead pool that has moved",
        ),
    ],
)
def test_places_against_the_pools(place: Place, sentences: list[str]) -> None:
    assert [finding.sentence() for finding in outside_pools(WEB, place, POOLS, ONLINE)] == sentences


@pytest.mark.parametrize(
    ("owner", "first"),
    [
        pytest.param("pinfold", "", id="started on its host: the command reads the files itself"),
        pytest.param("the agent of c01", "restart the agent of c01, which reads its pools only when it starts", id="a server"),
    ],
)
def test_who_places_a_guest_reads_the_new_pools_before_the_guest_starts(owner: str, first: str) -> None:
    (finding,) = outside_pools(replace(WEB, owner=owner), Place(alone=cpus("3")), POOLS, ONLINE)
    before, _, after = finding.advice.partition("stop the guest")
    assert after
    assert before.startswith(first) and bool(before) is bool(first)
    assert ("`systemctl restart pinfold-agent`" in before) is bool(first)


def test_a_vanished_overhead_pool_is_drift_and_a_grown_one_a_note() -> None:
    none = Pools(shared=cpus("0-3"), dedicated=cpus("4-15"))
    (gone,) = outside_pools(WEB, Place(pooled=cpus("0-3")), none, ONLINE)
    (grown,) = outside_pools(WEB, Place(pooled=cpus("0-1")), POOLS, ONLINE)
    assert (gone.severity, grown.severity) == (Severity.DRIFT, Severity.NOTE)


def test_the_place_of_a_fit_is_all_that_it_holds() -> None:
    cell = FitCell(guest_cell=0, host_cell=0, pins=((0, 4),), float_vcpus=cpus("1"), float_set=cpus("0-1"))
    fit = Fit(
        vcpus=2,
        memory_mib=64,
        cells=(cell,),
        emulator_placement=EmulatorPlacement.ISOLATED,
        emulator=cpus("6"),
        emulator_pcpu=6,
        idle_siblings=cpus("7"),
    )
    assert place_of(fit) == Place(alone=cpus("4,6-7"), floating=cpus("0-1"), pooled=None)


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


def test_an_unreadable_record_says_why() -> None:
    finding = record_unreadable(WEB, "no fit in it", "virsh -c qemu:///system shutdown web")
    assert finding.sentence() == "guest web: the record in its definition cannot be read: no fit in it"


def test_every_code_has_a_sentence_and_a_value_of_its_own() -> None:
    assert len({code.value for code in FindingCode}) == len(FindingCode)
    for code in FindingCode:
        assert Finding(code=code, guest="web").sentence().startswith("guest web: ")


def test_a_remote_hypervisors_word_is_about_classes_and_virsh_repairs_them() -> None:
    far = Subject(name="web")
    emulator = thread(ThreadClass.EMULATOR, "9", tid=0, name="emulator")
    iothread = structs.replace(thread(ThreadClass.IOTHREAD, "9", tid=0, name="iothread 2"), iothread=2)
    findings = compare(far, MASKS, (emulator, iothread, VCPU0, VCPU1), ONLINE, uri="qemu+ssh://c07/system", local=False)
    assert [finding.repair for finding in findings] == [
        "virsh -c qemu+ssh://c07/system emulatorpin web 0-1 --live",
        "virsh -c qemu+ssh://c07/system iothreadpin web 2 0-1 --live",
    ]
