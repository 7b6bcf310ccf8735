"""Read the facts about this machine that `pinfold doctor` judges. Decides nothing."""

from __future__ import annotations

import os
from pathlib import Path

from msgspec import Struct

from pinfold.core.cpuset import CpuSet
from pinfold.linux import kernel_file
from pinfold.linux.interrupts import Interrupts, interrupts
from pinfold.linux.kernel_file import KernelFile
from pinfold.linux.procfs import PROC
from pinfold.linux.sysfs import SYS


class KernelFacts(Struct, frozen=True, kw_only=True):
    """Settings of the kernel that do not name pCPUs. `release` is the kernel's release, such as 6.1.0-18-amd64."""

    throttling_runtime: KernelFile
    throttling_period: KernelFile
    split_pages: KernelFile
    recovery_ratio: KernelFile
    release: str


class PcpuFacts(Struct, frozen=True, kw_only=True):
    """What the kernel says about single pCPUs. `governors` and `switches` hold a file for each pCPU, by its number."""

    isolated: KernelFile
    tickless: KernelFile
    command_line: KernelFile
    smt_control: KernelFile
    governors: tuple[tuple[int, KernelFile], ...]
    switches: tuple[tuple[int, KernelFile], ...]
    interrupts: Interrupts


def kernel_facts(*, sys: Path = SYS, proc: Path = PROC, release: str = os.uname().release) -> KernelFacts:
    """The kernel's settings. Raises nothing."""
    settings, parameters = proc / "sys/kernel", sys / "module/kvm/parameters"
    return KernelFacts(
        throttling_runtime=kernel_file.read(settings / "sched_rt_runtime_us"),
        throttling_period=kernel_file.read(settings / "sched_rt_period_us"),
        split_pages=kernel_file.read(parameters / "nx_huge_pages"),
        recovery_ratio=kernel_file.read(parameters / "nx_huge_pages_recovery_ratio"),
        release=release,
    )


def pcpu_facts(present: CpuSet, *, sys: Path = SYS, proc: Path = PROC) -> PcpuFacts:
    """What the kernel says about the `present` pCPUs. Raises nothing."""
    cpu = sys / "devices/system/cpu"
    return PcpuFacts(
        isolated=kernel_file.read(cpu / "isolated"),
        tickless=kernel_file.read(cpu / "nohz_full"),
        command_line=kernel_file.read(proc / "cmdline"),
        smt_control=kernel_file.read(cpu / "smt/control"),
        governors=tuple((pcpu, kernel_file.read(cpu / f"cpu{pcpu}/cpufreq/scaling_governor")) for pcpu in present),
        switches=tuple((pcpu, kernel_file.read(cpu / f"cpu{pcpu}/online")) for pcpu in present),
        interrupts=interrupts(proc=proc, sys=sys),
    )
