"""The host page: drift with its repairs, who starves, pools, the map with its marks, the last hour, and the guests."""

from __future__ import annotations

from pinfold.api.caller import Caller
from pinfold.api.dependencies import ApiServices
from pinfold.api.ui.host_rows import state_of
from pinfold.api.ui.host_view import host_view
from pinfold.api.ui.render import moment, render
from pinfold.api.ui.repair import repair_sentence
from pinfold.api.ui.repin import progress_sentence
from pinfold.api.v1.hosts import find, map_of_host
from pinfold.store import findings, guests, hosts, repairs
from pinfold.store.guest_filter import GuestFilter
from pinfold.store.records import HostRecord


def host_page(services: ApiServices, caller: Caller, name: str) -> str:
    """One host. Raises `NotFound`."""
    host = find(services, name)
    mark = host_mark(services, host)
    chart, found, since, reported = map_of_host(services, host)
    with services.database.read() as connection:
        state = hosts.ledgers(connection, [host.id])[0].state
        names = {guest.id: guest.name for guest in guests.page(connection, GuestFilter(host=host.id))}
        repaired = repairs.of_host(connection, host.id)
    history = services.samples.hour(services.database, services.fleet.hosts, host.id)[1] if host.up else None
    held = [(claim.guest, names.get(claim.guest, claim.guest)) for claim in state.ledger.claims]
    return render(
        "host.html",
        account=caller.name,
        admin=caller.admin,
        alone=False,
        live=f"/ui/hosts/{host.id}/live?seen={mark}",
        host=host,
        state=state_of(host),
        known=names,
        repairs=[(names.get(one.guest, one.guest), repair_sentence(one)) for one in repaired],
        moving=progress_sentence(host.repin, {str(key): name for key, name in names.items()})
        if host.repin is not None and host.repin.under_way
        else "",
        reported="" if reported is None else moment(reported),
        **host_view(chart, state, found, held, history, notice=_notice(host), since=since),
    )


def host_mark(services: ApiServices, host: HostRecord) -> str:
    """A text that changes when a host, its guests, its findings or its samples change."""
    with services.database.read() as connection:
        now = hosts.get(connection, host.id)
        known = tuple((guest.id, guest.observed, guest.name) for guest in guests.page(connection, GuestFilter(host=host.id)))
        found = tuple(finding.sentence for finding in findings.of_host(connection, host.id))
        repaired = repairs.of_host(connection, host.id)
    sampled = services.samples.hour_mark(services.database, services.fleet.hosts, host.id) if now.up else 0
    return str(hash((now.revision, now.up, now.disabled, now.fenced, known, found, repaired, sampled)))


def _notice(host: HostRecord) -> str:
    if host.up:
        return ""
    return f"The agent has been silent since {moment(host.lease_until)}: the map shows what was recorded. What runs now is not known."
