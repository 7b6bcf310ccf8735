"""`LabWitness`: what was asked for the threads of a synthetic lab, from the shim's records. It is no proof of where a thread ran.

It has the form that the libvirt driver takes another witness in. Whoever composes a process gives it to the driver; a lab with the
machine's own topology needs none, since there procfs is the witness.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

from pinfold.core.cpuset import CpuSet

MARKER: Final = "pinfold-lab.json"
SYNTHETIC: Final = "lab records (synthetic)"
REAL: Final = "procfs"


@dataclass(frozen=True, slots=True)
class LabWitness:
    """The records in one folder."""

    records: Path

    @property
    def label(self) -> str:
        """How its word is labelled, so that nobody takes it for procfs."""
        return SYNTHETIC

    def allowed(self, tid: int) -> CpuSet | None:
        """The pCPUs that were asked for the thread, at its creation or since; None where the shim saw neither."""
        try:
            return CpuSet.parse((self.records / str(tid)).read_text().strip())
        except FileNotFoundError:
            return None


def witness_of(uri: str) -> LabWitness | None:
    """The witness for a libvirt URI: that of the synthetic lab whose socket it names, None for every other libvirt.

    >>> witness_of("qemu:///system") is None
    True
    """
    for socket in parse_qs(urlsplit(uri).query).get("socket", ()):
        marker = Path(socket).with_name(MARKER)
        if marker.exists():
            mark = json.loads(marker.read_text())
            if mark["synthetic"]:
                return LabWitness(Path(mark["records"]))
    return None
