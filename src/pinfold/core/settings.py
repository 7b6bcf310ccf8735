"""Configuration values, frozen: `HostSettings` for one host; `AttemptLimits`, `ConnectionLimits` and `TimeLimits` for the API.

`pinfold.config` reads them from files."""

from __future__ import annotations

from enum import Enum
from typing import Final

from msgspec import Struct

from pinfold.core.cpu_model import CpuModel
from pinfold.core.fit.answer import Strategy
from pinfold.core.host import Limits
from pinfold.core.networks import HostNetwork
from pinfold.core.pools import PoolConfig


class RepairScope(Enum):
    """Whose guests are repaired without a command: nobody's, ours, ours and Nova's, everybody's."""

    OFF = "off"
    OURS = "ours"
    NOVA = "nova"
    ALL = "all"


class HostSettings(Struct, frozen=True, kw_only=True):
    """The settings of one host.

    `state_dir` holds overlays, serial logs and the lock. Images and templates that are given by name come only from `images_dir` and
    `templates_dir`. `source` names the file that was read, '' for none. `reserved_pcpus` of the shared pool are kept for the host; only
    an audit of a Nova node sets it. `any_cell` says that nobody has set a preference among host cells, so that the scheduler's own may
    decide. `networks` are what the host offers to servers; only an agent reads them.
    """

    pools: PoolConfig = PoolConfig()
    limits: Limits = Limits()
    strategy: Strategy = Strategy.PACK
    any_cell: bool = False
    uri: str = "qemu:///system"
    virt_type: str = ""
    realtime_priority: int = 1
    cpu: CpuModel = CpuModel()
    state_dir: str = "/var/lib/pinfold"
    images_dir: str = "/var/lib/pinfold/images"
    templates_dir: str = "/var/lib/pinfold/templates"
    host: str = ""
    source: str = ""
    reserved_pcpus: int = 0
    networks: tuple[HostNetwork, ...] = ()


class AttemptLimits(Struct, frozen=True, kw_only=True):
    """Limits of password checks. `at_once` run at the same time. Up to `waiting` more queue, `waiting_per_address` from one address.

    One address may send `wrong_per_minute` wrong passwords at once, and as many more every minute. Refusals are sent after
    `refusal_seconds`, so that a client that guesses on cannot keep the service busy.
    """

    at_once: int = 1
    waiting: int = 64
    waiting_per_address: int = 4
    wrong_per_minute: int = 20
    refusal_seconds: float = 1.0


DEFAULT_LIMITS: Final = AttemptLimits()


class ConnectionLimits(Struct, frozen=True, kw_only=True):
    """The most connections of the API: in all, unauthenticated, unauthenticated per address, per account, per host's agent."""

    total: int = 16384
    strangers: int = 512
    per_address: int = 128
    per_account: int = 256
    per_agent: int = 32


class ConsoleAddresses(Struct, frozen=True, kw_only=True):
    """Where the API process serves consoles. `base_url` is for clients: ws:// or wss://, '' for the address that the client used.

    `agent_url` is where agents reach this very process: http:// or https://, '' for the address of the service that they know.
    """

    base_url: str = ""
    agent_url: str = ""


class TimeLimits(Struct, frozen=True, kw_only=True):
    """How many seconds a client may take: TLS handshake, request head, body, idle between requests, reading a response."""

    handshake: float = 10.0
    head: float = 10.0
    body: float = 30.0
    idle: float = 30.0
    answer: float = 30.0


DEFAULT_CONNECTIONS: Final = ConnectionLimits()
DEFAULT_TIMES: Final = TimeLimits()
