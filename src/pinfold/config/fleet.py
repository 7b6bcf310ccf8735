"""Read `FleetSettings` from configuration files: the settings of the service and its agents beyond those of one host."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Network, IPv6Network, ip_network

from msgspec import structs

from pinfold.accounting.embedded import EmbeddedPlacement
from pinfold.accounting.remote import Auth, RemotePlacement
from pinfold.config.find import find_again
from pinfold.config.host import host_settings
from pinfold.config.networks import host_networks
from pinfold.config.parse import Values, key_of, parse
from pinfold.core.errors import InvalidRequest
from pinfold.core.options import Option
from pinfold.core.settings import (
    DEFAULT_CONNECTIONS,
    DEFAULT_LIMITS,
    DEFAULT_TIMES,
    AttemptLimits,
    ConnectionLimits,
    ConsoleAddresses,
    HostSettings,
    RepairScope,
    TimeLimits,
)
from pinfold.scheduler.model import DEFAULT_SETTINGS, HostStrategy, SchedulerSettings


class ApiAuth(Enum):
    """Who may call the API: accounts of a file, or users of Keystone."""

    HTTP_BASIC = "http_basic"
    KEYSTONE = "keystone"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """The API's address, TLS files and callers. `tls_certificate` and `tls_key` are both '' or both set; `accounts_file` may be '' with
    Keystone. `consoles` is None if it serves no consoles.
    """

    listen: str = "127.0.0.1"
    port: int = 8774
    auth: ApiAuth = ApiAuth.HTTP_BASIC
    accounts_file: str = ""
    tls_certificate: str = ""
    tls_key: str = ""
    allow_plain_http: bool = False
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    attempts: AttemptLimits = DEFAULT_LIMITS
    connections: ConnectionLimits = DEFAULT_CONNECTIONS
    times: TimeLimits = DEFAULT_TIMES
    lease_seconds: float = 30.0
    heal_seconds: float = 60.0
    consoles: ConsoleAddresses | None = None
    shows_passwords: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """The agent's service, its credentials, and the time limits for its guests."""

    api_url: str = ""
    token_file: str = ""
    ca_file: str = ""
    allow_plain_http: bool = False
    sweep_seconds: float = 10.0
    shutdown_seconds: float = 60.0
    repair: RepairScope = RepairScope.OFF


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """The settings of the service's processes, the files that they were read from, and every option. The repr hides secrets."""

    host: HostSettings
    database: str = field(repr=False)
    pool_size: int = 20
    placement: EmbeddedPlacement | RemotePlacement = field(repr=False)
    api: ApiSettings = ApiSettings()
    agent: AgentSettings = AgentSettings()
    scheduler: SchedulerSettings = DEFAULT_SETTINGS
    files: tuple[str, ...] = ()
    options: tuple[Option, ...] = field(default=(), repr=False)


def load_fleet(files: Sequence[str], *, without: Collection[str] = ()) -> FleetSettings:
    """The fleet's settings in `files`; later ones win. Options in `without` count as not given, as in `parse`.

    Raises `InvalidRequest` naming the file, the key, the value and what is allowed.
    """
    values = parse(files, without=without)
    host = structs.replace(host_settings(values), networks=host_networks(values))
    return FleetSettings(
        host=host,
        database=values.get("pinfold_database", "connection") or f"sqlite:///{host.state_dir}/pinfold.sqlite",
        pool_size=values.get("pinfold_database", "pool_size"),
        placement=_placement(values, host),
        api=_api(values, host),
        agent=AgentSettings(
            api_url=_url(values, "pinfold_agent", "api_url"),
            token_file=values.path("pinfold_agent", "token_file", f"{host.state_dir}/agent.token"),
            ca_file=values.path("pinfold_agent", "ca_file"),
            allow_plain_http=values.get("pinfold_agent", "allow_plain_http"),
            sweep_seconds=values.get("pinfold_agent", "sweep_seconds"),
            shutdown_seconds=values.get("pinfold_agent", "shutdown_seconds"),
            repair=RepairScope(values.get("pinfold_agent", "repair")),
        ),
        scheduler=SchedulerSettings(
            claim_seconds=values.get("pinfold_api", "claim_seconds"), strategy=HostStrategy(values.get("scheduler", "host_strategy"))
        ),
        files=values.files,
        options=values.options(),
    )


def settings_now(settings: FleetSettings) -> FleetSettings:
    """The settings in the files of these settings as they are now. Raises `InvalidRequest` when they can no longer be read."""
    return load_fleet(find_again(settings.files))


