"""`LabWitness`: the masks requested for the threads of a synthetic lab, from the shim's records. They do not prove where a thread ran.

It implements the libvirt driver's protocol for a witness. `wiring` gives it to the driver. A lab with the machine's own topology needs
none, because procfs is the witness there.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

import msgspec

from pinfold.core.cpuset import CpuSet
from pinfold.core.encoding import json_reader
from pinfold.core.errors import InvalidRequest, Unavailable

MARKER: Final = "pinfold-lab.json"
SYNTHETIC: Final = "lab records (synthetic)"
REAL: Final = "procfs"
_MOST_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class LabWitness:
    """The records in one folder."""

    records: Path

    @property
    def label(self) -> str:
        """The label of this witness, so that nobody takes it for procfs."""
        return SYNTHETIC

    def allowed(self, tid: int) -> CpuSet | None:
        """The pCPUs last requested for the thread, at its creation or later; None if the shim saw no request."""
        try:
            file = os.open(f"{self.records}/{tid}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            return _cpus(os.read(file, _MOST_BYTES))
        finally:
            os.close(file)

    def move(self, tid: int, cpus: CpuSet) -> None:
        """Move a thread to those pCPUs as the shim does: fold them onto real CPUs, and record the request.

        A thread that has ended is no error. Raises `Unavailable` if the kernel refuses.
        """
        real = sorted(os.sched_getaffinity(os.getpid()))
        try:
            os.sched_setaffinity(tid, {real[cpu % len(real)] for cpu in cpus})
        except ProcessLookupError:
            return
        except OSError as error:
            raise Unavailable(f"thread {tid} cannot be moved to pCPU {cpus}: {error.strerror}") from error
        beside = self.records / f".{tid}.{os.getpid()}"
        beside.write_text(f"{cpus}\n")
        beside.replace(self.records / str(tid))


@lru_cache(maxsize=256)
def _cpus(record: bytes) -> CpuSet:
    return CpuSet.parse(record.decode("ascii").strip())


class _Mark(msgspec.Struct, frozen=True, kw_only=True):
    """A lab's description beside its socket. Other keys are for people."""

    synthetic: bool
    records: str = ""


_read_mark = json_reader(_Mark)


def witness_of(uri: str) -> LabWitness | None:
    """The witness for a libvirt URI, if the URI names the socket of a synthetic lab; None for every other libvirt.

    Raises `InvalidRequest` if the lab's description cannot be read.

    >>> witness_of("qemu:///system") is None
    True
    """
    for socket in parse_qs(urlsplit(uri).query).get("socket", ()):
        marker = Path(socket).with_name(MARKER)
        try:
            mark = _read_mark(marker.read_bytes())
        except FileNotFoundError:
            continue
        except (msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
            raise InvalidRequest(f"{marker} is no mark of a lab ({error}); start the lab anew", key=str(marker)) from error
        if mark.synthetic:
            return LabWitness(Path(mark.records))
    return None
