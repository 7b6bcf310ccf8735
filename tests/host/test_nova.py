"""What Nova meant by a domain: one row per way in which Nova writes, or fails to write, its pins."""

from __future__ import annotations

import pytest
from tests.host.guests import HOST, POOLS, cpus, theirs

from pinfold.core.drift import FindingCode, Subject, compare
from pinfold.core.hosttext import host
from pinfold.core.overhead import ObservedThread, ThreadClass
from pinfold.core.pools import PoolConfig, Pools, build_pools
from pinfold.core.request.model import EmulatorPolicy
from pinfold.host import nova

VM = Subject(name="instance-1")
NO_POOL = Pools(shared=cpus(""), dedicated=cpus("2-15"))


@pytest.mark.parametrize(
    ("emulator", "specs", "pools", "policy", "alone", "pooled", "sentences"),
    [
        pytest.param("4-5", {}, POOLS, "unset", "4-5", None, [], id="inferred: over its own pCPUs is no policy"),
        pytest.param("0-1", {}, POOLS, "share", "4-5", "0-1", [], id="inferred: on the pool is share"),
        pytest.param("6", {}, POOLS, "isolate", "4-6", None, [], id="inferred: a dedicated pCPU apart is isolate"),
        pytest.param(
            "6-7",
            {},
            POOLS,
            None,
            "4-5",
            None,
            [
                (
                    "guest instance-1: policy unknown wants emulator threads on its own pCPUs, the overhead pool, or a pCPU of their own, "
                    "the definition puts them on 6-7"
                )
            ],
            id="inferred: two dedicated pCPUs of others fit no policy",
        ),
        pytest.param("0-1", {"hw:emulator_threads_policy": "share"}, POOLS, "share", "4-5", "0-1", [], id="stated share on the pool"),
        pytest.param(
            "4-5",
            {"hw:emulator_threads_policy": "share"},
            POOLS,
            "share",
            "4-5",
            None,
            ["guest instance-1: policy share wants emulator threads on 0-1, the definition puts them on 4-5"],
            id="stated share, yet over its own pCPUs: started before the pool was configured",
        ),
        pytest.param("4-5", {"hw:emulator_threads_policy": "share"}, NO_POOL, "share", "4-5", None, [], id="share without a pool floats"),
        pytest.param(
            "4",
            {"hw:emulator_threads_policy": "isolate"},
            POOLS,
            "isolate",
            "4-5",
            None,
            ["guest instance-1: policy isolate wants emulator threads on one pCPU of 2-15 that no vCPU has, the definition puts them on 4"],
            id="stated isolate, yet on a vCPU's pCPU",
        ),
        pytest.param(
            "0-1",
            {"hw:cpu_policy": "dedicated"},
            POOLS,
            "unset",
            "4-5",
            None,
            ["guest instance-1: policy unset wants emulator threads on 4-5, the definition puts them on 0-1"],
            id="a flavor without the policy, yet on the pool",
        ),
    ],
)
def test_a_pinned_guest(
    emulator: str,
    specs: dict[str, str],
    pools: Pools,
    policy: str | None,
    alone: str,
    pooled: str | None,
    sentences: list[str],
) -> None:
    guest = theirs(1, "instance-1", ["4", "5"], emulator=emulator, specs=specs, nova=True)
    reading = nova.read(VM, guest, pools, HOST.online)
    assert reading.policy == (None if policy is None else EmulatorPolicy(policy))
    assert reading.stated is bool(specs)
    assert reading.place.alone == cpus(alone)
    assert reading.place.pooled == (None if pooled is None else cpus(pooled))
    assert [finding.sentence() for finding in reading.findings] == sentences
    assert reading.masks.overhead == cpus(emulator)


def test_a_floating_guest_has_no_policy_and_no_pcpu_of_its_own() -> None:
    reading = nova.read(VM, theirs(1, "instance-1", 2, placement="0-1", nova=True), POOLS, HOST.online)
    assert (reading.policy, reading.place.alone, reading.place.floating, reading.findings) == (None, cpus(""), cpus("0-1"), ())
    assert nova.place_findings(VM, reading, POOLS, HOST.online) == ()


def test_a_floating_guest_over_the_dedicated_pool_lies_outside_its_pool() -> None:
    reading = nova.read(VM, theirs(1, "instance-1", 2, nova=True), POOLS, HOST.online)
    (finding,) = nova.place_findings(VM, reading, POOLS, HOST.online)
    assert finding.sentence() == "guest instance-1: its floating vCPUs lie on 2-15, outside the pool of today (0-1)"
    assert "migrate" in finding.advice


def test_a_single_shared_pcpu_is_no_pin_of_its_own() -> None:
    guest = theirs(1, "instance-1", ["0", "0"], emulator="0", nova=True)
    assert nova.read(VM, guest, POOLS, HOST.online).place.alone == cpus("")


def test_the_realtime_vcpus_do_not_carry_emulator_threads() -> None:
    guest = theirs(1, "instance-1", ["4", "5", "6"], emulator="4", realtime="1-2", nova=True)
    reading = nova.read(VM, guest, POOLS, HOST.online)
    assert (reading.policy, reading.findings) == (EmulatorPolicy.UNSET, ())


def test_a_mixed_guest_floats_with_its_shared_vcpus() -> None:
    guest = theirs(1, "instance-1", ["4", "0-1"], emulator="0-1,4", nova=True)
    reading = nova.read(VM, guest, POOLS, HOST.online)
    assert (reading.place.alone, reading.place.floating, reading.policy) == (cpus("4"), cpus("0-1"), EmulatorPolicy.UNSET)


def test_a_pool_that_moved_under_a_share_guest_comes_with_the_command() -> None:
    guest = theirs(1, "instance-1", ["4", "5"], emulator="0-1", nova=True)
    moved = Pools(shared=cpus("2-3"), dedicated=cpus("4-15"), overhead=cpus("2-3"))
    reading = nova.read(VM, guest, moved, HOST.online)
    (finding,) = nova.place_findings(VM, reading, moved, HOST.online)
    assert finding.sentence() == "guest instance-1: its overhead threads lie on 0-1, outside the pool of today (2-3)"
    assert finding.repair == "virsh -c qemu:///system emulatorpin instance-1 2-3 --live --config"


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
    found = (*reading.findings, *nova.place_findings(VM, reading, pools, topology.online))
    assert (reading.place.alone, found) == (cpus("4-6"), ())
    threads = [ObservedThread(tid=9, name="CPU 0/KVM", thread_class=ThreadClass.VCPU, vcpu=0, allowed=cpus("0-3"))]
    codes = [finding.code for finding in compare(VM, reading.masks, threads, topology.online) if finding.code is FindingCode.PCPU_OFFLINE]
    assert len(codes) == 3, "a guest that runs on none of its pCPUs: two vCPUs and the emulator"
