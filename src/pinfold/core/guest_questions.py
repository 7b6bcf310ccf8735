"""What the service asks an agent about one guest: the end of its console log, what its hypervisor counts, a connection to its console."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Final

from msgspec import Meta, Struct

from pinfold.core.bounds import GuestUuid, MemoryMib, Revision

MOST_LINES: Final = 100_000
MOST_LOG_BYTES: Final = 100 * 1024
"""The most bytes of a console log that are sent, those at its end: Nova's own bound."""

_Count = Annotated[int, Meta(ge=0, le=1 << 62)]
_MOST_DEVICES: Final = 256


class About(Enum):
    """What a question is about."""

    CONSOLE_LOG = "console-log"
    DIAGNOSTICS = "diagnostics"
    CONSOLE = "console"


class GuestQuestion(Struct, frozen=True, kw_only=True):
    """A question about a guest. Its number is unique in the service. `lines` is how much of a console log is asked for, 0 for all.

    For a console the agent connects the guest's serial console to the service at `url`, '' for the agent's own address of the service. It
    sends an answer only if it cannot.
    """

    number: Revision
    guest: GuestUuid
    about: About
    lines: Annotated[int, Meta(ge=0, le=MOST_LINES)] = 0
    url: Annotated[str, Meta(max_length=255, pattern=r"\A(https?://[!-~]+)?\Z")] = ""


class DiskUse(Struct, frozen=True, kw_only=True):
    """What a guest read from one disk and wrote to it since its process began."""

    name: Annotated[str, Meta(max_length=64)]
    read_bytes: _Count
    read_requests: _Count
    write_bytes: _Count
    write_requests: _Count


class NicUse(Struct, frozen=True, kw_only=True):
    """What one network interface of a guest received and sent since its process began."""

    mac: Annotated[str, Meta(max_length=32)]
    rx_bytes: _Count
    rx_packets: _Count
    rx_errors: _Count
    rx_drop: _Count
    tx_bytes: _Count
    tx_packets: _Count
    tx_errors: _Count
    tx_drop: _Count


class Diagnostics(Struct, frozen=True, kw_only=True):
    """What the hypervisor counts of a running guest.

    `cpu_ns` is the time that each vCPU ran. `state` is `running` or `paused`, `hypervisor` `kvm` or `qemu`. `memory_mib` is what the guest
    has. `resident_mib` is what its process has in memory, of the guest and of QEMU itself; an emulated guest's also holds its translated
    code, so it may be more than `memory_mib`. `uptime_seconds` is the age of its process.
    """

    state: Annotated[str, Meta(max_length=32)]
    hypervisor: Annotated[str, Meta(max_length=32)]
    memory_mib: MemoryMib
    resident_mib: _Count | None = None
    uptime_seconds: _Count = 0
    cpu_ns: Annotated[tuple[_Count, ...], Meta(max_length=8192)]
    disks: Annotated[tuple[DiskUse, ...], Meta(max_length=_MOST_DEVICES)] = ()
    nics: Annotated[tuple[NicUse, ...], Meta(max_length=_MOST_DEVICES)] = ()


class GuestAnswer(Struct, frozen=True, kw_only=True):
    """An agent's answer to the question of that number: `failure` says why there is none, '' if there is one.

    `log` are bytes, in base64 where they are written, because texts in messages hold no control characters.
    """

    number: Revision
    failure: Annotated[str, Meta(max_length=8_000)] = ""
    log: Annotated[bytes, Meta(max_length=MOST_LOG_BYTES)] = b""
    diagnostics: Diagnostics | None = None
