"""Domains that are not ours, Nova's among them: counted, judged, never touched."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest
from msgspec import structs
from tests.real.host.bench import DEDICATED, Bench, pools
from tests.real.host.domains import define, everything, virsh
from tests.real.patience import until

from pinfold.cli.views.phrases import foreign_words
from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Finding, Severity
from pinfold.core.errors import InvalidRequest, PinfoldError, Unavailable
from pinfold.core.fit.answer import NoFit
from pinfold.core.request.model import EmulatorPolicy
from pinfold.drivers.port import HostGuest, Observation
from pinfold.host.audit import audit, audit_of
from pinfold.host.repair import repair
from pinfold.host.start import place, restart
from pinfold.host.stop import stop
from pinfold.host.survey import survey
from pinfold.host.verify import GuestOrigin


def sentences(bench: Bench) -> list[str]:
    """The drift of guests, and two owners; other processes of this machine, and notes about kernel threads, are left out."""
    judged = audit(bench.driver, bench.settings)
    found = [f for guest in judged.guests for f in guest.findings] + [f for f in judged.host_findings if f.tid is None]
    return [f.sentence() for f in found if f.severity is Severity.DRIFT]


def test_a_strangers_pins_are_taken_while_it_runs_and_while_it_is_stopped(bench: Bench) -> None:
    define(bench, "stranger", cputune="<vcpupin vcpu='0' cpuset='1'/><emulatorpin cpuset='0'/>")
    assert [str(other.cpus) for other in survey(bench.driver, bench.settings).state.ledger.foreign] == ["1"]
    assert isinstance(place(bench.driver, bench.settings, bench.order("web", DEDICATED)), NoFit)
    virsh(bench, "destroy", "stranger")
    assert isinstance(place(bench.driver, bench.settings, bench.order("web", DEDICATED)), NoFit)
    virsh(bench, "undefine", "stranger")
    bench.start(bench.order("web", DEDICATED))


def test_a_guest_pinned_elsewhere_live_keeps_the_pcpus_of_its_persistent_definition(bench: Bench) -> None:
    define(bench, "vm", cputune="<vcpupin vcpu='0' cpuset='1'/><emulatorpin cpuset='0'/>", nova=True)
    virsh(bench, "vcpupin", "vm", "0", "0", "--live")
    seen = survey(bench.driver, bench.settings)
    assert [str(other.cpus) for other in seen.state.ledger.foreign] == ["1"]
    assert isinstance(place(bench.driver, bench.settings, bench.order("web", DEDICATED)), NoFit)
    assert foreign_words(seen, seen.guest("vm")) == ("1, now 1 float over 0", "the overhead pool")
    virsh(bench, "vcpupin", "vm", "0", "1", "--live")
    virsh(bench, "emulatorpin", "vm", "1", "--live")
    seen = survey(bench.driver, bench.settings)
    assert foreign_words(seen, seen.guest("vm")) == ("1", "the overhead pool, now the guest's own pCPUs")
    assert [finding.repair.startswith("virsh ") for finding in audit(bench.driver, bench.settings).guests[0].findings] == [True]


def test_a_stranger_is_never_stopped_or_moved(bench: Bench) -> None:
    define(bench, "stranger")
    before = everything(bench)
    with pytest.raises(InvalidRequest, match="guest stranger is not ours"):
        stop(bench.driver, bench.settings, "stranger", remove=True)
    with pytest.raises(InvalidRequest, match="guest stranger is not ours"):
        repair(bench.driver, bench.settings, "stranger")
    done = repair(bench.driver, bench.settings)
    assert done.done == ()
    assert [(left.finding.code.value, left.why) for left in done.left if left.finding.guest] == [
        ("foreign-floating", "the guest is somebody else's, and a repair moves guests of ours alone")
    ]
    assert not done.complete
    assert before.unchanged(everything(bench))


def test_a_stranger_that_floats_over_the_dedicated_pool_is_reported_and_the_command_helps(bench: Bench) -> None:
    define(bench, "stranger")
    judged = audit(bench.driver, bench.settings)
    (finding,) = judged.guests[0].findings
    assert finding.sentence() == "guest stranger: it may run on the dedicated pCPU 1, none of which is its own"
    subprocess.run(["sh", "-c", finding.repair], check=True, capture_output=True)
    assert sentences(bench) == []


def test_a_stranger_that_comes_to_our_pcpu_is_two_owners(bench: Bench) -> None:
    bench.start(bench.order("web", DEDICATED))
    define(bench, "stranger", cputune="<vcpupin vcpu='0' cpuset='1'/><emulatorpin cpuset='0'/>")
    assert sentences(bench) == ["pCPU 1 has more than one owner: foreign guest stranger, guest web"]
    stop(bench.driver, bench.settings, "web")
    with pytest.raises(PinfoldError, match="pCPU 1 has more than one owner"):
        restart(bench.driver, bench.settings, "web")


PINNED = "<vcpupin vcpu='0' cpuset='1'/>"


@pytest.mark.parametrize(
    ("emulator", "specs", "policy", "expected"),
    [
        pytest.param("0", None, EmulatorPolicy.SHARE, [], id="share, inferred"),
        pytest.param("1", None, EmulatorPolicy.UNSET, [], id="no policy, inferred"),
        pytest.param("0", {"hw:emulator_threads_policy": "share"}, EmulatorPolicy.SHARE, [], id="share, stated"),
        pytest.param(
            "1",
            {"hw:cpu_policy": "dedicated", "hw:emulator_threads_policy": "share"},
            EmulatorPolicy.SHARE,
            ["guest vm: policy share wants emulator threads on 0, the definition puts them on 1"],
            id="share, but over its own pCPU",
        ),
    ],
)
def test_a_guest_of_novas_is_judged_by_its_policy(
    bench: Bench, emulator: str, specs: dict[str, str] | None, policy: EmulatorPolicy, expected: list[str]
) -> None:
    define(bench, "vm", cputune=f"{PINNED}<emulatorpin cpuset='{emulator}'/>", nova=True, specs=specs)
    before = everything(bench)
    (judged,) = audit(bench.driver, bench.settings).guests
    assert (judged.origin, judged.policy, judged.inferred) == (GuestOrigin.NOVA, policy, specs is None)
    drift = [finding for finding in judged.findings if finding.severity is Severity.DRIFT]
    assert [finding.sentence().partition(";")[0] for finding in drift] == expected
    assert before.unchanged(everything(bench))
    for finding in drift:
        subprocess.run(["sh", "-c", finding.repair], check=True, capture_output=True)
    assert sentences(bench) == []


def test_the_pools_of_a_nova_host_have_moved(bench: Bench) -> None:
    specs = {"hw:cpu_policy": "dedicated", "hw:emulator_threads_policy": "share"}
    define(bench, "vm", cputune=f"{PINNED}<emulatorpin cpuset='0'/>", nova=True, specs=specs)
    pins, emulator = sentences(bench.with_pools(shared="1", dedicated="0"))
    assert pins == "guest vm: its pins lie on 1, outside the pool of today (0)"
    assert emulator.startswith("guest vm: policy share wants emulator threads on 1, the definition puts them on 0; ")


def test_two_guests_of_novas_on_one_pcpu(bench: Bench) -> None:
    for name in ("vm-1", "vm-2"):
        define(bench, name, cputune=f"{PINNED}<emulatorpin cpuset='0'/>", nova=True)
    assert sentences(bench) == ["pCPU 1 has more than one owner: Nova's guest vm-1, Nova's guest vm-2"]


def test_threads_behind_libvirts_back_are_seen(bench: Bench) -> None:
    if bench.lab.cgroups != "none":
        pytest.skip("a cpuset cgroup keeps threads where they are")
    define(bench, "vm", cputune=f"{PINNED}<emulatorpin cpuset='0'/>", nova=True)
    pid = bench.guest("vm").pid
    subprocess.run(["taskset", "-pc", "0-1", str(pid)], check=True, capture_output=True)
    (sentence,) = sentences(bench)
    assert sentence.startswith(f"guest vm: emulator thread {pid} (")
    assert sentence.endswith(") may run on 0-1, its place is 0")


def test_a_process_bound_to_a_dedicated_pcpu_is_reported_and_the_command_moves_it(bench: Bench) -> None:
    sleeper = subprocess.Popen(["taskset", "-c", "1", "sleep", "3600"])
    try:
        found = until(lambda: bound(bench, sleeper.pid), "it is bound")
        assert [finding.sentence() for finding in found] == [f"process {sleeper.pid} (sleep) is bound to the dedicated pCPU 1"]
        subprocess.run(["sh", "-c", found[0].repair], check=True, capture_output=True)
        assert bound(bench, sleeper.pid) == []
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_machine_of_another_lab_is_named_with_its_lab_and_never_moved(bench: Bench, own_bench: Bench) -> None:
    define(own_bench, "other", cputune=f"{PINNED}<emulatorpin cpuset='0'/>")
    pid = own_bench.guest("other").pid
    (finding,) = [one for one in audit(bench.driver, bench.settings).host_findings if one.tid == pid]
    assert finding.sentence() == f"virtual machine {pid} (qemu-system-x86) is bound to the dedicated pCPU 1"
    assert finding.repair == ""
    name = own_bench.lab.folder.path.name
    assert finding.advice == f"it is guest other, run by lab {name}; audit it there, and let only one of the two use these pCPUs"
    own_bench.driver.stop(own_bench.guest("other").id, remove=True)


def test_a_machine_of_a_synthetic_lab_is_said_to_be_folded_onto_real_cpus(bench: Bench, synthetic_bench: Bench) -> None:
    define(synthetic_bench, "folded", cputune="<vcpupin vcpu='0' cpuset='3'/><emulatorpin cpuset='0'/>")
    pid = synthetic_bench.guest("folded").pid
    (finding,) = [one for one in audit(bench.driver, bench.settings).host_findings if one.tid == pid]
    name = synthetic_bench.lab.folder.path.name
    assert finding.advice == (
        f"it is guest folded, run by lab {name}; the pCPUs of that lab are made up, and the lab folds its guests onto CPUs of "
        "this machine: end the lab, or leave these pCPUs out of cpu_dedicated_set"
    )


def bound(bench: Bench, pid: int) -> list[Finding]:
    """The findings about that process."""
    return [finding for finding in audit(bench.driver, bench.settings).host_findings if finding.tid == pid and finding.thread == "sleep"]


def test_a_record_that_somebody_broke_makes_the_guest_foreign(bench: Bench) -> None:
    bench.start(bench.order("web", DEDICATED))
    broken = virsh(bench, "dumpxml", "web").replace("</pinfold:", "<pinfold:x/></pinfold:")
    assert "pinfold:" in broken
    uri = "https://pinfold.dev/1"
    namespace = next(word for word in broken.split() if word.startswith("xmlns:pinfold=")).split("=", 1)[1].split(">")[0].strip("'\"/")
    virsh(bench, "metadata", "web", namespace or uri, "--live", "--config", "--key", "pinfold", "--set", "<guest/>")
    guest = bench.guest("web")
    assert guest.record is None
    assert guest.problem
    (judged,) = audit(bench.driver, bench.settings).guests
    assert judged.findings[0].code.value == "record-unreadable"
    assert survey(bench.driver, bench.settings).state.ledger.foreign[0].cpus == CpuSet.of(1)
    bench.driver.stop(guest.id, remove=True)


def test_a_busy_sibling_of_a_guest_of_novas_that_wants_whole_cores_is_reported(synthetic_bench: Bench) -> None:
    bench = replace(synthetic_bench, settings=structs.replace(synthetic_bench.settings, pools=pools(shared="0-1", dedicated="2-31")))
    specs = {"hw:cpu_policy": "dedicated", "hw:cpu_thread_policy": "isolate"}
    pins = "<vcpupin vcpu='0' cpuset='{0}'/><emulatorpin cpuset='{0}'/>"
    define(bench, "whole", cputune=pins.format(4), nova=True, specs=specs)
    assert sentences(bench) == []
    define(bench, "beside", cputune=pins.format(5), nova=True, specs={"hw:cpu_policy": "dedicated"})
    assert sentences(bench) == [
        "guest whole: thread policy isolate keeps the siblings of its pCPUs idle, but pCPU 5 has Nova's guest beside"
    ]
    virsh(bench, "destroy", "beside")
    assert sentences(bench) == []


def test_a_guest_that_cannot_be_read_hides_no_finding_of_another(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    define(bench, "broken")
    define(bench, "vm", cputune=f"{PINNED}<emulatorpin cpuset='1'/>", nova=True)
    observe = bench.driver.observe

    def failing(guest: HostGuest) -> Observation:
        if guest.name == "broken":
            raise Unavailable("procfs cannot be read")
        return observe(guest)

    monkeypatch.setattr(bench.driver, "observe", failing)
    seen, unread = survey(bench.driver, bench.settings), dict[str, str]()
    found = audit_of(bench.driver, bench.settings, seen, lambda guest, error: unread.update({guest.name: str(error)}))
    assert unread == {"broken": "procfs cannot be read"}
    assert [one.guest.name for one in found.guests] == ["vm"]
    with pytest.raises(Unavailable, match="procfs cannot be read"):
        audit(bench.driver, bench.settings)


def test_a_guest_that_starts_or_ends_while_the_host_is_audited_is_no_drift(bench: Bench) -> None:
    pins = "<vcpupin vcpu='0' cpuset='1'/><emulatorpin cpuset='0'/>"
    before = survey(bench.driver, bench.settings)
    define(bench, "late", cputune=pins, nova=True)
    late = bench.guest("late")
    found = audit_of(bench.driver, bench.settings, before)
    assert late.pid is not None and late.pid not in {finding.tid for finding in found.host_findings}
    assert f"guest {late.name}" not in " ".join(one.sentence() for one in found.findings)
    running = survey(bench.driver, bench.settings)
    virsh(bench, "destroy", "late")
    (judged,) = audit_of(bench.driver, bench.settings, running).guests
    assert judged.drift == ()


def test_a_guest_that_is_started_anew_while_the_host_is_audited_is_no_drift(bench: Bench) -> None:
    bench.start(bench.order("web", DEDICATED))
    seen = survey(bench.driver, bench.settings)
    stop(bench.driver, bench.settings, "web", remove=False)
    (judged,) = audit_of(bench.driver, bench.settings, seen).guests
    assert judged.drift == ()
    seen = survey(bench.driver, bench.settings)
    restart(bench.driver, bench.settings, "web")
    found = audit_of(bench.driver, bench.settings, seen)
    assert bench.guest("web").pid not in {finding.tid for finding in found.host_findings}
