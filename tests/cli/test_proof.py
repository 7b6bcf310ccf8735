"""The proof of a guest and the lines of an audit, on a screen."""

from __future__ import annotations

import pytest
from msgspec import structs
from tests.build.repairs import repairable
from tests.cli.test_host_map import SHARE, survey

from pinfold.cli.output import show
from pinfold.cli.views.audit import audit_view, repair_view
from pinfold.cli.views.proof import guest_view
from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import InferredMasks, Subject, compare
from pinfold.core.identity import GuestId
from pinfold.core.overhead import ObservedThread, ThreadClass, masks
from pinfold.drivers.port import HostGuest, Observation
from pinfold.host.audit import Audit
from pinfold.host.repair import FailedRepair, RemainingFinding, Repair, RepairedGuest
from pinfold.host.survey import Survey
from pinfold.host.verify import Verdict
from pinfold.host.written import proof

LONG = "qemu+unix:///system?socket=/a/long/path/to/some/lab/host/that/does/not/fit/on/the/line/of/a/screen/libvirt-sock"


def _threads(vcpu: str, emulator: str) -> Observation:
    return Observation(
        threads=(
            ObservedThread(tid=71, name="qemu-system-x86", thread_class=ThreadClass.EMULATOR, allowed=CpuSet.parse(emulator)),
            ObservedThread(tid=74, name="CPU 0/KVM", thread_class=ThreadClass.VCPU, allowed=CpuSet.parse(vcpu), vcpu=0),
        ),
        witness="procfs",
    )


def _verdict(observation: Observation | None) -> tuple[Survey, HostGuest, Verdict]:
    seen = survey("core:4", "0", "1-3", [(1, SHARE)])
    guest = structs.replace(seen.guests[0], pid=71)
    assert guest.record is not None
    recorded = masks(guest.record.fit)
    subject = Subject(name=guest.name, id=guest.id, pid=71, owner="pinfold")
    findings = () if observation is None else compare(subject, recorded, observation.threads, seen.state.topology.online)
    return seen, guest, Verdict(guest=guest, masks=recorded, observation=observation, findings=repairable(subject, findings, uri=LONG))


@pytest.fixture(autouse=True)
def _screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_every_thread_stands_with_what_it_may_and_what_was_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    _, guest, verdict = _verdict(_threads("1", "0"))
    show(guest_view(guest, verdict.masks, verdict.observation, verdict.findings))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "policy share: emulator threads on 0, the overhead pool" in lines
    assert "vcpu 0 CPU 0/KVM 74 1 1 ✓" in lines
    assert "emulator qemu-system-x86 71 0 0 ✓" in lines
    assert "✓ 2 of 2 threads may run exactly where recorded" in lines
    assert "witness: procfs" in lines


def test_a_thread_context_stands_with_its_memory_s_cell_and_is_not_judged(capsys: pytest.CaptureFixture[str]) -> None:
    context = ObservedThread(
        tid=73, name="TC tc-ram-node0", thread_class=ThreadClass.THREAD_CONTEXT, allowed=CpuSet.parse("0-3"), guest_cell=0
    )
    observation = _threads("1", "0")
    seen, guest, verdict = _verdict(structs.replace(observation, threads=(*observation.threads, context)))
    assert verdict.findings == ()
    show(guest_view(guest, verdict.masks, verdict.observation, verdict.findings, seen.state.topology))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "thread-context TC tc-ram-node0 73 0-3 memory of cell 0 (0-3) ·" in lines
    assert "✓ 2 of 2 threads may run exactly where recorded" in lines
    (thread,) = (thread for thread in proof(verdict).threads if thread.tid == 73)
    assert (thread.thread_class, thread.recorded, thread.memory_cell) == (ThreadClass.THREAD_CONTEXT, None, 0)


