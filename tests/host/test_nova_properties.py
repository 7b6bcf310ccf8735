"""Whatever somebody did to the pins of a guest of Nova's: the printed commands undo it, and give no thread more than its own."""

from __future__ import annotations

import re
import shlex

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from tests.build.guests import HOST, POOLS, theirs
from tests.build.hosts import cpus
from tests.build.repairs import repairable

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Finding, Subject
from pinfold.core.overhead import ObservedThread, ThreadClass
from pinfold.drivers.port import DefinedPins, HostGuest, Observation
from pinfold.host import nova

VM = Subject(name="vm", pid=1001)
SETS = st.sampled_from(["0", "1", "0-1", "2", "4", "5", "4-5", "8", "9", "2-15", "0-15"]).map(cpus)
SPECS = st.sampled_from(
    [
        None,
        {},
        {"hw:cpu_policy": "dedicated"},
        {"hw:cpu_policy": "dedicated", "hw:emulator_threads_policy": "share"},
        {"hw:cpu_policy": "dedicated", "hw:emulator_threads_policy": "isolate"},
        {"hw:cpu_policy": "mixed", "hw:cpu_dedicated_mask": "0", "hw:emulator_threads_policy": "share"},
    ]
)


@st.composite
def definitions(draw: st.DrawFn) -> DefinedPins:
    """Pins of two vCPUs and of the emulator, each there or not."""
    pins = tuple((vcpu, draw(SETS)) for vcpu in range(2) if draw(st.booleans()))
    emulator, placement = draw(st.none() | SETS), draw(st.none() | SETS)
    return DefinedPins(vcpus=pins, emulator=emulator, placement=placement)


@st.composite
def guests(draw: st.DrawFn) -> tuple[HostGuest, Observation]:
    """A running guest with any two definitions, and threads anywhere."""
    live, kept = draw(definitions()), draw(definitions())
    kept = draw(st.sampled_from([live, kept]))
    guest = structs.replace(
        theirs(1, "vm", 2, specs=draw(SPECS), nova=True, kept=kept), pins=live, kept_first=draw(st.booleans()) and live != kept
    )
    threads = [
        ObservedThread(tid=1001, name="qemu", thread_class=ThreadClass.EMULATOR, allowed=draw(SETS)),
        ObservedThread(tid=1003, name="worker", thread_class=ThreadClass.EMULATOR, allowed=draw(SETS)),
        *(
            ObservedThread(tid=1010 + vcpu, name=f"CPU {vcpu}/KVM", thread_class=ThreadClass.VCPU, vcpu=vcpu, allowed=draw(SETS))
            for vcpu in range(2)
        ),
    ]
    return guest, Observation(threads=tuple(threads), witness="procfs")


def judged(guest: HostGuest, observation: Observation) -> tuple[Finding, ...]:
    """Everything found about the guest on a host of two cells."""
    found = nova.judged(VM, guest, nova.read(VM, guest, POOLS, HOST.online, cells=2), observation, POOLS, HOST.online)
    return repairable(VM, found)


def obeyed(command: str, guest: HostGuest, observation: Observation) -> tuple[HostGuest, Observation]:
    """The guest after a printed command, as libvirt without cgroups and the kernel obey it."""
    loops = re.sub(r"for tid in ([\d ]+); do taskset -pc (\S+) \$tid; done", _unrolled, command)
    for step in loops.split(" && "):
        words = shlex.split(step)
        if words[0] == "taskset":
            observation = _moved(observation, {int(words[3])}, cpus(words[2]))
            continue
        assert words[:3] == ["virsh", "-c", "qemu:///system"]
        verb, where = words[3], cpus(words[6] if words[3] == "vcpupin" else words[5])
        vcpu = int(words[5]) if verb == "vcpupin" else None
        if "--live" in words:
            guest = structs.replace(guest, pins=_pinned(guest.pins, vcpu, where))
            observation = _moved(observation, {VM.pid or 0} if vcpu is None else {1010 + vcpu}, where)
        if "--config" in words:
            assert guest.kept is not None
            guest = structs.replace(guest, kept=_pinned(guest.kept, vcpu, where), kept_first=False)
    return guest, observation


def _unrolled(loop: re.Match[str]) -> str:
    return " && ".join(f"taskset -pc {loop[2]} {tid}" for tid in loop[1].split())


def _moved(observation: Observation, tids: set[int], where: CpuSet) -> Observation:
    threads = tuple(structs.replace(thread, allowed=where) if thread.tid in tids else thread for thread in observation.threads)
    return structs.replace(observation, threads=threads)


def _pinned(asked: DefinedPins, vcpu: int | None, where: CpuSet) -> DefinedPins:
    if vcpu is None:
        return structs.replace(asked, emulator=where)
    return structs.replace(asked, vcpus=tuple(sorted({**dict(asked.vcpus), vcpu: where}.items())))


@given(guests())
def test_the_commands_together_undo_what_they_are_printed_for(drawn: tuple[HostGuest, Observation]) -> None:
    guest, observation = drawn
    found = judged(guest, observation)
    repairs = [finding.repair for finding in found if finding.repair]
    assert len(set(repairs)) == len(repairs), "none is printed twice"
    assert all(bool(finding.repair) != bool(finding.advice) for finding in found)
    for repair in repairs:
        guest, observation = obeyed(repair, guest, observation)
    left = {(finding.code, finding.subject) for finding in judged(guest, observation)}
    assert left <= {(finding.code, finding.subject) for finding in found if finding.advice}, "gone, and none has come"


@given(guests())
def test_no_command_gives_a_thread_more_than_its_own(drawn: tuple[HostGuest, Observation]) -> None:
    guest, observation = drawn
    reading = nova.read(VM, guest, POOLS, HOST.online, cells=2)
    own = reading.place.alone | POOLS.shared
    for finding in judged(guest, observation):
        if finding.repair:
            after = obeyed(finding.repair, guest, observation)[1]
            for before, now in zip(observation.threads, after.threads, strict=True):
                assert now.allowed == before.allowed or now.allowed <= own
                if now.vcpu is None and now.allowed != before.allowed:
                    assert now.allowed in (reading.wanted.overhead, POOLS.shared)
