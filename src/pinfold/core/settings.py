"""`HostSettings`: one host's configuration as frozen values. Reading it from files does not belong here (`pinfold.config` does)."""

from __future__ import annotations

from dataclasses import dataclass

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
