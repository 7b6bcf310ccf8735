"""What Nova meant by a domain: one row per way in which Nova writes, or fails to write, its pins."""

from __future__ import annotations

import pytest
from msgspec import structs
from tests.build.fits import fit
from tests.build.guests import HOST, POOLS, ours, surveyed, theirs
from tests.build.hosts import cpus
from tests.build.repairs import repairable

from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Finding, FindingCode, Severity, Subject
from pinfold.core.hosttext import host
from pinfold.core.overhead import ObservedThread, ThreadClass
from pinfold.core.pools import PoolConfig, Pools, build_pools
from pinfold.core.request.model import EmulatorPolicy
from pinfold.drivers.port import DefinedPins, HostGuest, NovaRecord, Observation
from pinfold.host import nova
from pinfold.host.claims import reading_of

VM = Subject(name="instance-1", pid=1001)
NO_POOL = Pools(shared=cpus(""), dedicated=cpus("2-15"))
DEDICATED = {"hw:cpu_policy": "dedicated"}
SHARE = DEDICATED | {"hw:emulator_threads_policy": "share"}
ISOLATE = DEDICATED | {"hw:emulator_threads_policy": "isolate"}


def judged(
    guest: HostGuest, *, pools: Pools | None = POOLS, online: CpuSet = HOST.online, cells: int = 2, observation: Observation | None = None
) -> tuple[Finding, ...]:
    """Everything found about a guest of Nova's; by default its threads are where the live definition puts them."""
    reading = nova.read(VM, guest, pools, online, cells=cells)
    if observation is None and guest.active:
        observation = follows(guest.pins, guest.vcpus)
    return repairable(VM, nova.judged(VM, guest, reading, observation, pools, online))


def follows(pins: DefinedPins, vcpus: int) -> Observation:
    """The threads of a guest that are where a definition puts them: the main thread, a worker, and one for each vCPU."""
    default = HOST.online if pins.placement is None else pins.placement
    emulator = default if pins.emulator is None else pins.emulator
    threads = [
        ObservedThread(tid=1001, name="qemu-system-x86", thread_class=ThreadClass.EMULATOR, allowed=emulator),
        ObservedThread(tid=1003, name="worker", thread_class=ThreadClass.EMULATOR, allowed=emulator),
    ]
    for vcpu in range(vcpus):
        allowed = dict(pins.vcpus).get(vcpu, default)
        threads.append(ObservedThread(tid=1010 + vcpu, name=f"CPU {vcpu}/KVM", thread_class=ThreadClass.VCPU, vcpu=vcpu, allowed=allowed))
    return Observation(threads=tuple(threads), witness="procfs")


def pins(vcpus: str, emulator: str | None = None) -> DefinedPins:
    """A definition with one pCPU for each vCPU, in words."""
    sets = tuple(enumerate(map(cpus, vcpus.split())))
    return DefinedPins(vcpus=sets, emulator=None if emulator is None else cpus(emulator))


def running(
    live: DefinedPins, kept: DefinedPins, *, specs: dict[str, str] | None = None, vcpus: int = 2, kept_first: bool = True
) -> HostGuest:
    """A guest of Nova's that runs by one definition and starts by another, which nobody wrote since its start unless that is said."""
    return structs.replace(theirs(1, "instance-1", vcpus, specs=specs, nova=True, kept=kept), pins=live, kept_first=kept_first)


