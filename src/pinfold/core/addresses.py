"""What a host name in an address tells by itself: pure, nothing is looked up."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether the name or address is this machine's own loopback. A name is `localhost` alone, since any other may be anywhere.

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
