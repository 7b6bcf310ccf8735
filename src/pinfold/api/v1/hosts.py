"""Hosts in `/v1`: add one with its agent's token, list, map, fence, remove."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from fastapi import Response

from pinfold.api.agent.tokens import make_token
from pinfold.api.dependencies import ApiServices, Services
from pinfold.api.request_body import RequestBody
from pinfold.api.router import Router
from pinfold.api.text_pattern import TextPattern
from pinfold.api.v1.schemas import HostFenced, HostList, HostMap, HostShown, HostView, HostWithToken, ListedHost
from pinfold.api.v1.thread_report import thread_report
from pinfold.core import host_map
from pinfold.core.cpuset import CpuSet
from pinfold.core.drift import Finding, written
from pinfold.core.encoding import plain
from pinfold.core.errors import not_found
from pinfold.core.host_map import Observed
from pinfold.core.identity import GuestId, HostId
from pinfold.core.overhead import ThreadClass
from pinfold.store import findings, guests, hosts
from pinfold.store.guest_filter import GuestFilter
from pinfold.store.records import HostRecord

router = Router(prefix="/v1/hosts", tags=["hosts"])


class NewHost(RequestBody):
    """The body of an add: the name that the host's agent will report."""

    name: Annotated[
        str,
        TextPattern(
            pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,252}$",
            allowed="a host's name has 1 to 253 letters, digits and _.- and begins with a letter or a digit",
        ),
    ]


class Fence(RequestBody):
    """The body of a fence: the operator's word that the host is powered off."""

    powered_off: Literal[True]


@router.get("")
def list_hosts(services: Services) -> HostList:
    """Every host, by name."""
    with services.database.read() as connection:
        drift = findings.drift_of_hosts(connection)
        return {"hosts": [_listed(host, drift) for host in hosts.all(connection)]}


@router.post("", status_code=201)
def add_host(body: NewHost, services: Services) -> HostWithToken:
    """Add a host and its agent's token. Only this response shows the token. 409 when the name exists."""
    host_id = HostId(str(uuid.uuid4()))
    token, digest = make_token(host_id)
    return {"host": _shown(services, services.fleet.hosts.add(host_id, body.name, digest)), "token": token}


@router.post("/{name}/token")
def renew_token(name: str, services: Services) -> HostWithToken:
    """Make a new token for a host's agent; the old one becomes invalid."""
    host = find(services, name)
    token, digest = make_token(host.id)
    services.fleet.hosts.renew_token(host.id, digest)
    return {"host": _shown(services, host), "token": token}


@router.get("/{name}")
def show_host(name: str, services: Services) -> HostShown:
    """One host, by name or id."""
    return {"host": _shown(services, find(services, name))}


@router.delete("/{name}", status_code=204, response_class=Response)
def remove_host(name: str, services: Services) -> Response:
    """Remove a host and its provider in Placement; 409 while it has claims."""
    services.fleet.hosts.remove(find(services, name).id)
    return Response(status_code=204)


@router.get("/{name}/map")
def show_map(name: str, services: Services) -> HostMap:
    """A host's cells, cores and pCPUs, each with its pool, role and owners, as `pinfold host map --json` prints them on the host.

    What its agent does not report is null.
    """
    shown: HostMap = plain(map_of_host(services, find(services, name))[0])
    return shown


def map_of_host(
    services: ApiServices, host: HostRecord
) -> tuple[host_map.HostMap, tuple[Finding, ...], tuple[float | None, ...], float | None]:
    """The map of a host by its ledger and its agent's report, what the agent's audit found, since when, and when it reported that last.

    A time that is not known is None.
    """
    with services.database.read() as connection:
        ledger = hosts.ledgers(connection, [host.id])[0]
        names = {guest.id: guest.name for guest in guests.page(connection, GuestFilter(host=host.id))}
        aged = findings.aged(connection, host.id)
        counts = findings.counts(connection, host.id)
        reported = findings.reported(connection, host.id)
        told = guests.thread_reports(connection, host.id)
        audited = reported is not None and sum(each.count.count for each in counts) == len(aged)
    held = frozenset(claim.guest for claim in ledger.state.ledger.claims)
    read = tuple(written.read(one) for one, _ in aged)
    observed = Observed(names=names, findings=read, judged=held if audited else frozenset(), vhost=_vhost(told))
    return host_map.host_map(ledger.state, observed), read, tuple(since for _, since in aged), reported


def _vhost(told: Iterable[tuple[GuestId, str]]) -> CpuSet | None:
    """The pCPUs on which vhost threads may run, by the reports of guests' threads; None without a report."""
    reports = [report for guest, text in told if (report := thread_report(guest, text)) is not None]
    seen = (thread for report in reports for thread in report.threads if thread.thread_class is ThreadClass.VHOST)
    return CpuSet.union(thread.allowed for thread in seen) if reports else None


@router.post("/{name}/fence")
def fence(name: str, body: Fence, services: Services) -> HostFenced:
    """Take the operator's word that a host is powered off, and release what it holds. 409 while its agent sends heartbeats."""
    assert body.powered_off
    lost = services.fleet.hosts.fence(find(services, name).id)
    return {"host": _shown(services, find(services, name)), "lost": list(lost)}


def find(services: ApiServices, name: str) -> HostRecord:
    """The host of that name or id. Raises `ApiError` 404."""
    with services.database.read() as connection:
        every = hosts.all(connection)
    found = next((host for host in every if name in (host.name, host.id)), None)
    if found is None:
        raise not_found("Host", name)
    return found


def _shown(services: ApiServices, host: HostRecord) -> HostView:
    with services.database.read() as connection:
        return _listed(host, findings.drift_of_hosts(connection))


def _listed(host: HostRecord, drift: Mapping[HostId, int]) -> HostView:
    listed: HostView = plain(
        ListedHost(
            id=host.id,
            name=host.name,
            up=host.up,
            disabled=host.disabled,
            disabled_reason=host.disabled_reason,
            fenced=host.fenced,
            revision=host.revision,
            pools=host.report.pools,
            cells=len(host.report.topology.cells),
            drift=drift.get(host.id),
            networks=host.report.networks,
        )
    )
    return listed
