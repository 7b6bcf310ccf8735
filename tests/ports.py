"""Ports for the servers that tests start. Whoever can bind port 0 and keep it needs none of these."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

_GIVEN_AWAY = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """A port of the loopback on which nobody listens, and that the kernel gives to nobody who has not asked for it by number.

    So it is still free when its server binds it, seconds later on a busy machine, or anew after it was killed.
    """
    first, last = map(int, _GIVEN_AWAY.read_text().split())
    every = range(10_000, 1 << 16)
    left = [port for port in every if not first <= port <= last] or every  # a kernel may be told to give away all of them
    while True:
        port = secrets.choice(left)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
