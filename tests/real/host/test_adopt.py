"""Guests made with virsh, or left by Nova, taken under management without a restart, and given back. Real guests.

The witness on the machine's own pCPUs is procfs, read without our code.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest
from tests.real.host import domains
from tests.real.host.bench import DEDICATED, Bench, FailsLate, allowed
from tests.real.host.test_pool_change import cpus, quiet

from pinfold.core.errors import InvalidRequest, Unavailable
from pinfold.core.overhead import ThreadClass
from pinfold.core.request.model import EmulatorPolicy
from pinfold.drivers.port import GuestState
from pinfold.host.adopt import NotAdopted, adopt, adopt_as, plan, release
from pinfold.host.adoption import NOVAS
from pinfold.host.audit import audit
from pinfold.host.lock import owning
from pinfold.host.start import restart
from pinfold.host.stop import stop
from pinfold.host.survey import survey
from pinfold.host.verify import GuestOrigin

PINNED = "<vcpupin vcpu='0' cpuset='1'/>"


def masks(bench: Bench, name: str) -> dict[str, set[str]]:
    pid = bench.guest(name).pid
    assert pid is not None
    return allowed(pid)


def vcpu(found: dict[str, set[str]]) -> set[str]:
    return next(masks for name, masks in found.items() if name.startswith("CPU 0/"))


def test_a_guest_pinned_with_virsh_is_adopted_without_a_restart_and_released(bench: Bench) -> None:
    domains.define(bench, "vm", cputune=PINNED, iothreads=1)
    began, untouched = bench.guest("vm"), domains.everything(bench)
    found = plan(bench.driver, bench.settings, "vm")
    assert found.found.conflicts == ()
    assert {str(move.after) for move in found.moves if move.thread_class is not ThreadClass.KTHREAD} == {"0"}
    assert untouched.unchanged(domains.everything(bench)), "a plan changes nothing"

    done = adopt(bench.driver, bench.settings, "vm")
    assert done.adopted and not done.failure
    now = bench.guest("vm")
    assert (now.pid, now.state, now.pins.vcpus) == (began.pid, GuestState.RUNNING, ((0, cpus("1")),))
    seen = masks(bench, "vm")
    assert seen["IO iothread1"] == {"0"} and seen["qemu-system-x86"] == {"0"} and vcpu(seen) == {"1"}
    assert not [finding for finding in audit(bench.driver, bench.settings).drift if finding.guest == "vm"]
    assert survey(bench.driver, bench.settings).state.ledger.claims[0].fit.taken == cpus("1")

    stop(bench.driver, bench.settings, "vm")
    again = restart(bench.driver, bench.settings, "vm")
    assert (again.masks.vcpus, again.masks.overhead) == ((cpus("1"),), cpus("0")) and quiet(bench, "vm")

    before = masks(bench, "vm")
    assert release(bench.driver, bench.settings, "vm").record is None
    after = masks(bench, "vm")
    assert after["qemu-system-x86"] == before["qemu-system-x86"] and vcpu(after) == {"1"}
    (verdict,) = audit(bench.driver, bench.settings).guests
    assert (verdict.origin, verdict.drift) == (GuestOrigin.OTHER, ())
    for kept in ([], ["--inactive"]):
        assert "urn:pinfold" not in domains.virsh(bench, "dumpxml", *kept, "vm")
    assert survey(bench.driver, bench.settings).state.ledger.foreign[0].cpus == cpus("1")
    assert adopt(bench.driver, bench.settings, "vm").adopted, "it can be adopted again"


def test_a_guest_that_does_not_run_gets_its_pins_at_the_next_start(bench: Bench) -> None:
    domains.define(bench, "vm", cputune=PINNED, run=False)
    before = domains.virsh(bench, "dumpxml", "--inactive", "vm")
    assert adopt(bench.driver, bench.settings, "vm").adopted
    after = domains.virsh(bench, "dumpxml", "--inactive", "vm")
    assert "<emulatorpin cpuset='0'/>" in after and re.findall("<devices>.*", before, re.DOTALL) == re.findall(
        "<devices>.*", after, re.DOTALL
    )
    assert "<numa>" not in after, "the guest sees the same machine as before"
    started = restart(bench.driver, bench.settings, "vm")
    assert started.masks.vcpus == (cpus("1"),) and not started.verdict.drift
    stop(bench.driver, bench.settings, "vm")
    release(bench.driver, bench.settings, "vm")
    assert bench.guest("vm").record is None


def test_a_vcpu_that_taskset_pinned_keeps_its_pcpu(bench: Bench) -> None:
    domains.define(bench, "vm")
    pid = bench.guest("vm").pid
    for task in Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().startswith("CPU 0/"):
            os.sched_setaffinity(int(task.name), {1})
    assert adopt(bench.driver, bench.settings, "vm").adopted
    assert vcpu(masks(bench, "vm")) == {"1"} and bench.guest("vm").pins.vcpus == ((0, cpus("1")),)
    stop(bench.driver, bench.settings, "vm")
    assert restart(bench.driver, bench.settings, "vm").masks.vcpus == (cpus("1"),)


def test_a_guest_that_nova_left_gets_novas_policy(bench: Bench) -> None:
    specs = {"hw:cpu_policy": "dedicated"}
    domains.define(bench, "vm", cputune=f"{PINNED}<emulatorpin cpuset='1'/>", nova=True, specs=specs)
    done = adopt(bench.driver, bench.settings, "vm")
    assert done.adopted and done.plan.found.notes == (NOVAS,)
    assert {move.thread_class for move in done.plan.moves} <= {ThreadClass.KTHREAD}
    record = bench.guest("vm").record
    assert record is not None and (record.policy, record.flavor, record.server) == (EmulatorPolicy.UNSET, "m1.pinned", "vm")
    assert bench.guest("vm").nova is not None, "what Nova wrote stays"
    assert not [finding for finding in audit(bench.driver, bench.settings).drift if finding.guest == "vm"]


OWN_PINS = f"{PINNED}<emulatorpin cpuset='0-1'/><iothreadpin iothread='1' cpuset='1'/>"
UNDONE = "its definition has its own pins again"


@pytest.mark.parametrize("method", ["pin", "adopt"])
def test_a_failed_adoption_is_undone(bench: Bench, method: str) -> None:
    domains.define(bench, "vm", cputune=OWN_PINS, iothreads=1)
    began, kept, before = bench.guest("vm"), domains.virsh(bench, "dumpxml", "--inactive", "vm"), masks(bench, "vm")
    assert before["IO iothread1"] == {"1"}
    done = adopt(FailsLate(bench.driver, method), bench.settings, "vm")  # type: ignore[arg-type]
    assert (done.adopted, done.failure) == (False, f"libvirt went away; {UNDONE} and its threads were moved back")
    assert domains.virsh(bench, "dumpxml", "--inactive", "vm") == kept
    assert bench.guest("vm") == began
    after = masks(bench, "vm")
    assert {name: after[name] for name in before if not name.startswith("kvm-")} == {
        name: found for name, found in before.items() if not name.startswith("kvm-")
    }
    assert adopt(bench.driver, bench.settings, "vm").adopted


class StaysAway(FailsLate):
    """A driver whose hypervisor stays away after it has failed."""

    def forget(self, *_: object, **__: object) -> None:
        raise Unavailable("libvirt is still away")


@pytest.mark.parametrize("method", ["pin", "adopt"])
def test_an_agents_failed_adoption_is_undone_if_the_hypervisor_answers(bench: Bench, method: str) -> None:
    domains.define(bench, "vm", cputune=OWN_PINS, iothreads=1)
    began, kept, before = bench.guest("vm"), domains.virsh(bench, "dumpxml", "--inactive", "vm"), masks(bench, "vm")
    record = plan(bench.driver, bench.settings, "vm").found.record
    assert record is not None
    agent = "the agent of c1"
    with owning(bench.settings, agent):
        with pytest.raises(NotAdopted, match=f"^libvirt went away; {UNDONE} and its threads were moved back$"):
            adopt_as(FailsLate(bench.driver, method), bench.settings, record, active=True, agent=agent)  # type: ignore[arg-type]
        assert domains.virsh(bench, "dumpxml", "--inactive", "vm") == kept and bench.guest("vm") == began
        assert masks(bench, "vm")["IO iothread1"] == before["IO iothread1"]
        with pytest.raises(Unavailable, match="libvirt is still away"):
            adopt_as(StaysAway(bench.driver, method), bench.settings, record, active=True, agent=agent)  # type: ignore[arg-type]


def test_a_failed_adoption_of_a_guest_that_does_not_run_leaves_its_definition(bench: Bench) -> None:
    domains.define(bench, "vm", cputune=OWN_PINS, iothreads=1, run=False)
    kept = domains.virsh(bench, "dumpxml", "--inactive", "vm")
    assert adopt(FailsLate(bench.driver, "adopt"), bench.settings, "vm").failure == f"libvirt went away; {UNDONE}"  # type: ignore[arg-type]
    assert domains.virsh(bench, "dumpxml", "--inactive", "vm") == kept and bench.guest("vm").record is None
    assert adopt(bench.driver, bench.settings, "vm").adopted


def told(bench: Bench, sentence: str) -> None:
    """Type the command that a sentence prints."""
    (command,) = re.findall(r"`virsh (.*?)`", sentence)
    domains.virsh(bench, *shlex.split(command))


def test_conflicts_change_nothing_and_their_commands_work(synthetic_bench: Bench, tmp_path: Path) -> None:
    bench = synthetic_bench.with_pools(shared="0-1,16-17", dedicated="2-15,18-31")
    bench.start(bench.order("ours", DEDICATED))
    domains.define(bench, "vm", vcpus=2, cputune="<vcpupin vcpu='0' cpuset='2'/><vcpupin vcpu='1' cpuset='3-5'/>")
    before = domains.everything(bench)
    done = adopt(bench.driver, bench.settings, "vm")
    assert not done.adopted and before.definitions == domains.everything(bench).definitions
    wide, _ = done.plan.found.conflicts
    assert wide.startswith("vCPU 1 may run on pCPUs 3-5, and 3-5 of these are dedicated")
    told(bench, wide)
    (memory,) = plan(bench.driver, bench.settings, "vm").found.conflicts
    assert memory.startswith("its vCPUs are pinned to host cell 0, but its memory is not bound to a host cell")
    told(bench, memory)
    domains.virsh(bench, "destroy", "vm")
    domains.virsh(bench, "start", "vm")
    (owner,) = plan(bench.driver, bench.settings, "vm").found.conflicts
    assert owner.startswith("pCPU 2 has more than one owner: guest ours, guest vm")
    domains.virsh(bench, "vcpupin", "vm", "0", "6", "--live", "--config")
    domains.virsh(bench, "undefine", "vm")
    (transient,) = plan(bench.driver, bench.settings, "vm").found.conflicts
    assert transient.startswith("it has no persistent definition")
    (tmp_path / "vm.xml").write_text(domains.virsh(bench, "dumpxml", "vm"))
    domains.virsh(bench, "define", str(tmp_path / "vm.xml"))
    assert adopt(bench.driver, bench.settings, "vm").adopted and quiet(bench, "vm")
    with pytest.raises(InvalidRequest, match="guest vm has a record already, pinfold's"):
        plan(bench.driver, bench.settings, "vm")


def test_a_host_of_a_service_adopts_and_releases_nothing_by_itself(bench: Bench) -> None:
    domains.define(bench, "vm", cputune=PINNED, run=False)
    with owning(bench.settings, "the agent of c1"):
        with pytest.raises(InvalidRequest, match=r"guest adopt --apply is refused: .*; its service adopts and releases"):
            adopt(bench.driver, bench.settings, "vm")
        with pytest.raises(InvalidRequest, match="guest release is refused"):
            release(bench.driver, bench.settings, "vm")
    with pytest.raises(InvalidRequest, match="guest vm is not ours"):
        release(bench.driver, bench.settings, "vm")
