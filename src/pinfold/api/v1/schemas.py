"""Schemas of `/v1`'s hosts and their drift, key by key; sets of pCPUs are Linux cpulists."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired

from msgspec import Struct
from typing_extensions import TypedDict

from pinfold.api.response_schema import Link, closed, written_as
from pinfold.core import host_map
from pinfold.core.drift import FindingCode, Severity
from pinfold.core.drift.written import WrittenFinding
from pinfold.core.identity import HostId
from pinfold.core.networks import HostNetwork
from pinfold.core.pools import Pools


class ListedHost(Struct, frozen=True, kw_only=True):
    """A host in a listing. `drift` is how many findings of its last audit break a promise, None if its agent has reported none. `networks`
    are what its networks file names.
    """

    id: HostId
    name: str
    up: bool
    disabled: bool
    disabled_reason: str
    fenced: bool
    revision: int
    pools: Pools
    cells: int
    drift: int | None
    networks: tuple[HostNetwork, ...]


HostView = Annotated[dict[str, Any], written_as(ListedHost)]
HostMap = Annotated[dict[str, Any], written_as(host_map.HostMap)]


@closed
class HostList(TypedDict):
    """Every host."""

    hosts: list[HostView]


@closed
class HostShown(TypedDict):
    """One host."""

    host: HostView


@closed
class HostWithToken(HostShown):
    """A host and its agent's new token, which only this response shows."""

    token: str


@closed
class HostFenced(HostShown):
    """A host that was fenced, and the ids of the servers that were lost with it."""

    lost: list[str]


Finding = Annotated[dict[str, Any], written_as(WrittenFinding)]


@closed
class FindingOfHost(TypedDict):
    """A finding of an agent's audit, and the host. `id` is the marker for the page that follows it.

    `since` is the time of the first report that had it, as each one has had since, in seconds since the epoch; null if it is not known.
    """

    id: str
    host: str
    since: float | None
    finding: Finding


@closed
class CountView(TypedDict):
    """How many findings have a code and severity."""

    code: Annotated[str, written_as(FindingCode)]
    severity: Annotated[str, written_as(Severity)]
    count: int


@closed
class CountOfHost(CountView):
    """How many findings of a code and severity a host has."""

    host: str


@closed
class Drift(TypedDict):
    """A page of findings by the host's name, and how many there are on each host."""

    findings: list[FindingOfHost]
    findings_links: NotRequired[list[Link]]
    counts: list[CountOfHost]


@closed
class HostDrift(TypedDict):
    """What the audit of a host's agent found. `counts` has all findings, also those that a report of more than 1,000 leaves out.

    `reported` is when the agent sent it, in seconds since the epoch; null if it never did, as an agent of an earlier pinfold. `witnesses`
    says which sources showed the agent the threads of the guests that run there. `since` has for each of the findings, in their order, the
    time of the first report that had it, as each one has had since; null if it is not known.
    """

    host: str
    up: bool
    reported: float | None
    witnesses: list[str]
    findings: list[Finding]
    since: list[float | None]
    counts: list[CountView]
