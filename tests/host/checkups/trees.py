"""Made-up sysfs and procfs trees with what `pinfold doctor` reads, in the kernel's own formats."""

from __future__ import annotations

from pathlib import Path

from pinfold.core.cpuset import CpuSet
from pinfold.core.topology import Topology
from pinfold.host.checkups.facts import PcpuFacts, pcpu_facts
from pinfold.lab import sysfs as lab_sysfs


def machine(
    root: Path,
    topology: Topology,
    *,
    isolated: str = "",
    tickless: str | None = "",
    command_line: str = "quiet",
    governor: str | None = None,
    fixed: str = "0",
    irqs: dict[int, tuple[str, str]] | None = None,
) -> PcpuFacts:
    """The facts about a machine that is written below `root`. `irqs` holds allowed and effective pCPUs; `fixed` pCPUs have no switch."""
    sys, proc = root / "sys", root / "proc"
    lab_sysfs.write(topology, sys)
    cpu = sys / "devices/system/cpu"
    (cpu / "isolated").write_text(f"{isolated}\n")
    if tickless is not None:
        (cpu / "nohz_full").write_text(f"{tickless}\n")
    for pcpu in CpuSet.parse(fixed):
        (cpu / f"cpu{pcpu}/online").unlink()
    for pcpu in topology.online if governor is not None else ():
        (cpu / f"cpu{pcpu}/cpufreq").mkdir()
        (cpu / f"cpu{pcpu}/cpufreq/scaling_governor").write_text(f"{governor}\n")
    (proc / "irq").mkdir(parents=True)
    (proc / "cmdline").write_text(f"{command_line}\n")
    for number, (allowed, effective) in (irqs or {}).items():
        interrupt(proc, number, allowed, effective)
    return pcpu_facts(topology.online | topology.offline, sys=sys, proc=proc)


def interrupt(proc: Path, number: int, allowed: str, effective: str | None, name: str = "eth0-rx-0") -> Path:
    """One interrupt with a handler. Its folder."""
    folder = proc / f"irq/{number}"
    (folder / name).mkdir(parents=True)
    (folder / "smp_affinity_list").write_text(f"{allowed}\n")
    if effective is not None:
        (folder / "effective_affinity_list").write_text(f"{effective}\n")
    return folder
