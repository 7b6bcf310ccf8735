"""Refuse to start an open service: an address without authentication or TLS, or a key that other users can read."""

from __future__ import annotations

from pathlib import Path

from pinfold.config.fleet import ApiSettings
from pinfold.core.addresses import is_loopback
from pinfold.core.errors import InvalidRequest
from pinfold.core.file_mode import refusal


def refuse_exposure(settings: ApiSettings, *, no_auth: bool) -> None:
    """Raise `InvalidRequest`, naming the option or the file, when others than the intended users could reach the service."""
    if not is_loopback(settings.listen):
        if no_auth:
            raise InvalidRequest(
                f"[pinfold_api] listen is {settings.listen}: without authentication only loopback is allowed, such as 127.0.0.1 and ::1",
                key="listen",
            )
        if not settings.tls_certificate and not settings.allow_plain_http:
            raise InvalidRequest(
                f"[pinfold_api] listen is {settings.listen}: without TLS, passwords and tokens could be read on the way; set "
                "tls_certificate and tls_key, or allow_plain_http = true where the network is trusted",
                key="listen",
            )
    if settings.tls_key:
        _refuse_open_key(Path(settings.tls_key))


def _refuse_open_key(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise InvalidRequest(f"[pinfold_api] tls_key {path} cannot be read: {error.strerror}", key="tls_key") from error
    if sentence := refusal(str(path), mode, 0o640, "0600 or 0640"):
        raise InvalidRequest(f"[pinfold_api] tls_key {sentence}", key="tls_key")
