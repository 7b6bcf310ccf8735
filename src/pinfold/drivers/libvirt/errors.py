"""Translate libvirt's error numbers and messages into our exceptions. Pure; `connection` catches the errors."""

from __future__ import annotations

from typing import Final

from pinfold.core.errors import Conflict, InvalidRequest, PinfoldError, Unavailable

# virErrorNumber, libvirt's ABI.
NO_SUPPORT: Final = 3
NO_DOMAIN: Final = 42
INVALID_ARGUMENT: Final = 8
OPERATION_INVALID: Final = 55
TIMED_OUT: Final = 68
_EXISTS: Final = 28
_AWAY: Final = frozenset({5, 6, 39, 45, TIMED_OUT, 79})
"""No connection to the hypervisor, an invalid connection, an RPC that failed, authentication (two kinds), a time-out."""

_TAKEN: Final = ("already exists with uuid", "domain is already running")


_REMEDIES: Final = (
    # The AppArmor profile of libvirt 9.0 forbids files that QEMU 7.2 reads to place huge pages on a cell.
    (
        "The nodes select no CPUs",
        "AppArmor keeps QEMU from /sys/devices/system/node/node*/cpumap; allow it in /etc/apparmor.d/local/abstractions/libvirt-qemu",
    ),
)


def translated(what: str, code: int, message: str, *, lost: bool) -> PinfoldError:
    """The exception for a failed act.

    `Unavailable` if libvirt is away or the connection was `lost`, `Conflict` if the guest exists or runs already, `InvalidRequest` for
    everything that libvirt or QEMU refuses.

    >>> translated("guest web cannot be started", 1, "internal error: QEMU said\\nno", lost=False)
    InvalidRequest('guest web cannot be started: internal error: QEMU said no')
    >>> str(translated("guest web", 1, "qemu: The nodes select no CPUs", lost=False)).rpartition(" ")[2]
    '/etc/apparmor.d/local/abstractions/libvirt-qemu'
    """
    remedy = next((f"; {remedy}" for words, remedy in _REMEDIES if words in message), "")
    text = f"{what}: {sentence(message)}{remedy}"
    if lost or code in _AWAY:
        return Unavailable(text)
    if code == _EXISTS or any(words in message for words in _TAKEN):
        return Conflict(text)
    return InvalidRequest(text)


def unreachable(error: Exception) -> str:
    """Why the connection failed. For a user without permission, the text says who has it.

    >>> unreachable(RuntimeError("authentication unavailable: no polkit agent available"))
    'authentication unavailable: no polkit agent available; run this as root, or as a member of the group libvirt'
    """
    text = sentence(str(error))
    return f"{text}; run this as root, or as a member of the group libvirt" if "polkit" in text else text


def sentence(message: str) -> str:
    """libvirt's message on one line. Messages from QEMU contain line breaks."""
    return " ".join(message.split())
