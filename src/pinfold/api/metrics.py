"""`/metrics` for Prometheus: the fleet's metrics, as the store has them and so equal on every replica; and those of this process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final, TypeAlias

from fastapi import Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pinfold.api.compute.servers.status import server_status
from pinfold.api.dependencies import ApiServices, services_of
from pinfold.api.password_checks import Outcome
from pinfold.api.router import Router
from pinfold.api.v1.capacity import stored_flavors
from pinfold.core.fit.capacity import HostCapacity
from pinfold.core.repairs import Counts, read_counts
from pinfold.scheduler.occupancy import Occupancy
from pinfold.store import findings, guest_states, hosts
from pinfold.store.records import REPAIRS
from pinfold.store.unreadable import read_or

router = Router(tags=["service"])

_MOST_FLAVORS: Final = 20
"""The most flavors for which free slots are told: there is a series for each on each host."""

METRICS: Final = {
    "pinfold_host_up": ("Whether the host's agent spoke within its lease.", ("host",)),
    "pinfold_host_disabled": ("Whether the host takes no new guests.", ("host",)),
    "pinfold_host_revision": ("The revision of the host's recorded state.", ("host",)),
    "pinfold_pcpus": ("pCPUs of the dedicated pool, by what they are doing.", ("host", "role")),
    "pinfold_overhead_booked_millicpu": ("What guests have booked of the overhead pool.", ("host",)),
    "pinfold_overhead_capacity_millicpu": ("What guests may book of the overhead pool.", ("host",)),
    "pinfold_floating_vcpus": ("vCPUs that float over the shared pool.", ("host",)),
    "pinfold_free_slots": (
        "How many more guests of a flavor fit on the host; of the 20 flavors that come first by name.",
        ("host", "flavor"),
    ),
    "pinfold_stranded_cpus": (
        "Free dedicated pCPUs that none of these flavors can use, by the resource that lacks; `pcpus` for too few in one place.",
        ("host", "cause"),
    ),
    "pinfold_servers": ("Servers, by status.", ("status",)),
    "pinfold_findings": (
        "What the audit of the host's agent found, by code and severity: `drift` breaks a promise, `note` does not.",
        ("host", "code", "severity"),
    ),
    "pinfold_repairs_total": (
        "Repairs by the host's agent since it began, by thread class ('' for a definition alone) and result, as the watch counts them.",
        ("host", "class", "result"),
    ),
    "pinfold_findings_reported_timestamp_seconds": (
        "When the host's agent last reported what its audit found, in seconds since the epoch; at the latest every five minutes.",
        ("host",),
    ),
}
"""Every metric of the fleet: its meaning and labels."""
PROCESS_METRICS: Final = {
    "pinfold_refusals_total": (
        "Guests that no host took, by the code of some host's reason, once for each code; `no-host` if there was no host to ask.",
        ("code",),
    ),
    "pinfold_password_checks_total": (
        "Requests with a name and a password, by what became of them: remembered, right, wrong, or refused with 429.",
        ("outcome",),
    ),
    "pinfold_accounts_stale": ("Whether the accounts file cannot be used, so that the accounts of before still count.", ()),
    "pinfold_password_checks_waiting": ("Password checks that wait for their turn.", ()),
    "pinfold_connections": ("Open connections: of strangers, who have sent no right password or token yet, and of others.", ("of",)),
    "pinfold_connections_ended_total": (
        "Connections that bounds ended: one that waited gave way to another, or a new one or the check of a token was refused with 429.",
        ("why",),
    ),
}
"""Every metric of one API process, from its start on."""


Family: TypeAlias = GaugeMetricFamily | CounterMetricFamily


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}})
def metrics(request: Request) -> Response:
    """The metrics in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Fleet(services_of(request)))
    registry.register(_Process(services_of(request)))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class _Fleet(Collector):
    def __init__(self, services: ApiServices) -> None:
        self._services = services

    def collect(self) -> Iterator[Metric]:
        families = {name: _family(name) for name in METRICS}
        occupied = self._services.fleet.scheduler.occupancy()
        with self._services.database.read() as connection:
            repaired = hosts.fact_of_each(connection, REPAIRS)
            states = guest_states.counts(connection)
            counts, audited = findings.counts(connection), findings.all_reported(connection)
        for host in occupied:
            _tell_host(families, host)
            _tell_repairs(families, host.name, repaired.get(host.id))
        up: dict[str, bool] = {host.id: host.up for host in occupied}
        statuses: Counter[str] = Counter()
        for state, number in states:
            statuses[server_status(state, host_up=up.get(state.host or "", False)).status] += number
        for status, count in sorted(statuses.items()):
            families["pinfold_servers"].add_metric([status], count)
        chosen, _ = stored_flavors(self._services, (), _MOST_FLAVORS)
        for left in self._services.fleet.scheduler.capacity(chosen).hosts:
            _tell_capacity(families, left)
        for each in counts:
            labels = [each.host, each.count.code.value, each.count.severity.value]
            families["pinfold_findings"].add_metric(labels, each.count.count)
        for name, reported in audited:
            families["pinfold_findings_reported_timestamp_seconds"].add_metric([name], reported)
        yield from families.values()


