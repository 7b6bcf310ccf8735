"""The options of the service and its agents: database, Placement, the API's address, credentials. A host's are in `options_host`."""

from __future__ import annotations

from oslo_config import cfg

from pinfold.config.option_group import OptionGroup

_PATH = "a path; a relative one starts at the folder of the file it stands in"

_DATABASE = OptionGroup(
    name="pinfold_database",
    title="Where the service keeps its rows.",
    exclusive=True,
    options=(
        cfg.StrOpt(
            "connection",
            metavar="sqlite:////PATH or postgresql+psycopg2://USER:PASSWORD@HOST/NAME",
            sample_default="sqlite:///STATE_DIR/pinfold.sqlite",
            secret=True,
            help="The database. SQLite serves one API process; several share a PostgreSQL. The tables are made and kept up to date.",
        ),
        cfg.IntOpt("pool_size", default=20, min=1, max=1000, help="How many connections one process keeps open at most."),
    ),
)

_PLACEMENT = OptionGroup(
    name="pinfold_placement",
    title="OpenStack Placement: embedded unless an address or Keystone is named. Not nova.conf's [placement]: do not share one with Nova.",
    exclusive=True,
    options=(
        cfg.StrOpt("endpoint_override", metavar="http:// or https:// address", help="A Placement that runs elsewhere."),
        cfg.StrOpt(
            "embedded_connection",
            metavar="sqlite:////PATH or postgresql+psycopg2://USER:PASSWORD@HOST/NAME",
            sample_default="sqlite:///STATE_DIR/placement.sqlite",
            secret=True,
            help="The database of the embedded Placement, one of its own; several API processes share a PostgreSQL.",
        ),
        cfg.StrOpt(
            "auth_type",
            default="none",
            choices=["none", "http_basic", "token", "password"],
            help="How a Placement elsewhere is asked: none for noauth2, password for Keystone.",
        ),
        cfg.StrOpt("token", metavar="a text", secret=True, help="The token, for auth_type=token."),
        cfg.StrOpt("auth_url", metavar="http:// or https:// address", help="Keystone's address, for auth_type=password."),
        cfg.StrOpt("username", metavar="a text", help="The name, for auth_type=http_basic or password."),
        cfg.StrOpt("password", metavar="a text", secret=True, help="The password, for auth_type=http_basic or password."),
        cfg.StrOpt("project_name", metavar="a text", help="Keystone's project."),
        cfg.StrOpt("user_domain_name", default="Default", metavar="a text", help="Keystone's domain of the user."),
        cfg.StrOpt("project_domain_name", default="Default", metavar="a text", help="Keystone's domain of the project."),
        cfg.StrOpt("region_name", metavar="a text", help="The region whose Placement the catalogue names."),
        cfg.StrOpt("cafile", metavar=_PATH, help="Certificates that are trusted, in place of the system's."),
    ),
)

_API = OptionGroup(
    name="pinfold_api",
    title="The HTTP application.",
    exclusive=True,
    options=(
        cfg.StrOpt("listen", default="127.0.0.1", metavar="an address", help="The address that the API listens on."),
        cfg.PortOpt("port", default=8774, help="The port that the API listens on; 0 takes a free one."),
        cfg.StrOpt(
            "auth",
            default="http_basic",
            choices=["http_basic", "keystone"],
            help="Who may call: with http_basic the accounts of accounts_file, with keystone the users of Keystone, with their tokens. "
            "keystone needs the extra pinfold[keystone], and [keystone_authtoken] as in every OpenStack service.",
        ),
        cfg.StrOpt(
            "accounts_file",
            metavar=_PATH,
            sample_default="STATE_DIR/accounts",
            help="Who may call with a password: a line name:role:hash for each, the role admin or reader; `pinfold config account` makes "
            "one. With auth = keystone there are accounts only if this is set; they see all projects, for the web page, for Prometheus, "
            "and for when Keystone is away.",
        ),
        cfg.StrOpt("tls_certificate", metavar=_PATH, help="The certificate chain; with tls_key, the API speaks HTTPS."),
        cfg.StrOpt("tls_key", metavar=_PATH, help="The certificate's private key; its group may read the file, nobody else."),
        cfg.BoolOpt(
            "allow_plain_http",
            default=False,
            help="Let the API listen beyond loopback without TLS. Passwords and tokens can then be read on the way: for a network of which "
            "every machine is trusted, or for a proxy in front that speaks TLS.",
        ),
        cfg.StrOpt(
            "trusted_proxies",
            metavar="addresses and networks, such as 10.0.0.5, 10.1.0.0/16",
            help="The proxies whose X-Forwarded-For and X-Forwarded-Proto are believed. Bounds and the log then go by the address that "
            "they forward; nobody else's headers mean anything.",
        ),
        cfg.IntOpt(
            "password_checks",
            default=1,
            min=1,
            max=64,
            help="How many passwords are checked at once; each check keeps one CPU busy. A password that opened is remembered.",
        ),
        cfg.IntOpt(
            "password_checks_waiting",
            default=64,
            min=1,
            max=1000,
            help="How many checks wait for their turn at most; whoever sent the most wrong passwords is answered 429 first.",
        ),
        cfg.IntOpt(
            "password_checks_per_address",
            default=4,
            min=1,
            max=1000,
            help="How many checks one client address has under way at most, before a connection has shown a right password; more are "
            "answered 429. Of IPv6, a /64 counts as one address.",
        ),
        cfg.IntOpt(
            "wrong_passwords_per_minute",
            default=20,
            min=1,
            max=100_000,
            help="How many wrong passwords one client address may send, at once and then every minute; more are answered 429.",
        ),
        cfg.FloatOpt(
            "lease_seconds",
            default=30.0,
            min=2.0,
            max=3600.0,
            help="For how long a host counts as up after its agent spoke. A host that is down is no candidate; its guests are unknown.",
        ),
        cfg.FloatOpt("heal_seconds", default=60.0, min=1.0, max=3600.0, help="How often what crashes left behind is put right."),
        cfg.FloatOpt(
            "claim_seconds",
            default=60.0,
            min=1.0,
            max=3600.0,
            help="For how long a claim may be under way before it is taken for abandoned; longer than Placement's slowest answer.",
        ),
    ),
)

