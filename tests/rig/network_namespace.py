"""A network namespace that a test makes: what is started in it sees its bridges and no device of the machine. It ends with its last
process.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from pinfold.lab.namespace import enter, unshare

_CLONE_NEWNET: Final = 0x40000000


class NetworkNamespace:
    """Opened by `network_namespace`. `run` runs a command in it."""

    def __init__(self, number: int) -> None:
        self._number = number

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This thread, and what it starts, is in the namespace until the block ends."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            enter(self._number, _CLONE_NEWNET)
            yield
        finally:
            enter(before, _CLONE_NEWNET)
            os.close(before)

    def run(self, *command: str) -> str:
        """The output of a command that must succeed."""
        with self.inside():
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout

    def members(self, bridge: str) -> list[dict[str, Any]]:
        """The devices in a bridge, as `ip` describes them."""
        found: list[dict[str, Any]] = json.loads(self.run("ip", "-json", "-details", "link", "show", "master", bridge) or "[]")
        return found


@contextmanager
def network_namespace(*bridges: str) -> Iterator[NetworkNamespace]:
    """A new namespace with these bridges, all up."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        unshare(_CLONE_NEWNET)
        made = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    finally:
        enter(before, _CLONE_NEWNET)
        os.close(before)
    try:
        namespace = NetworkNamespace(made)
        namespace.run("ip", "link", "set", "lo", "up")
        for bridge in bridges:
            namespace.run("ip", "link", "add", bridge, "type", "bridge")
            namespace.run("ip", "link", "set", bridge, "up")
        yield namespace
    finally:
        os.close(made)