def _api(values: Values, host: HostSettings) -> ApiSettings:
    certificate, key = values.path("pinfold_api", "tls_certificate"), values.path("pinfold_api", "tls_key")
    if bool(certificate) != bool(key):
        given = "tls_certificate" if certificate else "tls_key"
        raise InvalidRequest(
            "[pinfold_api] tls_certificate and tls_key go together; one of them is missing", key=key_of("pinfold_api", given)
        )
    auth = ApiAuth(values.get("pinfold_api", "auth"))
    usual_accounts = f"{host.state_dir}/accounts" if auth is ApiAuth.HTTP_BASIC else ""
    return ApiSettings(
        auth=auth,
        listen=values.get("pinfold_api", "listen"),
        port=values.get("pinfold_api", "port"),
        accounts_file=values.path("pinfold_api", "accounts_file", usual_accounts),
        tls_certificate=certificate,
        tls_key=key,
        allow_plain_http=values.get("pinfold_api", "allow_plain_http"),
        trusted_proxies=_networks(values, "pinfold_api", "trusted_proxies"),
        attempts=AttemptLimits(
            at_once=values.get("pinfold_api", "password_checks"),
            waiting=values.get("pinfold_api", "password_checks_waiting"),
            waiting_per_address=values.get("pinfold_api", "password_checks_per_address"),
            wrong_per_minute=values.get("pinfold_api", "wrong_passwords_per_minute"),
        ),
        connections=_connections(values),
        times=TimeLimits(
            handshake=values.get("pinfold_api", "handshake_seconds"),
            head=values.get("pinfold_api", "head_seconds"),
            body=values.get("pinfold_api", "body_seconds"),
            idle=values.get("pinfold_api", "idle_seconds"),
            answer=values.get("pinfold_api", "answer_seconds"),
        ),
        lease_seconds=values.get("pinfold_api", "lease_seconds"),
        heal_seconds=values.get("pinfold_api", "heal_seconds"),
        consoles=_consoles(values),
        shows_passwords=values.get("api", "enable_instance_password"),
    )


def _consoles(values: Values) -> ConsoleAddresses | None:
    if not values.get("serial_console", "enabled"):
        return None
    return ConsoleAddresses(
        base_url=_url(values, "serial_console", "base_url", ("ws://", "wss://")), agent_url=_url(values, "serial_console", "agent_url")
    )


def _connections(values: Values) -> ConnectionLimits:
    limits = ConnectionLimits(
        total=values.get("pinfold_api", "connections"),
        strangers=values.get("pinfold_api", "connections_of_strangers"),
        per_address=values.get("pinfold_api", "connections_per_address"),
        per_account=values.get("pinfold_api", "connections_per_account"),
        per_agent=values.get("pinfold_api", "connections_per_agent"),
    )
    if limits.strangers >= limits.total:
        raise values.refuse("pinfold_api", "connections_of_strangers", f"is not below connections, {limits.total}: agents need room too")
    return limits


def _placement(values: Values, host: HostSettings) -> EmbeddedPlacement | RemotePlacement:
    auth = Auth(values.get("pinfold_placement", "auth_type"))
    url = _url(values, "pinfold_placement", "endpoint_override")
    if not url and auth is not Auth.KEYSTONE:
        return EmbeddedPlacement(
            url=values.get("pinfold_placement", "embedded_connection") or f"sqlite:///{host.state_dir}/placement.sqlite"
        )
    return RemotePlacement(
        url=url,
        auth=auth,
        token=values.get("pinfold_placement", "token") or "admin",
        username=values.get("pinfold_placement", "username") or "",
        password=values.get("pinfold_placement", "password") or "",
        auth_url=values.get("pinfold_placement", "auth_url") or "",
        project_name=values.get("pinfold_placement", "project_name") or "",
        user_domain_name=values.get("pinfold_placement", "user_domain_name"),
        project_domain_name=values.get("pinfold_placement", "project_domain_name"),
        region=values.get("pinfold_placement", "region_name") or "",
        ca=values.path("pinfold_placement", "cafile"),
    )


def _networks(values: Values, group: str, name: str) -> tuple[IPv4Network | IPv6Network, ...]:
    parts = str(values.get(group, name) or "").split(",")
    try:
        return tuple(ip_network(part.strip()) for part in parts if part.strip())
    except ValueError as error:
        raise values.refuse(group, name, f"is not allowed: {error}; addresses and networks, such as 10.0.0.5, 10.1.0.0/16, are") from error


def _url(values: Values, group: str, name: str, schemes: tuple[str, str] = ("http://", "https://")) -> str:
    text = str(values.get(group, name) or "")
    if text and not text.startswith(schemes):
        raise values.refuse(group, name, f"is not allowed; an address that begins with {' or '.join(schemes)} is")
    return text.rstrip("/")
