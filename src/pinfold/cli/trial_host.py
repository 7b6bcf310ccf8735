"""An empty host for trying a fit, described by libvirt's capabilities or by a short text instead of a survey."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pinfold.core.errors import InvalidRequest
from pinfold.drivers.libvirt.capabilities import Platform

if TYPE_CHECKING:
    from pinfold.core.host import HostState
    from pinfold.core.settings import HostSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialHost:
    """A host on which a fit is tried: its state, warnings about its pools, and its platform."""

    state: HostState
    warnings: tuple[str, ...] = ()
    platform: Platform = field(default_factory=Platform)


def trial_host(settings: HostSettings, capabilities: str | None, text: str | None) -> TrialHost:
    """The empty host that a capabilities file or a text describes, with the pools of `settings`.

    Raises `InvalidRequest` when both or unreadable ones are given, and for pools that do not fit the host.
    """
    from pinfold.config.parse import read_text
    from pinfold.core.host import HostState
    from pinfold.core.pools import build_pools
    from pinfold.core.traits import own_traits
    from pinfold.drivers.libvirt import capabilities as reader

    if capabilities and text:
        raise InvalidRequest("--capabilities and --host-text both describe a host; one of them is allowed", key="--host-text")
    platform = Platform()
    if capabilities:
        xml = read_text(capabilities, "capabilities file")
        topology, platform, name = reader.topology(xml), reader.platform(xml), capabilities
    else:
        from pinfold.core.hosttext import host as parse_host

        topology, name = parse_host(text or ""), "the described host"
    pools, warnings = build_pools(settings.pools, topology)
    state = HostState(topology=topology, pools=pools, limits=settings.limits, traits=own_traits(topology, pools), name=name)
    return TrialHost(state=state, warnings=tuple(warnings), platform=platform)