@pytest.mark.parametrize(
    ("emulator", "specs", "pools", "policy", "alone", "sentences"),
    [
        pytest.param("4-5", None, POOLS, "unset", "4-5", [], id="inferred: over its own pCPUs is no policy"),
        pytest.param("0-1", None, POOLS, "share", "4-5", [], id="inferred: on the pool is share"),
        pytest.param("6", None, POOLS, "isolate", "4-6", [], id="inferred: a dedicated pCPU apart is isolate"),
        pytest.param(
            "6-7",
            None,
            POOLS,
            None,
            "4-5",
            [
                (
                    "guest instance-1: policy unknown wants emulator threads on its own pCPUs, the overhead pool, or a pCPU of their own, "
                    "the definition puts them on 6-7"
                )
            ],
            id="inferred: two dedicated pCPUs of others fit no policy",
        ),
        pytest.param("0-1", {"hw:emulator_threads_policy": "share"}, POOLS, "share", "4-5", [], id="stated share on the pool"),
        pytest.param(
            "4-5",
            {"hw:emulator_threads_policy": "share"},
            POOLS,
            "share",
            "4-5",
            ["guest instance-1: policy share wants emulator threads on 0-1, the definition puts them on 4-5"],
            id="stated share, yet over its own pCPUs: started before the pool was configured",
        ),
        pytest.param("4-5", {"hw:emulator_threads_policy": "share"}, NO_POOL, "share", "4-5", [], id="share without a pool floats"),
        pytest.param(
            "4",
            {"hw:emulator_threads_policy": "isolate"},
            POOLS,
            "isolate",
            "4-5",
            ["guest instance-1: policy isolate wants emulator threads on one pCPU of 2-15 that no vCPU has, the definition puts them on 4"],
            id="stated isolate, yet on a vCPU's pCPU",
        ),
        pytest.param(
            "0-1",
            {"hw:cpu_policy": "dedicated"},
            POOLS,
            "unset",
            "4-5",
            ["guest instance-1: policy unset wants emulator threads on 4-5, the definition puts them on 0-1"],
            id="a flavor without the policy, yet on the pool",
        ),
    ],
)
def test_a_pinned_guest(
    emulator: str, specs: dict[str, str] | None, pools: Pools, policy: str | None, alone: str, sentences: list[str]
) -> None:
    both = pins("4 5", emulator)
    guest = running(both, both, specs=specs)
    reading = nova.read(VM, guest, pools, HOST.online)
    assert reading.policy == (None if policy is None else EmulatorPolicy(policy))
    assert reading.stated is (specs is not None)
    assert reading.place.alone == cpus(alone)
    found = [finding.sentence() for finding in judged(guest, pools=pools)]
    assert [sentence.partition(";")[0] for sentence in found] == sentences


@pytest.mark.parametrize(
    ("specs", "wrong", "right", "isolated"),
    [
        pytest.param(SHARE, "4", "0-1", "", id="share, on a vCPU's pCPU"),
        pytest.param(SHARE, "9", "0-1", "", id="share, on a free dedicated pCPU"),
        pytest.param(SHARE, "4-5", "0-1", "", id="share, over its own pCPUs"),
        pytest.param(SHARE, "0-15", "0-1", "", id="share, everywhere"),
        pytest.param(DEDICATED, "9", "4-5", "", id="no policy, on a free dedicated pCPU"),
        pytest.param(DEDICATED, "0-1", "4-5", "", id="no policy, on the shared pool"),
        pytest.param(DEDICATED, "4", "4-5", "", id="no policy, on one of its own"),
        pytest.param(ISOLATE, "9", "8", "8", id="isolate, on another dedicated pCPU, live alone"),
        pytest.param(ISOLATE, "4", "8", "8", id="isolate, on a vCPU's pCPU"),
        pytest.param(None, "4", "0-1", "0-1", id="inferred share, on a vCPU's pCPU, live alone"),
        pytest.param(None, "0-1", "4-5", "4-5", id="inferred no policy, on the shared pool, live alone"),
        pytest.param(None, "9", "8", "8", id="inferred isolate, on another pCPU, live alone"),
    ],
)
def test_a_wrong_emulator_pin_is_one_finding_and_its_command_moves_all_that_follow_it(
    specs: dict[str, str] | None, wrong: str, right: str, isolated: str
) -> None:
    """Where policy and pools do not give the set, the persistent definition still has it."""
    kept = pins("4 5", isolated or wrong)
    (finding,) = judged(running(pins("4 5", wrong), kept, specs=specs))
    assert finding.code is FindingCode.EMULATOR_POLICY
    assert finding.recorded == right
    assert [tid for tid, _ in finding.threads] == [1001, 1003]
    flags = "--live" if isolated else "--live --config"
    assert finding.repair == f"virsh -c qemu:///system emulatorpin instance-1 {right} {flags} && taskset -pc {right} 1003"


def test_a_wrong_emulator_pin_of_the_next_start_alone_moves_no_thread() -> None:
    (finding,) = judged(running(pins("4 5", "0-1"), pins("4 5", "9"), specs=SHARE))
    assert finding.sentence() == "guest instance-1: policy share wants emulator threads on 0-1, the persistent definition puts them on 9"
    assert finding.repair == "virsh -c qemu:///system emulatorpin instance-1 0-1 --config"


