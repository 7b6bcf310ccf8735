"""The service's settings: what a value means, and the sentence for one that means nothing."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from pinfold.config.fleet import FleetSettings, load_fleet, settings_now
from pinfold.core.errors import InvalidRequest
from pinfold.core.options import Option, difference
from pinfold.core.settings import ConnectionLimits, ConsoleAddresses, TimeLimits


def fleet(folder: Path, text: str) -> FleetSettings:
    """The settings of a file with that text in `[pinfold_api]`."""
    path = folder / "pinfold.conf"
    path.write_text(f"[pinfold_api]\n{text}\n")
    return load_fleet([str(path)])


def test_bounds_on_connections_have_defaults_and_can_be_set(tmp_path: Path) -> None:
    assert (fleet(tmp_path, "").api.connections, fleet(tmp_path, "").api.times) == (ConnectionLimits(), TimeLimits())
    names = ("connections", "connections_of_strangers", "connections_per_address", "connections_per_account", "connections_per_agent")
    text = "\n".join(f"{name} = {100 - number}" for number, name in enumerate(names))
    text += "".join(f"\n{name}_seconds = {number}.5" for number, name in enumerate(("handshake", "head", "body", "idle", "answer"), 1))
    found = fleet(tmp_path, text).api
    assert found.connections == ConnectionLimits(total=100, strangers=99, per_address=98, per_account=97, per_agent=96)
    assert found.times == TimeLimits(handshake=1.5, head=2.5, body=3.5, idle=4.5, answer=5.5)


def test_strangers_may_not_fill_everything(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"connections_of_strangers in .*: '100' is not below connections, 100: agents need room"):
        fleet(tmp_path, "connections = 100\nconnections_of_strangers = 100")


def test_trusted_proxies_are_addresses_and_networks(tmp_path: Path) -> None:
    assert fleet(tmp_path, "").api.trusted_proxies == ()
    found = fleet(tmp_path, "trusted_proxies = 10.0.0.5, 2001:db8::/32").api.trusted_proxies
    assert found == (ip_network("10.0.0.5/32"), ip_network("2001:db8::/32"))


@pytest.mark.parametrize("value", ["proxy.example", "10.0.0.5/8", "*"])
def test_a_proxy_that_is_no_address_is_named(tmp_path: Path, value: str) -> None:
    with pytest.raises(InvalidRequest, match=r"\[pinfold_api\] trusted_proxies in .*: .* is not allowed: .*10\.1\.0\.0/16, are"):
        fleet(tmp_path, f"trusted_proxies = {value}")


def test_options_are_read_again_from_the_same_files_and_new_ones_beside_them(tmp_path: Path) -> None:
    before = fleet(tmp_path, "port = 1000")
    assert Option(key="[pinfold_api] port", value="1000") in before.options
    assert settings_now(before).options == before.options
    (tmp_path / "pinfold.conf.d").mkdir()
    (tmp_path / "pinfold.conf.d" / "more.conf").write_text("[pinfold_api]\nport = 1001\n[pinfold_placement]\npassword = hush\n")
    assert difference(before.options, settings_now(before).options) == (
        "the configuration was read again: [pinfold_placement] password has another value, which is secret, "
        "[pinfold_api] port was '1000' and is '1001'; start this process again to use it"
    )
    after = load_fleet([*before.files, str(tmp_path / "pinfold.conf.d" / "more.conf")])
    (tmp_path / "pinfold.conf.d" / "more.conf").unlink()
    assert settings_now(after).options == before.options
    (tmp_path / "pinfold.conf").write_text("[pinfold_api]\nport = many\n")
    with pytest.raises(InvalidRequest, match=r"^\[pinfold_api\] port in .*: 'many' is not allowed"):
        settings_now(before)


def test_no_secret_is_in_the_repr_of_settings(tmp_path: Path) -> None:
    assert "hush" not in repr(fleet(tmp_path, "port = 1\n[pinfold_placement]\npassword = hush"))


def test_consoles_are_off_unless_they_are_switched_on_and_have_addresses_of_their_kinds(tmp_path: Path) -> None:
    assert fleet(tmp_path, "").api.consoles is None
    on = "[serial_console]\nenabled = true\n"
    found = fleet(tmp_path, f"{on}base_url = wss://consoles.example/serial/\nagent_url = https://api2:8774/").api.consoles
    assert found == ConsoleAddresses(base_url="wss://consoles.example/serial", agent_url="https://api2:8774")
    with pytest.raises(InvalidRequest, match=r"\[serial_console\] base_url in .*: 'http://x' is not allowed; .* with ws:// or wss:// is"):
        fleet(tmp_path, f"{on}base_url = http://x")
