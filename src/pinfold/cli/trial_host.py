"""An empty host for trying a fit, described by the hypervisor's capabilities or by a short text instead of a survey."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pinfold.core.errors import InvalidRequest

if TYPE_CHECKING:
    from pinfold.core.host import HostState
    from pinfold.core.settings import HostSettings
    from pinfold.drivers.port import GuestSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialHost:
    """A host on which a fit is tried: its state, how definitions for it are written, and the warnings about its pools."""

    state: HostState
    definition: Callable[[GuestSpec], str]
    warnings: tuple[str, ...] = ()


def trial_host(settings: HostSettings, capabilities: str | None, text: str | None) -> TrialHost:
    """The empty host that a capabilities file or a text describes, with the pools of `settings`.

    Raises `InvalidRequest` when both or unreadable ones are given, and for pools that do not fit the host.
    """
    from pinfold.config.parse import read_text
    from pinfold.core.host import HostState
    from pinfold.core.pools import build_pools
    from pinfold.core.traits import own_traits
    from pinfold.drivers.registry import kind_of

    if capabilities and text:
        raise InvalidRequest("--capabilities and --host-text both describe a host; one of them is allowed", key="--host-text")
    kind, priority = kind_of(settings.uri), settings.realtime_priority
    definition = kind.writer(realtime_priority=priority)
    if capabilities:
        other = kind.another_host(read_text(capabilities, "capabilities file"), realtime_priority=priority)
        topology, definition, name = other.topology, other.definition, capabilities
    else:
        from pinfold.core.hosttext import host as parse_host

        topology, name = parse_host(text or ""), "the described host"
    pools, warnings = build_pools(settings.pools, topology)
    state = HostState(topology=topology, pools=pools, limits=settings.limits, traits=own_traits(topology, pools), name=name)
    return TrialHost(state=state, definition=definition, warnings=tuple(warnings))
