"""The checks of `pinfold doctor` on a kernel that was booted with `isolcpus=managed_irq,domain,4-5 nohz_full=4-5 rcu_nocbs=4-5`.

Run in the small machine, by name; it is not collected anywhere else. Every command that is printed is run as it is.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pinfold.core.cpuset import CpuSet
from pinfold.core.host import HostState
from pinfold.core.pools import PoolConfig, build_pools, configured_pools
from pinfold.drivers.checkup import Check, Checkup, Health, Needs
from pinfold.host.checkups import kernel
from pinfold.host.checkups.facts import PcpuFacts, kernel_facts, pcpu_facts
from pinfold.host.checkups.pools import pool_checkups
from pinfold.host.survey import Survey
from pinfold.linux import sysfs
from pinfold.linux.topology import topology

REALTIME = Needs(realtime=True, emulators_apart=True)


def facts() -> PcpuFacts:
    return pcpu_facts(topology().online | topology().offline)


def pools(shared: str, dedicated: str) -> dict[str, Checkup]:
    """What is said of these pools, by check."""
    config = PoolConfig(shared=CpuSet.parse(shared), dedicated=CpuSet.parse(dedicated))
    made, warnings = build_pools(config, topology(), isolated=sysfs.isolated())
    seen = Survey(state=HostState(topology=topology(), pools=made), guests=(), warnings=warnings, configured=configured_pools(config))
    return {one.check: one for one in pool_checkups(seen, facts(), REALTIME)}


def run(command: str, status: int = 0) -> str:
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == status, done
    return done.stderr


def test_a_dedicated_pool_that_the_kernel_leaves_alone_is_good() -> None:
    found = pools("0-1", "4-5")
    assert {check: one.health for check, one in found.items() if one.check != Check.EMPTY_POOLS.value} == {
        Check.SIBLINGS.value: Health.GOOD,
        Check.ISOLATION.value: Health.GOOD,
        Check.TICK.value: Health.GOOD,
        Check.CALLBACKS.value: Health.GOOD,
    }


def test_what_the_kernel_does_on_the_rest_of_a_pool_is_told() -> None:
    found = pools("0-1", "4-7")
    for check in (Check.ISOLATION, Check.TICK, Check.CALLBACKS):
        assert found[check.value].health is Health.POOR
        assert "dedicated pCPUs 6-7" in found[check.value].words


def test_a_shared_pool_on_isolated_pcpus_is_told() -> None:
    found = pools("4-5", "6-7")
    assert "cpu_shared_set has pCPUs 4-5, which the kernel isolates" in found[Check.ISOLATION.value].words
    assert "nohz_full names pCPUs 4-5 of the shared" in found[Check.TICK.value].words


def test_split_cores_are_told() -> None:
    assert "cpu_dedicated_set has pCPU 1, whose SMT siblings" in pools("0", "1,4-7")[Check.SIBLINGS.value].words


def test_the_pcpus_of_an_empty_pool_are_switched_on() -> None:
    for pcpu in (6, 7):
        Path(f"/sys/devices/system/cpu/cpu{pcpu}/online").write_text("0")
    empty = pools("0-1", "6-7")[Check.EMPTY_POOLS.value]
    assert empty.health is Health.POOR
    run(empty.repair)
    assert sysfs.online() == CpuSet.parse("0-7")
    assert pools("0-1", "6-7")[Check.EMPTY_POOLS.value].health is not Health.POOR


def test_interrupts_are_moved_but_those_that_the_kernel_keeps() -> None:
    dedicated, online = CpuSet.parse("2-7"), topology().online
    (before,) = kernel.interrupts(dedicated, online, facts(), REALTIME)
    assert before.health is not Health.GOOD
    told = subprocess.run(["sh", "-c", before.repair], capture_output=True, text=True, timeout=300, check=False).stderr
    left = [one for one in facts().interrupts.found if CpuSet.parse(one.allowed.text) & dedicated]
    assert left, "the queues of virtio-blk are the kernel's"
    assert told.count("I/O error") == len(left), "Linux 6.1 does not show which ones it keeps"
    assert all("-req." in name for one in left for name in one.names)
    assert before.advice.startswith("isolcpus has managed_irq")


def test_throttling_is_switched_off() -> None:
    before = kernel.throttling(kernel_facts(), REALTIME)
    assert before.health is Health.POOR and not before.advice, "this kernel is older than 6.12"
    run(f"PATH=$PATH:/usr/sbin:/sbin; {before.repair}")
    assert kernel.throttling(kernel_facts(), REALTIME).health is Health.GOOD


def test_the_recovery_of_huge_pages_is_switched_off() -> None:
    switch = Path("/sys/module/kvm/parameters/nx_huge_pages")
    if not switch.exists():
        pytest.fail("this kernel has no KVM")
    switch.write_text("force")
    before = kernel.page_recovery(kernel_facts(), REALTIME)
    assert before.health is Health.POOR
    run(before.repair)
    assert kernel.page_recovery(kernel_facts(), REALTIME).health is Health.GOOD


def test_a_kernel_that_does_not_scale_says_so() -> None:
    (found,) = kernel.governors(CpuSet.parse("4-5"), facts(), REALTIME)
    assert found.words.startswith("cannot be seen: /sys/devices/system/cpu/cpu4/cpufreq/scaling_governor")