def test_threads_whose_place_nobody_knows_are_not_judged_and_not_counted(capsys: pytest.CaptureFixture[str]) -> None:
    _, guest, verdict = _verdict(_threads("1", "0"))
    known = InferredMasks(vcpus=(CpuSet.parse("1"),), overhead=CpuSet())
    show(guest_view(guest, known, verdict.observation, ()))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "emulator qemu-system-x86 71 0 nothing ·" in lines
    assert "✓ 1 of 1 thread may run exactly where recorded; 1 not judged" in lines
    show(guest_view(guest, InferredMasks(vcpus=(CpuSet(),), overhead=CpuSet()), verdict.observation, ()))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "vcpu 0 CPU 0/KVM 74 1 nothing ·" in lines
    assert "· no thread was judged: nothing shows where they should run" in lines


def test_a_stray_thread_stands_out_with_a_command_that_is_not_folded(capsys: pytest.CaptureFixture[str]) -> None:
    _, guest, verdict = _verdict(_threads("1", "0-3"))
    show(guest_view(guest, verdict.masks, verdict.observation, verdict.findings))
    text = capsys.readouterr().out
    assert "71  0-3         0         ✗" in text
    assert "✗ 1 of 2 threads may run exactly where recorded" in text
    (command,) = (line for line in text.splitlines() if "repair:" in line)
    assert command.strip() == f"repair: {verdict.findings[0].repair}"
    assert len(command) > 80


def test_a_stopped_guest_has_no_threads_to_be_seen(capsys: pytest.CaptureFixture[str]) -> None:
    _, guest, verdict = _verdict(None)
    show(guest_view(guest, verdict.masks, verdict.observation, verdict.findings))
    assert "it does not run: there are no threads to be seen" in capsys.readouterr().out


def test_an_audit_says_who_was_looked_at_and_sums_up(capsys: pytest.CaptureFixture[str]) -> None:
    seen, _, judged = _verdict(_threads("1", "0-3"))
    show(audit_view(Audit(seen=seen, guests=(judged,), host_findings=(), verified=True)))
    text = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[:2] == ["guest whose state policy threads", "✗ vm00 ours running 2 1 finding"]
    assert lines[3].startswith("✗ guest vm00: emulator thread 71 (qemu-system-x86) may run on 0-3")
    assert lines[-2:] == ["✗ 1 guest looked at: 1 finding", "witness: procfs"]
    clean = structs.replace(judged, findings=())
    show(audit_view(Audit(seen=seen, guests=(clean,), host_findings=(), verified=False)))
    text = capsys.readouterr().out
    assert "as recorded" in text
    assert "from afar, so on the hypervisor's word alone" in text


def test_a_repair_says_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    _, _, drifted = _verdict(_threads("1", "0-3"))
    _, _, placed = _verdict(_threads("1", "0"))
    show(repair_view(Repair(done=(RepairedGuest(before=drifted, after=placed),))))
    assert capsys.readouterr().out == "✓ vm00: 1 difference found, 0 left\n"
    show(repair_view(Repair(done=(RepairedGuest(before=drifted, after=drifted),))))
    assert "✗ vm00: 1 difference found, 1 left" in capsys.readouterr().out
    show(repair_view(Repair()))
    assert capsys.readouterr().out == "✓ no running guest of ours has drifted\n"


def test_a_repair_that_failed_is_named_and_not_called_complete(capsys: pytest.CaptureFixture[str]) -> None:
    done = Repair(failed=(FailedRepair(id=GuestId("1"), name="vm00", why="its threads cannot be read"),))
    show(repair_view(done))
    assert capsys.readouterr().out == "✗ vm00: the repair failed: its threads cannot be read\n"
    assert not done.complete


def test_a_repair_says_what_it_leaves_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    _, _, drifted = _verdict(_threads("1", "0-3"))
    show(repair_view(Repair(left=(RemainingFinding(finding=drifted.findings[0], why="the guest is Nova's"),))))
    text = capsys.readouterr().out
    assert text.splitlines()[0] == "✓ no running guest of ours has drifted"
    assert "left as it is: the guest is Nova's" in text
    assert text.splitlines()[-1] == "1 finding left; pinfold audit shows what undoes each"
    assert "nothing has drifted" not in text
