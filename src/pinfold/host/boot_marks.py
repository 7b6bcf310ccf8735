"""Numbers of boots in files beside a guest's disk: with which its disk was made anew last, and with which its saved memory was taken up.

An agent that dies, or loses the hypervisor, between such an act and its end finds there what was done. Which boots a guest performed is the
agent's memory (`agent.memory`).
"""

from __future__ import annotations

from enum import Enum

from pinfold.core.errors import InvalidRequest
from pinfold.core.identity import GuestId
from pinfold.core.settings import HostSettings
from pinfold.host import disk, files
from pinfold.host.lock import host_key, state_folder

_MOST_BYTES = 32


class BootMark(Enum):
    """What was done with the boot. The value is the suffix of the file."""

    DISK_MADE_ANEW = "rebuilt"
    MEMORY_TAKEN_UP = "resumed"


def boot_of(settings: HostSettings, guest: GuestId, mark: BootMark) -> int:
    """The last boot with which it was done, 0 for none. Raises `InvalidRequest` for a damaged file."""
    path = disk.overlay_path(settings, guest).with_suffix(f".{mark.value}")
    found = files.tail(path.parent, path.name, _MOST_BYTES)
    if found is None:
        return 0
    if not found.isdigit():
        raise InvalidRequest(f"{path} holds no number of a boot: {found[:16]!r}", key=str(path))
    return int(found)


def write(settings: HostSettings, guest: GuestId, mark: BootMark, boot: int) -> None:
    """Write down with which boot it is done. It is on the disk when this returns, and so are earlier changes of names in that folder.

    Raises `OSError` if it cannot be written.
    """
    folder = state_folder(settings, "overlays", host_key(settings))
    name = disk.overlay_path(settings, guest).with_suffix(f".{mark.value}").name
    with files.written(folder, name, mode=0o600) as stream:
        stream.write(str(boot).encode())
