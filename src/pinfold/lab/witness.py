"""What was asked for a thread of a synthetic lab, read from the shim's records. It is no proof of where a thread ran."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pinfold.core.cpuset import CpuSet

SYNTHETIC: Final = "lab records (synthetic)"
REAL: Final = "procfs"


def asked(records: Path, process: int, thread: int) -> CpuSet | None:
    """The CPUs that were asked for `thread`, else for its process; None when neither has a record (then nothing was asked)."""
    for tid in (thread, process):
        try:
            return CpuSet.parse((records / str(tid)).read_text().strip())
        except FileNotFoundError:
            continue
    return None
