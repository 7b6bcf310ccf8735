"""`pinfold up`: API, embedded Placement and this host's agent in one process, with everything that a first start needs made by itself.

1. The state directory, an account `admin` with a random password, and a clouds.yaml of mode 0600 that holds it.
2. The service, on a socket that listens before anything else can fail for it.
3. This host and its agent's token, where the service does not know it yet.
4. The agent; then both run until a signal.
"""

from __future__ import annotations

import os
import secrets
import signal
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pinfold.agent.client import ServiceClient, read_token
from pinfold.api.accounts import hash_password
from pinfold.api.agent.tokens import digest_of, make_token
from pinfold.api.services import ApiServices
from pinfold.api.v1.hosts import NOTHING
from pinfold.config.clouds import clouds_yaml
from pinfold.config.fleet import FleetSettings
from pinfold.core.errors import InvalidRequest, Unavailable
from pinfold.lab import rom
from pinfold.store import hosts
from pinfold.wiring.agent import open_agent
from pinfold.wiring.service import listening_socket, open_service, server_of, url_of

CLOUD: Final = "pinfold"
_STOP_SECONDS: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Up:
    """What is up: the address, the file with the credentials ('' with `no_auth`), and what looked odd on the way."""

    url: str
    clouds_file: str
    host: str
    images_dir: str
    warnings: tuple[str, ...] = ()


def up(settings: FleetSettings, *, no_auth: bool, ready: Callable[[Up], None]) -> None:
    """Run it all until SIGINT or SIGTERM; `ready` is called once requests are answered.

    Raises `InvalidRequest` for settings that cannot be, `Unavailable` when libvirt, the database or the port is not to be had.
    """
    state = _folder(settings.host.state_dir, 0o711)
    warnings = _images(Path(settings.host.images_dir))
    listening = listening_socket(settings.api)
    url = url_of(settings.api, listening)
    clouds = "" if no_auth else str(_credentials(state, Path(settings.api.accounts_file), url))
    with open_service(settings, no_auth=no_auth) as service:
        token = _token(service.services, settings.host.host, Path(settings.agent.token_file))
        server = server_of(service, settings.api)
        serving = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="pinfold-api", daemon=True)
        serving.start()
        client = ServiceClient(_local(url), token, ca_file=settings.api.tls_certificate)
        try:
            with open_agent(settings.host, client, sweep_seconds=settings.agent.sweep_seconds) as agent:
                for number in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(number, lambda *_: agent.stop())
                told = Up(url=url, clouds_file=clouds, host=settings.host.host, images_dir=settings.host.images_dir, warnings=warnings)
                ready(told)
                agent.run()
        finally:
            client.close()
            server.should_exit = True
            serving.join(timeout=_STOP_SECONDS)
            listening.close()


def _folder(path: str, mode: int) -> Path:
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=mode)
    except OSError as error:
        raise InvalidRequest(f"the folder {folder} cannot be made: {error.strerror}", key=path) from error
    return folder


def _images(folder: Path) -> tuple[str, ...]:
    """Make the image directory; where it is empty, put the 64 KiB probe into it, so that there is something to boot."""
    _folder(str(folder), 0o755)
    if any(folder.iterdir()):
        return ()
    try:
        rom.write(folder / "probe.rom")
    except Unavailable as error:
        return (f"{folder} holds no image, and the probe could not be made: {error}",)
    return ()


def _credentials(state: Path, accounts: Path, url: str) -> Path:
    """The clouds.yaml with the account `admin`; made with the accounts file at the first start, its address kept up to date after."""
    clouds = state / "clouds.yaml"
    kept = state / "admin.password"
    if not accounts.exists():
        _write_secret(kept, secrets.token_urlsafe(24))
        _write_secret(accounts, f"admin:admin:{hash_password(kept.read_text(encoding='ascii'))}\n")
    if kept.exists():
        _write_secret(clouds, clouds_yaml(CLOUD, url, "admin", kept.read_text(encoding="ascii")))
    return clouds


def _write_secret(path: Path, text: str) -> None:
    """Replace a file that its owner alone can read, whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    with suppress(FileNotFoundError):
        part.unlink()
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
    part.replace(path)


def _token(services: ApiServices, name: str, path: Path) -> str:
    """This host's token: the one in the file where the service knows it, else a new one."""
    with services.database.read() as connection:
        known = hosts.find(connection, name)
        stored = hosts.token_hash(connection, known.id) if known else ""
    if path.exists():
        token = read_token(path)
        if known is not None and digest_of(token) == stored:
            return token
    host_id = known.id if known else str(uuid.uuid4())
    token, digest = make_token(host_id)
    with services.database.write() as connection:
        if known is None:
            hosts.register(connection, host_id=host_id, name=name, report=NOTHING, token_hash=digest, lease_seconds=-1.0)
        else:
            hosts.replace_token(connection, host_id, digest)
    _write_secret(path, token)
    return token


def _local(url: str) -> str:
    """The address by which this process reaches itself: a socket that listens on every address has loopback too."""
    parts = urlsplit(url)
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(parts.hostname or "", "")  # noqa: S104
    return f"{parts.scheme}://{host}:{parts.port}" if host else url


def serve_api(settings: FleetSettings, *, no_auth: bool, ready: Callable[[str], None]) -> None:
    """Run the API alone until SIGINT or SIGTERM."""
    listening = listening_socket(settings.api)
    with open_service(settings, no_auth=no_auth) as service:
        ready(url_of(settings.api, listening))
        server_of(service, settings.api).run(sockets=[listening])
    listening.close()


def serve_agent(settings: FleetSettings, *, ready: Callable[[str], None]) -> None:
    """Run this host's agent alone until SIGINT or SIGTERM. Raises `InvalidRequest` where no service is named."""
    if not settings.agent.api_url:
        raise InvalidRequest("[pinfold_agent] api_url is not set; the agent has to know its service", key="api_url")
    _folder(settings.host.state_dir, 0o711)
    client = ServiceClient(settings.agent.api_url, read_token(Path(settings.agent.token_file)), ca_file=settings.agent.ca_file)
    try:
        with open_agent(settings.host, client, sweep_seconds=settings.agent.sweep_seconds) as agent:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: agent.stop())
            ready(settings.agent.api_url)
            agent.run()
    finally:
        client.close()
