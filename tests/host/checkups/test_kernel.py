"""Interrupts, governors, huge page recovery and throttling: every lack with its facts, its command and its health."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.host.checkups.trees import interrupt, machine

from pinfold.core.cpuset import CpuSet
from pinfold.core.hosttext import host
from pinfold.drivers.checkup import Checkup, Health, Needs
from pinfold.host.checkups import kernel
from pinfold.host.checkups.facts import KernelFacts, kernel_facts, pcpu_facts
from pinfold.linux.kernel_file import KernelFile

REALTIME = Needs(realtime=True)
TOPOLOGY = host("core:4 pu:2")
DEDICATED = CpuSet.parse("2-7")


def interrupts(root: Path, irqs: dict[int, tuple[str, str]], needs: Needs = REALTIME, line: str = "") -> Checkup:
    (found,) = kernel.interrupts(DEDICATED, TOPOLOGY.online, machine(root, TOPOLOGY, irqs=irqs, command_line=line), needs)
    return found


@pytest.mark.parametrize(
    ("irqs", "needs", "health", "words"),
    [
        pytest.param({24: ("0-1", "0"), 31: ("0", "0")}, REALTIME, Health.GOOD, "none of 2 interrupts may be delivered", id="away"),
        pytest.param({24: ("0-7", "3"), 31: ("0", "0")}, REALTIME, Health.POOR, "1 of 2 interrupts is delivered", id="there"),
        pytest.param({24: ("0-7", "3")}, Needs(), Health.UNUSED, "1 of 1 interrupt is delivered", id="there, no realtime"),
        pytest.param({24: ("0-7", "0")}, REALTIME, Health.UNUSED, "is delivered to a dedicated pCPU now; 1 may", id="may"),
        pytest.param({24: ("0-1", "3")}, REALTIME, Health.GOOD, "none of 1 interrupt may be", id="moves when it comes next"),
        pytest.param({24: ("0-7", "")}, REALTIME, Health.UNUSED, "1 may be moved there", id="not started"),
        pytest.param({24: ("7-2", "x")}, REALTIME, Health.GOOD, "none of 1 interrupt may be", id="nonsense"),
        pytest.param({}, REALTIME, Health.GOOD, "none of 0 interrupts", id="no interrupts"),
    ],
)
def test_interrupts_stay_away_from_dedicated_pcpus(
    tmp_path: Path, irqs: dict[int, tuple[str, str]], needs: Needs, health: Health, words: str
) -> None:
    found = interrupts(tmp_path, irqs, needs)
    assert found.health is health
    assert words in found.words


def test_an_interrupt_that_came_often_is_named_first_with_its_count(tmp_path: Path) -> None:
    facts = machine(tmp_path, TOPOLOGY, irqs={24: ("0-7", "3"), 25: ("0-7", "4")}, command_line="")
    often = [
        replace(one, counts=KernelFile(path="", text=text))
        for one, text in zip(facts.interrupts.found, ("900,0,0,1", "0,0,0,0,70"), strict=True)
    ]
    facts = replace(facts, interrupts=replace(facts.interrupts, found=tuple(often)))
    (found,) = kernel.interrupts(DEDICATED, TOPOLOGY.online, facts, REALTIME)
    assert "2 of 2 interrupts are delivered to dedicated pCPUs: 25 (" in found.words and "; 70 times since boot), 24 (" in found.words
    assert "; 1 time since boot)" in found.words


def test_the_command_moves_every_interrupt_that_may_come_and_can_be_moved(tmp_path: Path) -> None:
    facts_root = tmp_path / "proc"
    machine(tmp_path, TOPOLOGY)
    for number in (24, 25, 26, 40, 1_000_000):
        interrupt(facts_root, number, "0-7", "4")
    interrupt(facts_root, 30, "0-7", "5", "virtio1-req.0")
    (facts_root / "irq/30/smp_affinity_list").chmod(0o444)
    facts = pcpu_facts(TOPOLOGY.online, sys=tmp_path / "sys", proc=facts_root)
    (found,) = kernel.interrupts(DEDICATED, TOPOLOGY.online, facts, REALTIME)
    assert found.repair == "for irq in $(seq 24 26) 40 1000000; do echo 0-1 > /proc/irq/$irq/smp_affinity_list; done"
    assert "30 (virtio1-req.0, which the kernel keeps there)" in found.words
    assert found.words.endswith(" and 1 more")
    assert found.seen[0].source == f"{facts_root}/irq/24/effective_affinity_list"


def test_the_advice_about_managed_interrupts_fits_what_was_booted(tmp_path: Path) -> None:
    assert "isolcpus=managed_irq,LIST at boot" in interrupts(tmp_path / "a", {24: ("0-7", "3")}).advice
    booted = interrupts(tmp_path / "b", {24: ("0-7", "3")}, line="isolcpus=managed_irq,domain,2-7")
    assert booted.advice.startswith("isolcpus has managed_irq: of the interrupts that the kernel keeps, those come that have no other")


def test_an_interrupt_that_the_kernel_keeps_is_no_fault_where_it_was_booted_to_keep_them_away(tmp_path: Path) -> None:
    health = {}
    for line in ("isolcpus=managed_irq,2-7", "isolcpus=2-7"):
        root = tmp_path / line
        machine(root, TOPOLOGY, command_line=line)
        (interrupt(root / "proc", 30, "4", "4", "virtio1-req.0") / "smp_affinity_list").chmod(0o444)
        (found,) = kernel.interrupts(DEDICATED, TOPOLOGY.online, pcpu_facts(TOPOLOGY.online, sys=root, proc=root / "proc"), REALTIME)
        assert found.repair == ""
        health[line] = found.health
    assert health == {"isolcpus=managed_irq,2-7": Health.UNUSED, "isolcpus=2-7": Health.POOR}


def test_without_another_pcpu_or_a_dedicated_pool_no_command_is_printed(tmp_path: Path) -> None:
    facts = machine(tmp_path, TOPOLOGY, irqs={24: ("0-7", "3")})
    (found,) = kernel.interrupts(TOPOLOGY.online, TOPOLOGY.online, facts, REALTIME)
    assert found.repair == ""
    assert kernel.interrupts(CpuSet(), TOPOLOGY.online, facts, REALTIME) == []


@pytest.mark.parametrize(
    ("governor", "needs", "health", "words"),
    [
        pytest.param("performance", REALTIME, Health.GOOD, "performance on pCPUs 2-7", id="performance"),
        pytest.param("powersave", REALTIME, Health.POOR, "powersave on dedicated pCPUs 2-7", id="powersave"),
        pytest.param("schedutil", Needs(), Health.UNUSED, "schedutil on dedicated pCPUs 2-7", id="no realtime"),
        pytest.param(None, REALTIME, Health.UNUSED, "cpu2/cpufreq/scaling_governor (No such file or directory)", id="a virtual machine"),
        pytest.param("x" * 70_000, REALTIME, Health.POOR, "x on dedicated", id="nonsense"),
    ],
)
def test_dedicated_pcpus_keep_their_frequency_up(tmp_path: Path, governor: str | None, needs: Needs, health: Health, words: str) -> None:
    (found,) = kernel.governors(DEDICATED, machine(tmp_path, TOPOLOGY, governor=governor), needs)
    assert found.health is health
    assert words in found.words
    assert len(found.words) < 300
    told = governor not in (None, "performance")
    repair = "for cpu in $(seq 2 7); do echo performance > /sys/devices/system/cpu/cpu$cpu/cpufreq/scaling_governor; done"
    assert found.repair == (repair if told else "")


def settings(root: Path, release: str = "6.1.0-18-amd64", **files: str) -> KernelFacts:
    for name, text in files.items():
        path = root / ("proc/sys/kernel" if name.startswith("sched") else "sys/module/kvm/parameters") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return kernel_facts(sys=root / "sys", proc=root / "proc", release=release)


@pytest.mark.parametrize(
    ("split", "ratio", "needs", "health", "words"),
    [
        pytest.param("N", "60", REALTIME, Health.GOOD, "does not split", id="not needed"),
        pytest.param("never", "60", REALTIME, Health.GOOD, "does not split", id="never"),
        pytest.param("Y", "60", REALTIME, Health.POOR, "kvm-nx-lpage-recovery", id="on"),
        pytest.param("Y", "60", Needs(), Health.UNUSED, "kvm-nx-lpage-recovery", id="on, no realtime"),
        pytest.param("Y", "0", REALTIME, Health.GOOD, "no thread puts them together", id="no recovery"),
        pytest.param("x" * 500, "0", REALTIME, Health.UNUSED, "cannot be seen", id="nonsense"),
    ],
)
def test_the_recovery_of_huge_pages_competes_with_vcpus(
    tmp_path: Path, split: str, ratio: str, needs: Needs, health: Health, words: str
) -> None:
    found = kernel.page_recovery(settings(tmp_path, nx_huge_pages=split, nx_huge_pages_recovery_ratio=ratio), needs)
    assert found.health is health
    assert words in found.words
    runs = split == "Y" and ratio != "0"
    assert found.repair == ("echo 0 > /sys/module/kvm/parameters/nx_huge_pages_recovery_ratio" if runs else "")


def test_a_setting_that_nobody_may_write_has_no_command(tmp_path: Path) -> None:
    settings(tmp_path, nx_huge_pages="Y", nx_huge_pages_recovery_ratio="60")
    (tmp_path / "sys/module/kvm/parameters/nx_huge_pages_recovery_ratio").chmod(0o444)
    assert kernel.page_recovery(settings(tmp_path), REALTIME).repair == ""


@pytest.mark.parametrize(
    ("runtime", "period", "health", "words"),
    [
        pytest.param("-1", "1000000", Health.GOOD, "off: a vCPU that never sleeps keeps its pCPU", id="off"),
        pytest.param("950000", "1000000", Health.POOR, "a realtime vCPU that never sleeps is stopped for 50 of every 1000 ms", id="on"),
        pytest.param("many", "1000000", Health.POOR, "sched_rt_runtime_us (many)", id="nonsense"),
        pytest.param("950000", "9" * 5000, Health.POOR, "sched_rt_period_us (9999", id="a number without end"),
    ],
)
def test_throttling_stops_a_vcpu_that_never_sleeps(tmp_path: Path, runtime: str, period: str, health: Health, words: str) -> None:
    found = kernel.throttling(settings(tmp_path, sched_rt_runtime_us=runtime, sched_rt_period_us=period), REALTIME)
    assert found.health is health
    assert words in found.words


def test_a_newer_kernel_throttles_in_another_way(tmp_path: Path) -> None:
    old, new = (
        kernel.throttling(settings(tmp_path, release=release, sched_rt_runtime_us="950000", sched_rt_period_us="1000000"), Needs())
        for release in ("6.11.2", "6.12.0-rc1")
    )
    assert (old.advice, old.health, old.repair) == ("", Health.UNUSED, "sysctl -w kernel.sched_rt_runtime_us=-1")
    assert "fair_server" in new.advice


def test_a_kernel_without_files_is_answered_with_their_paths(tmp_path: Path) -> None:
    facts, kernel_only = pcpu_facts(TOPOLOGY.online, sys=tmp_path, proc=tmp_path), kernel_facts(sys=tmp_path, proc=tmp_path)
    found = [
        *kernel.interrupts(DEDICATED, TOPOLOGY.online, facts, REALTIME),
        *kernel.governors(DEDICATED, facts, REALTIME),
        kernel.page_recovery(kernel_only, REALTIME),
        kernel.throttling(kernel_only, REALTIME),
    ]
    assert [one.words.partition(" (")[0] for one in found] == [
        f"cannot be seen: {tmp_path}/irq",
        f"cannot be seen: {tmp_path}/devices/system/cpu/cpu2/cpufreq/scaling_governor",
        f"cannot be seen: {tmp_path}/module/kvm/parameters/nx_huge_pages",
        f"cannot be seen: {tmp_path}/sys/kernel/sched_rt_runtime_us",
    ]


def test_this_machine_is_answered() -> None:
    pcpus = CpuSet(os.sched_getaffinity(0))
    facts = pcpu_facts(pcpus)
    found = [*kernel.interrupts(pcpus, pcpus, facts, REALTIME), *kernel.governors(pcpus, facts, REALTIME)]
    assert all(one.words and one.why for one in [*found, kernel.page_recovery(kernel_facts(), REALTIME)])
    assert not facts.command_line.problem
