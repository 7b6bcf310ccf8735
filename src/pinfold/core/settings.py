"""What an operator decided, as frozen values: `HostSettings` for one host, `AttemptLimits` and others for the API.

`pinfold.config` reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pinfold.core.fit.model import Strategy
from pinfold.core.ledger import Limits
from pinfold.core.pools import PoolConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSettings:
    """What an operator decided for one host.

    `state_dir` holds overlays, serial logs and the lock; `images_dir` and `templates_dir` are the only folders that images and templates
    come from when they are named, not given by path. `source` names the file that was read, '' for none. `reserved_pcpus` of the shared
    pool are kept for the host: only an audit of a Nova node knows such a number.
    """

    pools: PoolConfig = PoolConfig()
    limits: Limits = Limits()
    strategy: Strategy = Strategy.PACK
    uri: str = "qemu:///system"
    virt_type: str = ""
    realtime_priority: int = 1
    state_dir: str = "/var/lib/pinfold"
    images_dir: str = "/var/lib/pinfold/images"
    templates_dir: str = "/var/lib/pinfold/templates"
    host: str = ""
    source: str = ""
    reserved_pcpus: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptLimits:
    """`at_once` checks run at the same time. Up to `waiting` more wait for their turn, of them `waiting_per_address` of one address.

    `wrong_per_minute` is how many wrong passwords one address may send at once, and how many more every minute. A refusal is answered after
    `refusal_seconds`, so that a connection that guesses on cannot keep the service busy with refusing.
    """

    at_once: int = 1
    waiting: int = 64
    waiting_per_address: int = 4
    wrong_per_minute: int = 20
    refusal_seconds: float = 1.0


DEFAULT_LIMITS: Final = AttemptLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """How many connections the API has at most: in all, of strangers, of strangers of one address, of one account, of one host's agent."""

    total: int = 16384
    strangers: int = 512
    per_address: int = 128
    per_account: int = 256
    per_agent: int = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeLimits:
    """How long a client may take, in seconds: for the TLS handshake, a head, a body, until its next request, to take an answer."""

    handshake: float = 10.0
    head: float = 10.0
    body: float = 30.0
    idle: float = 30.0
    answer: float = 30.0


DEFAULT_CONNECTIONS: Final = ConnectionLimits()
DEFAULT_TIMES: Final = TimeLimits()
