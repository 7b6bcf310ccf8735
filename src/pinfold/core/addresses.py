"""Classify the host name of an address by its text alone, without a lookup. Pure."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether the name or address is this machine's loopback. `localhost` is the only name that counts; any other could resolve elsewhere.

    >>> [is_loopback(host) for host in ("localhost", "127.0.0.2", "::1", "::ffff:127.0.0.1", "10.0.0.1", "127.0.0.1.example", "")]
    [True, True, True, True, False, False, False]
    """
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def names_loopback(host: str) -> bool:
    """Whether a `Host` header names this machine's loopback, with or without a port.

    >>> [names_loopback(host) for host in ("localhost", "127.0.0.1:8774", "[::1]:8774", "evil.example", "127.0.0.1.evil.example", "")]
    [True, True, True, False, False, False]
    """
    name = host.strip().lower()
    name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
    return is_loopback(name)