def _family(name: str) -> Family:
    text, labels = METRICS[name]
    return (CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily)(name, text, labels=labels)


class _Process(Collector):
    def __init__(self, services: ApiServices) -> None:
        self._services = services

    def collect(self) -> Iterator[Metric]:
        yield from self._connections()
        yield self._refusals()
        checks = self._services.checks
        if checks is None:
            return
        text, labels = PROCESS_METRICS["pinfold_password_checks_total"]
        counted = CounterMetricFamily("pinfold_password_checks", text, labels=labels)
        for outcome in Outcome:
            counted.add_metric([outcome.value], checks.outcomes[outcome])
        yield counted
        values = {"pinfold_password_checks_waiting": checks.waiting, "pinfold_accounts_stale": float(bool(checks.doorkeeper.stale))}
        for name, value in values.items():
            yield GaugeMetricFamily(name, PROCESS_METRICS[name][0], value=value)

    def _refusals(self) -> Metric:
        text, labels = PROCESS_METRICS["pinfold_refusals_total"]
        counted = CounterMetricFamily("pinfold_refusals", text, labels=labels)
        for code, count in self._services.fleet.guests.refusals.by_code().items():
            counted.add_metric([code], count)
        return counted

    def _connections(self) -> Iterator[Metric]:
        connections = self._services.connections
        text, labels = PROCESS_METRICS["pinfold_connections"]
        opened = GaugeMetricFamily("pinfold_connections", text, labels=labels)
        opened.add_metric(["strangers"], connections.strangers)
        opened.add_metric(["others"], connections.count - connections.strangers)
        yield opened
        text, labels = PROCESS_METRICS["pinfold_connections_ended_total"]
        ended = CounterMetricFamily("pinfold_connections_ended", text, labels=labels)
        ended.add_metric(["gave way"], connections.gave_way)
        ended.add_metric(["refused"], connections.refused)
        yield ended


def _tell_capacity(families: dict[str, Family], left: HostCapacity) -> None:
    for each in left.flavors:
        families["pinfold_free_slots"].add_metric([left.host, each.flavor], each.slots)
    for lost in left.stranded:
        families["pinfold_stranded_cpus"].add_metric([left.host, lost.cause.value], lost.pcpus)


def _tell_host(families: dict[str, Family], host: Occupancy) -> None:
    plain = {
        "pinfold_host_up": host.up,
        "pinfold_host_disabled": host.disabled,
        "pinfold_host_revision": host.revision,
        "pinfold_overhead_booked_millicpu": host.booked_millicpu,
        "pinfold_overhead_capacity_millicpu": host.capacity_millicpu,
        "pinfold_floating_vcpus": host.floating,
    }
    for name, value in plain.items():
        families[name].add_metric([host.name], float(value))
    for role, count in host.pcpus:
        families["pinfold_pcpus"].add_metric([host.name, role.value], count)


def _tell_repairs(families: dict[str, Family], host: str, text: str | None) -> None:
    """The repairs that the host's agent reported; none if it reported none, or what nobody can read."""
    counted: Counts = {} if text is None else read_or(read_counts, text, f"repairs of host {host}", {})
    for (kind, result), number in sorted(counted.items()):
        families["pinfold_repairs_total"].add_metric([host, kind, result], number)
