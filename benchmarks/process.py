"""What a process costs its machine, as procfs has it; and the start of a real one, however long that takes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tests.rig.processes import Process

_PATIENCE_SECONDS = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """MiB of memory: what is resident now, at its peak, and now with shared pages split among those who share them."""

    rss: float
    peak: float
    pss: float


def memory(pid: int) -> Memory:
    """The memory of one process."""
    status = _fields(Path(f"/proc/{pid}/status"))
    rolled = _fields(Path(f"/proc/{pid}/smaps_rollup"))
    return Memory(rss=status["VmRSS"] / 1024, peak=status["VmHWM"] / 1024, pss=rolled["Pss"] / 1024)


def started(process: Process) -> Process:
    """The process, once it says that it works. A fleet of 1,000 hosts is compared with Placement first."""
    return process.start(wait=False).await_ready(seconds=_PATIENCE_SECONDS)


def cpu_seconds(pid: int) -> float:
    """The CPU that a process has used so far, its ended threads included, its children not."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _fields(path: Path) -> dict[str, int]:
    rows = (line.partition(":") for line in path.read_text(encoding="utf-8").splitlines())
    return {name: int(value.split()[0]) for name, _, value in rows if value.strip().endswith("kB")}