def test_a_vcpu_re_pinned_live_goes_back_to_its_persistent_pin() -> None:
    (finding,) = judged(running(pins("9 5", "0-1"), pins("4 5", "0-1"), specs=SHARE))
    assert finding.sentence() == (
        "guest instance-1: the live definition puts vCPU 0 on 9, its place is 4; 1 thread is astray with it: 1010 (CPU 0/KVM)"
    )
    assert finding.repair == "virsh -c qemu:///system vcpupin instance-1 0 4 --live"


@pytest.mark.parametrize(
    ("live", "kept", "specs"),
    [
        pytest.param(pins("4 5", "0-1"), pins("0 5", "0-1"), SHARE, id="a pin outside the dedicated pool"),
        pytest.param(pins("4 5", "0-1"), pins("5 5", "0-1"), SHARE, id="two vCPUs on one pCPU"),
        pytest.param(pins("4 5", "4-5"), pins("9 5", "4-5"), DEDICATED, id="pins that its own emulator pin contradicts"),
    ],
)
def test_a_persistent_definition_that_nova_cannot_have_written_is_put_right_by_the_live_one(
    live: DefinedPins, kept: DefinedPins, specs: dict[str, str]
) -> None:
    (finding,) = judged(running(live, kept, specs=specs, kept_first=False))
    assert finding.repair == "virsh -c qemu:///system vcpupin instance-1 0 4 --config"
    assert finding.threads == ()


@pytest.mark.parametrize(
    ("live", "kept", "specs", "sentence"),
    [
        pytest.param(
            pins("4 5", "0-1"),
            pins("9 5", "0-1"),
            SHARE,
            "the definition puts vCPU 0 on 4 now and on 9 from the next start on",
            id="a vCPU",
        ),
        pytest.param(pins("4 5", "8"), pins("4 5", "9"), ISOLATE, "puts them on 8 now and on 9 from the next start on", id="isolate"),
        pytest.param(
            pins("4 5", "4-5"),
            pins("4 5", "0-1"),
            None,
            "puts them on 4-5 now and on 0-1 from the next start on",
            id="inferred",
        ),
    ],
)
def test_two_definitions_that_nova_can_have_written_are_settled_by_which_is_older_or_not_at_all(
    live: DefinedPins, kept: DefinedPins, specs: dict[str, str] | None, sentence: str
) -> None:
    (finding,) = judged(running(live, kept, specs=specs, kept_first=False))
    assert sentence in finding.sentence()
    assert (finding.repair, "reboot --hard" in finding.advice) == ("", True)
    (settled,) = judged(running(live, kept, specs=specs))
    assert settled.repair.startswith("virsh ")
    assert "--config" not in settled.repair


@pytest.mark.parametrize(
    ("live", "kept", "specs", "scope"),
    [
        pytest.param(pins("9 5", "0-1"), pins("4 5", "0-1"), SHARE, "--live", id="a vCPU, live"),
        pytest.param(pins("4 5", "0-1"), pins("9 5", "0-1"), SHARE, "--config", id="a vCPU, for the next start"),
        pytest.param(pins("4 5", "9"), pins("4 5", "8"), ISOLATE, "--live", id="an isolated emulator"),
        pytest.param(pins("4 5", "9"), pins("4 5", "0-1"), None, "--live", id="an emulator, its policy inferred"),
    ],
)
def test_a_definition_that_takes_a_pcpu_of_ours_is_not_what_nova_wrote(
    live: DefinedPins, kept: DefinedPins, specs: dict[str, str] | None, scope: str
) -> None:
    guest = running(live, kept, specs=specs, kept_first=False)
    web = ours(2, "web", fit("9", emulator="0-1"))
    reading = reading_of(surveyed(guest, web), VM, guest)
    (finding,) = repairable(VM, nova.judged(VM, guest, reading, follows(live, 2), POOLS, HOST.online))
    assert finding.repair.startswith("virsh ")
    assert scope in finding.repair
    assert ("--config" in finding.repair) == (scope == "--config")
    twice = surveyed(guest, web, ours(3, "db", fit("4,8", emulator="0-1")))
    if specs is not None:
        both = repairable(VM, nova.judged(VM, guest, reading_of(twice, VM, guest), follows(live, 2), POOLS, HOST.online))
        assert all(not finding.repair for finding in both), "both definitions take one"


