"""Find the terminal of a running domain's first serial console in its XML. Pure.

Source: libvirt's "Domain XML format", section "Consoles, serial, parallel & channel devices": a running domain shows the pseudo terminal.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from pinfold.drivers.libvirt import xmltext

_TERMINAL: Final = re.compile(r"/dev/pts/[0-9]{1,9}", re.ASCII)


def terminal(text: str) -> Path | None:
    """The terminal, None if the first serial console is no pseudo terminal.

    >>> terminal("<domain><devices><serial type='pty'><source path='/dev/pts/3'/></serial></devices></domain>")
    PosixPath('/dev/pts/3')
    """
    serial = xmltext.parsed(text, "domain XML", root="domain").find("devices/serial")
    source = None if serial is None or serial.get("type") != "pty" else serial.find("source")
    path = "" if source is None else source.get("path", "")
    return Path(path) if _TERMINAL.fullmatch(path) else None
