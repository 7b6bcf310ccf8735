"""The client's address, and which proxies are trusted to name it."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Network, IPv6Network
from typing import Any

import pytest

from pinfold.api.asgi import Receive, Scope, Send
from pinfold.api.client_address import ClientAddress, Proxies, address_block

PROXIES = Proxies([IPv4Network("10.0.0.0/8"), IPv6Network("2001:db8:ffff::1/128")])


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        pytest.param("192.0.2.1", [], "192.0.2.1", id="a direct client is who connects"),
        pytest.param("192.0.2.1", ["198.51.100.9"], "192.0.2.1", id="a stranger's header means nothing"),
        pytest.param("10.0.0.1", ["198.51.100.9"], "198.51.100.9", id="a proxy's word counts"),
        pytest.param("::ffff:10.0.0.1", ["198.51.100.9"], "198.51.100.9", id="also on a socket of both families"),
        pytest.param("10.0.0.1", ["1.1.1.1, 198.51.100.9"], "198.51.100.9", id="what the client wrote before is not believed"),
        pytest.param("10.0.0.1", ["1.1.1.1", "198.51.100.9"], "198.51.100.9", id="also where the proxy adds a header of its own"),
        pytest.param("10.0.0.1", ["198.51.100.9, 10.2.0.1"], "198.51.100.9", id="through two proxies"),
        pytest.param("10.0.0.1", ["10.2.0.1"], "10.2.0.1", id="a proxy that asks by itself"),
        pytest.param("10.0.0.1", [], "10.0.0.1", id="a proxy that forwards nothing is the client"),
        pytest.param("10.0.0.1", ["198.51.100.9, evil"], "10.0.0.1", id="no address is not skipped over"),
        pytest.param("10.0.0.1", ["198.51.100.9:4711"], "198.51.100.9", id="with a port"),
        pytest.param("2001:db8:ffff::1", ["[2001:db8::7]:4711"], "2001:db8::7", id="IPv6 with a port"),
        pytest.param("10.0.0.1", ["2001:db8::7"], "2001:db8::7", id="IPv6"),
        pytest.param("", [], "unknown", id="no address at all"),
    ],
)
def test_whose_word_counts(peer: str, forwarded: list[str], client: str) -> None:
    assert PROXIES.client(peer, forwarded) == client


def test_nobody_is_trusted_unless_named() -> None:
    assert Proxies().client("127.0.0.1", ["198.51.100.9"]) == "127.0.0.1"


def test_one_customers_ipv6_addresses_count_together() -> None:
    assert address_block("2001:db8:0:1::1") == address_block("2001:db8:0:1:ffff::9")
    assert address_block("2001:db8:0:1::1") != address_block("2001:db8:0:2::1")
    assert address_block("::ffff:192.0.2.1") == address_block("192.0.2.1")


@pytest.mark.parametrize(("peer", "scheme"), [("10.0.0.1", "https"), ("192.0.2.1", "http")])
def test_the_scheme_is_the_proxys_word_too(peer: str, scheme: str) -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    headers = [(b"x-forwarded-for", b"198.51.100.9"), (b"x-forwarded-proto", b"https")]
    asked: dict[str, Any] = {"type": "http", "scheme": "http", "client": (peer, 4711), "headers": headers}
    asyncio.run(ClientAddress(app, PROXIES)(asked, None, None))  # type: ignore[arg-type]
    assert seen[0]["scheme"] == scheme
    assert seen[0]["client"][0] == ("198.51.100.9" if scheme == "https" else "192.0.2.1")
