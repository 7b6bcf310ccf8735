"""The serial logs of an agent's guests: `STATE_DIR/serial/GUEST.log`, and the rotated ones that virtlogd keeps beside it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from pinfold.core.identity import GuestId
from pinfold.core.settings import HostSettings
from pinfold.host import files
from pinfold.host.lock import state_folder

_ROTATED: Final = re.compile(r"\.[0-9]{1,4}", re.ASCII)


def log_of(settings: HostSettings, guest: GuestId) -> Path:
    """The path of the log of the guest with that id. Its folder exists."""
    return files.inside(state_folder(settings, "serial"), f"{guest}.log")


def forget(settings: HostSettings, guest: GuestId) -> None:
    """Delete a guest's serial log and its rotated logs (`GUEST.log.0`, `.1` and so on). Missing ones are no error."""
    folder = Path(settings.state_dir, "serial")
    for name in files.names(folder):
        if name == f"{guest}.log" or _ROTATED.fullmatch(name.removeprefix(f"{guest}.log")):
            files.remove(folder, name)
