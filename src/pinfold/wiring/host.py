"""What a command needs of one host: the driver for its libvirt, with the right witness. What is done with it does not belong here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from pinfold.core.settings import HostSettings
from pinfold.drivers.port import Driver

if TYPE_CHECKING:
    from pinfold.core.cpuset import CpuSet


@dataclass(frozen=True, slots=True)
class LabRecords:
    """The witness of a synthetic lab: what was asked for each thread, as the lab's shim wrote it down under `records`."""

    records: Path
    label: str

    def allowed(self, tid: int) -> CpuSet | None:
        """What was asked for that thread, None where nothing was."""
        from pinfold.lab.witness import asked

        return asked(self.records, tid, tid)


@contextmanager
def open_driver(settings: HostSettings) -> Iterator[Driver]:
    """The driver for the host's libvirt, closed when the block ends. Raises `Unavailable` when it cannot be reached.

    On a synthetic lab procfs shows folded masks, so that the lab's own records are the witness there, and every sight says so.
    """
    from pinfold.drivers.libvirt.connection import LibvirtDriver

    driver = LibvirtDriver(settings.uri, witness=lab_records(settings.uri), realtime_priority=settings.realtime_priority)
    try:
        yield driver
    finally:
        driver.close()


def lab_records(uri: str) -> LabRecords | None:
    """The records of the synthetic lab whose socket `uri` names; None for every other libvirt."""
    socket = parse_qs(urlsplit(uri).query).get("socket", [""])[0]
    lab = Path(socket).parent.parent
    if not socket or not (lab / "lab.json").is_file():
        return None
    from pinfold.lab.folder import LabFolder
    from pinfold.lab.witness import SYNTHETIC

    folder = LabFolder(lab)
    return LabRecords(folder.records, SYNTHETIC) if folder.spec().synthetic else None
