"""Build the probe guest's ROM from `probe/` with gcc and ld, and stamp its parameters into it."""

from __future__ import annotations

import functools
import struct
import subprocess
import tempfile
from dataclasses import astuple, dataclass
from enum import IntEnum
from importlib import resources
from pathlib import Path
from typing import Final

from pinfold.core.errors import InvariantViolation, Unavailable

_MARK: Final = b"PROBEPRM"
_SIZE: Final = 0x10000
_RESET: Final = 0xFFF0


class Behaviour(IntEnum):
    """What the probe does: sleep forever, spin, do I/O at a steady tick, or measure its own latency."""

    IDLE = 0
    SPIN = 1
    TICK = 2
    MEASURE = 3


class Io(IntEnum):
    """The kind of I/O: none, reads or writes on a virtio disk, or letters on the serial line."""

    NONE = 0
    DISK = 1
    SERIAL = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """The parameters in the ROM, in the order of `probe.c`. Only MEASURE uses `tsc_khz`.

    A guest powers off when its power button is pressed, unless it is `deaf`.
    """

    behaviour: Behaviour = Behaviour.IDLE
    tsc_khz: int = 2_000_000
    round_ms: int = 1000
    rounds: int = 10
    period_us: int = 100
    io: Io = Io.NONE
    io_period_us: int = 1000
    io_bytes: int = 4096
    io_depth: int = 1
    io_write: int = 0
    deaf: int = 0


def write(path: Path, parameters: Parameters | None = None) -> Path:
    """Write a ROM of 64 KiB with these parameters to `path`, and return `path`. Raises `Unavailable` without gcc and binutils."""
    path.write_bytes(stamp(build(), parameters or Parameters()))
    path.chmod(0o644)
    return path


def stamp(rom: bytes, parameters: Parameters) -> bytes:
    """The ROM with the parameters stamped in. Pure."""
    packed = struct.pack("<11I", *astuple(parameters))
    at = rom.index(_MARK) + len(_MARK)
    return rom[:at] + packed + rom[at + len(packed) :]


@functools.cache
def build() -> bytes:
    """The compiled ROM, 64 KiB. Raises `Unavailable` if a tool is missing or fails."""
    with resources.as_file(resources.files("pinfold.lab") / "probe") as source, tempfile.TemporaryDirectory(prefix="pinfold-rom-") as made:
        out = Path(made)
        freestanding = ["-ffreestanding", "-fno-pic", "-fno-pie", "-mno-red-zone", "-mgeneral-regs-only", "-fno-stack-protector"]
        plain = ["-fno-asynchronous-unwind-tables", "-fcf-protection=none", "-mcmodel=small", "-fno-strict-aliasing"]
        _run("gcc", "-c", "-m64", str(source / "start.S"), "-o", str(out / "start.o"))
        _run("gcc", "-c", "-O2", "-Wall", "-Wextra", "-m64", *freestanding, *plain, str(source / "probe.c"), "-o", str(out / "probe.o"))
        elf = str(out / "probe.elf")
        objects = [str(out / "start.o"), str(out / "probe.o")]
        _run("ld", "-T", str(source / "link.ld"), "-nostdlib", "--no-pie", "-z", "noexecstack", *objects, "-o", elf)
        for section in ("text", "reset"):
            _run("objcopy", "-O", "binary", "-j", f".{section}", elf, str(out / section))
        text, reset = (out / "text").read_bytes(), (out / "reset").read_bytes()
    if len(text) > _RESET:
        raise InvariantViolation(f"the probe's code has {len(text)} bytes, at most {_RESET} fit")
    return (text.ljust(_RESET, b"\0") + reset).ljust(_SIZE, b"\0")


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Unavailable(f"{command[0]} is not installed; Debian and Ubuntu have it in gcc and binutils") from None
    if done.returncode:
        raise Unavailable(f"{command[0]} cannot build the probe: {done.stderr.strip()}")