def test_pins_that_are_lost_everywhere_are_reported_without_a_command() -> None:
    both = DefinedPins(vcpus=((0, cpus("2-15")), (1, cpus("5"))), emulator=cpus("0-1"))
    (finding,) = judged(running(both, both, specs=SHARE))
    assert finding.sentence() == "guest instance-1: the definition puts vCPU 0 on 2-15, its place is one pCPU of its own"
    assert (finding.repair, "reboot --hard" in finding.advice) == ("", True)


def test_a_floating_guest_has_no_policy_and_no_pcpu_of_its_own() -> None:
    guest = theirs(1, "instance-1", 2, placement="0-1", nova=True)
    reading = nova.read(VM, guest, POOLS, HOST.online)
    assert (reading.policy, reading.place.alone, reading.place.floating, reading.findings) == (None, cpus(""), cpus("0-1"), ())
    assert judged(guest) == ()


FLOATING = DefinedPins(placement=cpus("0-1"))


def test_a_floating_guest_that_was_pinned_onto_a_dedicated_pcpu_goes_back_to_the_pool() -> None:
    onto = DefinedPins(placement=cpus("0-1"), vcpus=((0, cpus("9")),))
    for kept, flags in ((FLOATING, "--live"), (onto, "--live --config")):
        (finding,) = judged(running(onto, kept, specs={}))
        assert finding.sentence().startswith("guest instance-1: the ")
        assert "puts vCPU 0 on 9, its place is 0-1" in finding.sentence()
        assert finding.repair == f"virsh -c qemu:///system vcpupin instance-1 0 0-1 {flags}"


def test_a_guest_whose_flavor_and_image_ask_for_nothing_floats_whatever_its_pins() -> None:
    both = pins("4 5", "4-5")
    reading = nova.read(VM, running(both, both, specs={}), POOLS, HOST.online)
    assert (reading.place.alone, reading.beyond) == (cpus(""), cpus("4-5"))
    pinned = NovaRecord(flavor="m1", vcpus=2, memory_mib=64, extra_specs=(), image_properties=(("hw_cpu_policy", "dedicated"),))
    by_image = structs.replace(running(both, both), nova=pinned)
    assert nova.read(VM, by_image, POOLS, HOST.online).place.alone == cpus("4-5")


def test_a_floating_guest_over_the_dedicated_pool_is_one_finding_that_moves_it_to_the_shared_one() -> None:
    guest = theirs(1, "instance-1", 2, specs={}, nova=True, kept=DefinedPins())
    (finding,) = judged(guest)
    assert finding.sentence() == "guest instance-1: its floating vCPUs lie on 2-15, outside the pool of today (0-1)"
    assert finding.repair == (
        "virsh -c qemu:///system vcpupin instance-1 0 0-1 --live --config"
        " && virsh -c qemu:///system vcpupin instance-1 1 0-1 --live --config"
        " && virsh -c qemu:///system emulatorpin instance-1 0-1 --live --config && taskset -pc 0-1 1003"
    )


def test_a_floating_guest_that_may_be_bound_to_a_cell_is_left_to_nova() -> None:
    both = DefinedPins(vcpus=((0, cpus("2-3")), (1, cpus("2-3"))), emulator=cpus("2-3"))
    for specs in (None, {"hw:numa_nodes": "1"}):
        (finding,) = judged(running(both, both, specs=specs))
        assert (finding.repair, "reboot --hard" in finding.advice) == ("", True)


def test_a_guest_that_floats_over_its_cell_s_part_of_the_pool_is_where_it_should_be() -> None:
    both = DefinedPins(vcpus=((0, cpus("0")), (1, cpus("0"))), emulator=cpus("0"))
    assert judged(running(both, both, specs={"hw:numa_nodes": "1"})) == ()
    assert judged(running(both, both)) == ()


def test_a_single_shared_pcpu_is_no_pin_of_its_own() -> None:
    guest = theirs(1, "instance-1", ["0", "0"], emulator="0", nova=True)
    assert nova.read(VM, guest, POOLS, HOST.online).place.alone == cpus("")


def test_the_realtime_vcpus_do_not_carry_emulator_threads() -> None:
    guest = theirs(1, "instance-1", ["4", "5", "6"], emulator="4", realtime="1-2", nova=True)
    reading = nova.read(VM, guest, POOLS, HOST.online)
    assert (reading.policy, reading.findings, reading.wanted.overhead) == (EmulatorPolicy.UNSET, (), cpus("4"))


