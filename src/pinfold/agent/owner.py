"""The name by which an agent owns its host and the guests of its service."""

from __future__ import annotations

from typing import Final

_AGENT_OF: Final = "the agent of "


def owner_name(host: str) -> str:
    """The owner name that a host's agent writes into its host lock and its guests' records.

    >>> owner_name("c01")
    'the agent of c01'
    """
    return f"{_AGENT_OF}{host}"


def host_of(owner: str) -> str | None:
    """The host whose agent has that owner name, None if it is no agent's.

    >>> host_of("the agent of c01"), host_of("pinfold"), host_of("")
    ('c01', None, None)
    """
    host = owner.removeprefix(_AGENT_OF)
    return host if host and host != owner else None
