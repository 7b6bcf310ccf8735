"""The service's settings: what a value means, and the sentence for one that means nothing."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from pinfold.config.fleet import FleetSettings, load_fleet
from pinfold.core.errors import InvalidRequest


def fleet(folder: Path, text: str) -> FleetSettings:
    """The settings of a file with that text in `[pinfold_api]`."""
    path = folder / "pinfold.conf"
    path.write_text(f"[pinfold_api]\n{text}\n")
    return load_fleet([str(path)])


def test_trusted_proxies_are_addresses_and_networks(tmp_path: Path) -> None:
    assert fleet(tmp_path, "").api.trusted_proxies == ()
    found = fleet(tmp_path, "trusted_proxies = 10.0.0.5, 2001:db8::/32").api.trusted_proxies
    assert found == (ip_network("10.0.0.5/32"), ip_network("2001:db8::/32"))


@pytest.mark.parametrize("value", ["proxy.example", "10.0.0.5/8", "*"])
def test_a_proxy_that_is_no_address_is_named(tmp_path: Path, value: str) -> None:
    with pytest.raises(InvalidRequest, match=r"\[pinfold_api\] trusted_proxies in .*: .* is not allowed: .*10\.1\.0\.0/16, are"):
        fleet(tmp_path, f"trusted_proxies = {value}")