_CONSOLE = OptionGroup(
    name="serial_console",
    title="Consoles to type into: `openstack console url show --serial`.",
    nova=frozenset({"enabled", "base_url"}),
    options=(
        cfg.BoolOpt(
            "enabled",
            default=False,
            help="Let users type into the serial consoles of their servers. An API process connects the user's WebSocket with the server's "
            "agent. Off, the API answers with a sentence that names this option.",
        ),
        cfg.StrOpt(
            "base_url",
            metavar="ws:// or wss:// address",
            sample_default="ws://API/serial",
            help="The address in the links to consoles, for a proxy that passes it on to the API's path /serial; by default the address at "
            "which the user asked the API.",
        ),
        cfg.StrOpt(
            "agent_url",
            metavar="http:// or https:// address",
            help="Where agents reach this API process itself. Several API processes need one each, since an agent has to reach the process "
            "that the user is connected to; by default agents use their api_url.",
        ),
    ),
)

_NOVAS_API = OptionGroup(
    name="api",
    title="What Nova's API may answer.",
    nova=frozenset({"enable_instance_password"}),
    options=(
        cfg.BoolOpt(
            "enable_instance_password",
            default=True,
            help="Repeat the password that a caller gave (adminPass) in the answer to the create of a server. "
            "pinfold makes no password itself.",
        ),
    ),
)

_SCHEDULER = OptionGroup(
    name="scheduler",
    title="Which host gets a guest.",
    options=(
        cfg.StrOpt(
            "host_strategy",
            default="least-loss",
            choices=["least-loss", "pack", "spread"],
            help="Which of the hosts that take a guest gets it: with least-loss the one that loses the fewest places for guests of the "
            "fleet's common shapes, with pack the fullest, with spread the emptiest.",
        ),
    ),
)

_AGENT = OptionGroup(
    name="pinfold_agent",
    title="The service's hand on one host.",
    exclusive=True,
    options=(
        cfg.StrOpt("api_url", metavar="http:// or https:// address", help="The API that the agent asks."),
        cfg.StrOpt(
            "token_file",
            metavar=_PATH,
            sample_default="STATE_DIR/agent.token",
            help="The agent's token, as `pinfold host add` printed it; nobody else may be able to read the file.",
        ),
        cfg.StrOpt(
            "ca_file",
            metavar=_PATH,
            help="Certificates that are trusted, in place of the system's; `pinfold up` names them to clients too.",
        ),
        cfg.BoolOpt(
            "allow_plain_http",
            default=False,
            help="Let api_url be http:// of another machine. Whoever is on the way then reads the token and gives this host orders.",
        ),
        cfg.FloatOpt("sweep_seconds", default=10.0, min=0.5, max=3600.0, help="How often every thread of every guest is looked at."),
        cfg.FloatOpt(
            "shutdown_seconds",
            default=60.0,
            min=0.0,
            max=3600.0,
            help="How long a guest may take to shut down when it is stopped, or rebooted softly, until it is ended; 0 ends it at once.",
        ),
        cfg.StrOpt(
            "repair",
            default="off",
            choices=("off", "ours"),
            help="Whose drifted threads the agent moves back: nobody's, or those of the service's guests.",
        ),
    ),
)

GROUPS: tuple[OptionGroup, ...] = (_DATABASE, _PLACEMENT, _API, _NOVAS_API, _CONSOLE, _SCHEDULER, _AGENT)
