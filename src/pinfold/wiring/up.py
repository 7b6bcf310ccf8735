"""`pinfold up`: API, embedded Placement and this host's agent in one process. It creates everything that the first start needs.

1. The state directory, an account `admin` with a random password, and a clouds.yaml of mode 0600 that holds it.
2. The service, on a socket that listens before anything else of it can fail.
3. This host and its agent's token, if the service does not know it yet.
4. The agent. `ready` is called when the host has reported and takes guests; then both run until a signal.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import uvicorn
from msgspec import structs

from pinfold.agent.client import ServiceClient, read_token
from pinfold.agent.loop import owner_of
from pinfold.api.accounts import hash_password
from pinfold.api.agent.tokens import digest_of, make_token
from pinfold.api.dependencies import ApiServices
from pinfold.config.clouds import clouds_yaml
from pinfold.config.fleet import FleetSettings
from pinfold.core.errors import InvalidRequest, Unavailable
from pinfold.core.identity import HostId
from pinfold.core.networks import HostNetwork, NetworkKind
from pinfold.host.lock import owning, state_folder
from pinfold.lab import rom
from pinfold.store import hosts
from pinfold.wiring.agent import open_agent
from pinfold.wiring.hangups import hearing_hangups
from pinfold.wiring.http_server import server_of
from pinfold.wiring.service import listening_socket, open_service, url_of

CLOUD: Final = "pinfold"
TRIAL_NETWORK: Final = HostNetwork(name="trial", kind=NetworkKind.USER)
_STOP_SECONDS: Final = 30
_LOOK_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Up:
    """The running service: its address, the file with the credentials ('' with `no_auth`), and warnings from its start."""

    url: str
    clouds_file: str
    host: str
    images_dir: str
    warnings: tuple[str, ...] = ()


def up(settings: FleetSettings, *, no_auth: bool, ready: Callable[[Up], None]) -> None:
    """Run everything until SIGINT or SIGTERM; SIGHUP makes it read accounts and configuration again. `ready` is called once requests are
    answered and the host takes guests, or with a warning if the host does not report.

    Raises `Conflict` when another process is this host's agent or serves its database, `InvalidRequest` for impossible settings,
    `Unavailable` when libvirt, the database or the port is not available.
    """
    state = state_folder(settings.host)
    settings = _with_trial_network(settings)
    with hearing_hangups() as hangups, owning(settings.host, owner_of(settings.host)), ExitStack() as stack:
        images = _images(Path(settings.host.images_dir))
        listening = listening_socket(settings.api)
        stack.callback(listening.close)
        url = url_of(settings.api, listening)
        clouds, missing = ("", ()) if no_auth or not settings.api.accounts_file else _credentials(state, settings, url)
        service = stack.enter_context(open_service(settings, no_auth=no_auth, hangups=hangups))
        token = _token(service.services, settings.host.host, Path(settings.agent.token_file))
        stack.enter_context(_serving(server_of(service, settings.api), listening))
        # Its address is always this machine's: nothing leaves it.
        client = ServiceClient(_local(url), token, certificate=settings.api.tls_certificate, allow_plain_http=True)
        stack.callback(client.close)
        agent = stack.enter_context(open_agent(settings, client))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: agent.stop())

        def hear(*_: object) -> None:
            hangups.put(True)
            agent.hang_up()

        signal.signal(signal.SIGHUP, hear)
        told = Up(url=url, clouds_file=clouds, host=settings.host.host, images_dir=settings.host.images_dir, warnings=(*images, *missing))
        agent.run(lambda reported: ready(told if reported else replace(told, warnings=(*told.warnings, _silent(told.host)))))


def _with_trial_network(settings: FleetSettings) -> FleetSettings:
    """The settings with a network through QEMU's user mode if the host's files name none, so that there is something to try."""
    if settings.host.networks:
        return settings
    return replace(settings, host=structs.replace(settings.host, networks=(TRIAL_NETWORK,)))


def _silent(host: str) -> str:
    return f"host {host} has not reported to the service yet, so no guest starts there; the log says why"


@contextmanager
def _serving(server: uvicorn.Server, listening: socket.socket) -> Iterator[None]:
    """Run the server in its own thread, from its first response until the block ends. Raises `Unavailable` when it ends by itself."""
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="pinfold-api", daemon=True)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise Unavailable("the API ended as it began; its log says why")
            time.sleep(_LOOK_SECONDS)
        yield
    finally:
        server.should_exit = True
        thread.join(timeout=_STOP_SECONDS)


def _images(folder: Path) -> tuple[str, ...]:
    """Create the image directory. If it is empty, put the 64 KiB probe into it, so that there is something to boot."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o755)
    except OSError as error:
        raise InvalidRequest(f"the folder {folder} cannot be made: {error.strerror}", key=str(folder)) from error
    if any(folder.iterdir()):
        return ()
    try:
        rom.write(folder / "probe.rom")
    except Unavailable as error:
        return (f"{folder} holds no image, and the probe could not be made: {error}",)
    return ()


def _credentials(state: Path, settings: FleetSettings, url: str) -> tuple[str, tuple[str, ...]]:
    """The clouds.yaml with the account `admin`. The first start creates it with the accounts file; later starts update its address.

    '' and a warning if the accounts file is the operator's own.
    """
    clouds, accounts = state / "clouds.yaml", Path(settings.api.accounts_file)
    kept = state / "admin.password"
    if not accounts.exists():
        _write_secret(kept, secrets.token_urlsafe(24))
        _write_secret(accounts, f"admin:admin:{hash_password(kept.read_text(encoding='ascii'))}\n")
    if not kept.exists():
        return "", (f"{accounts} was not made by `pinfold up`; `pinfold config clouds --url {url}` prints a clouds.yaml for its accounts",)
    password = kept.read_text(encoding="ascii")
    _write_secret(clouds, clouds_yaml(CLOUD, url, "admin", password, ca_file=_trusted(settings), placement=settings.placement))
    return str(clouds), ()


def _trusted(settings: FleetSettings) -> str:
    """What clients trust instead of the system's authorities: the agent's `ca_file`, or a self-signed certificate."""
    own = settings.api.tls_certificate
    if settings.agent.ca_file or not own:
        return settings.agent.ca_file
    try:
        known = ssl.create_default_context(cafile=own).get_ca_certs()
    except OSError:
        return ""  # the server reports what is wrong with it
    return own if any(found["issuer"] == found["subject"] for found in known) else ""


def _write_secret(path: Path, text: str) -> None:
    """Replace a file that only its owner can read, whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    with suppress(FileNotFoundError):
        part.unlink()
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
    part.replace(path)


def _token(services: ApiServices, name: str, path: Path) -> str:
    """This host's token: the one in the file if the service knows it, else a new one."""
    with services.database.read() as connection:
        known = hosts.find(connection, name)
        stored = hosts.token_hash(connection, known.id) if known else ""
    if path.exists():
        token = read_token(path)
        if known is not None and digest_of(token) == stored:
            return token
    host_id = known.id if known else HostId(str(uuid.uuid4()))
    token, digest = make_token(host_id)
    if known is None:
        services.fleet.hosts.add(host_id, name, digest)
    else:
        services.fleet.hosts.renew_token(host_id, digest)
    _write_secret(path, token)
    return token


def _local(url: str) -> str:
    """The address at which this process reaches itself: loopback for a socket that listens on every address."""
    parts = urlsplit(url)
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(parts.hostname or "", "")  # noqa: S104
    return f"{parts.scheme}://{host}:{parts.port}" if host else url