def test_a_mixed_guest_floats_with_its_shared_vcpus() -> None:
    guest = theirs(1, "instance-1", ["4", "0-1"], emulator="0-1,4", nova=True)
    reading = nova.read(VM, guest, POOLS, HOST.online)
    assert (reading.place.alone, reading.place.floating, reading.policy) == (cpus("4"), cpus("0-1"), EmulatorPolicy.UNSET)


def test_the_floating_vcpu_of_a_mixed_guest_is_known_by_the_flavor_s_mask() -> None:
    mixed = {"hw:cpu_policy": "mixed", "hw:cpu_dedicated_mask": "0", "hw:emulator_threads_policy": "share"}
    onto = pins("4 9", "0-1")
    kept = DefinedPins(vcpus=((0, cpus("4")), (1, cpus("0-1"))), emulator=cpus("0-1"))
    (finding,) = judged(running(onto, kept, specs=mixed))
    assert finding.repair == "virsh -c qemu:///system vcpupin instance-1 1 0-1 --live"


def test_a_pool_that_moved_under_a_share_guest_comes_with_the_command() -> None:
    both = pins("4 5", "0-1")
    moved = Pools(shared=cpus("2-3"), dedicated=cpus("4-15"), overhead=cpus("2-3"))
    (finding,) = judged(running(both, both), pools=moved)
    assert finding.sentence().startswith("guest instance-1: policy share wants emulator threads on 2-3, the definition puts them on 0-1")
    assert finding.repair == "virsh -c qemu:///system emulatorpin instance-1 2-3 --live --config && taskset -pc 2-3 1003"


def test_a_pool_that_has_grown_is_a_note() -> None:
    both = pins("4 5", "0")
    (finding,) = judged(running(both, both, specs=SHARE))
    assert (finding.code, finding.severity) == (FindingCode.POOL_PART, Severity.NOTE)
    assert finding.sentence().startswith("guest instance-1: its overhead threads lie on 0, only a part of the pool of today (0-1)")


def test_an_offline_pool_pcpu_narrows_no_pin() -> None:
    both = pins("4 5", "0-1")
    assert judged(running(both, both, specs=SHARE), online=HOST.online - cpus("1")) == ()


def test_without_pools_only_the_definitions_are_compared() -> None:
    both = pins("4 5", "9")
    assert judged(running(both, both, specs=SHARE), pools=None) == ()
    (finding,) = judged(running(pins("9 5", "0-1"), pins("4 5", "0-1"), specs=SHARE), pools=None)
    assert finding.repair == "virsh -c qemu:///system vcpupin instance-1 0 4 --live"


def test_a_guest_that_nova_calls_dedicated_keeps_its_pins_whatever_the_pools() -> None:
    guest = theirs(1, "instance-1", ["0"], emulator="0", specs={"hw:cpu_policy": "dedicated"}, nova=True)
    assert nova.read(VM, guest, POOLS, HOST.online).place.alone == cpus("0")


def test_a_guest_whose_pcpus_nova_switched_off_is_where_it_should_be() -> None:
    topology = host("core:8 offline:4-7")
    config = PoolConfig(shared=cpus("0-1"), dedicated=cpus("2-7"), power_managed=True)
    pools, _ = build_pools(config, topology)
    specs = {"hw:emulator_threads_policy": "isolate"}
    stopped = theirs(1, "instance-1", ["4", "5"], emulator="6", specs=specs, nova=True, running=False)
    reading = nova.read(VM, stopped, pools, topology.online)
    assert (reading.place.alone, judged(stopped, pools=pools, online=topology.online)) == (cpus("4-6"), ())
    awake = theirs(1, "instance-1", ["4", "5"], emulator="6", specs=specs, nova=True)
    threads = (ObservedThread(tid=9, name="CPU 0/KVM", thread_class=ThreadClass.VCPU, vcpu=0, allowed=cpus("0-3")),)
    found = judged(awake, pools=pools, online=topology.online, observation=Observation(threads=threads, witness="procfs"))
    codes = [finding.code for finding in found if finding.code is FindingCode.PCPU_OFFLINE]
    assert len(codes) == 3, "a guest that runs on none of its pCPUs: two vCPUs and the emulator"
