"""`WallClock`: the wall clock of real processes, which jumps when a test says so (`clock.c`). What must hold then is the test's."""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Final

HOUR: Final = 3600.0
YEAR: Final = 365 * 24 * HOUR

_SOURCE: Final = Path(__file__).with_name("clock.c")


class WallClock:
    """One clock. Processes started with its `environment` go by it; to begin with it is the machine's own."""

    def __init__(self, folder: Path) -> None:
        """`folder` gets the compiled library and the clock's file; every process that goes by it must be able to read there."""
        assert shutil.which("gcc"), "gcc is not installed"
        library, self._file = folder / "clock.so", folder / "clock"
        subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-Wall", "-o", library, _SOURCE, "-ldl"], check=True)
        self._file.write_bytes(bytes(8))
        for path, mode in ((library, 0o755), (self._file, 0o644)):
            path.chmod(mode)
        with self._file.open("r+b") as file:
            self._added = mmap.mmap(file.fileno(), 8)
        self.environment = {"LD_PRELOAD": str(library), "PINFOLD_CLOCK": str(self._file)}

    def set(self, seconds: float) -> None:
        """So far from the real time is the clock from now on: ahead, or behind for less than 0."""
        self._added[:] = struct.pack("=q", int(seconds * 1e9))
