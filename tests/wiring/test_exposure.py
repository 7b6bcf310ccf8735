"""An open service does not start, and names the wrong option or file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pinfold.config.fleet import ApiSettings
from pinfold.core.errors import InvalidRequest
from pinfold.core.settings import HostSettings
from pinfold.host.lock import state_folder
from pinfold.wiring.exposure import refuse_exposure

BEYOND = ("0.0.0.0", "::", "192.0.2.1", "api.example")
LOOPBACK = ("127.0.0.1", "127.0.0.2", "::1", "localhost")


@pytest.mark.parametrize("listen", LOOPBACK)
@pytest.mark.parametrize("no_auth", [False, True])
def test_loopback_needs_no_tls(listen: str, no_auth: bool) -> None:
    refuse_exposure(ApiSettings(listen=listen), no_auth=no_auth)


@pytest.mark.parametrize("listen", BEYOND)
def test_beyond_loopback_tls_is_needed_or_an_option(listen: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(f"listen is {listen}: without TLS") + ".*allow_plain_http = true"):
        refuse_exposure(ApiSettings(listen=listen), no_auth=False)
    refuse_exposure(ApiSettings(listen=listen, allow_plain_http=True), no_auth=False)


@pytest.mark.parametrize("listen", BEYOND)
def test_beyond_loopback_no_option_does_without_authentication(listen: str) -> None:
    with pytest.raises(InvalidRequest, match="without authentication only loopback is allowed"):
        refuse_exposure(ApiSettings(listen=listen, allow_plain_http=True), no_auth=True)


@pytest.mark.parametrize(("mode", "refused"), [(0o600, False), (0o640, False), (0o644, True), (0o660, True), (0o666, True)])
def test_a_key_that_others_reach_is_refused(tmp_path: Path, mode: int, refused: bool) -> None:
    key = tmp_path / "tls.key"
    key.touch()
    key.chmod(mode)
    settings = ApiSettings(listen="192.0.2.1", tls_certificate="tls.crt", tls_key=str(key))
    if refused:
        with pytest.raises(InvalidRequest, match=rf"\[pinfold_api\] tls_key {key}: .* \(mode {mode:04o}\); its mode must be 0600 or 0640"):
            refuse_exposure(settings, no_auth=False)
    else:
        refuse_exposure(settings, no_auth=False)


def test_a_key_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"tls_key .*none\.key cannot be read: No such file"):
        refuse_exposure(ApiSettings(tls_certificate="tls.crt", tls_key=f"{tmp_path}/none.key"), no_auth=False)


@pytest.mark.parametrize(("mode", "refused"), [(0o711, False), (0o775, False), (0o777, True), (0o1777, True), (0o703, True)])
def test_a_state_directory_that_everybody_changes_is_refused(tmp_path: Path, mode: int, refused: bool) -> None:
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(mode)
    settings = HostSettings(host="c1", state_dir=str(state))
    if refused:
        said = rf"the state directory {state}: everybody can change it \(mode {mode:04o}\); its mode must be 0711 or 0755"
        with pytest.raises(InvalidRequest, match=said):
            state_folder(settings, "disks")
    else:
        state_folder(settings, "disks")
