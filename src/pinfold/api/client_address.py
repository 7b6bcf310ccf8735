"""Find the address of a client: the connection's, or the one that a trusted proxy forwarded.

| who connects | the client's address |
|---|---|
| anybody but a trusted proxy | the connection's; `X-Forwarded-For` means nothing, since anybody can write it |
| a trusted proxy | the last address in `X-Forwarded-For` that is not a trusted proxy's own |
| a trusted proxy that forwards none, or no address | the proxy's |
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from pinfold.api.asgi import App, Receive, Scope, Send

Network = IPv4Network | IPv6Network
UNKNOWN: Final = "unknown"
"""The address of a client whose connection has none, such as a Unix socket's."""
_IPV6_BLOCK: Final = 64
"""One customer commonly gets a /64 of IPv6 and may use every address in it. Source: RFC 6177."""
_HTTP: Final = frozenset({"http", "https"})
_MOST_REMEMBERED: Final = 1024
"""Of connections' addresses; each is looked at several times in a request."""


class Proxies:
    """The proxies that are trusted to forward a client's address; none unless networks are given."""

    def __init__(self, networks: Iterable[Network] = ()) -> None:
        self._networks = tuple(networks)

    def trusts(self, host: str) -> bool:
        """Whether that address belongs to a trusted proxy.

        >>> proxies = Proxies([IPv4Network("10.0.0.0/8")])
        >>> proxies.trusts("10.1.2.3"), proxies.trusts("::ffff:10.1.2.3"), proxies.trusts("192.0.2.1"), proxies.trusts("x")
        (True, True, False, False)
        """
        address = _parse(host) if self._networks else None
        return address is not None and any(address in network for network in self._networks)

    def client(self, peer: str, forwarded: Iterable[str]) -> str:
        """The client's address, for a connection from `peer` with these `X-Forwarded-For` headers, in their order.

        >>> proxies = Proxies([IPv4Network("10.0.0.0/8")])
        >>> proxies.client("10.0.0.1", ["192.0.2.9, 192.0.2.1", "10.0.0.2"]), proxies.client("192.0.2.7", ["192.0.2.9"])
        ('192.0.2.1', '192.0.2.7')
        """
        if not self.trusts(peer):
            return canonical(peer)
        nearest = canonical(peer)
        for entry in reversed([part for header in forwarded for part in header.split(",")]):
            address = _parse(_without_port(entry.strip()))
            if address is None:
                break  # the rest of the header was written by somebody untrusted
            nearest = str(address)
            if not self.trusts(nearest):
                break
        return nearest


@lru_cache(maxsize=_MOST_REMEMBERED)
def canonical(host: str) -> str:
    """The canonical form of an address; `UNKNOWN` for anything else.

    >>> canonical("::ffff:192.0.2.1"), canonical("2001:DB8::0:1"), canonical("")
    ('192.0.2.1', '2001:db8::1', 'unknown')
    """
    address = _parse(host)
    return UNKNOWN if address is None else str(address)


@lru_cache(maxsize=_MOST_REMEMBERED)
def address_block(host: str) -> str:
    """The unit to which bounds per address apply: an IPv4 address, or the /64 of an IPv6 address.

    >>> address_block("192.0.2.1"), address_block("2001:db8:0:1::2"), address_block("unknown")
    ('192.0.2.1', '2001:db8:0:1::/64', 'unknown')
    """
    address = _parse(host)
    if not isinstance(address, IPv6Address):
        return UNKNOWN if address is None else str(address)
    return str(IPv6Network((address, _IPV6_BLOCK), strict=False))


class ClientAddress:
    """ASGI: puts the client's address into the scope, and behind a trusted proxy also the client's scheme."""

    def __init__(self, app: App, proxies: Proxies) -> None:
        self._app = app
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            peer, port = scope.get("client") or ("", 0)
            found = {"client": (self._proxies.client(peer, _headers(scope, b"x-forwarded-for")), port)}
            scheme = _headers(scope, b"x-forwarded-proto")[-1:]
            if scheme and scheme[0] in _HTTP and self._proxies.trusts(peer):
                found["scheme"] = scheme[0]  # type: ignore[assignment]
            scope = {**scope, **found}
        await self._app(scope, receive, send)


def client_of(scope: Scope) -> str:
    """The client's address that `ClientAddress` put into the scope."""
    return str(scope["client"][0])


def _headers(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for key, value in scope["headers"] if key == name]


def _parse(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host.partition("%")[0])  # a link-local address may name its interface
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def _without_port(entry: str) -> str:
    """An entry of `X-Forwarded-For` without the port that some proxies add."""
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    return entry.partition(":")[0] if entry.count(":") == 1 else entry
